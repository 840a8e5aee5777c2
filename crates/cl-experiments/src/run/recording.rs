//! What both drivers leave in a run folder: the log, the best learner so far, what came out at the end.

use crate::io::error::UserError;
use crate::io::files::STAGED;
use crate::run::folder::{MetricsLog, RunFolder};
use crate::tasks::task::{Learning, Measured, Training};
use burn::module::Module;
use burn::store::ModuleRecord;

/// Opens the log of a training that goes on with `learner`, and adds the snapshot of where it stands if it is not there yet.
///
/// # Errors
/// [`UserError`] when the loss is not finite before the first step, or a file cannot be written.
pub fn begin_log<T: Training>(training: &T, learner: &T::Learner, folder: &RunFolder) -> Result<MetricsLog, UserError> {
    let (mut log, has_snapshot) = MetricsLog::resume::<T::Snapshot>(folder, learner.steps_done())?;
    if !has_snapshot {
        let learner = learner.valid();
        let snapshot = training.snapshot(&learner);
        if !snapshot.loss().is_finite() {
            return Err(UserError::Run(format!(
                "{}: the held-out loss is not finite at step {}, before anything is trained from there; a larger temperature or smaller \
                 initial weights usually help",
                folder.path().display(),
                learner.steps_done()
            )));
        }
        log.append(&snapshot)?;
        keep_if_best::<T>(&learner, &snapshot, folder)?;
    }
    Ok(log)
}

/// Keeps a learner whose snapshot has just been logged, where it is the best so far.
///
/// # Errors
/// [`UserError`] when a file cannot be read or written.
pub fn keep_if_best<T: Training>(
    learner: &T::Learner,
    snapshot: &T::Snapshot,
    folder: &RunFolder,
) -> Result<(), UserError> {
    let is_best = || Ok(best::<T>(&folder.snapshots()?).is_some_and(|best| best.step() == snapshot.step()));
    if T::quality(snapshot).is_none() || !is_best()? {
        return Ok(());
    }
    let staged = folder.path().join(format!("{STAGED}best.bpk"));
    let saved = learner.clone().into_record().save(&staged);
    saved.map_err(|e| UserError::file(&staged, format!("it cannot be written: {e}")))?;
    let path = folder.best();
    std::fs::rename(&staged, &path).map_err(|e| UserError::file(&path, format!("it cannot be written: {e}")))
}

/// Scores a finished training and writes what it leaves behind, the completion marker aside; what came out, in a line.
///
/// # Errors
/// [`UserError`] when a probe fails, or a file cannot be read or written.
pub fn finish<T: Training>(training: &T, last: &T::Learner, folder: &RunFolder) -> Result<String, UserError> {
    let snapshots = folder.snapshots::<T::Snapshot>()?;
    let best = best::<T>(&snapshots).map(|snapshot| load_best(training, snapshot.step(), folder)).transpose()?;
    let evaluated = training
        .evaluate(last, best.as_ref())
        .map_err(|e| UserError::Run(format!("{}: {e}", folder.path().display())))?;
    for (name, bytes) in &evaluated.files {
        folder.write(name, bytes)?;
    }
    Ok(evaluated.summary)
}

/// Into a module of its own: a clone would share its running statistics with the one at the end.
fn load_best<T: Training>(training: &T, step: u64, folder: &RunFolder) -> Result<T::Learner, UserError> {
    let path = folder.best();
    let record = ModuleRecord::load(&path).map_err(|e| UserError::file(&path, format!("it cannot be read: {e}")))?;
    Ok(training.untrained().load_record(record).at_step(step))
}

/// The best snapshot, the first of equals; none where none is better than others.
fn best<T: Training>(snapshots: &[T::Snapshot]) -> Option<&T::Snapshot> {
    let rated = snapshots.iter().filter_map(|snapshot| Some((T::quality(snapshot)?, snapshot)));
    rated.rev().max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, snapshot)| snapshot)
}
