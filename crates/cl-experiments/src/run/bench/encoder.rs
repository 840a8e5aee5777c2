//! Timings of the paper's encoder, one or many side by side.

use super::BenchJob;
use super::peak::peak_flop_per_second;
use super::steps::{Lengths, Parts, Timed};
use crate::io::error::UserError;
use crate::io::manifest::peak_memory_byte;
use crate::run::catalog::Catalog;
use crate::run::replicas::Replication;
use crate::tasks::sparse_coding::snapshot::Snapshot;
use crate::tasks::sparse_coding::spec::TrainingSpec;
use crate::tasks::task::Place;
use burn::tensor::Device;
use cl_data::DeviceSampler;
use cl_model::replicas::ReplicaBatch;
use cl_model::{DecoupledNtXent, NtXent};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Steps before the clock starts.
const WARM_UP: u64 = 50;

/// Steps during which the parts are timed one after another.
const STEPS_IN_PARTS: u64 = 40;

/// Measurements of one shape.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Timing {
    /// Name of the point.
    pub point: String,
    /// d, d1, m, B and N.
    pub shape: [usize; 5],
    /// The seed.
    pub seed: u64,
    /// Name of the backend.
    pub device: String,
    /// Number of threads.
    pub threads: usize,
    /// Encoders trained at once; every per-step figure is for one step of one encoder.
    pub replicas: usize,
    /// Steps timed, after a warm-up of up to 50 (with replicas up to 25).
    pub steps: u64,
    /// Steps per second, including all of a step: data, both views, negatives, loss, gradient, update, thresholds.
    pub steps_per_second: f64,
    /// Seconds per part, timed one after another; their sum exceeds a step where data is drawn concurrently.
    pub part_s: Parts,
    /// Floating-point operations of the matrix products of a step.
    pub flop_per_step: f64,
    /// Floating-point operations per second of square matrix products on the same number of threads.
    pub peak_flop_per_second: f64,
    /// `flop_per_step · steps_per_second / peak_flop_per_second`; `None` on devices other than the host.
    pub fraction_of_peak: Option<f64>,
    /// Peak memory of the process in bytes.
    pub peak_memory_byte: u64,
    /// State of the encoder at the end.
    pub state: State,
}

/// The state reached.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct State {
    /// See [`cl_model::features::FeatureMeasures`].
    pub energy_in_span: f64,
    /// See [`cl_model::features::FeatureMeasures`].
    pub coverage_mean: f64,
    /// See [`cl_model::features::FeatureMeasures`].
    pub coverage_min: f64,
    /// Loss on a held-out batch.
    pub loss: f64,
}

/// Times the step that a driver takes.
///
/// # Errors
/// [`UserError`] when no runner exists for such a run.
pub fn time(job: &BenchJob, spec: &TrainingSpec, catalog: &Catalog, place: Place) -> Result<Timing, UserError> {
    let lengths = |steps: u64| Lengths { warm_up: WARM_UP, steps, in_parts: STEPS_IN_PARTS };
    let timed = catalog.time(&job.spec, job.seed, place, &lengths)?;
    let snapshot: Snapshot = serde_json::from_value(timed.snapshot.clone()).expect("a snapshot of this task");
    Ok(timing(job, spec, 1, timed, snapshot))
}

/// Like `time`, for replicas: seeds `seed`, `seed + 1`, … of one specification.
///
/// # Errors
/// [`UserError`] when the specification does not support replicas or its data cannot be drawn on a device.
pub fn time_replicas(job: &BenchJob, spec: &TrainingSpec, count: usize, device: &Device) -> Result<Timing, UserError> {
    let group = (0..count as u64).map(|i| (spec.clone(), job.seed + i)).collect();
    let mut replication = Replication::new(&group, device)?;
    let models: Vec<_> = group.iter().map(|(spec, seed)| spec.data.model(*seed)).collect();
    let sampler = match job.sample_on_device {
        true => Some(
            DeviceSampler::new(&models, spec.views.augmentation(), device)
                .map_err(|e| UserError::Argument(format!("--sample-on-device: {e}")))?,
        ),
        false => None,
    };
    let draw = |replication: &Replication| match &sampler {
        None => replication.batch(),
        Some(sampler) => {
            let [x_plus, x_plus_plus] = sampler.pairs(spec.optimization.batch_size);
            let negatives = Some(sampler.observations(spec.num_negatives()));
            ReplicaBatch { x_plus, x_plus_plus, negatives }
        }
    };
    // Device errors surface when the next numbers are read.
    let wait = || drop(device.sync());
    // The more replicas, the fewer steps, but enough of them to time.
    let timed = (spec.schedule().steps / count as u64).max(10).min(spec.schedule().steps);
    let (mut part_s, mut started) = (Parts::default(), Instant::now());
    let warm_up = timed.min(WARM_UP) / 2;
    for step in 0..warm_up + timed {
        if step == warm_up {
            wait();
            (part_s, started) = (Parts::default(), Instant::now());
        }
        let t0 = Instant::now();
        let batch = draw(&replication);
        wait();
        let t1 = Instant::now();
        let _ = replication.step(batch);
        wait();
        let replica_steps = (timed * count as u64) as f64;
        part_s.data += t1.duration_since(t0).as_secs_f64() / replica_steps;
        part_s.gradient += t1.elapsed().as_secs_f64() / replica_steps;
    }
    let steps_per_second = (timed * count as u64) as f64 / started.elapsed().as_secs_f64();
    let snapshot = replication.learner(0).snapshot();
    let peak_memory_byte = peak_memory_byte();
    let timed = Timed { snapshot: serde_json::Value::Null, steps: timed, steps_per_second, part_s, peak_memory_byte };
    Ok(timing(job, spec, count, timed, snapshot))
}

