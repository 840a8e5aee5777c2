//! The effect of errors of the size of float32 rounding: the reference run again with perturbed weights.
//!
//! Rounding in any order moves an inner product by about `2⁻²⁴` of the product of norms (Higham & Mary 2019: errors of
//! single operations are as good as independent). Multiplying each of d1 weights by `1 + √d1 · 2⁻²⁴ · ε`, with its own
//! `ε ~ N(0, 1)`, does as much to an embedding, and moves the weights by more than the rounding of an update. The
//! divergence of such trials, times a [factor](FACTOR) as they are few, is the tolerance, no less than the rounding of
//! the measure. A yardstick, not a bound: chaos makes it as large as the metric, and the certificate says so.

use super::{Distance, Divergence, METRICS, Metric};
use crate::io::undefined::largest;
use crate::run::learning_rates::LearningRateScheduler;
use crate::tasks::learner::Learner;
use crate::tasks::sparse_coding::snapshot::Snapshot;
use crate::tasks::sparse_coding::spec::TrainingSpec;
use crate::tasks::sparse_coding::training::SparseCoding;
use crate::tasks::task::Task;
use burn::optim::lr_scheduler::LrScheduler;
use burn::tensor::Device;
use burn::train::TrainStep;
use cl_data::{Matrix, Part, Purpose, Stream, standard_normal};
use cl_model::SymmetricReluConfig;
use std::sync::Arc;

/// Number of perturbed runs.
pub const TRIALS: u64 = 4;

/// The tolerance as a multiple of the largest divergence among trials.
pub const FACTOR: f64 = 8.0;

/// `2⁻²⁴`.
const UNIT_ROUNDOFF: f64 = 1.0 / (1u64 << 24) as f64;

/// Terms in the sums that a measure takes, for its own rounding: 512 observations.
const MEASURE_TERMS: f64 = 512.0;

/// Tolerances of one run, by metric and snapshot, as fractions of the metric's largest value.
#[derive(Debug, Clone)]
pub struct Envelope {
    tolerances: Vec<Vec<f64>>,
    scales: Vec<f64>,
}

/// How tolerances are determined, for the certificate.
pub fn in_words() -> String {
    format!(
        "{FACTOR} times the largest divergence so far among {TRIALS} runs on the reference in which each weight is multiplied by 1 + \
         sqrt(d1) 2^-24 e, e ~ N(0, 1), after each step; at least sqrt({MEASURE_TERMS}) {FACTOR} 2^-24. Divergences are in units \
         of the metric's largest absolute value in the run."
    )
}

impl Envelope {
    /// Measures the tolerances of a run from its snapshots on the reference.
    pub fn of(spec: &TrainingSpec, seed: u64, reference: &[Snapshot]) -> Self {
        let largest = |value: fn(&Snapshot) -> f64| reference.iter().map(|s| value(s).abs()).fold(1e-12, f64::max);
        let scales: Vec<f64> = METRICS.iter().map(|(_, value)| largest(*value)).collect();
        let floor = FACTOR * MEASURE_TERMS.sqrt() * UNIT_ROUNDOFF;
        let mut widest = vec![vec![0.0f64; reference.len()]; METRICS.len()];
        for trial in 0..TRIALS {
            let found = perturbed(spec, seed, trial, UNIT_ROUNDOFF * (spec.data.input_dim as f64).sqrt());
            for (metric, (_, value)) in METRICS.iter().enumerate() {
                for (place, (r, f)) in reference.iter().zip(&found).enumerate() {
                    let apart = (value(r) - value(f)).abs() / scales[metric];
                    widest[metric][place] = widest[metric][place].max(apart);
                }
            }
        }
        let tolerances = widest.into_iter().map(|divergences| {
            let mut so_far = 0.0f64;
            let grown = divergences.into_iter().map(|d| {
                so_far = so_far.max(d);
                (FACTOR * so_far).max(floor)
            });
            grown.collect()
        });
        Self { tolerances: tolerances.collect(), scales }
    }

    /// How far another backend's snapshots lie from the reference's, by metric.
    ///
    /// # Panics
    /// When the numbers of snapshots differ.
    pub fn compare(&self, reference: &[Snapshot], found: &[Snapshot]) -> Vec<(&'static str, Divergence)> {
        assert_eq!(reference.len(), found.len(), "snapshots are taken at the same steps");
        let of_metric = |(metric, (name, value)): (usize, &Metric)| {
            let apart = |r: &Snapshot, f: &Snapshot| match (value(r), value(f)) {
                // Undefined on both.
                (r, f) if r.is_nan() && f.is_nan() => 0.0,
                (r, f) if r.is_nan() || f.is_nan() => f64::INFINITY,
                (r, f) => (r - f).abs() / self.scales[metric],
            };
            let over_time: Vec<Distance> = reference
                .iter()
                .zip(found)
                .zip(&self.tolerances[metric])
                .map(|((r, f), tolerance)| Distance { step: r.step, apart: apart(r, f), tolerance: *tolerance })
                .collect();
            let outside = over_time.iter().find(|d| d.apart > d.tolerance).map(|d| d.step);
            let fraction = largest(over_time.iter().map(|d| d.apart / d.tolerance));
            (*name, Divergence { first_step_outside: outside, largest_fraction_of_tolerance: fraction, over_time })
        };
        METRICS.iter().enumerate().map(of_metric).collect()
    }
}

