//! `reproduce`: run what is missing, judge, report.

use super::{FAILS, Laboratory, STOPPED, seconds};
use crate::io::error::UserError;
use crate::io::files::{pretty, write_whole};
use crate::io::manifest::Manifest;
use crate::io::shell;
use crate::judge::measures::{ClaimResult, Judge, measure};
use crate::judge::mutations;
use crate::judge::{Expected, Verdict};
use crate::report::{self, ReportContext};
use crate::run::folder::DEFAULT_RUNS;
use crate::run::headless::CHECKPOINT_EVERY_S;
use crate::run::plan::{self, Conditions, Plan, Planned};
use crate::spec::experiment::DEFAULT_EXPERIMENTS;
use crate::spec::experiment::{Experiment, Extent};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Arguments of `reproduce` and `report`.
#[derive(Debug, clap::Args)]
pub struct Reproduce {
    /// Claims, such as c3 c5; all when none is given
    claims: Vec<String>,
    /// The full set: larger sizes, finer grids
    #[arg(long)]
    full: bool,
    /// Mutation tests: also make mistakes on purpose, and see that the claims fail that must (experiments/mutations.toml)
    #[arg(long)]
    broken: bool,
    /// Folder of experiment files
    #[arg(long, default_value = DEFAULT_EXPERIMENTS)]
    experiments: PathBuf,
    /// Folder of run folders
    #[arg(long, default_value = DEFAULT_RUNS)]
    runs: PathBuf,
    /// Folder that report.html and figures/ are written to
    #[arg(long, default_value = "report")]
    output: PathBuf,
    /// flex, ndarray, wgpu, cuda or cuda:n
    #[arg(long, default_value = "flex")]
    device: String,
    /// Least seconds between two checkpoints of a run; 0 makes one at the end of each epoch
    #[arg(long, default_value_t = CHECKPOINT_EVERY_S, value_parser = seconds)]
    checkpoint_every: f64,
    /// Runs side by side; one per core when not given
    #[arg(long)]
    jobs: Option<std::num::NonZeroUsize>,
    /// Folder of images, for experiments on images; CL_CIFAR10_DIR or what `data fetch` brought when not given
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

/// Judges and reports, with or without executing missing runs; returns the exit status.
///
/// # Errors
/// [`UserError`] as for [`reproduce`], and for `report --broken`.
pub fn run(
    arguments: &Reproduce,
    run_missing: bool,
    laboratory: &Laboratory,
    stop: &AtomicBool,
) -> Result<u8, UserError> {
    if arguments.broken && !run_missing {
        return Err(UserError::Argument(
            "--broken makes runs, which `report` does not; give it to `reproduce`, which takes up what is there".into(),
        ));
    }
    Ok(match reproduce(&arguments.request(run_missing), laboratory, stop)? {
        Conclusion::Judged { all_hold: true } => 0,
        Conclusion::Judged { all_hold: false } => FAILS,
        Conclusion::Stopped => STOPPED,
    })
}

impl Reproduce {
    fn request(&self, run_missing: bool) -> Request {
        Request {
            claims: self.claims.clone(),
            extent: if self.full { Extent::Full } else { Extent::Default },
            experiments: self.experiments.clone(),
            output: self.output.clone(),
            conditions: Conditions {
                runs: self.runs.clone(),
                also: Vec::new(),
                device: self.device.clone(),
                data_dir: self.data_dir.clone(),
                checkpoint_every_s: self.checkpoint_every,
                side_by_side: plan::side_by_side(self.jobs),
            },
            run_missing,
            broken: self.broken,
            command: command_line(),
        }
    }
}

/// The command as a user would type it in the root folder of the project.
fn command_line() -> String {
    format!("cargo run --release -- {}", shell::join(std::env::args_os().skip(1)))
}

/// What to reproduce and where.
#[derive(Debug, Clone)]
pub struct Request {
    /// Claims by name; when empty, all except those that are only run on request.
    pub claims: Vec<String>,
    /// Which part of each is run.
    pub extent: Extent,
    /// The folder of experiments.
    pub experiments: PathBuf,
    /// Where the report goes.
    pub output: PathBuf,
    /// Where and how runs take place.
    pub conditions: Conditions,
    /// Whether to execute missing runs, or to judge only what is there.
    pub run_missing: bool,
    /// Whether to run the mutation tests as well, see [`crate::judge::mutations`].
    pub broken: bool,
    /// The command as it was given, for the report.
    pub command: String,
}

/// How a reproduction ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conclusion {
    /// Every claim was judged.
    Judged {
        /// No claim fails or is undecided.
        all_hold: bool,
    },
    /// It was stopped before the runs were complete.
    Stopped,
}

