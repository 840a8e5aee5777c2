//! Feeds an image encoder and measures it: [`Training`] for images.
//!
//! A measure on a part of a set takes the beginning of an order that keeps the proportions of the classes and is the same for every
//! state of a run, see [`stratified_order`]: files are often ordered by class.
//!
//! Every batch is a pure function of `(images, specification, seed, step)`, every snapshot one of these and of the
//! weights, so that a resumed run writes what an uninterrupted one would.

use super::dataset;
use super::evaluation::{self, evaluate};
use super::learner::{ImageBatch, ImageLearner};
use super::mistake::{Mistake, with_statistics_of};
use super::spec::{ImageObjective, ImageSpec};
use super::weights;
use crate::error::UserError;
use crate::record::{RunFolder, STAGED, write_whole};
use crate::training::{Measured, Schedule, Shown, Training};
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::store::ModuleRecord;
use burn::tensor::{Device, Int, Tensor, TensorData};
use cl_data::images::{ChannelStatistics, ImageSet, ImageSplits, epoch_order, stratified_order};
use cl_data::{Purpose, Stream};
use cl_model::independent_copy;
use cl_model::knn::{KNearestNeighbors, accuracy};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Images that go through the network together when it is measured.
const CHUNK: usize = 250;

/// One line of `metrics.jsonl` of an image run: the state after `step` steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageSnapshot {
    /// Steps done.
    pub step: u64,
    /// Passes over the training images.
    pub epoch: u64,
    /// `η` of the last step (of the first, at step 0).
    pub step_size: f64,
    /// Loss on a batch of augmented test images, with running statistics in the norms.
    pub loss: f64,
    /// Mean cosine of the projections of two views of a test image; `None` with labels.
    pub positive_similarity: Option<f64>,
    /// Mean cosine of the projections of views of different test images; `None` with labels and for a single image.
    pub negative_similarity: Option<f64>,
    /// Accuracy of kNN on features; `None` where a feature is not finite.
    pub knn_accuracy: Option<f64>,
    /// Images trained on per second since the snapshot before; not recorded, 0 at the first.
    #[serde(skip)]
    pub images_per_second: f64,
}

/// Images, specification and seed of a training.
#[derive(Debug)]
pub struct ImageTraining {
    spec: ImageSpec,
    seed: u64,
    images: Arc<(ImageSplits, super::spec::Content)>,
    statistics: ChannelStatistics,
    /// Where networks are measured; training takes place on the same with autodiff.
    device: Device,
    /// Images whose views are made together.
    images_per_chunk: usize,
    /// Training and test images in an order of which every beginning has the classes' proportions.
    stratified: [Vec<usize>; 2],
    /// The class of each training image.
    train_labels: Vec<usize>,
    /// The order of the epoch drawn last.
    order: Mutex<(u64, Arc<Vec<usize>>)>,
    /// Step and time of the last snapshot.
    clock: Mutex<Option<(u64, Instant)>>,
}

impl ImageTraining {
    /// Reads the images, which have to be those that the specification pins.
    ///
    /// # Errors
    /// [`UserError`] when they cannot be read or are others.
    pub fn new(
        spec: &ImageSpec,
        seed: u64,
        data_dir: Option<&Path>,
        device_name: &str,
        device: &Device,
    ) -> Result<Self, UserError> {
        let mut spec = spec.clone();
        dataset::pin(&mut spec, data_dir)?;
        let images = dataset::load(&spec.images.dataset, data_dir)?;
        // On a processor a few images at a time stay in its cache; a graphics card takes the whole batch.
        let images_per_chunk = if crate::device::is_host(device_name) { 32 } else { spec.optimization.batch_size };
        let stratified = [(&images.0.train, 0), (&images.0.test, 1)].map(|(images, split)| {
            let stream = Stream::new(seed, Purpose::ImageSubsets);
            let mut order = stratified_order(images.labels(), images.num_classes(), stream, split);
            if spec.mistake == Some(Mistake::PartOfOneClass) {
                order.sort_by_key(|i| images.labels()[*i]);
            }
            order
        });
        let mut train_labels = images.0.train.labels().to_vec();
        if spec.mistake == Some(Mistake::LabelsPermuted) {
            let order = epoch_order(train_labels.len(), Stream::new(seed, Purpose::ImageSubsets), 2);
            train_labels = order.into_iter().map(|i| images.0.train.labels()[i]).collect();
        }
        Ok(Self {
            statistics: images.0.train.channel_statistics(),
            spec,
            seed,
            images,
            device: device.clone().inner(),
            images_per_chunk,
            stratified,
            train_labels,
            order: Mutex::new((u64::MAX, Arc::default())),
            clock: Mutex::new(None),
        })
    }

