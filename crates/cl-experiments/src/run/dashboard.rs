//! What burn-train's learner receives and displays: the batches of an epoch, a snapshot as its "validation", and
//! numbers of the snapshot as its metrics.

use crate::io::error::UserError;
use crate::run::folder::{MetricsLog, RunFolder};
use crate::run::recording::keep_if_best;
use crate::tasks::learner::Learner;
use crate::tasks::task::{Measured, Shown, StepOutput, Task};
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::module::Module;
use burn::tensor::{Device, ExecutionError, TensorReadError};
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Adaptor, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
};
use burn::train::{InferenceStep, Interrupter, ItemLazy};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Minimum time between two lines when there is no dashboard.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Yields the batches of one epoch per iteration.
pub struct BatchLoader<T> {
    task: Arc<T>,
    per_epoch: u64,
    /// First step of the next epoch.
    next: Arc<AtomicU64>,
}

impl<T: Task> BatchLoader<T> {
    /// A loader whose first epoch begins at `first_step`.
    pub fn new(task: Arc<T>, first_step: u64) -> Self {
        let per_epoch = task.schedule().steps_per_snapshot;
        Self { task, per_epoch, next: Arc::new(AtomicU64::new(first_step)) }
    }

    fn share(&self) -> Arc<dyn DataLoader<T::Batch>> {
        Arc::new(Self { task: self.task.clone(), per_epoch: self.per_epoch, next: self.next.clone() })
    }
}

struct BatchIterator<'a, T> {
    loader: &'a BatchLoader<T>,
    from: u64,
    done: u64,
}

impl<T: Task> Iterator for BatchIterator<'_, T> {
    type Item = Result<T::Batch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done == self.loader.per_epoch {
            return None;
        }
        self.done += 1;
        Some(Ok(self.loader.task.batch(self.from + self.done - 1)))
    }
}

impl<T: Task> DataLoaderIterator<T::Batch> for BatchIterator<'_, T> {
    fn progress(&self) -> Progress {
        Progress::new(self.done as usize, self.loader.per_epoch as usize, Some("steps".into()))
    }
}

impl<T: Task> DataLoader<T::Batch> for BatchLoader<T> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<T::Batch> + 'a> {
        let from = self.next.fetch_add(self.per_epoch, Ordering::Relaxed);
        Box::new(BatchIterator { loader: self, from, done: 0 })
    }

    fn num_items(&self) -> usize {
        self.per_epoch as usize
    }

    fn to_device(&self, _device: &Device) -> Arc<dyn DataLoader<T::Batch>> {
        // The task knows its device.
        self.share()
    }

    fn slice(&self, _start: usize, _end: usize) -> Arc<dyn DataLoader<T::Batch>> {
        // Only called with several devices, which `train` does not offer.
        self.share()
    }
}

/// The input of "validation": where a snapshot goes.
#[derive(Clone)]
pub struct EpochEnd {
    sink: Arc<Sink>,
}

impl EpochEnd {
    /// The item that ends every epoch.
    pub fn new(sink: Arc<Sink>) -> Self {
        Self { sink }
    }
}

impl<T: Task> InferenceStep for Learner<T::Model, Arc<T>> {
    type Input = EpochEnd;
    type Output = SnapshotOutput<T::Snapshot>;

    /// Takes a snapshot and passes it on.
    fn step(&self, end: EpochEnd) -> SnapshotOutput<T::Snapshot> {
        let snapshot = self.snapshot();
        end.sink.take(&snapshot, || keep_if_best::<T>(&self.model.valid(), &snapshot, &end.sink.folder));
        SnapshotOutput(Arc::new(snapshot))
    }
}

/// Where snapshots and losses go besides the dashboard.
pub struct Sink {
    folder: RunFolder,
    log: Mutex<MetricsLog>,
    interrupter: Interrupter,
    steps: u64,
    /// When the last line was printed; `None` under the dashboard.
    last_line: Option<Mutex<Instant>>,
    failure: Mutex<Option<UserError>>,
    warned: AtomicBool,
}

impl Sink {
    /// A sink for `steps` steps that prints lines where there is no dashboard.
    pub fn new(folder: &RunFolder, log: MetricsLog, interrupter: Interrupter, steps: u64, dashboard: bool) -> Self {
        let last_line = (!dashboard).then(|| Mutex::new(Instant::now() - LINE_EVERY));
        Self {
            folder: folder.clone(),
            log: Mutex::new(log),
            interrupter,
            steps,
            last_line,
            failure: Mutex::new(None),
            warned: AtomicBool::new(false),
        }
    }

    /// The error, if any; later calls return `None`.
    pub fn failure(&self) -> Option<UserError> {
        self.failure.lock().ok().and_then(|mut failure| failure.take())
    }

