//! `reproduce`: run what is missing, judge, report.

use crate::claims::ClaimResult;

use crate::error::UserError;
use crate::experiment::{Experiment, Extent};
use crate::images::dataset;
use crate::judge::Verdict;
use crate::record::{Manifest, RunFolder, pretty, write_whole};
use crate::report::{self, ReportContext};
use crate::schedule::{Ended, Job, run_all};
use crate::spec::RunSpec;
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Multiply-adds per second and core that time estimates start from, before anything was measured.
const ASSUMED_SPEED: f64 = 1.7e10;

/// What to reproduce and where.
#[derive(Debug, Clone)]
pub struct Request {
    /// Claims by name; all but those that are run on request when empty.
    pub claims: Vec<String>,
    /// How much of each.
    pub extent: Extent,
    /// Where experiments are.
    pub experiments: PathBuf,
    /// Where runs are.
    pub runs: PathBuf,
    /// Where the report goes.
    pub output: PathBuf,
    /// The device by name.
    pub device: String,
    /// The folder of images, where it is named.
    pub data_dir: Option<PathBuf>,
    /// Runs side by side.
    pub jobs: usize,
    /// Whether missing runs are made, or only what is there is judged.
    pub run_missing: bool,
    /// The command as it was given, for the report.
    pub command: String,
}

/// How a reproduction ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conclusion {
    /// Every claim was judged; whether all hold.
    Judged {
        /// No claim fails or is undecided.
        all_hold: bool,
    },
    /// It was asked to stop before the runs were complete.
    Stopped,
}

/// A claim's experiment with the folder of each of its runs.
struct Planned {
    experiment: Experiment,
    folders: BTreeMap<(String, u64), RunFolder>,
}

/// Runs, judges and reports.
///
/// # Errors
/// [`UserError`] on unknown claims, files that cannot be read or written, or runs that failed.
pub fn reproduce(request: &Request, stop: &AtomicBool) -> Result<Conclusion, UserError> {
    let started = Instant::now();
    let experiments = load(request)?;
    let (planned, jobs) = plan(experiments, request);
    if request.run_missing {
        crate::device::open(&request.device)?;
        let all: usize = planned.iter().map(|p| p.folders.len()).sum();
        let ended = carry_out(jobs, all, request, stop);
        if !ended.failures.is_empty() {
            return Err(UserError::Run(ended.failures.join("\n")));
        }
        if stop.load(Ordering::Relaxed) {
            println!(
                "Stopped. {} runs finished, {} to go; the same command goes on from the last checkpoint of each.",
                ended.finished, ended.stopped
            );
            return Ok(Conclusion::Stopped);
        }
    }
    let full = request.extent == Extent::Full;
    let results = planned
        .into_iter()
        .map(|p| ClaimResult::judge(p.experiment, p.folders, full))
        .collect::<Result<Vec<_>, _>>()?;
    print!("{}", table(&results));
    let duration_s = started.elapsed().as_secs_f64();
    let peak = peak_memory(&results).max(Manifest::now(&request.device, 0.0, 0).peak_memory_byte);
    let context = ReportContext {
        command: &request.command,
        duration_s: request.run_missing.then_some(duration_s),
        peak_memory_byte: peak,
        full,
    };
    let page = report::write(&results, &request.output, &context)?;
    let verdicts: Vec<_> = results
        .iter()
        .map(|r| serde_json::json!({"claim": r.experiment.claim, "verdict": r.verdict, "judgements": r.judgements}))
        .collect();
    write_whole(&request.output.join("verdicts.json"), pretty(&verdicts).as_bytes())?;
    println!(
        "\n{} after {}, largest process {:.0} MiB",
        page.display(),
        indicatif::HumanDuration(Duration::from_secs_f64(duration_s)),
        peak as f64 / 1048576.0
    );
    Ok(Conclusion::Judged { all_hold: results.iter().all(|r| r.verdict == Verdict::Holds) })
}