    /// The specification.
    pub fn spec(&self) -> &ImageSpec {
        &self.spec
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Training and test images.
    pub fn splits(&self) -> &ImageSplits {
        &self.images.0
    }

    /// Mean and standard deviation of the training images' colours.
    pub fn statistics(&self) -> &ChannelStatistics {
        &self.statistics
    }

    /// Where networks are measured.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The network before training, outside autodiff.
    pub fn untrained(&self) -> ImageLearner {
        ImageLearner::new(&self.spec, self.seed, &self.device)
    }

    /// Images as the network sees them without augmentation: normalised, `[n, 3, h, w]`.
    pub fn inputs(&self, images: &ImageSet, indices: &[usize]) -> Tensor<4> {
        self.statistics.normalise(images.tensor(indices, &self.device))
    }

    /// `count` training images, all where there are no more, in an order in which every beginning has the classes' proportions.
    pub fn part_of_train(&self, count: usize) -> &[usize] {
        &self.stratified[0][..count.min(self.splits().train.len())]
    }

    /// The same of test images.
    pub fn part_of_test(&self, count: usize) -> &[usize] {
        &self.stratified[1][..count.min(self.splits().test.len())]
    }

    /// Features of images in the order of `indices`, `[indices.len(), feature_dim]`.
    pub fn features(&self, learner: &ImageLearner, images: &ImageSet, indices: &[usize]) -> Tensor<2> {
        let chunks = indices.chunks(CHUNK).map(|chunk| learner.encoder.forward(self.inputs(images, chunk)));
        let features = Tensor::cat(chunks.collect(), 0);
        match &learner.projector {
            Some(projector) if self.spec.mistake == Some(Mistake::ProjectorScored) => projector.forward(features),
            _ => features,
        }
    }

    /// Both views of images, first views first, `[2n, 3, h, w]`, outside autodiff.
    pub fn views(&self, images: &ImageSet, indices: &[usize], purpose: Purpose, step: u64) -> Tensor<4> {
        let pixels = images.tensor(indices, &self.device);
        let stream = Stream::new(self.seed, purpose);
        let augmentation = &self.spec.augmentation;
        let views =
            augmentation.stacked_views_in_chunks(&pixels, &self.statistics, stream, step, self.images_per_chunk);
        let n = indices.len();
        match self.spec.mistake {
            Some(Mistake::SecondViewOnly) => Tensor::cat(vec![self.inputs(images, indices), views.narrow(0, n, n)], 0),
            Some(Mistake::ViewsOfDifferentImages) if n > 1 => {
                let [first, next, last] =
                    [(0, n), (n + 1, n - 1), (n, 1)].map(|(from, count)| views.clone().narrow(0, from, count));
                Tensor::cat(vec![first, next, last], 0)
            }
            _ => views,
        }
    }

    /// The class of each training image.
    pub fn train_labels(&self) -> &[usize] {
        &self.train_labels
    }

    fn drawn(
        &self,
        (images, labels): (&ImageSet, &[usize]),
        indices: &[usize],
        purpose: Purpose,
        step: u64,
    ) -> ImageBatch {
        let views = self.views(images, indices, purpose, step);
        let classes: Vec<i64> = indices.iter().map(|i| labels[*i] as i64).collect();
        let classes = Tensor::<1, Int>::from_data(TensorData::new(classes, [indices.len()]), &self.device);
        let views = match self.spec.objective {
            ImageObjective::Supervised => views.narrow(0, 0, indices.len()),
            _ => views,
        };
        ImageBatch { step, views, classes }
    }

    /// Augmented test images, as many as a batch where there are, on which a state after `step` steps is measured.
    pub fn held_out(&self, step: u64) -> ImageBatch {
        let part = self.part_of_test(self.spec.optimization.batch_size);
        let test = &self.splits().test;
        self.drawn((test, test.labels()), part, Purpose::HeldOutImageViews, step)
    }

    fn order(&self, epoch: u64) -> Arc<Vec<usize>> {
        let draw =
            || Arc::new(epoch_order(self.splits().train.len(), Stream::new(self.seed, Purpose::ImageOrder), epoch));
        let Ok(mut order) = self.order.lock() else { return draw() };
        if order.0 != epoch {
            *order = (epoch, draw());
        }
        order.1.clone()
    }

    fn knn_accuracy(&self, learner: &ImageLearner) -> Option<f64> {
        let e = &self.spec.evaluation;
        let knn = KNearestNeighbors { k: e.neighbors, temperature: e.temperature };
        // In the order of the set, as the evaluation has them: equally similar images vote by their order.
        let in_order = |part: &[usize]| {
            let mut part = part.to_vec();
            part.sort_unstable();
            part
        };
        let (train, test) = (&self.splits().train, &self.splits().test);
        let voting = in_order(self.part_of_train(e.snapshot_train));
        let asked = in_order(self.part_of_test(e.snapshot_test));
        let labels = |labels: &[usize], part: &[usize]| part.iter().map(|i| labels[*i]).collect::<Vec<_>>();
        let [known, queries] = [(train, &voting), (test, &asked)].map(|(set, part)| self.features(learner, set, part));
        let voting = labels(self.train_labels(), &voting);
        let predicted = knn.predict(known, &voting, queries, train.num_classes()).ok()?;
        Some(accuracy(&predicted, &labels(test.labels(), &asked)))
    }

    fn images_per_second(&self, step: u64) -> f64 {
        let now = Instant::now();
        let Some(before) = self.clock.lock().ok().and_then(|mut clock| clock.replace((step, now))) else { return 0.0 };
        let images = (step.saturating_sub(before.0) * self.spec.optimization.batch_size as u64) as f64;
        images / now.duration_since(before.1).as_secs_f64()
    }
}

impl Training for ImageTraining {
    type Learner = ImageLearner;
    type Batch = ImageBatch;
    type Snapshot = ImageSnapshot;

