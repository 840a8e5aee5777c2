//! Which runs there are, where each one belongs, which are missing, and what they cost.

use crate::io::error::UserError;
use crate::run::folder::RunFolder;
use crate::run::queue::{Ended, Event, Job, run_all};
use crate::spec::experiment::Experiment;
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Multiply-adds per second per core that time estimates assume, for want of a measurement.
const ASSUMED_SPEED: f64 = 4e10;

/// Where and how runs are executed.
#[derive(Debug, Clone)]
pub struct Conditions {
    /// The folder of runs.
    pub runs: PathBuf,
    /// Other folders of runs, whose complete runs are used as well.
    pub also: Vec<PathBuf>,
    /// Name of the device.
    pub device: String,
    /// The image folder, if given.
    pub data_dir: Option<PathBuf>,
    /// Minimum time between two checkpoints of a run, in seconds.
    pub checkpoint_every_s: f64,
    /// Number of runs executed side by side.
    pub side_by_side: usize,
}

/// An experiment with the folder of each of its runs.
#[derive(Debug)]
pub struct Planned {
    /// The experiment.
    pub experiment: Experiment,
    /// The folders by point and seed.
    pub folders: BTreeMap<(String, u64), RunFolder>,
}

/// Experiments and their runs; runs that several of them share are executed once.
#[derive(Debug)]
pub struct Plan {
    /// The experiments.
    pub planned: Vec<Planned>,
    /// Every run, once.
    runs: Vec<Job>,
    side_by_side: usize,
}

impl Plan {
    /// Assigns each run its folder.
    pub fn new(experiments: Vec<Experiment>, conditions: &Conditions) -> Self {
        let mut by_identity: BTreeMap<(String, u64), RunFolder> = BTreeMap::new();
        let mut runs = Vec::new();
        let mut planned = Vec::new();
        for experiment in experiments {
            let mut folders = BTreeMap::new();
            for point in &experiment.points {
                for &seed in &point.seeds {
                    let folder = by_identity.entry((point.spec.digest(), seed)).or_insert_with(|| {
                        let find = |runs| RunFolder::find(runs, &experiment.claim, &point.name, &point.spec, seed);
                        let elsewhere = || conditions.also.iter().map(|runs| find(runs)).find(RunFolder::is_complete);
                        let own = find(&conditions.runs);
                        let folder = if own.is_complete() { own } else { elsewhere().unwrap_or(own) };
                        runs.push(Job {
                            spec: point.spec.clone(),
                            seed,
                            folder: folder.path().to_path_buf(),
                            device: conditions.device.clone(),
                            data_dir: conditions.data_dir.clone(),
                            checkpoint_every_s: conditions.checkpoint_every_s,
                            pictures: false,
                        });
                        folder
                    });
                    folders.insert((point.name.clone(), seed), folder.clone());
                }
            }
            planned.push(Planned { experiment, folders });
        }
        Self { planned, runs, side_by_side: conditions.side_by_side }
    }

    /// Keeps every n-th run from the i-th on, counting from 0 with the costliest first. The choice depends only on the
    /// experiments, not on what is already complete, so shards started at different times never overlap.
    pub fn keep_shard(&mut self, i: usize, n: usize) {
        let rank = |job: &Job| (job.spec.digest(), job.seed);
        self.runs.sort_by(|a, b| b.spec.cost().total_cmp(&a.spec.cost()).then_with(|| rank(a).cmp(&rank(b))));
        let mut place = 0..;
        self.runs.retain(|_| place.next().is_some_and(|place| place % n == i));
    }

    /// Number of runs, including complete ones.
    pub fn all(&self) -> usize {
        self.runs.len()
    }

    /// Runs that are not complete.
    ///
    /// # Errors
    /// [`UserError`] when a complete run may not be reused, see [`RunFolder::check_maker`].
    pub fn missing(&self) -> Result<Vec<Job>, UserError> {
        let mut missing = Vec::new();
        for job in &self.runs {
            let folder = RunFolder::at(&job.folder);
            folder.tidy();
            folder.check_maker(&job.spec)?;
            if !folder.is_complete() {
                missing.push(job.clone());
            }
        }
        Ok(missing)
    }

    /// A line saying how many runs are missing and what they cost.
    pub fn cost(&self, missing: &[Job]) -> String {
        if missing.is_empty() {
            return format!("All {} runs are complete; they are reused.", self.all());
        }
        let steps: u64 = missing.iter().map(|j| j.spec.steps()).sum();
        let cost: f64 = missing.iter().map(|j| j.spec.cost()).sum();
        let estimate = cost / ASSUMED_SPEED / self.side_by_side as f64;
        // An encoder that does not report its cost makes the estimate next to nothing.
        let estimate = match estimate < 1.0 {
            true => String::new(),
            false => {
                let time = HumanDuration(Duration::from_secs_f64(estimate));
                format!(", about {time} on {} recent cores", self.side_by_side)
            }
        };
        format!(
            "{} runs to make ({steps} training steps{estimate}); results that are there already are reused.",
            missing.len()
        )
    }

    /// Executes missing runs under a progress bar; prints what `complete` returns for each newly complete experiment.
    pub fn carry_out(
        &self,
        missing: &[Job],
        stop: &AtomicBool,
        complete: &mut dyn FnMut(&Planned) -> Option<String>,
    ) -> Ended {
        crate::say_line!("{}", self.cost(missing));
        let missing_at: BTreeSet<&Path> = missing.iter().map(|job| job.folder.as_path()).collect();
        let is_missing = |folder: &&RunFolder| missing_at.contains(folder.path());
        let mut to_come: Vec<(&Planned, BTreeSet<&Path>)> = self
            .planned
            .iter()
            .map(|planned| (planned, planned.folders.values().filter(is_missing).map(RunFolder::path).collect()))
            .collect();
        let mut newly_complete = |finished: Option<&Path>| {
            to_come.iter_mut().for_each(|(_, folders)| folders.retain(|folder| Some(*folder) != finished));
            let ready = to_come.extract_if(.., |(_, folders)| folders.is_empty());
            ready.filter_map(|(planned, _)| complete(planned)).collect::<Vec<_>>()
        };
        newly_complete(None).iter().for_each(|text| crate::say!("{text}"));
        if missing.is_empty() {
            return Ended::default();
        }
        let bar = ProgressBar::new(1000);
        let style = ProgressStyle::with_template("{bar:40} {percent:>3} %  {elapsed} gone, {eta} to go  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_secs(1));
        let hidden = bar.is_hidden();
        let say = |text: &str| if hidden { crate::say_line!("{text}") } else { bar.println(text) };
        let (begun, mut next_line) = (Instant::now(), 0.1);
        let ended = run_all(missing.to_vec(), self.side_by_side, stop, &mut |event| match event {
            Event::Note(text) => say(&text),
            Event::Finished(job) => {
                newly_complete(Some(&job.folder)).iter().for_each(|text| bar.suspend(|| crate::say!("{text}")));
            }
            Event::Progress(done) => {
                bar.set_position((done * 1000.0) as u64);
                if hidden && done >= next_line {
                    let gone = begun.elapsed().as_secs_f64();
                    let to_go = gone / done * (1.0 - done);
                    crate::say_line!("{:3.0} %  {gone:.0} s gone, about {to_go:.0} s to go", done * 100.0);
                    next_line += 0.1;
                }
            }
        });
        bar.finish_and_clear();
        ended
    }
}

/// The number of runs side by side: as requested, otherwise one per core.
pub fn side_by_side(asked: Option<NonZeroUsize>) -> usize {
    asked.or_else(|| std::thread::available_parallelism().ok()).map_or(1, usize::from)
}
