//! `train`: the same step under burn-train's learner, with Burn's dashboard.
//!
//! An epoch is `steps_per_epoch` steps over fresh samples; its "validation" is one [`Snapshot`]. The run folder is
//! the one that `reproduce` would use, and either goes on where the other stopped.

use crate::checkpoint::{self, AtomicCheckpointer};
use crate::cli::Train;
use crate::drive::finish;
use crate::error::UserError;
use crate::export::{Choice, choose};
use crate::learner::{EncoderLearner, StepSizeScheduler, TrainingBatch};
use crate::measure::{Monitor, Snapshot};
use crate::quiet::QuietRenderer;
use crate::record::{Manifest, MetricsLog, RunFolder};
use crate::spec::{RunSpec, TrainingSpec};
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::module::Module;
use burn::tensor::{Device, ExecutionError, TensorReadError};
use burn::train::checkpoint::KeepLastNCheckpoints;
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Adaptor, LearningRateMetric, LossMetric, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric,
    NumericAttributes, NumericEntry, SerializedEntry,
};
use burn::train::{ExecutionStrategy, InferenceStep, Interrupter, ItemLazy, Learner, SupervisedTraining};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Least time between two lines when there is no dashboard.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Trains one point; returns the exit status.
///
/// # Errors
/// [`UserError`] on bad arguments or folders, and when numbers stop being finite.
pub fn train(arguments: &Train, stop: Arc<AtomicBool>) -> Result<u8, UserError> {
    let Choice { claim, point, seed } = choose(&arguments.experiment, arguments.point.as_deref(), arguments.seed)?;
    let RunSpec::Training(spec) = &point.spec else {
        return Err(UserError::Argument(format!(
            "--point {}: it estimates moments and has nothing to train",
            point.name
        )));
    };
    let device = crate::device::open(&arguments.device)?;
    let folder = RunFolder::find(&arguments.runs, &claim, &point.name, &point.spec, seed);
    if folder.is_complete() {
        println!("{} is complete; it is reused.", folder.path().display());
        return Ok(0);
    }
    let _lock = folder.open(&point.spec, seed)?;
    let dashboard = cfg!(feature = "tui") && !arguments.no_tui && std::io::stdout().is_terminal();
    let started = Instant::now();
    let end = launch(spec, seed, &folder, &device, stop, dashboard)?;
    if end.learner.step < spec.training.steps {
        let kept =
            checkpoint::epochs(&folder.checkpoints()).first().map_or(0, |e| *e as u64 * spec.training.steps_per_epoch);
        println!(
            "Stopped at step {} of {}. The same command goes on from step {kept}; {} steps are repeated.",
            end.learner.step,
            spec.training.steps,
            end.learner.step - kept
        );
        return Ok(130);
    }
    finish(&end.monitor, &end.learner, &folder)?;
    let steps_done = spec.training.steps - end.first_step;
    folder
        .write_json("manifest.json", &Manifest::now(&arguments.device, started.elapsed().as_secs_f64(), steps_done))?;
    folder.complete()?;
    let evaluation = folder.evaluation()?;
    println!(
        "{}: energy in span(M) {:.3}, coverage {:.3} (least {:.3}), probe R² {:.3}",
        folder.path().display(),
        evaluation.features.energy_in_span,
        evaluation.features.coverage_mean,
        evaluation.features.coverage_min,
        evaluation.probe.r_squared
    );
    Ok(0)
}

/// A training that ended, one way or another.
struct End {
    learner: EncoderLearner,
    monitor: Arc<Monitor>,
    first_step: u64,
}