    fn schedule(&self) -> Schedule {
        let steps_per_epoch = self.spec.steps_per_epoch() * self.spec.evaluation.epochs_per_snapshot;
        Schedule { steps: self.spec.steps(), steps_per_epoch, step_size: self.spec.step_size() }
    }

    fn fresh(&self) -> ImageLearner {
        ImageLearner::new(&self.spec, self.seed, &self.device.clone().autodiff())
    }

    fn optimizer(&self) -> ModuleOptimizer {
        self.spec.optimization.optimizer.init()
    }

    fn batch(&self, step: u64) -> ImageBatch {
        let per_epoch = self.spec.steps_per_epoch();
        let order = self.order(step / per_epoch);
        let from = (step % per_epoch) as usize * self.spec.optimization.batch_size;
        let indices = &order[from..from + self.spec.optimization.batch_size];
        self.drawn((&self.splits().train, self.train_labels()), indices, Purpose::ImageViews, step)
    }

    fn snapshot(&self, learner: &ImageLearner) -> ImageSnapshot {
        let step = crate::training::Learning::steps_done(learner);
        let batch = self.held_out(step);
        let similarities = learner.similarities(&batch);
        ImageSnapshot {
            step,
            epoch: step / self.spec.steps_per_epoch(),
            step_size: self.spec.step_size().at(step.saturating_sub(1)),
            loss: learner.loss(&batch).into_scalar(),
            positive_similarity: similarities.map(|s| s.positive),
            negative_similarity: similarities.and_then(|s| s.negative),
            knn_accuracy: self.knn_accuracy(learner),
            images_per_second: self.images_per_second(step),
        }
    }

