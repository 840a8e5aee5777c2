//! Timings of kinds of data of which nothing more is known than that they are trained in steps.

use super::BenchJob;
use super::steps::{Lengths, Parts};
use crate::io::error::UserError;
use crate::run::catalog::Catalog;
use crate::tasks::task::Place;
use serde::{Deserialize, Serialize};

/// Steps before the clock starts.
const WARM_UP: u64 = 20;

/// Steps over which the parts are timed.
const STEPS_IN_PARTS: u64 = 100;

/// Measurements of a training.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepTiming {
    /// Name of the point.
    pub point: String,
    /// The seed.
    pub seed: u64,
    /// Name of the backend.
    pub device: String,
    /// Number of threads.
    pub threads: usize,
    /// Steps timed.
    pub steps: u64,
    /// Whole steps per second, their data included.
    pub steps_per_second: f64,
    /// Seconds per part of a step.
    pub part_s: Parts,
    /// Peak memory of the process in bytes.
    pub peak_memory_byte: u64,
}

/// Times the step that a driver takes.
///
/// # Errors
/// [`UserError`] when data cannot be read.
pub fn time(job: &BenchJob, catalog: &Catalog, place: Place) -> Result<StepTiming, UserError> {
    let lengths = |steps: u64| Lengths { warm_up: WARM_UP, steps, in_parts: STEPS_IN_PARTS };
    let timed = catalog.time(&job.spec, job.seed, place, &lengths)?;
    Ok(StepTiming {
        point: job.point.clone(),
        seed: job.seed,
        device: job.device.clone(),
        threads: rayon::current_num_threads(),
        steps: timed.steps,
        steps_per_second: timed.steps_per_second,
        part_s: timed.part_s,
        peak_memory_byte: timed.peak_memory_byte,
    })
}

pub(super) const HEAD: &str =
    "point                                    threads    steps/s   ms/step   data  gradient  update  peak memory";

pub(super) fn row(t: &StepTiming) -> String {
    let [data, gradient, update] = t.part_s.fractions();
    format!(
        "{:<40} {:>7} {:>10.1} {:>9.3} {data:>6} {gradient:>9} {update:>7} {:>8.0} MiB",
        t.point,
        t.threads,
        t.steps_per_second,
        1e3 / t.steps_per_second,
        t.peak_memory_byte as f64 / 1_048_576.0
    )
}
