//! What float32 rounding alone does to an experiment: the reference run again, with every weight moved by as much as rounding
//! may move it, at every step.
//!
//! The computed inner product of two vectors of `n` 32-bit floats is off by about `√n · 2⁻²⁴` of the product of their norms (Higham &
//! Mary 2019: the errors of single operations are as good as independent). An embedding sums over d1 coordinates, and weights take the error over through the gradient, so each trial
//! multiplies each weight by `1 + √d1 · 2⁻²⁴ · ε`, with `ε ~ N(0, 1)` of its own, after each step. What the trials come apart by, times a
//! [factor](FACTOR) for what so few of them miss, is the tolerance; below it stands the rounding of the measure itself.

use super::{Divergence, METRICS};
use crate::learner::StepSizeScheduler;
use crate::measure::{Monitor, Snapshot};
use crate::spec::TrainingSpec;
use crate::training::{Learning, Training};
use burn::module::Module;
use burn::optim::lr_scheduler::LrScheduler;
use burn::tensor::Device;
use burn::train::TrainStep;
use cl_data::{Matrix, Part, Purpose, Stream, standard_normal};

/// Runs with rounding put in.
pub const TRIALS: u64 = 4;

/// How many times the largest divergence among trials is tolerated.
pub const FACTOR: f64 = 8.0;

/// `2⁻²⁴`.
const UNIT_ROUNDOFF: f64 = 1.0 / (1u64 << 24) as f64;

/// Terms in the sums that a measure takes, for its own rounding: 512 observations.
const MEASURE_TERMS: f64 = 512.0;

/// Tolerances of one run, by metric and snapshot, as shares of the metric's largest value.
#[derive(Debug, Clone)]
pub struct Envelope {
    tolerances: Vec<Vec<f64>>,
    scales: Vec<f64>,
}

/// How tolerances come about, for the certificate.
pub fn in_words() -> String {
    format!(
        "{FACTOR} times the largest divergence so far among {TRIALS} runs on the reference in which each weight is multiplied by 1 + \
         sqrt(d1) 2^-24 e, e ~ N(0, 1), after each step; at least sqrt({MEASURE_TERMS}) {FACTOR} 2^-24. Divergences are in units \
         of the metric's largest absolute value in the run."
    )
}

impl Envelope {
    /// Measures the tolerances of a run whose snapshots on the reference are given.
    pub fn of(spec: &TrainingSpec, seed: u64, reference: &[Snapshot]) -> Self {
        let largest = |value: fn(&Snapshot) -> f64| reference.iter().map(|s| value(s).abs()).fold(1e-12, f64::max);
        let scales: Vec<f64> = METRICS.iter().map(|(_, value)| largest(*value)).collect();
        let floor = FACTOR * MEASURE_TERMS.sqrt() * UNIT_ROUNDOFF;
        let mut widest = vec![vec![0.0f64; reference.len()]; METRICS.len()];
        for trial in 0..TRIALS {
            let found = jostled(spec, seed, trial);
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
    /// When there are not as many snapshots.
    pub fn compare(&self, reference: &[Snapshot], found: &[Snapshot]) -> Vec<(&'static str, Divergence)> {
        assert_eq!(reference.len(), found.len(), "snapshots are taken at the same steps");
        let of_metric = |(metric, (name, value)): (usize, &(&'static str, fn(&Snapshot) -> f64))| {
            let apart = |r: &Snapshot, f: &Snapshot| {
                let apart = (value(r) - value(f)).abs() / self.scales[metric];
                if apart.is_nan() { f64::INFINITY } else { apart }
            };
            let over_time: Vec<(u64, f64, f64)> = reference
                .iter()
                .zip(found)
                .zip(&self.tolerances[metric])
                .map(|((r, f), tolerance)| (r.step, apart(r, f), *tolerance))
                .collect();
            let outside = over_time.iter().find(|(_, apart, tolerance)| apart > tolerance).map(|(step, _, _)| *step);
            let share = over_time.iter().map(|(_, apart, tolerance)| apart / tolerance).fold(0.0, f64::max);
            (*name, Divergence { first_step_outside: outside, largest_share_of_tolerance: share, over_time })
        };
        METRICS.iter().enumerate().map(of_metric).collect()
    }
}

/// Snapshots of a run on the reference in which each step's weights are moved by as much as rounding may move them.
fn jostled(spec: &TrainingSpec, seed: u64, trial: u64) -> Vec<Snapshot> {
    let device = Device::flex();
    let training = Monitor::new(spec, seed, &device);
    let (mut learner, mut optimizer) = (training.fresh(), training.optimizer());
    let mut step_sizes = StepSizeScheduler::new(spec.training.step_size, 0);
    let (m, d1) = (spec.encoder.num_neurons, spec.data.input_dim);
    let size = (UNIT_ROUNDOFF * (d1 as f64).sqrt()) as f32;
    // Streams are addressed by step: trials keep apart by beginning far from each other.
    let stream = Stream::new(seed, Purpose::Rounding);
    let mut snapshots = vec![training.snapshot(&learner.valid())];
    while learner.steps_done() < spec.training.steps {
        let step = learner.steps_done();
        let output = TrainStep::step(&learner, training.batch(step));
        learner = learner.optimize(&mut optimizer, step_sizes.step().into(), output.grads);
        let mut rng = stream.rng(Part::Whole, (trial << 40) | step);
        let factors = standard_normal(&mut rng, m * d1).into_iter().map(|e| 1.0 + size * e).collect();
        learner = learner.with_weights_times(Matrix::from_values(m, d1, factors));
        if learner.steps_done().is_multiple_of(spec.training.steps_per_epoch) {
            snapshots.push(training.snapshot(&learner.valid()));
        }
    }
    snapshots
}