impl From<Snapshot> for State {
    fn from(snapshot: Snapshot) -> Self {
        Self {
            energy_in_span: snapshot.energy_in_span,
            coverage_mean: snapshot.coverage_mean,
            coverage_min: snapshot.coverage_min,
            loss: snapshot.loss,
        }
    }
}

fn timing(job: &BenchJob, spec: &TrainingSpec, replicas: usize, timed: Timed, snapshot: Snapshot) -> Timing {
    let m = snapshot.neuron_energies.len();
    let flop_per_step = flop_per_step(spec, m);
    let peak_flop_per_second = peak_flop_per_second();
    let on_host = crate::io::device::is_host(&job.device);
    let Timed { steps, steps_per_second, part_s, peak_memory_byte, .. } = timed;
    Timing {
        point: job.point.clone(),
        shape: [spec.data.code_dim, spec.data.input_dim, m, spec.optimization.batch_size, spec.num_negatives()],
        seed: job.seed,
        device: job.device.clone(),
        threads: rayon::current_num_threads(),
        replicas,
        steps,
        steps_per_second,
        part_s,
        flop_per_step,
        peak_flop_per_second,
        fraction_of_peak: on_host.then(|| flop_per_step * steps_per_second / peak_flop_per_second),
        peak_memory_byte,
        state: State::from(snapshot),
    }
}

/// Two per multiply-add: embeddings of both views and negatives, similarities forward and backward where a softmax compares all pairs, the
/// weight gradient. What other objectives multiply is not counted.
fn flop_per_step(spec: &TrainingSpec, m: usize) -> f64 {
    let (b, n) = (spec.optimization.batch_size as f64, spec.num_negatives() as f64);
    let (m, weights) = (m as f64, spec.encoder_multiply_adds());
    let compares_all_views =
        spec.objective.config::<NtXent>().is_some() || spec.objective.config::<DecoupledNtXent>().is_some();
    match spec.objective() {
        None => 4.0 * b * weights + 6.0 * b * m * spec.data.classes.map_or(0.0, |classes| classes.count as f64),
        Some(objective) if objective.takes_negatives() => {
            // Keys in a queue have been embedded before.
            let embedded = if spec.model.queue.is_some() { 0.0 } else { n };
            2.0 * weights * (3.0 * b + embedded) + 4.0 * b * n * m
        }
        // Every view is both a query and a key.
        Some(_) if compares_all_views => 8.0 * weights * b + 6.0 * (2.0 * b) * (2.0 * b) * m,
        Some(_) => 8.0 * weights * b,
    }
}

pub(super) const HEAD: &str = "point           d    d1     m     B     N  replicas  threads    steps/s   ms/step   data  gradient  update   MFLOP/step  of peak  peak memory";

pub(super) fn row(t: &Timing) -> String {
    let [data, gradient, update] = t.part_s.fractions();
    let of_peak = t.fraction_of_peak.map_or("-".to_string(), |s| format!("{:.0} %", 100.0 * s));
    let [d, d1, m, b, n] = t.shape;
    format!(
        "{:<12} {d:>4} {d1:>5} {m:>5} {b:>5} {n:>5} {:>9} {:>8} {:>10.1} {:>9.3} {data:>6} {gradient:>9} {update:>7} {:>12.1} {of_peak:>8} {:>8.0} MiB",
        t.point,
        t.replicas,
        t.threads,
        t.steps_per_second,
        1e3 / t.steps_per_second,
        t.flop_per_step / 1e6,
        t.peak_memory_byte as f64 / 1_048_576.0
    )
}
