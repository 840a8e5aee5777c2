//! The headless trainer used by `reproduce`: takes a run from its current state to its end.
//!
//! It steps the same [`Learner`](crate::tasks::learner::Learner) as burn-train (see [`crate::run::learner`]), without
//! the metric threads and the per-batch events: over 3,000 steps of the recipe at d = 32, burn-train's learner takes 4
//! to 9 % longer with a core to spare, and 15 to 25 % longer with two seeds on two cores.

use crate::io::error::UserError;
use crate::io::manifest::Manifest;
use crate::run::checkpoint;
use crate::run::folder::RunFolder;
use crate::run::learning_rates::LearningRateScheduler;
use crate::run::pictures;
use crate::run::recording::{begin_log, finish, keep_if_best};
use crate::spec::{RunSpec, Schedule};
use crate::tasks::learner::LearnerOf;
use crate::tasks::sparse_coding::moments;
use crate::tasks::sparse_coding::spec::MomentsSpec;
use crate::tasks::task::{Measured, Place, Task, is_finite};
use burn::module::Module;
use burn::optim::lr_scheduler::LrScheduler;
use burn::tensor::Device;
use burn::train::TrainStep;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Minimum time between two checkpoints of the headless trainer, in seconds, unless set on the command line.
pub const CHECKPOINT_EVERY_S: f64 = 5.0;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is complete.
    Finished,
    /// It was stopped after this many steps, and will resume from the last checkpoint.
    Stopped {
        /// Steps done.
        step: u64,
        /// Step from which a resumed run starts.
        resumes_at: u64,
    },
}

/// Where and under what conditions a run takes place.
pub struct Session<'a> {
    /// Name of the device, for the manifest.
    pub device_name: &'a str,
    /// The device.
    pub device: &'a Device,
    /// The image folder, if given.
    pub data_dir: Option<&'a Path>,
    /// Minimum time between two checkpoints, which are only made at the end of an epoch.
    pub checkpoint_every: Duration,
    /// Whether pictures of the model are kept as it learns, see [`crate::run::pictures`].
    pub pictures: bool,
    /// Set to end the run after the current step.
    pub stop: &'a AtomicBool,
    /// Called with `(done, total)`.
    pub progress: &'a mut dyn FnMut(u64, u64),
    /// Called with messages for the user.
    pub warn: &'a mut dyn FnMut(String),
}