fn launch(
    spec: &TrainingSpec,
    seed: u64,
    folder: &RunFolder,
    device: &Device,
    stop: Arc<AtomicBool>,
    dashboard: bool,
) -> Result<End, UserError> {
    let device = device.clone().autodiff();
    let monitor = Arc::new(Monitor::new(spec, seed, &device));
    let per_epoch = spec.training.steps_per_epoch;
    let fresh = EncoderLearner::new(spec, seed, &device);
    let (learner, epoch) =
        checkpoint::restore_latest(&folder.checkpoints(), fresh, per_epoch, &mut |text| eprintln!("{text}"));
    let first_step = learner.step;
    let (mut log, has_snapshot) = MetricsLog::resume(folder, first_step)?;
    if !has_snapshot {
        log.append(&monitor.snapshot(&learner.valid()))?;
    }
    let interrupter = Interrupter::new();
    let sink = Arc::new(Sink {
        log: Mutex::new(log),
        interrupter: interrupter.clone(),
        steps: spec.training.steps,
        last_line: (!dashboard).then(|| Mutex::new(Instant::now() - LINE_EVERY)),
        failure: Mutex::new(None),
    });
    let train = BatchLoader {
        monitor: monitor.clone(),
        device: device.clone(),
        per_epoch,
        next: Arc::new(AtomicU64::new(first_step)),
    };
    let valid = EpochEndLoader { item: EpochEnd { monitor: monitor.clone(), sink: sink.clone() } };

    let [model, optimizer, schedule] = AtomicCheckpointer::all(&folder.checkpoints())?;
    let mut training = SupervisedTraining::new(folder.path().join("dashboard"), Arc::new(train), Arc::new(valid))
        .metric_train_numeric(LossMetric::new())
        .metric_train_numeric(LearningRateMetric::new())
        .with_training_strategy(ExecutionStrategy::single(device.clone()).into())
        .with_custom_checkpointers(model, optimizer, schedule)
        .with_checkpointing_strategy(KeepLastNCheckpoints::new(checkpoint::EPOCHS_KEPT))
        .with_interrupter(interrupter.clone())
        .with_application_logger(None)
        .num_epochs(spec.epochs() as usize);
    for metric in SnapshotMetric::all() {
        training = training.metric_valid_numeric(metric);
    }
    if let Some(epoch) = epoch {
        training = training.checkpoint(epoch);
    }
    if !dashboard {
        training = training.renderer(Box::new(QuietRenderer));
    }
    let schedule = StepSizeScheduler::new(spec.training.step_size, first_step);
    let learner = Learner::new(learner, EncoderLearner::optimizer(spec), schedule);

    let over = Arc::new(AtomicBool::new(false));
    let watcher = watch(stop, interrupter, over.clone());
    // The dashboard's "stop at once" is a panic of its own.
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| training.launch(learner)));
    over.store(true, Ordering::Relaxed);
    // It only sleeps and looks at flags.
    let _ = watcher.join();
    if let Some(failure) = sink.failure.lock().ok().and_then(|mut f| f.take()) {
        return Err(failure);
    }
    match result {
        Ok(result) => match result.error {
            Some(error) => Err(UserError::Run(format!("training stopped by an error: {error}"))),
            None => Ok(End { learner: result.model, monitor, first_step }),
        },
        Err(payload) => {
            let text = payload.downcast_ref::<&str>().copied().unwrap_or("a panic in training");
            Err(UserError::Run(format!("{text}; the same command goes on from the last checkpoint")))
        }
    }
}

/// Passes a signal on to burn-train, also where the dashboard has reset its interrupter.
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

/// Hands out the batches of one epoch per iteration.
#[derive(Clone)]
struct BatchLoader {
    monitor: Arc<Monitor>,
    device: Device,
    per_epoch: u64,
    /// First step of the next epoch.
    next: Arc<AtomicU64>,
}

struct BatchIterator<'a> {
    loader: &'a BatchLoader,
    from: u64,
    done: u64,
}

impl Iterator for BatchIterator<'_> {
    type Item = Result<TrainingBatch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done == self.loader.per_epoch {
            return None;
        }
        self.done += 1;
        Some(Ok(self.loader.monitor.batches().training(self.from + self.done - 1, &self.loader.device)))
    }
}

impl DataLoaderIterator<TrainingBatch> for BatchIterator<'_> {
    fn progress(&self) -> Progress {
        Progress::new(self.done as usize, self.loader.per_epoch as usize, Some("steps".into()))
    }
}

impl DataLoader<TrainingBatch> for BatchLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<TrainingBatch> + 'a> {
        let from = self.next.fetch_add(self.per_epoch, Ordering::Relaxed);
        Box::new(BatchIterator { loader: self, from, done: 0 })
    }

    fn num_items(&self) -> usize {
        self.per_epoch as usize
    }

    fn to_device(&self, device: &Device) -> Arc<dyn DataLoader<TrainingBatch>> {
        Arc::new(Self { device: device.clone(), ..self.clone() })
    }

    fn slice(&self, _start: usize, _end: usize) -> Arc<dyn DataLoader<TrainingBatch>> {
        // Only asked for with several devices, which `train` does not offer.
        Arc::new(self.clone())
    }
}

/// What "validation" is given: the means to take a snapshot.
#[derive(Clone)]
pub struct EpochEnd {
    monitor: Arc<Monitor>,
    sink: Arc<Sink>,
}

/// Where snapshots go besides the dashboard.
struct Sink {
    log: Mutex<MetricsLog>,
    interrupter: Interrupter,
    steps: u64,
    /// When the last line was printed; `None` under the dashboard.
    last_line: Option<Mutex<Instant>>,
    failure: Mutex<Option<UserError>>,
}

