//! `bench`: how fast a step is, where its time goes, and how far that is from the processor's peak.
//!
//! Each shape is timed in its own child process, so that its threads and peak memory are its own.

mod any;
mod encoder;
mod images;
mod peak;
pub(crate) mod steps;

pub use any::StepTiming;
pub use encoder::{State, Timing};
pub use images::ImageTiming;
pub use steps::Parts;

use crate::io::error::UserError;
use crate::io::files::pretty;
use crate::io::os_path;
use crate::run::catalog::Catalog;
use crate::run::queue::child;
use crate::spec::RunSpec;
use crate::spec::experiment::{Experiment, Extent};
use crate::tasks::images::spec::ImageSpec;
use crate::tasks::sparse_coding::spec::TrainingSpec;
use crate::tasks::task::Place;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// A shape to be timed.
#[derive(Debug, Clone, Serialize)]
struct BenchJob {
    point: String,
    spec: RunSpec,
    seed: u64,
    device: String,
    #[serde(with = "os_path::option")]
    data_dir: Option<PathBuf>,
    /// Encoders trained as one tensor program; when `None`, a single encoder with the usual step.
    replicas: Option<usize>,
    sample_on_device: bool,
}

/// A shape in the form in which a child reads it.
#[derive(Deserialize)]
struct BenchJobInWriting {
    point: String,
    spec: toml::Table,
    seed: u64,
    device: String,
    #[serde(with = "os_path::option")]
    data_dir: Option<PathBuf>,
    replicas: Option<usize>,
    sample_on_device: bool,
}

impl BenchJobInWriting {
    fn checked(self, catalog: &Catalog) -> Result<BenchJob, UserError> {
        let Self { point, spec, seed, device, data_dir, replicas, sample_on_device } = self;
        let spec = RunSpec::from_table(spec, catalog.parts()).map_err(|e| UserError::Argument(e.to_string()))?;
        Ok(BenchJob { point, spec, seed, device, data_dir, replicas, sample_on_device })
    }
}

/// Measurements of one point.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(clippy::large_enum_variant, reason = "a handful exist")]
pub enum AnyTiming {
    /// For the paper's encoder.
    Encoder(Timing),
    /// For training on images.
    Images(ImageTiming),
    /// For any other training.
    Steps(StepTiming),
}

impl AnyTiming {
    fn encoder(&self) -> Option<&Timing> {
        match self {
            Self::Encoder(timing) => Some(timing),
            Self::Images(_) | Self::Steps(_) => None,
        }
    }

    /// The header above rows of this kind.
    pub fn head(&self) -> &'static str {
        match self {
            Self::Encoder(_) => encoder::HEAD,
            Self::Images(_) => images::HEAD,
            Self::Steps(_) => any::HEAD,
        }
    }

    /// A row for the terminal.
    pub fn row(&self) -> String {
        match self {
            Self::Encoder(timing) => encoder::row(timing),
            Self::Images(timing) => images::row(timing),
            Self::Steps(timing) => any::row(timing),
        }
    }
}

/// What to time.
#[derive(Debug, Clone)]
pub struct Request {
    /// Folder of an experiment.
    pub experiment: PathBuf,
    /// Names of points; all when empty.
    pub points: Vec<String>,
    /// The seed; the first one of each point when `None`.
    pub seed: Option<u64>,
    /// Numbers of threads; when empty, one thread and one per core.
    pub threads: Vec<NonZeroUsize>,
    /// Numbers of replicas; when empty, a single encoder with the usual step.
    pub replicas: Vec<NonZeroUsize>,
    /// With replicas: draw data on the device.
    pub sample_on_device: bool,
    /// Name of the device.
    pub device: String,
    /// The image folder, if given.
    pub data_dir: Option<PathBuf>,
}

/// Times the points of an experiment; `tell` is called with each timing as soon as it is available.
///
/// # Errors
/// [`UserError`] when the experiment cannot be read, a point does not exist, or a child fails.
pub fn bench(
    request: &Request,
    catalog: &Catalog,
    tell: &mut dyn FnMut(&AnyTiming),
) -> Result<(Experiment, Vec<AnyTiming>), UserError> {
    crate::io::device::open(&request.device)?;
    let mut experiment = Experiment::load(&request.experiment, Extent::Default, catalog.parts())?;
    experiment.pin(request.data_dir.as_deref())?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let asked: Vec<usize> = request.threads.iter().map(|n| n.get()).collect();
    let threads = if asked.is_empty() { vec![1, cores] } else { asked };
    let counts: Vec<Option<usize>> = match request.replicas.is_empty() {
        true => vec![None],
        false => request.replicas.iter().map(|n| Some(n.get())).collect(),
    };
    let mut timings = Vec::new();
    for (point, spec, seed) in chosen(&experiment, request)? {
        for (&threads, &replicas) in threads.iter().flat_map(|t| counts.iter().map(move |c| (t, c))) {
            let job = BenchJob {
                point: point.clone(),
                spec: spec.clone(),
                seed,
                device: request.device.clone(),
                data_dir: request.data_dir.clone(),
                replicas,
                sample_on_device: request.sample_on_device,
            };
            let timing = in_a_child(&job, threads)?;
            tell(&timing);
            timings.push(timing);
        }
    }
    Ok((experiment, timings))
}

