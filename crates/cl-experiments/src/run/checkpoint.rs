//! Checkpoints: burn-train's three files per epoch, each written under a temporary name and renamed, so that an
//! existing file is complete, and an epoch exists once all three of its files do.

use crate::io::error::UserError;
use crate::io::files::STAGED;
use crate::io::panics::quietly;
use crate::run::folder::RunFolder;
use crate::run::learning_rates::LearningRateScheduler;
use crate::tasks::learner::{Learner, LearnerOf};
use crate::tasks::task::{Task, is_finite, shapes};
use burn::module::Module;
use burn::optim::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use burn::train::checkpoint::{Checkpoint, Checkpointer, CheckpointerError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const NAMES: [&str; 3] = ["model", "optim", "scheduler"];

/// Number of epochs kept: while one is being written, the previous one is intact.
pub const EPOCHS_KEPT: usize = 2;

/// Writes `<name>-<epoch>.bpk` completely or not at all.
#[derive(Debug, Clone)]
pub struct AtomicCheckpointer {
    directory: PathBuf,
    name: &'static str,
}

impl AtomicCheckpointer {
    /// Checkpointers for model, optimizer and scheduler, in this order.
    ///
    /// # Errors
    /// [`UserError::File`] when the folder cannot be created.
    pub fn all(directory: &Path) -> Result<[Self; 3], UserError> {
        std::fs::create_dir_all(directory)
            .map_err(|e| UserError::file(directory, format!("the checkpoint folder cannot be made: {e}")))?;
        Ok(NAMES.map(|name| Self { directory: directory.to_path_buf(), name }))
    }

    fn path(&self, epoch: usize) -> PathBuf {
        self.directory.join(format!("{}-{epoch}.bpk", self.name))
    }
}

impl<R: Checkpoint> Checkpointer<R> for AtomicCheckpointer {
    fn save(&self, epoch: usize, record: R) -> Result<(), CheckpointerError> {
        let staged = self.directory.join(format!("{STAGED}{}-{epoch}.bpk", self.name));
        record.save(staged.clone())?;
        std::fs::File::open(&staged).and_then(|f| f.sync_all()).map_err(CheckpointerError::IOError)?;
        std::fs::rename(staged, self.path(epoch)).map_err(CheckpointerError::IOError)
    }

    fn restore(&self, epoch: usize) -> Result<R, CheckpointerError> {
        R::load(self.path(epoch))
    }

    fn delete(&self, epoch: usize) -> Result<(), CheckpointerError> {
        match std::fs::remove_file(self.path(epoch)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(CheckpointerError::IOError(e)),
            _ => Ok(()),
        }
    }
}

/// The epochs for which all three files exist, latest first.
pub fn epochs(directory: &Path) -> Vec<usize> {
    let there = |name: &str, epoch: usize| directory.join(format!("{name}-{epoch}.bpk")).is_file();
    let mut epochs: Vec<usize> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_prefix("model-")?.strip_suffix(".bpk")?.parse().ok()
        })
        .filter(|&epoch| NAMES.iter().all(|name| there(name, epoch)))
        .collect();
    epochs.sort_unstable_by(|a, b| b.cmp(a));
    epochs
}

/// Saves an epoch and deletes all but the latest [`EPOCHS_KEPT`].
///
/// # Errors
/// [`UserError::File`] naming the folder.
pub fn save<L: Module>(
    directory: &Path,
    epoch: usize,
    learner: &L,
    optimizer: &ModuleOptimizer,
    scheduler: &LearningRateScheduler,
) -> Result<(), UserError> {
    let [model, optim, schedule] = AtomicCheckpointer::all(directory)?;
    let failed = |e: CheckpointerError| {
        UserError::file(directory, format!("the checkpoint of epoch {epoch} cannot be saved: {e}"))
    };
    Checkpointer::<OptimizerRecord>::save(&optim, epoch, optimizer.to_record()).map_err(failed)?;
    Checkpointer::<LrSchedulerRecord>::save(&schedule, epoch, scheduler.to_record()).map_err(failed)?;
    Checkpointer::<ModuleRecord>::save(&model, epoch, learner.clone().into_record()).map_err(failed)?;
    for old in epochs(directory).into_iter().skip(EPOCHS_KEPT) {
        Checkpointer::<ModuleRecord>::delete(&model, old).map_err(failed)?;
        Checkpointer::<OptimizerRecord>::delete(&optim, old).map_err(failed)?;
        Checkpointer::<LrSchedulerRecord>::delete(&schedule, old).map_err(failed)?;
    }
    Ok(())
}