/// Trains one task.
///
/// # Errors
/// [`UserError`] when data cannot be read, a file cannot be written, or numbers stop being finite.
pub(crate) fn train<T: Task>(
    spec: &RunSpec,
    seed: u64,
    folder: &RunFolder,
    session: Session,
) -> Result<Outcome, UserError> {
    let started = Instant::now();
    let own = spec.get::<T::Spec>().expect("the specification of this task");
    let place = Place { device_name: session.device_name, device: session.device, data_dir: session.data_dir };
    let task = Arc::new(T::new(own, seed, place)?);
    let Schedule { steps, steps_per_snapshot, learning_rate, .. } = task.schedule();
    let (mut learner, mut optimizer, _) = checkpoint::restore_latest(&task, folder, session.warn);
    let first_step = learner.steps_done();
    let mut rates = LearningRateScheduler::new(learning_rate, first_step);

    let mut measuring = Stopwatch::default();
    let mut log = measuring.during(|| begin_log(&learner, folder))?;
    let keep_picture = |learner: &LearnerOf<T>| match session.pictures {
        true => pictures::keep(learner, folder),
        false => Ok(()),
    };
    keep_picture(&learner)?;
    let looks_at_every_loss = crate::io::device::is_host(session.device_name);
    let mut saved = Instant::now();
    let mut ahead = None;
    let mut warned = false;
    while learner.steps_done() < steps {
        let output;
        (output, ahead) = learner.step_and_draw(ahead);
        let loss = output.item.loss;
        if looks_at_every_loss && !loss.clone().into_scalar::<f32>().is_finite() {
            return Err(no_longer_finite::<T>(&learner, folder));
        }
        learner = learner.optimize(&mut optimizer, rates.step().into(), output.grads);

        let at_epoch_end = learner.steps_done().is_multiple_of(steps_per_snapshot);
        if at_epoch_end {
            let snapshot = measuring.during(|| learner.snapshot());
            let finite = snapshot.loss().is_finite() && loss.into_scalar::<f32>().is_finite() && is_finite(&learner);
            if !finite {
                return Err(no_longer_finite::<T>(&learner, folder));
            }
            log.append(&snapshot)?;
            keep_picture(&learner)?;
            if let Some(warning) = snapshot.warning().filter(|_| !warned && snapshot.step() > 0) {
                warned = true;
                (session.warn)(format!("{}: step {}: {warning}", folder.path().display(), snapshot.step()));
            }
            measuring.during(|| keep_if_best::<T>(&learner.model.valid(), &snapshot, folder))?;
            (session.progress)(learner.steps_done(), steps);
        }
        let stopping = session.stop.load(Ordering::Relaxed);
        if at_epoch_end && (stopping || saved.elapsed() >= session.checkpoint_every) {
            let epoch = (learner.steps_done() / steps_per_snapshot) as usize;
            checkpoint::save(&folder.checkpoints(), epoch, &learner, &optimizer, &rates)?;
            saved = Instant::now();
        }
        if stopping && learner.steps_done() < steps {
            let epochs = checkpoint::epochs(&folder.checkpoints());
            let resumes_at = epochs.first().map_or(0, |e| *e as u64 * steps_per_snapshot);
            return Ok(Outcome::Stopped { step: learner.steps_done(), resumes_at });
        }
    }
    measuring.during(|| finish(&learner, folder))?;
    let manifest = manifest(&session, started, steps - first_step);
    folder.complete_with(spec, Manifest { measuring_s: Some(measuring.total.as_secs_f64()), ..manifest })?;
    Ok(Outcome::Finished)
}

/// Adds up the time that some parts of a program take.
#[derive(Debug, Default)]
struct Stopwatch {
    total: Duration,
}

impl Stopwatch {
    fn during<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let started = Instant::now();
        let result = work();
        self.total += started.elapsed();
        result
    }
}

/// The error of a run whose numbers are no longer finite; the state is saved alongside the run.
fn no_longer_finite<T: Task>(learner: &LearnerOf<T>, folder: &RunFolder) -> UserError {
    let last = folder.snapshots::<T::Snapshot>().unwrap_or_default().into_iter().rfind(|s| s.loss().is_finite());
    let last = last.map_or("there is no finite snapshot".to_string(), |s| {
        format!("the last finite snapshot, at step {}, has {}", s.step(), s.line())
    });
    let path = folder.path().join("non-finite.bpk");
    let saved = match learner.clone().into_record().save(&path) {
        Ok(()) => format!("the state is in {}", path.display()),
        Err(e) => format!("the state could not be saved: {e}"),
    };
    UserError::Run(format!(
        "loss or weights are no longer finite at step {}; {last}; {saved}. A smaller optimization.learning_rate or a larger \
         temperature usually helps",
        learner.steps_done()
    ))
}

/// Estimates moments.
///
/// # Errors
/// [`UserError`] when an estimate is not finite or a file cannot be written.
pub(crate) fn estimate(run: &RunSpec, seed: u64, folder: &RunFolder, session: Session) -> Result<Outcome, UserError> {
    let started = Instant::now();
    let spec = run.get::<MomentsSpec>().expect("the specification of moments");
    let total = spec.moments.samples as u64;
    let report = moments::estimate(spec, seed, session.device, &mut |done| (session.progress)(done, total));
    if report.directions().any(|d| !(d.estimate.is_finite() && d.standard_error.is_finite())) {
        return Err(UserError::Run(format!(
            "{}: an estimated moment is not a finite number; a smaller data.sparse_coding.noise_std usually helps",
            folder.path().display()
        )));
    }
    folder.write_json("moments.json", &report)?;
    folder.complete_with(run, manifest(&session, started, total))?;
    Ok(Outcome::Finished)
}

fn manifest(session: &Session, started: Instant, steps_done: u64) -> Manifest {
    Manifest::now(session.device_name, started.elapsed().as_secs_f64(), steps_done)
}
