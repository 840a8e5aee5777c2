//! `bench`: how fast a step is, where its time goes, and how far that is from what the processor can do.
//!
//! Each shape is timed in a child process of its own, so that threads and peak memory are its own.

mod encoder;
mod images;
mod peak;
mod steps;

pub use encoder::{State, Timing};
pub use images::ImageTiming;
pub use steps::Parts;

use crate::cli::Bench;
use crate::error::UserError;
use crate::experiment::{Experiment, Extent};
use crate::os_path;
use crate::record::{pretty, write_whole};
use crate::report::{self, Growth};
use crate::schedule::child;
use crate::spec::RunSpec;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::PathBuf;

/// A shape to be timed.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct BenchJob {
    point: String,
    spec: RunSpec,
    seed: u64,
    device: String,
    #[serde(with = "os_path::option")]
    data_dir: Option<PathBuf>,
    /// Encoders trained as one tensor program; one by the usual step when `None`.
    replicas: Option<usize>,
    sample_on_device: bool,
}

/// What was measured of one point.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(clippy::large_enum_variant, reason = "a handful exist")]
pub enum AnyTiming {
    /// Of the paper's encoder.
    Encoder(Timing),
    /// Of training on images.
    Images(ImageTiming),
}

impl AnyTiming {
    fn encoder(&self) -> Option<&Timing> {
        match self {
            Self::Encoder(timing) => Some(timing),
            Self::Images(_) => None,
        }
    }

    fn head(&self) -> &'static str {
        match self {
            Self::Encoder(_) => encoder::HEAD,
            Self::Images(_) => images::HEAD,
        }
    }

    fn row(&self) -> String {
        match self {
            Self::Encoder(timing) => encoder::row(timing),
            Self::Images(timing) => images::row(timing),
        }
    }
}

/// Times the points of an experiment.
///
/// # Errors
/// [`UserError`] when the experiment cannot be read, a point is not there, or a child fails.
pub fn bench(arguments: &Bench) -> Result<(), UserError> {
    crate::device::open(&arguments.device)?;
    let mut experiment = Experiment::load(&arguments.experiment, Extent::Default)?;
    experiment.pin_images(arguments.data_dir.as_deref())?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if arguments.threads.is_empty() { vec![1, cores] } else { arguments.threads.clone() };
    let mut timings: Vec<AnyTiming> = Vec::new();
    for (name, spec, seed) in chosen(&experiment, arguments)? {
        let counts: Vec<Option<usize>> = match arguments.replicas.is_empty() {
            true => vec![None],
            false => arguments.replicas.iter().map(|n| Some(n.get())).collect(),
        };
        for (&threads, &replicas) in threads.iter().flat_map(|t| counts.iter().map(move |c| (t, c))) {
            let job = BenchJob {
                point: name.clone(),
                spec: spec.clone(),
                seed,
                device: arguments.device.clone(),
                data_dir: arguments.data_dir.clone(),
                replicas,
                sample_on_device: arguments.sample_on_device,
            };
            let timing = in_a_child(&job, threads)?;
            if !arguments.json {
                let head = timing.head();
                if timings.last().is_none_or(|last| last.head() != head) {
                    crate::say_line!("{head}");
                }
                crate::say_line!("{}", timing.row());
            }
            timings.push(timing);
        }
    }
    if arguments.json {
        crate::say!("{}", pretty(&timings));
    }
    if let Some(output) = &arguments.output {
        std::fs::create_dir_all(output)
            .map_err(|e| UserError::file(output, format!("the folder cannot be made: {e}")))?;
        let encoders: Vec<Timing> = timings.iter().filter_map(AnyTiming::encoder).cloned().collect();
        for growth in growths(&experiment, &encoders) {
            report::write_growth(&growth, output)?;
        }
        write_whole(&output.join("bench.json"), pretty(&timings).as_bytes())?;
    }
    Ok(())
}

