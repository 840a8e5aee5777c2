//! Timing of any kind of training: whole steps, then their parts one after another.

use crate::io::error::UserError;
use crate::io::manifest::peak_memory_byte;
use crate::run::learning_rates::LearningRateScheduler;
use crate::spec::RunSpec;
use crate::tasks::learner::Learner;
use crate::tasks::task::{Place, Task};
use burn::optim::lr_scheduler::LrScheduler;
use burn::train::TrainStep;
use cl_model::independent_copy;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Instant;

/// How many steps are timed.
#[derive(Debug, Clone, Copy)]
pub struct Lengths {
    /// Steps before the clock starts; fewer if the total is smaller.
    pub warm_up: u64,
    /// Total number of steps.
    pub steps: u64,
    /// Steps over which the parts are timed afterwards.
    pub in_parts: u64,
}

/// Seconds per part of a step.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Parts {
    /// Observations or images, their views and negatives.
    pub data: f64,
    /// Embeddings, loss and gradient; with replicas the update as well.
    pub gradient: f64,
    /// Weight update and thresholds.
    pub update: f64,
}

impl Parts {
    /// The fraction of each part as a percentage, for the terminal.
    pub fn fractions(&self) -> [String; 3] {
        let total = self.data + self.gradient + self.update;
        [self.data, self.gradient, self.update].map(|part| format!("{:.0} %", 100.0 * part / total))
    }
}

/// The result of a timing.
#[derive(Debug)]
pub struct Timed {
    /// The snapshot after [`Lengths::steps`], in the form used in the metrics.
    pub snapshot: serde_json::Value,
    /// Steps timed.
    pub steps: u64,
    /// Whole steps per second.
    pub steps_per_second: f64,
    /// Seconds of the parts.
    pub part_s: Parts,
    /// Peak memory of the process in bytes.
    pub peak_memory_byte: u64,
}

/// Trains a task from its first step and times it; `lengths` maps the steps of a run to the steps to time.
///
/// # Errors
/// [`UserError`] when its data cannot be read.
pub fn time<T: Task>(
    spec: &RunSpec,
    seed: u64,
    place: Place,
    lengths: &dyn Fn(u64) -> Lengths,
) -> Result<Timed, UserError> {
    let task = Arc::new(T::new(spec.get::<T::Spec>().expect("the specification of this task"), seed, place)?);
    let lengths = lengths(task.schedule().steps);
    // Device errors surface when the next numbers are read.
    let wait = || drop(place.device.sync());
    let mut learner = Learner::start(&task);
    let mut optimizer = task.optimizer();
    let mut rates = LearningRateScheduler::new(task.schedule().learning_rate, 0);
    let warm_up = lengths.warm_up.min(lengths.steps - 1);
    let (mut ahead, mut started) = (None, Instant::now());
    for step in 0..lengths.steps {
        if step == warm_up {
            wait();
            started = Instant::now();
        }
        let output;
        (output, ahead) = learner.step_and_draw(ahead);
        learner = learner.optimize(&mut optimizer, rates.step().into(), output.grads);
    }
    wait();
    let steps = lengths.steps - warm_up;
    let steps_per_second = steps as f64 / started.elapsed().as_secs_f64();
    let reached = independent_copy(&learner, Learner::start(&task)).at_step(lengths.steps);
    let peak_memory_byte = peak_memory_byte();

    let mut part_s = Parts::default();
    for _ in 0..lengths.in_parts {
        let t0 = Instant::now();
        let batch = task.batch(learner.steps_done());
        wait();
        let t1 = Instant::now();
        let output = TrainStep::step(&learner, batch);
        wait();
        let t2 = Instant::now();
        learner = learner.optimize(&mut optimizer, rates.step().into(), output.grads);
        wait();
        let t3 = Instant::now();
        let seconds = |from: Instant, to: Instant| to.duration_since(from).as_secs_f64() / lengths.in_parts as f64;
        part_s.data += seconds(t0, t1);
        part_s.gradient += seconds(t1, t2);
        part_s.update += seconds(t2, t3);
    }
    let snapshot = serde_json::to_value(reached.snapshot()).expect("a snapshot is plain data");
    Ok(Timed { snapshot, steps, steps_per_second, part_s, peak_memory_byte })
}
