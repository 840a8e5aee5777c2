//! What both drivers write to a run folder: the log, the best learner so far, the final results.

use crate::io::error::UserError;
use crate::io::files::STAGED;
use crate::run::folder::{MetricsLog, RunFolder};
use crate::tasks::learner::LearnerOf;
use crate::tasks::task::{Measured, Task};
use burn::module::Module;
use burn::store::ModuleRecord;

/// Opens the log of a training that resumes with `learner`, and adds the snapshot of its current state if missing.
///
/// # Errors
/// [`UserError`] when the loss is not finite before the first step, or a file cannot be written.
pub fn begin_log<T: Task>(learner: &LearnerOf<T>, folder: &RunFolder) -> Result<MetricsLog, UserError> {
    let (mut log, has_snapshot) = MetricsLog::resume::<T::Snapshot>(folder, learner.steps_done())?;
    if !has_snapshot {
        let snapshot = learner.snapshot();
        if !snapshot.loss().is_finite() {
            return Err(UserError::Run(format!(
                "{}: the held-out loss is not finite at step {}, before anything is trained from there; a larger temperature or smaller \
                 initial weights usually help",
                folder.path().display(),
                learner.steps_done()
            )));
        }
        log.append(&snapshot)?;
        keep_if_best::<T>(&learner.model.valid(), &snapshot, folder)?;
    }
    Ok(log)
}

/// Saves a model whose snapshot has just been logged, if it is the best so far.
///
/// # Errors
/// [`UserError`] when a file cannot be read or written.
pub fn keep_if_best<T: Task>(model: &T::Model, snapshot: &T::Snapshot, folder: &RunFolder) -> Result<(), UserError> {
    let is_best = || Ok(best::<T>(&folder.snapshots()?).is_some_and(|best| best.step() == snapshot.step()));
    if T::quality(snapshot).is_none() || !is_best()? {
        return Ok(());
    }
    let staged = folder.path().join(format!("{STAGED}best.bpk"));
    let saved = model.clone().into_record().save(&staged);
    saved.map_err(|e| UserError::file(&staged, format!("it cannot be written: {e}")))?;
    let path = folder.best();
    std::fs::rename(&staged, &path).map_err(|e| UserError::file(&path, format!("it cannot be written: {e}")))
}

/// Scores a finished training and writes all results except the completion marker; returns a one-line summary.
///
/// # Errors
/// [`UserError`] when a probe fails, or a file cannot be read or written.
pub fn finish<T: Task>(last: &LearnerOf<T>, folder: &RunFolder) -> Result<String, UserError> {
    let task = last.task();
    let snapshots = folder.snapshots::<T::Snapshot>()?;
    let best = best::<T>(&snapshots).map(|snapshot| Ok((load_best(&**task, folder)?, snapshot.step()))).transpose()?;
    let evaluated = task
        .evaluate(&last.model.valid(), best.as_ref().map(|(model, step)| (model, *step)))
        .map_err(|e| UserError::Run(format!("{}: {e}", folder.path().display())))?;
    for (name, bytes) in &evaluated.files {
        folder.write(name, bytes)?;
    }
    Ok(evaluated.summary)
}

/// Loads it into a separate module: a clone would share its running statistics with the final model.
fn load_best<T: Task>(task: &T, folder: &RunFolder) -> Result<T::Model, UserError> {
    let path = folder.best();
    let record = ModuleRecord::load(&path).map_err(|e| UserError::file(&path, format!("it cannot be read: {e}")))?;
    Ok(task.untrained().load_record(record))
}

/// The best snapshot, the first among equals; `None` if snapshots are not rated.
fn best<T: Task>(snapshots: &[T::Snapshot]) -> Option<&T::Snapshot> {
    let rated = snapshots.iter().filter_map(|snapshot| Some((T::quality(snapshot)?, snapshot)));
    rated.rev().max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, snapshot)| snapshot)
}