fn load(request: &Request) -> Result<Vec<Experiment>, UserError> {
    let folders = Experiment::folders(&request.experiments)?;
    for claim in &request.claims {
        if !folders.iter().any(|(name, _)| name == claim) {
            let names: Vec<&str> = folders.iter().map(|(name, _)| name.as_str()).collect();
            let nearest = names.iter().max_by(|a, b| strsim::jaro(a, claim).total_cmp(&strsim::jaro(b, claim)));
            let hint = nearest.map_or(String::new(), |n| format!("; did you mean {n}?"));
            return Err(UserError::Argument(format!(
                "there is no claim {claim:?}{hint} The claims are {}.",
                names.join(", ")
            )));
        }
    }
    let mut experiments = Vec::new();
    for (name, folder) in folders.iter().filter(|(n, _)| request.claims.is_empty() || request.claims.contains(n)) {
        let mut experiment = Experiment::load(folder, request.extent)?;
        if experiment.on_request && !request.claims.contains(name) {
            continue;
        }
        for point in &mut experiment.points {
            if let RunSpec::Images(spec) = &mut point.spec {
                dataset::pin(spec, request.data_dir.as_deref())?;
            }
        }
        experiments.push(experiment);
    }
    Ok(experiments)
}

/// Gives each run its folder; runs that several claims share are made once.
fn plan(experiments: Vec<Experiment>, request: &Request) -> (Vec<Planned>, Vec<Job>) {
    let mut by_identity: BTreeMap<(String, u64), RunFolder> = BTreeMap::new();
    let mut jobs = Vec::new();
    let mut planned = Vec::new();
    for experiment in experiments {
        let mut folders = BTreeMap::new();
        for point in &experiment.points {
            for &seed in &point.seeds {
                let folder = by_identity.entry((point.spec.digest(), seed)).or_insert_with(|| {
                    let folder = RunFolder::find(&request.runs, &experiment.claim, &point.name, &point.spec, seed);
                    if !folder.is_complete() {
                        jobs.push(Job {
                            spec: point.spec.clone(),
                            seed,
                            folder: folder.path().to_path_buf(),
                            device: request.device.clone(),
                            data_dir: request.data_dir.clone(),
                        });
                    }
                    folder
                });
                folders.insert((point.name.clone(), seed), folder.clone());
            }
        }
        planned.push(Planned { experiment, folders });
    }
    (planned, jobs)
}

fn carry_out(jobs: Vec<Job>, all: usize, request: &Request, stop: &AtomicBool) -> Ended {
    let steps: u64 = jobs.iter().map(|j| j.spec.steps()).sum();
    let cost: f64 = jobs.iter().map(|j| j.spec.cost()).sum();
    let estimate = Duration::from_secs_f64(cost / ASSUMED_SPEED / request.jobs as f64);
    if jobs.is_empty() {
        println!("All {all} runs are complete; they are reused.");
        return Ended::default();
    }
    println!(
        "{} runs to make ({steps} training steps, about {} on {} cores of 2.6 GHz); results that are there already are reused.",
        jobs.len(),
        indicatif::HumanDuration(estimate),
        request.jobs
    );
    let bar = ProgressBar::new(1000);
    let style = ProgressStyle::with_template("{bar:40} {percent:>3} %  {elapsed} gone, {eta} to go  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_secs(1));
    let hidden = bar.is_hidden();
    let (begun, mut next_line) = (Instant::now(), 0.1);
    let ended = run_all(
        jobs,
        request.jobs,
        stop,
        &mut |share| {
            bar.set_position((share * 1000.0) as u64);
            if hidden && share >= next_line {
                let gone = begun.elapsed().as_secs_f64();
                println!(
                    "{:3.0} %  {gone:.0} s gone, about {:.0} s to go",
                    share * 100.0,
                    gone / share * (1.0 - share)
                );
                next_line += 0.1;
            }
        },
        &mut |text| {
            if hidden { println!("{text}") } else { bar.println(text) }
        },
    );
    bar.finish_and_clear();
    ended
}

fn peak_memory(results: &[ClaimResult]) -> u64 {
    let folders = results.iter().flat_map(|r| r.folders.values());
    folders.filter_map(|f| f.manifest().ok()).map(|m| m.peak_memory_byte).max().unwrap_or(0)
}

/// The verdict table for a terminal.
fn table(results: &[ClaimResult]) -> String {
    let mut text = String::new();
    for result in results {
        let experiment = &result.experiment;
        text.push_str(&format!("\n{:<4} {:<10} {}\n", experiment.claim, result.verdict.to_string(), experiment.title));
        for j in &result.judgements {
            let (low, high) =
                j.values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), (_, v)| (l.min(*v), h.max(*v)));
            let verdict = j.verdict.map_or("reported".to_string(), |v| v.to_string());
            text.push_str(&format!(
                "     {verdict:<10} {:<42} {:<34} {:<12} mean {:>8.4}  [{low:.4}, {high:.4}]\n",
                j.metric, j.subject, j.bound, j.summary.mean
            ));
        }
    }
    text
}

/// The default number of runs side by side: one per core.
pub fn default_jobs() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
