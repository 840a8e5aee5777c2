//! `train`: the same step under burn-train's learner, with Burn's dashboard.
//!
//! An epoch ends with a snapshot, its "validation". The run folder is the one that `reproduce` would use, and each of
//! the two resumes where the other stopped.

use crate::io::error::UserError;
use crate::io::manifest::Manifest;
use crate::io::panics::{self, Recorded};
use crate::run::checkpoint::{self, AtomicCheckpointer};
use crate::run::dashboard::{BatchLoader, EpochEnd, EpochEndLoader, Sink, SnapshotMetric, StepLoss};
use crate::run::folder::RunFolder;
use crate::run::learning_rates::LearningRateScheduler;
use crate::run::metric_files::MetricFiles;
use crate::run::quiet::QuietRenderer;
use crate::run::recording::{begin_log, finish};
use crate::spec::RunSpec;
use crate::tasks::learner::LearnerOf;
use crate::tasks::task::{Place, Task};
use burn::tensor::Device;
use burn::train::checkpoint::KeepLastNCheckpoints;
use burn::train::metric::LearningRateMetric;
use burn::train::{ExecutionStrategy, Interrupter, Learner, LearningResult, SupervisedTraining};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What to train and where.
#[derive(Debug, Clone)]
pub struct Request {
    /// Folder of an experiment.
    pub experiment: PathBuf,
    /// The point; the first one when `None`.
    pub point: Option<String>,
    /// The seed; the first one of the point when `None`.
    pub seed: Option<u64>,
    /// Where runs are.
    pub runs: PathBuf,
    /// Name of the device.
    pub device: String,
    /// Whether to show the dashboard if there is a terminal for it.
    pub wants_dashboard: bool,
    /// The image folder, if given.
    pub data_dir: Option<PathBuf>,
}

/// Whether there is a terminal to draw on and one to read keys from: the dashboard needs both, and without the latter
/// it exits in the middle of the screen.
fn has_terminal() -> bool {
    let reads_keys = || std::io::stdin().is_terminal() || std::fs::File::open("/dev/tty").is_ok();
    std::io::stdout().is_terminal() && reads_keys()
}

/// Trains one task; returns whether training ran to its end.
///
/// # Errors
/// [`UserError`] when data or the device cannot be used, a file cannot be written, or numbers stop being finite.
pub(crate) fn train_task<T: Task>(
    spec: &RunSpec,
    seed: u64,
    folder: &RunFolder,
    request: &Request,
    stop: Arc<AtomicBool>,
) -> Result<bool, UserError> {
    let device = crate::io::device::open(&request.device)?;
    let _lock = folder.open(spec, seed)?;
    let place = Place { device_name: &request.device, device: &device, data_dir: request.data_dir.as_deref() };
    let task = T::new(spec.get::<T::Spec>().expect("the specification of this task"), seed, place)?;
    let dashboard = cfg!(feature = "tui") && request.wants_dashboard && has_terminal();
    let started = Instant::now();
    let (schedule, task) = (task.schedule(), Arc::new(task));
    let (learner, first_step) = launch(&task, folder, &device, stop, dashboard)?;
    let done = learner.steps_done();
    if done < schedule.steps {
        let kept =
            checkpoint::epochs(&folder.checkpoints()).first().map_or(0, |e| *e as u64 * schedule.steps_per_snapshot);
        crate::say_line!(
            "Stopped at step {done} of {}. The same command goes on from step {kept}; {} steps are repeated.",
            schedule.steps,
            done - kept
        );
        return Ok(false);
    }
    let summary = finish(&learner, folder)?;
    let steps_done = schedule.steps - first_step;
    folder.complete_with(spec, Manifest::now(&request.device, started.elapsed().as_secs_f64(), steps_done))?;
    crate::say_line!("{}: {summary}", folder.path().display());
    Ok(true)
}

/// Runs the learner until it ends, for whatever reason; returns it with the step it began at.
fn launch<T: Task>(
    task: &Arc<T>,
    folder: &RunFolder,
    device: &Device,
    stop: Arc<AtomicBool>,
    dashboard: bool,
) -> Result<(LearnerOf<T>, u64), UserError> {
    let device = device.clone().autodiff();
    let schedule = task.schedule();
    let (learner, _, epoch) = checkpoint::restore_latest(task, folder, &mut |text| crate::warn_line!("{text}"));
    let first_step = learner.steps_done();
    let log = begin_log(&learner, folder)?;
    let interrupter = Interrupter::new();
    let sink = Arc::new(Sink::new(folder, log, interrupter.clone(), schedule.steps, dashboard));
    let batches = BatchLoader::new(task.clone(), first_step);
    let epoch_end = EpochEndLoader(EpochEnd::new(sink.clone()));

    let logs = folder.path().join("dashboard");
    let [model, optimizer, rates] = AtomicCheckpointer::all(&folder.checkpoints())?;
    let mut supervised = SupervisedTraining::new(&logs, Arc::new(batches), Arc::new(epoch_end))
        .metric_train_numeric(StepLoss::new(sink.clone()))
        .metric_train_numeric(LearningRateMetric::new())
        .with_training_strategy(ExecutionStrategy::single(device).into())
        .with_custom_checkpointers(model, optimizer, rates)
        .with_checkpointing_strategy(KeepLastNCheckpoints::new(checkpoint::EPOCHS_KEPT))
        .with_interrupter(interrupter.clone())
        .with_metric_logger(MetricFiles::new(logs.clone(), sink.clone()))
        .with_application_logger(None)
        .num_epochs((schedule.steps / schedule.steps_per_snapshot) as usize);
    for metric in SnapshotMetric::<T::Snapshot>::all() {
        supervised = supervised.metric_valid_numeric(metric);
    }
    if let Some(epoch) = epoch {
        supervised = supervised.checkpoint(epoch);
    }
    if !dashboard {
        supervised = supervised.renderer(Box::new(QuietRenderer));
    }
    let rates = LearningRateScheduler::new(schedule.learning_rate, first_step);
    let learner = Learner::new(learner, task.optimizer(), rates);

    let over = Arc::new(AtomicBool::new(false));
    let watcher = watch(stop, interrupter, over.clone());
    // The dashboard's "stop at once" is implemented as a panic.
    let Recorded { result, messages } = panics::recorded(|| supervised.launch(learner));
    over.store(true, Ordering::Relaxed);
    // The watcher only sleeps and checks flags.
    let _ = watcher.join();
    Ok((ended(result, &messages, &sink)?, first_step))
}

/// The model, if training ended by itself.
fn ended<M>(result: Option<LearningResult<M>>, messages: &[String], sink: &Sink) -> Result<M, UserError> {
    if let Some(failure) = sink.failure() {
        return Err(failure);
    }
    if let Some(message) = messages.first() {
        let message = panics::in_words(message);
        return Err(UserError::Run(format!("{message}; the same command goes on from the last checkpoint")));
    }
    match result {
        Some(LearningResult { error: None, model, .. }) => Ok(model),
        Some(LearningResult { error: Some(error), .. }) => {
            Err(UserError::Run(format!("training stopped by an error: {error}")))
        }
        None => {
            Err(UserError::Run("training ended in a panic; the same command goes on from the last checkpoint".into()))
        }
    }
}

/// Forwards a signal to burn-train, even if the dashboard has reset its interrupter.
fn watch(stop: Arc<AtomicBool>, interrupter: Interrupter, over: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        while !over.load(Ordering::Relaxed) {
            if stop.load(Ordering::Relaxed) && !interrupter.should_stop() {
                interrupter.stop(Some("asked to stop"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    })
}