/// A learner and its optimizer at the latest usable epoch, with that epoch; fresh ones and `None` if there is none. An
/// unusable epoch is reported through `warn`, and the previous one is tried.
pub fn restore_latest<T: Task>(
    task: &Arc<T>,
    folder: &RunFolder,
    warn: &mut dyn FnMut(String),
) -> (LearnerOf<T>, ModuleOptimizer, Option<usize>) {
    let (directory, schedule) = (folder.checkpoints(), task.schedule());
    let last = schedule.steps / schedule.steps_per_snapshot;
    for epoch in epochs(&directory).into_iter().filter(|epoch| *epoch as u64 <= last) {
        let steps_done = epoch as u64 * schedule.steps_per_snapshot;
        let path = |name: &str| directory.join(format!("{name}-{epoch}.bpk"));
        let in_file = |name: &str| {
            let path = path(name);
            move |reason: String| (path, reason)
        };
        let restored = load(&path("model"), Learner::start(task)).map_err(in_file("model")).and_then(|learner| {
            let optimizer = load_optimizer(&path("optim"), &**task).map_err(in_file("optim"))?;
            check_step(&path("scheduler"), steps_done).map_err(in_file("scheduler"))?;
            Ok((learner, optimizer))
        });
        match restored {
            Ok((learner, optimizer)) => return (learner.at_step(steps_done), optimizer, Some(epoch)),
            Err((path, reason)) => {
                warn(format!("{}: this checkpoint cannot be used ({reason}); trying the one before", path.display()))
            }
        }
    }
    (Learner::start(task), task.optimizer(), None)
}

/// The result of `f`, or `reason` if it panics: Burn panics on records that do not fit.
fn or_panic<T>(reason: &str, f: impl FnOnce() -> T) -> Result<T, String> {
    quietly(f).map_err(|_| reason.to_string())
}

/// Loads the weights in a file into `blank`, a freshly created module.
fn load<L: Module>(path: &Path, blank: L) -> Result<L, String> {
    let expected = shapes(&blank);
    let restored = or_panic("it does not fit this model", || {
        let record = <ModuleRecord as Checkpoint>::load(path.to_path_buf()).map_err(|e| e.to_string())?;
        Ok::<_, String>(blank.load_record(record.cast_to_module_dtype()))
    })??;
    let found = shapes(&restored);
    if let Some((found, expected)) = found.iter().zip(&expected).find(|(f, e)| f != e) {
        return Err(format!("a parameter has shape {found:?} instead of {expected:?}"));
    }
    if !is_finite(&restored) {
        return Err("a weight is not finite".into());
    }
    Ok(restored)
}

fn load_optimizer<T: Task>(path: &Path, task: &T) -> Result<ModuleOptimizer, String> {
    or_panic("it does not fit this optimizer", || {
        let record = <OptimizerRecord as Checkpoint>::load(path.to_path_buf()).map_err(|e| e.to_string())?;
        Ok(task.optimizer().load_record(record))
    })?
}

/// Checks that the learning rate resumes at the same step as the weights.
fn check_step(path: &Path, steps_done: u64) -> Result<(), String> {
    let record = or_panic("it does not fit these learning rates", || {
        <LrSchedulerRecord as Checkpoint>::load(path.to_path_buf()).map_err(|e| e.to_string())
    })??;
    // burn-train stores it under the number of its parameter group.
    match record.scalar::<u64>("next").or_else(|| record.record("0").scalar("next")) {
        Some(next) if next == steps_done => Ok(()),
        Some(next) => Err(format!("it stands at step {next} instead of {steps_done}")),
        None => Err("it holds no step".into()),
    }
}