impl Sink {
    fn take(&self, snapshot: &Snapshot) {
        let written = self.log.lock().map_or(Ok(()), |mut log| log.append(snapshot));
        let failure = match written {
            Err(e) => Some(e),
            Ok(()) if !snapshot.loss.is_finite() => Some(UserError::Run(format!(
                "the loss is no longer finite at step {}; the last checkpoints are kept. A smaller training.step_size \
                 or a larger temperature usually helps",
                snapshot.step
            ))),
            Ok(()) => None,
        };
        if let (Some(failure), Ok(mut slot)) = (failure, self.failure.lock()) {
            *slot = Some(failure);
            self.interrupter.stop(Some("see the error below"));
        }
        if let Some(Ok(mut last)) = self.last_line.as_ref().map(|l| l.lock())
            && (last.elapsed() >= LINE_EVERY || snapshot.step == self.steps)
        {
            *last = Instant::now();
            println!(
                "step {:>6}/{}  loss {:.4}  energy in span(M) {:.3}  coverage {:.3}  active {:.3}  probe R² {:.3}",
                snapshot.step,
                self.steps,
                snapshot.loss,
                snapshot.energy_in_span,
                snapshot.coverage_mean,
                snapshot.active_share,
                snapshot.probe_r_squared
            );
        }
    }
}

struct EpochEndLoader {
    item: EpochEnd,
}

struct Once<'a>(Option<&'a EpochEnd>);

impl Iterator for Once<'_> {
    type Item = Result<EpochEnd, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take().map(|item| Ok(item.clone()))
    }
}

impl DataLoaderIterator<EpochEnd> for Once<'_> {
    fn progress(&self) -> Progress {
        Progress::new(usize::from(self.0.is_none()), 1, Some("snapshot".into()))
    }
}

impl DataLoader<EpochEnd> for EpochEndLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<EpochEnd> + 'a> {
        Box::new(Once(Some(&self.item)))
    }

    fn num_items(&self) -> usize {
        1
    }

    fn to_device(&self, _device: &Device) -> Arc<dyn DataLoader<EpochEnd>> {
        Arc::new(Self { item: self.item.clone() })
    }

    fn slice(&self, _start: usize, _end: usize) -> Arc<dyn DataLoader<EpochEnd>> {
        Arc::new(Self { item: self.item.clone() })
    }
}

impl InferenceStep for EncoderLearner {
    type Input = EpochEnd;
    type Output = SnapshotOutput;

    fn step(&self, item: EpochEnd) -> SnapshotOutput {
        let snapshot = item.monitor.snapshot(self);
        item.sink.take(&snapshot);
        SnapshotOutput(Arc::new(snapshot))
    }
}

/// A snapshot on its way to the dashboard.
#[derive(Debug, Clone)]
pub struct SnapshotOutput(Arc<Snapshot>);

impl ItemLazy for SnapshotOutput {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(self)
    }
}

impl Adaptor<Arc<Snapshot>> for SnapshotOutput {
    fn adapt(&self) -> Arc<Snapshot> {
        self.0.clone()
    }
}

/// One number of a snapshot as a dashboard metric.
#[derive(Clone)]
struct SnapshotMetric {
    name: MetricName,
    read: fn(&Snapshot) -> f64,
    higher_is_better: bool,
    state: NumericMetricState,
}

impl SnapshotMetric {
    fn all() -> Vec<Self> {
        let metric = |name: &str, read, higher_is_better| Self {
            name: Arc::new(name.to_string()),
            read,
            higher_is_better,
            state: NumericMetricState::default(),
        };
        vec![
            metric("Held-out loss", |s| s.loss, false),
            metric("Energy in span(M)", |s| s.energy_in_span, true),
            metric("Coverage", |s| s.coverage_mean, true),
            metric("Least coverage", |s| s.coverage_min, true),
            metric("Active share", |s| s.active_share, false),
            metric("Probe R²", |s| s.probe_r_squared, true),
        ]
    }
}

impl Metric for SnapshotMetric {
    type Input = Arc<Snapshot>;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: None, higher_is_better: self.higher_is_better }.into()
    }

    fn update(&mut self, item: &Arc<Snapshot>, _: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        self.state.update((self.read)(item), 1);
        Ok(self.state.compute_update(FormatOptions::new(self.name()).precision(4)))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.state.compute_final(FormatOptions::new(self.name()).precision(4)))
    }

    fn clear(&mut self) {
        self.state.reset();
    }
}

impl Numeric for SnapshotMetric {
    fn value(&self) -> Option<NumericEntry> {
        Some(self.state.current_value())
    }

    fn running_value(&self) -> Option<NumericEntry> {
        Some(self.state.running_value())
    }

    fn final_value(&self) -> NumericEntry {
        self.state.final_value()
    }
}