/// Runs, judges and reports. Each verdict is printed as soon as its runs are complete.
///
/// # Errors
/// [`UserError`] on unknown claims, files that cannot be read or written, or runs that failed.
pub fn reproduce(request: &Request, laboratory: &Laboratory, stop: &AtomicBool) -> Result<Conclusion, UserError> {
    let started = Instant::now();
    let (experiments, family) = load(request, laboratory)?;
    let plan = Plan::new(experiments, &request.conditions);
    let judge = Judge {
        parts: laboratory.catalog.parts(),
        measures: &laboratory.measures,
        full: request.extent == Extent::Full,
        family,
    };
    let mut judged = BTreeMap::new();
    if request.run_missing {
        crate::io::device::open(&request.conditions.device)?;
        let missing = plan.missing()?;
        let ended = plan.carry_out(&missing, stop, &mut |planned| {
            let result = judge.judge(planned.experiment.clone(), planned.folders.clone());
            let text = match &result {
                Ok(result) => table(result),
                Err(error) => format!("\n{:<4} {error}\n", planned.experiment.claim),
            };
            judged.insert(planned.experiment.claim.clone(), result);
            Some(text)
        });
        if !ended.failures.is_empty() {
            return Err(UserError::Run(ended.failures.join("\n")));
        }
        if stop.load(Ordering::Relaxed) {
            crate::say_line!(
                "Stopped. {} runs finished, {} to go; the same command goes on from the last checkpoint of each.",
                ended.finished,
                ended.stopped
            );
            return Ok(Conclusion::Stopped);
        }
    }
    let said = request.run_missing;
    let result_of = |planned: Planned| match judged.remove(&planned.experiment.claim) {
        Some(result) => result,
        None => judge.judge(planned.experiment, planned.folders),
    };
    let results = plan.planned.into_iter().map(result_of).collect::<Result<Vec<_>, _>>()?;
    if !said {
        results.iter().for_each(|result| crate::say!("{}", table(result)));
    }
    if results.len() > 1 {
        crate::say!("{}", summary(&results));
    }
    conclude(request, laboratory, &judge, &results, started, stop)
}

/// Writes the report and `verdicts.json`, including the mutation tests if requested.
fn conclude(
    request: &Request,
    laboratory: &Laboratory,
    judge: &Judge,
    results: &[ClaimResult],
    started: Instant,
    stop: &AtomicBool,
) -> Result<Conclusion, UserError> {
    let duration_s = started.elapsed().as_secs_f64();
    let peak = peak_memory(results).max(Manifest::now(&request.conditions.device, 0.0, 0).peak_memory_byte);
    let context = ReportContext {
        command: &request.command,
        duration_s: request.run_missing.then_some(duration_s),
        peak_memory_byte: peak,
        full: judge.full,
    };
    let mut page = report::write(results, &[], &laboratory.figures, &request.output, &context)?;
    let verdicts: Vec<_> = results
        .iter()
        .map(|r| serde_json::json!({"claim": r.experiment.claim, "verdict": r.verdict, "judgements": r.judgements}))
        .collect();
    write_whole(&request.output.join("verdicts.json"), pretty(&verdicts).as_bytes())?;
    let mut tested = Vec::new();
    if request.broken {
        let file = request.experiments.join("mutations.toml");
        // Mutation tests use the default set.
        let judge = Judge { full: false, ..*judge };
        let Some(found) = mutations::test(results, judge, &file, &request.conditions, stop)? else {
            crate::say_line!("Stopped; the same command goes on from the last checkpoint of each run.");
            return Ok(Conclusion::Stopped);
        };
        tested = found;
        crate::say!("{}", mutations::table(&tested));
        write_whole(&request.output.join("mutations.json"), pretty(&tested).as_bytes())?;
        page = report::write(results, &tested, &laboratory.figures, &request.output, &context)?;
    }
    crate::say_line!(
        "\n{} after {}, largest process {:.0} MiB{}",
        page.display(),
        indicatif::HumanDuration(Duration::from_secs_f64(duration_s)),
        peak as f64 / 1048576.0,
        measuring_fraction(results).map_or_else(String::new, |fraction| format!(
            "; {:.0} % of the runs' time went into snapshots and evaluation",
            100.0 * fraction
        ))
    );
    let as_expected = tested.iter().all(|n| n.as_expected);
    Ok(Conclusion::Judged { all_hold: as_expected && results.iter().all(|r| r.verdict == Verdict::Holds) })
}