/// The cost of a step as a function of one quantity.
#[derive(Debug, Clone)]
pub struct Growth {
    /// Its name, for files.
    pub name: String,
    /// The quantity, in words.
    pub quantity: String,
    /// Values of the quantity, with the timings there.
    pub timings: Vec<(f64, Timing)>,
}

/// Timings along the axis of each grid that has exactly one axis, and along the number of replicas.
pub fn growths(experiment: &Experiment, timings: &[AnyTiming]) -> Vec<Growth> {
    let timings: Vec<&Timing> = timings.iter().filter_map(AnyTiming::encoder).collect();
    let over = |name: &str, quantity: &str, value: &dyn Fn(&Timing) -> Option<f64>| Growth {
        name: name.to_string(),
        quantity: quantity.to_string(),
        timings: timings.iter().filter_map(|t| Some((value(t)?, (*t).clone()))).collect(),
    };
    let mut growths = Vec::new();
    for grid in &experiment.grids {
        if let [(key, values)] = &grid.axes[..] {
            let number = |value: &toml::Value| value.as_float().or(value.as_integer().map(|i| i as f64));
            let place = |t: &Timing| grid.points.iter().position(|name| *name == t.point);
            let words = key.rsplit_once('.').map_or(key.as_str(), |(_, last)| last).replace('_', " ");
            // The last key alone is not informative if it is `count`.
            let words = if words == "count" { grid.name.replace('-', " ") } else { words };
            growths.push(over(&grid.name, &words, &|t| number(&values[place(t)?])));
        }
    }
    growths.push(over("replicas", "replicas", &|t| (t.replicas > 1).then_some(t.replicas as f64)));
    growths.retain(|growth| growth.timings.len() > 1);
    growths
}

fn chosen(experiment: &Experiment, request: &Request) -> Result<Vec<(String, RunSpec, u64)>, UserError> {
    let points = experiment.chosen(&request.points)?.into_iter();
    let training: Vec<_> = points
        .filter(|point| point.spec.steps() > 0)
        .map(|point| {
            let seed = request.seed.or(point.seeds.first().copied()).unwrap_or(1);
            (point.name.clone(), point.spec.clone(), seed)
        })
        .collect();
    let others = training.iter().find(|(_, spec, _)| spec.get::<TrainingSpec>().is_none());
    if let (Some((point, _, _)), false) = (others, request.replicas.is_empty()) {
        return Err(UserError::Argument(one_by_one(point)));
    }
    if training.is_empty() {
        let path = experiment.folder.join("experiment.toml");
        return Err(UserError::file(path, "no point of it trains anything, so there is no step to time"));
    }
    Ok(training)
}

fn one_by_one(point: &str) -> String {
    format!("--replicas: {point} is not on data.sparse_coding; encoders of other data train one by one")
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

/// The child's side: reads a job from standard input, times it, and returns an [`AnyTiming`] as JSON.
///
/// # Errors
/// [`UserError`] when the job cannot be read or the device cannot be opened.
pub fn bench_one(catalog: &Catalog) -> Result<String, UserError> {
    let job: BenchJobInWriting = serde_json::from_reader(std::io::stdin())
        .map_err(|e| UserError::Argument(format!("bench-one reads a job from its parent on standard input: {e}")))?;
    let job = job.checked(catalog)?;
    let device = crate::io::device::open(&job.device)?;
    let place = Place { device_name: &job.device, device: &device, data_dir: job.data_dir.as_deref() };
    let timing = match (job.spec.get::<TrainingSpec>(), job.spec.get::<ImageSpec>(), job.replicas) {
        (Some(spec), _, None) => AnyTiming::Encoder(encoder::time(&job, spec, catalog, place)?),
        (Some(spec), _, Some(count)) => AnyTiming::Encoder(encoder::time_replicas(&job, spec, count, &device)?),
        (_, Some(spec), None) => AnyTiming::Images(images::time(&job, spec, catalog, place)?),
        (None, None, None) => AnyTiming::Steps(any::time(&job, catalog, place)?),
        (None, _, Some(_)) => {
            return Err(UserError::Argument(one_by_one(&job.point)));
        }
    };
    Ok(pretty(&timing))
}