    fn keep(&self, learner: &ImageLearner, snapshot: &ImageSnapshot, folder: &RunFolder) -> Result<(), UserError> {
        let best = best_snapshot(&folder.snapshots::<ImageSnapshot>()?).map(|s| s.step);
        if best != Some(snapshot.step) {
            return Ok(());
        }
        let staged = folder.path().join(format!("{STAGED}best.bpk"));
        let saved = learner.clone().into_record().save(&staged);
        saved.map_err(|e| UserError::file(&staged, format!("it cannot be written: {e}")))?;
        let path = folder.best();
        std::fs::rename(&staged, &path).map_err(|e| UserError::file(&path, format!("it cannot be written: {e}")))
    }

    fn finish(&self, learner: &ImageLearner, folder: &RunFolder) -> Result<(), UserError> {
        let snapshots = folder.snapshots::<ImageSnapshot>()?;
        let best = best_snapshot(&snapshots).ok_or_else(|| {
            UserError::file(folder.path().join("metrics.jsonl"), "there is no snapshot in it; remove the run folder")
        })?;
        let path = folder.best();
        let record =
            || ModuleRecord::load(&path).map_err(|e| UserError::file(&path, format!("it cannot be read: {e}")));
        // Into a network of its own: a clone would share its running statistics with the one at the end.
        let best_learner = self.untrained().load_record(record()?);
        let broken = match self.spec.mistake {
            Some(Mistake::StatisticsOfAnotherState) => {
                Some(with_statistics_of(independent_copy(learner, self.untrained()), record()?))
            }
            _ => None,
        };
        let learner = broken.as_ref().unwrap_or(learner);
        let evaluation = evaluate(self, learner, (best.step, &best_learner), folder)?;
        for (name, learner) in [("weights.safetensors", learner), ("weights-best.safetensors", &best_learner)] {
            let path = folder.path().join(name);
            write_whole(&path, &weights::to_safetensors(learner).map_err(|e| UserError::file(&path, e))?)?;
        }
        folder.write_json("evaluation.json", &evaluation)
    }

    fn summary(folder: &RunFolder) -> Result<String, UserError> {
        let evaluation: evaluation::ImageEvaluation = folder.evaluation()?;
        Ok(format!(
            "kNN {:.3}, linear probe {:.3}; at the best snapshot (step {}) {:.3} and {:.3}",
            evaluation.last.knn.accuracy,
            evaluation.last.probe.accuracy,
            evaluation.best_step,
            evaluation.best.knn.accuracy,
            evaluation.best.probe.accuracy
        ))
    }
}

/// The snapshot with the best kNN accuracy, the first of equals.
fn best_snapshot(snapshots: &[ImageSnapshot]) -> Option<&ImageSnapshot> {
    let accuracy = |s: &ImageSnapshot| s.knn_accuracy.unwrap_or(f64::NEG_INFINITY);
    snapshots.iter().rev().max_by(|a, b| accuracy(a).total_cmp(&accuracy(b)))
}

impl Measured for ImageSnapshot {
    fn step(&self) -> u64 {
        self.step
    }

    fn loss(&self) -> f64 {
        self.loss
    }

    fn shown() -> Vec<Shown<Self>> {
        vec![
            Shown { name: "Held-out loss", read: |s| s.loss, higher_is_better: false },
            Shown {
                name: "Positive similarity",
                read: |s| s.positive_similarity.unwrap_or(0.0),
                higher_is_better: true,
            },
            Shown {
                name: "Negative similarity",
                read: |s| s.negative_similarity.unwrap_or(0.0),
                higher_is_better: false,
            },
            Shown { name: "kNN accuracy", read: |s| s.knn_accuracy.unwrap_or(0.0), higher_is_better: true },
            Shown { name: "Images per second", read: |s| s.images_per_second, higher_is_better: true },
        ]
    }
}