/// Snapshots of a run on the reference in which each weight is perturbed by about `size` of itself after each step.
fn perturbed(spec: &TrainingSpec, seed: u64, trial: u64, size: f64) -> Vec<Snapshot> {
    let task = Arc::new(SparseCoding::<SymmetricReluConfig>::on(spec, seed, &Device::flex()));
    let (mut learner, mut optimizer) = (Learner::start(&task), task.optimizer());
    let schedule = task.schedule();
    let mut rates = LearningRateScheduler::new(schedule.learning_rate, 0);
    let (m, d1) = (learner.model.encoder.weights.dims()[0], spec.data.input_dim);
    // Streams are addressed by step: trials stay separate by starting far from each other.
    let stream = Stream::new(seed, Purpose::Rounding);
    let mut snapshots = vec![learner.snapshot()];
    while learner.steps_done() < schedule.steps {
        let step = learner.steps_done();
        let output = TrainStep::step(&learner, task.batch(step));
        learner = learner.optimize(&mut optimizer, rates.step().into(), output.grads);
        let mut rng = stream.rng(Part::Whole, (trial << 40) | step);
        let factors = standard_normal(&mut rng, m * d1).into_iter().map(|e| 1.0 + size as f32 * e).collect();
        let factors = Matrix::from_values(m, d1, factors);
        learner.model.encoder.weights = learner.model.encoder.weights.map(|w| {
            let factors = factors.to_tensor(&w.device());
            (w.detach() * factors).detach().require_grad()
        });
        if learner.steps_done().is_multiple_of(schedule.steps_per_snapshot) {
            snapshots.push(learner.snapshot());
        }
    }
    snapshots
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshots(loss: impl Fn(u64) -> f64) -> Vec<Snapshot> {
        let one = Snapshot::example();
        (0..4).map(|k| Snapshot { step: 10 * k, loss: loss(k), ..one.clone() }).collect()
    }

    #[test]
    fn a_backend_that_leaves_the_envelope_is_found_with_the_step() {
        let reference = snapshots(|k| 2.0 - 0.1 * k as f64);
        let envelope = Envelope {
            tolerances: vec![vec![1e-4, 1e-4, 1e-3, 1e-3]; METRICS.len()],
            scales: vec![2.0; METRICS.len()],
        };
        let compared = |found: &[Snapshot]| envelope.compare(&reference, found);
        assert!(
            compared(&reference)
                .iter()
                .all(|(_, d)| d.first_step_outside.is_none() && d.largest_fraction_of_tolerance == 0.0)
        );
        // Off by 3e-4 of the size: outside at step 10, inside again at step 20.
        let off = snapshots(|k| 2.0 - 0.1 * k as f64 + if k > 0 { 6e-4 } else { 0.0 });
        for (name, d) in compared(&off) {
            assert_eq!(d.first_step_outside, (name == "loss").then_some(10), "{name}");
        }
        let lost = snapshots(|_| f64::NAN);
        assert_eq!(compared(&lost)[0].1.first_step_outside, Some(0));
    }

    /// A step whose gradient is a tenth too large is not mistaken for rounding.
    #[test]
    fn a_wrong_step_is_told_from_rounding() {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../experiments/recipe-d16.toml"));
        let table: toml::Table = toml::from_str(&text.unwrap()).unwrap();
        let catalog = crate::run::catalog::Catalog::standard();
        let spec = crate::spec::RunSpec::from_table(table, catalog.parts()).unwrap();
        let mut spec = spec.get::<TrainingSpec>().unwrap().clone();
        (spec.optimization.steps, spec.optimization.snapshot_every) = (Some(60), 20);
        let run = |spec: &TrainingSpec| perturbed(spec, 1, 0, 0.0);
        let reference = run(&spec);
        let envelope = Envelope::of(&spec, 1, &reference);
        assert!(envelope.compare(&reference, &run(&spec)).iter().all(|(_, d)| d.largest_fraction_of_tolerance == 0.0));
        spec.optimization.learning_rate = cl_model::LearningRate::Constant { rate: 1.1 };
        let wrong = run(&spec);
        let outside = envelope.compare(&reference, &wrong);
        assert!(
            outside.iter().any(|(name, d)| *name == "norm_in_span" && d.first_step_outside == Some(20)),
            "{outside:?}"
        );
    }
}
