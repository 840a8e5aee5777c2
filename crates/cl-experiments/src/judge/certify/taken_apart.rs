//! What both exports for Python need: a training up to some step, tensors in a file.

use crate::io::error::UserError;
use crate::io::files::{safetensors_bytes, write_whole};
use crate::run::step_sizes::StepSizeScheduler;
use crate::tasks::task::{Learning, Training};
use burn::optim::lr_scheduler::LrScheduler;
use burn::tensor::TensorData;
use burn::train::TrainStep;
use std::path::Path;

/// The learner after so many steps in all, from a fresh state of the optimizer.
pub(super) fn trained<T: Training>(training: &T, mut learner: T::Learner, steps: u64) -> T::Learner {
    let mut optimizer = training.optimizer();
    let mut step_sizes = StepSizeScheduler::new(training.schedule().step_size, learner.steps_done());
    while learner.steps_done() < steps {
        let output = TrainStep::step(&learner, training.batch(learner.steps_done()));
        learner = learner.optimize(&mut optimizer, step_sizes.step().into(), output.grads);
    }
    learner
}

/// Writes tensors by name.
///
/// # Errors
/// [`UserError::File`] naming the file.
pub(super) fn write_tensors(path: &Path, tensors: Vec<(String, TensorData)>) -> Result<(), UserError> {
    write_whole(path, &safetensors_bytes(tensors.iter().map(|(name, data)| (name.as_str(), data.clone()))))
}