    /// Ends the training with an error; the first one is kept.
    pub fn fail(&self, error: UserError) {
        if let Ok(mut failure) = self.failure.lock() {
            failure.get_or_insert(error);
        }
        self.interrupter.stop(Some("see the error below"));
    }

    fn take<S: Measured>(&self, snapshot: &S, keep: impl FnOnce() -> Result<(), UserError>) {
        if !snapshot.loss().is_finite() {
            return self.fail(no_longer_finite("held-out loss", snapshot.step()));
        }
        let logged = self.log.lock().map_or(Ok(()), |mut log| log.append(snapshot));
        if let Err(e) = logged.and_then(|()| keep()) {
            return self.fail(e);
        }
        // Lines would be written across the dashboard, which shows what the warning is about.
        if let (Some(warning), Some(_)) = (snapshot.warning(), &self.last_line)
            && snapshot.step() > 0
            && !self.warned.swap(true, Ordering::Relaxed)
        {
            crate::warn_line!("step {}: {warning}", snapshot.step());
        }
        if let Some(Ok(mut last)) = self.last_line.as_ref().map(|l| l.lock())
            && (last.elapsed() >= LINE_EVERY || snapshot.step() == self.steps)
        {
            *last = Instant::now();
            crate::say_line!("step {:>6}/{}  {}", snapshot.step(), self.steps, snapshot.line());
        }
    }
}

fn no_longer_finite(what: &str, step: u64) -> UserError {
    UserError::Run(format!(
        "the {what} is no longer finite at step {step}; the last checkpoints and all metrics before it are kept. A smaller \
         optimization.learning_rate or a larger temperature usually helps"
    ))
}

/// A loader with one item: the end of the epoch.
pub struct EpochEndLoader(pub EpochEnd);

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
        Box::new(Once(Some(&self.0)))
    }

    fn num_items(&self) -> usize {
        1
    }

    fn to_device(&self, _device: &Device) -> Arc<dyn DataLoader<EpochEnd>> {
        Arc::new(Self(self.0.clone()))
    }

    fn slice(&self, _start: usize, _end: usize) -> Arc<dyn DataLoader<EpochEnd>> {
        Arc::new(Self(self.0.clone()))
    }
}

/// A snapshot on its way to the dashboard.
#[derive(Debug, Clone)]
pub struct SnapshotOutput<S>(Arc<S>);

impl<S: Measured> ItemLazy for SnapshotOutput<S> {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(self)
    }
}

impl<S: Measured> Adaptor<Arc<S>> for SnapshotOutput<S> {
    fn adapt(&self) -> Arc<S> {
        self.0.clone()
    }
}

/// One number of a snapshot, as a dashboard metric.
#[derive(Clone)]
pub struct SnapshotMetric<S> {
    name: MetricName,
    shown: Shown<S>,
    state: NumericMetricState,
}

impl<S: Measured> SnapshotMetric<S> {
    /// One metric per number shown.
    pub fn all() -> Vec<Self> {
        let metric =
            |shown: Shown<S>| Self { name: Arc::new(shown.name.to_string()), shown, state: Default::default() };
        S::shown().into_iter().map(metric).collect()
    }
}

impl<S: Measured> Metric for SnapshotMetric<S> {
    type Input = Arc<S>;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: None, higher_is_better: self.shown.higher_is_better }.into()
    }

    fn update(&mut self, item: &Arc<S>, _: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        self.state.update((self.shown.read)(item), 1);
        Ok(self.state.compute_update(FormatOptions::new(self.name()).precision(4)))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.state.compute_final(FormatOptions::new(self.name()).precision(4)))
    }

    fn clear(&mut self) {
        self.state.reset();
    }
}

impl<S: Measured> Numeric for SnapshotMetric<S> {
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

impl Adaptor<StepOutput> for StepOutput {
    fn adapt(&self) -> StepOutput {
        self.clone()
    }
}

/// The loss of every step; ends the training when one is not finite.
#[derive(Clone)]
pub struct StepLoss {
    name: MetricName,
    state: NumericMetricState,
    sink: Arc<Sink>,
}

impl StepLoss {
    /// A loss that reports to `sink`.
    pub fn new(sink: Arc<Sink>) -> Self {
        Self { name: Arc::new("Loss".into()), state: Default::default(), sink }
    }
}

impl Metric for StepLoss {
    type Input = StepOutput;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: None, higher_is_better: false }.into()
    }

    fn update(&mut self, item: &StepOutput, _: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        let loss: f64 = item.loss.clone().into_scalar();
        if !loss.is_finite() {
            self.sink.fail(no_longer_finite("loss", item.step));
        }
        self.state.update(loss, 1);
        Ok(self.state.compute_update(FormatOptions::new(self.name()).precision(4)))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.state.compute_final(FormatOptions::new(self.name()).precision(4)))
    }

    fn clear(&mut self) {
        self.state.reset();
    }
}

impl Numeric for StepLoss {
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