/// The requested experiments, and the number of intervals that are judged together with theirs.
fn load(request: &Request, laboratory: &Laboratory) -> Result<(Vec<Experiment>, usize), UserError> {
    let folders = Experiment::folders(&request.experiments)?;
    let is = |name: &str, claim: &str| name.to_lowercase() == claim.to_lowercase();
    for claim in &request.claims {
        if !folders.iter().any(|(name, _)| is(name, claim)) {
            let names: Vec<&str> = folders.iter().map(|(name, _)| name.as_str()).collect();
            let nearest = names.iter().max_by(|a, b| strsim::jaro(a, claim).total_cmp(&strsim::jaro(b, claim)));
            let hint = nearest.map_or(String::new(), |n| format!("; did you mean {n}?"));
            return Err(UserError::Argument(format!(
                "there is no claim {claim:?}{hint} The claims are {}.",
                names.join(", ")
            )));
        }
    }
    // Verdicts do not depend on which claims are requested: the family is always all claims and whatever else is named.
    let (mut experiments, mut family) = (Vec::new(), Vec::new());
    for (name, folder) in &folders {
        let is_named = request.claims.iter().any(|claim| is(name, claim));
        match Experiment::load(folder, request.extent, laboratory.catalog.parts()) {
            Ok(experiment) if is_named || !experiment.on_request => {
                family.push(experiment.clone());
                if is_named || request.claims.is_empty() {
                    experiments.push(experiment);
                }
            }
            Err(e) if is_named || request.claims.is_empty() => return Err(e),
            _ => {}
        }
    }
    for experiment in &mut experiments {
        laboratory.figures.check(experiment)?;
        measure::chosen(experiment, &laboratory.measures)?;
        experiment.pin(request.conditions.data_dir.as_deref())?;
    }
    let family = Expected::intervals_of(&family, request.extent == Extent::Full)?;
    Ok((experiments, family))
}

fn peak_memory(results: &[ClaimResult]) -> u64 {
    let folders = results.iter().flat_map(|r| r.folders.values());
    folders.filter_map(|f| f.manifest().ok()).map(|m| m.peak_memory_byte).max().unwrap_or(0)
}

/// The fraction of the runs' time that was not training, over those runs that took it.
fn measuring_fraction(results: &[ClaimResult]) -> Option<f64> {
    let manifests = results.iter().flat_map(|r| r.folders.values()).filter_map(|f| f.manifest().ok());
    let times = manifests.filter_map(|m| Some((m.measuring_s?, m.duration_s)));
    let (measuring, all) = times.fold((0.0, 0.0), |(a, b), (measuring, all)| (a + measuring, b + all));
    (all > 0.0).then(|| measuring / all)
}

/// A claim's verdict and what it is based on, for the terminal.
fn table(result: &ClaimResult) -> String {
    let mut text = format!("\n{}", line(result));
    if result.judgements.is_empty() {
        let file = result.experiment.folder.join("expected.toml");
        text.push_str(&format!("     nothing is judged: {} expects nothing\n", file.display()));
    }
    for j in &result.judgements {
        let verdict = j.verdict.map_or("reported".to_string(), |v| v.to_string());
        let numbers = if j.values.is_empty() {
            "not run".to_string()
        } else {
            let (low, high) =
                j.values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), (_, v)| (l.min(*v), h.max(*v)));
            format!("mean {:>8.4}  [{low:.4}, {high:.4}]", j.summary.mean)
        };
        text.push_str(&format!("     {verdict:<10} {:<42} {:<34} {:<12} {numbers}\n", j.metric, j.subject, j.bound));
    }
    text
}

/// One line per claim.
fn summary(results: &[ClaimResult]) -> String {
    results.iter().fold("\n".to_string(), |text, result| text + &line(result))
}

fn line(result: &ClaimResult) -> String {
    let experiment = &result.experiment;
    format!("{:<4} {:<10} {}\n", experiment.claim, result.verdict.to_string(), experiment.title)
}
