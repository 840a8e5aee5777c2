//! What both exports for Python need: training up to some step, writing tensors to a file.

use crate::io::error::UserError;
use crate::io::files::{safetensors_bytes, write_whole};
use crate::run::learning_rates::LearningRateScheduler;
use crate::tasks::learner::LearnerOf;
use crate::tasks::task::Task;
use burn::optim::lr_scheduler::LrScheduler;
use burn::tensor::TensorData;
use burn::train::TrainStep;
use std::path::Path;

/// The learner after this many steps in total, from a fresh state of the optimizer.
pub(super) fn trained<T: Task>(mut learner: LearnerOf<T>, steps: u64) -> LearnerOf<T> {
    let task = learner.task().clone();
    let mut optimizer = task.optimizer();
    let mut rates = LearningRateScheduler::new(task.schedule().learning_rate, learner.steps_done());
    while learner.steps_done() < steps {
        let output = TrainStep::step(&learner, task.batch(learner.steps_done()));
        learner = learner.optimize(&mut optimizer, rates.step().into(), output.grads);
    }
    learner
}

/// Writes named tensors.
///
/// # Errors
/// [`UserError::File`] naming the file.
pub(super) fn write_tensors(path: &Path, tensors: Vec<(String, TensorData)>) -> Result<(), UserError> {
    write_whole(path, &safetensors_bytes(tensors.iter().map(|(name, data)| (name.as_str(), data.clone()))))
}