/// Timings over the axis of each grid that has one, and over numbers of replicas.
fn growths(experiment: &Experiment, timings: &[Timing]) -> Vec<Growth> {
    let over = |name: &str, quantity: &str, value: &dyn Fn(&Timing) -> Option<f64>| Growth {
        name: name.to_string(),
        quantity: quantity.to_string(),
        timings: timings.iter().filter_map(|t| Some((value(t)?, t.clone()))).collect(),
    };
    let mut growths = Vec::new();
    for grid in &experiment.grids {
        if let [(key, values)] = &grid.axes[..] {
            let number = |value: &toml::Value| value.as_float().or(value.as_integer().map(|i| i as f64));
            let place = |t: &Timing| grid.points.iter().position(|name| *name == t.point);
            let words = key.rsplit_once('.').map_or(key.as_str(), |(_, last)| last).replace('_', " ");
            // The last key alone says nothing where it is a count.
            let words = if words == "count" { grid.name.replace('-', " ") } else { words };
            growths.push(over(&grid.name, &words, &|t| number(&values[place(t)?])));
        }
    }
    growths.push(over("replicas", "replicas", &|t| (t.replicas > 1).then_some(t.replicas as f64)));
    growths.retain(|growth| growth.timings.len() > 1);
    growths
}

fn chosen(experiment: &Experiment, arguments: &Bench) -> Result<Vec<(String, RunSpec, u64)>, UserError> {
    let points = experiment.chosen(&arguments.point)?.into_iter();
    let training: Vec<_> = points
        .filter(|point| point.spec.steps() > 0)
        .map(|point| {
            let seed = arguments.seed.or(point.seeds.first().copied()).unwrap_or(1);
            (point.name.clone(), point.spec.clone(), seed)
        })
        .collect();
    let on_images = training.iter().find(|(_, spec, _)| matches!(spec, RunSpec::Images(_)));
    if let (Some((point, _, _)), false) = (on_images, arguments.replicas.is_empty()) {
        return Err(UserError::Argument(format!("--replicas: {point} is on images, which train one by one")));
    }
    if training.is_empty() {
        let path = experiment.folder.join("experiment.toml");
        return Err(UserError::file(path, "no point of it trains anything, so there is no step to time"));
    }
    Ok(training)
}

fn in_a_child(job: &BenchJob, threads: usize) -> Result<AnyTiming, UserError> {
    let failed = |e: &dyn std::fmt::Display| UserError::Run(format!("timing {}: {e}", job.point));
    let mut child = child("bench-one", threads).and_then(|mut child| child.spawn()).map_err(|e| failed(&e))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(pretty(job).as_bytes()).map_err(|e| failed(&e))?;
    }
    let output = child.wait_with_output().map_err(|e| failed(&e))?;
    if !output.status.success() {
        return Err(failed(&"the child process ended with an error"));
    }
    serde_json::from_slice(&output.stdout).map_err(|e| failed(&e))
}

/// The child's side: reads a job from standard input, times it, writes an [`AnyTiming`] as JSON.
///
/// # Errors
/// [`UserError`] when the job cannot be read or the device not opened.
pub fn bench_one() -> Result<(), UserError> {
    let job: BenchJob = serde_json::from_reader(std::io::stdin())
        .map_err(|e| UserError::Argument(format!("bench-one reads a job from its parent on standard input: {e}")))?;
    let device = crate::device::open(&job.device)?;
    let timing = match (&job.spec, job.replicas) {
        (RunSpec::Training(spec), None) => AnyTiming::Encoder(encoder::time(&job, spec, &device)),
        (RunSpec::Training(spec), Some(count)) => {
            AnyTiming::Encoder(encoder::time_replicas(&job, spec, count, &device)?)
        }
        (RunSpec::Images(spec), None) => AnyTiming::Images(images::time(&job, spec, &device)?),
        (RunSpec::Images(_), Some(_)) => {
            return Err(UserError::Argument(format!("--replicas: {} is on images, which train one by one", job.point)));
        }
        (RunSpec::Moments(_), _) => {
            return Err(UserError::Argument(format!("{} estimates moments and has no step to time", job.point)));
        }
    };
    crate::say!("{}", pretty(&timing));
    Ok(())
}
