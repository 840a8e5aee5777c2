//! Feeds an image encoder and measures it: [`Training`] for images.
//!
//! Every batch is a pure function of `(images, specification, seed, step)`, every snapshot one of these and of the
//! weights, so that a resumed run writes what an uninterrupted one would.

use super::data::ImageData;
use super::evaluation::evaluate;
use super::learner::{ImageBatch, ImageLearner};
use super::weights;
use crate::io::error::UserError;
use crate::io::files::pretty;
use crate::spec::images::ImageSpec;
use crate::spec::mistake::Mistake;
use crate::tasks::task::{Evaluated, Learning, Measured, Schedule, Shown, Training};
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::store::ModuleRecord;
use burn::tensor::Device;
use cl_data::images::epoch_order;
use cl_data::{Purpose, Stream};
use cl_model::independent_copy;
use cl_model::knn::{KNearestNeighbors, accuracy};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

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

/// A training on the images of a run.
#[derive(Debug)]
pub struct ImageTraining {
    data: ImageData,
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
        let data = ImageData::new(spec, seed, data_dir, device_name, device)?;
        Ok(Self { data, order: Mutex::new((u64::MAX, Arc::default())), clock: Mutex::new(None) })
    }

    /// The images and their views.
    pub fn data(&self) -> &ImageData {
        &self.data
    }

    fn order(&self, epoch: u64) -> Arc<Vec<usize>> {
        let draw = || {
            Arc::new(epoch_order(
                self.data.splits().train.len(),
                Stream::new(self.data.seed(), Purpose::ImageOrder),
                epoch,
            ))
        };
        let Ok(mut order) = self.order.lock() else { return draw() };
        if order.0 != epoch {
            *order = (epoch, draw());
        }
        order.1.clone()
    }

    fn knn_accuracy(&self, learner: &ImageLearner) -> Option<f64> {
        let e = &self.data.spec().evaluation;
        let knn = KNearestNeighbors { k: e.neighbors, temperature: e.temperature };
        // In the order of the set, as the evaluation has them: equally similar images vote by their order.
        let in_order = |part: &[usize]| {
            let mut part = part.to_vec();
            part.sort_unstable();
            part
        };
        let (train, test) = (&self.data.splits().train, &self.data.splits().test);
        let voting = in_order(self.data.part_of_train(e.snapshot_train));
        let asked = in_order(self.data.part_of_test(e.snapshot_test));
        let labels = |labels: &[usize], part: &[usize]| part.iter().map(|i| labels[*i]).collect::<Vec<_>>();
        let [known, queries] =
            [(train, &voting), (test, &asked)].map(|(set, part)| self.data.features(learner, set, part));
        let voting = labels(self.data.train_labels(), &voting);
        let predicted = knn.predict(known, &voting, queries, train.num_classes()).ok()?;
        Some(accuracy(&predicted, &labels(test.labels(), &asked)))
    }

    fn images_per_second(&self, step: u64) -> f64 {
        let now = Instant::now();
        let Some(before) = self.clock.lock().ok().and_then(|mut clock| clock.replace((step, now))) else { return 0.0 };
        let images = (step.saturating_sub(before.0) * self.data.spec().optimization.batch_size as u64) as f64;
        images / now.duration_since(before.1).as_secs_f64()
    }
}

impl Training for ImageTraining {
    type Learner = ImageLearner;
    type Batch = ImageBatch;
    type Snapshot = ImageSnapshot;

    fn schedule(&self) -> Schedule {
        let steps_per_epoch = self.data.spec().steps_per_epoch() * self.data.spec().evaluation.epochs_per_snapshot;
        Schedule { steps: self.data.spec().steps(), steps_per_epoch, step_size: self.data.spec().step_size() }
    }

    fn fresh(&self) -> ImageLearner {
        ImageLearner::new(self.data.spec(), self.data.seed(), &self.data.device().clone().autodiff())
    }

    fn untrained(&self) -> ImageLearner {
        self.data.untrained()
    }

    fn optimizer(&self) -> ModuleOptimizer {
        self.data.spec().optimization.optimizer.init()
    }

    fn batch(&self, step: u64) -> ImageBatch {
        let per_epoch = self.data.spec().steps_per_epoch();
        let order = self.order(step / per_epoch);
        let from = (step % per_epoch) as usize * self.data.spec().optimization.batch_size;
        let indices = &order[from..from + self.data.spec().optimization.batch_size];
        self.data.drawn((&self.data.splits().train, self.data.train_labels()), indices, Purpose::ImageViews, step)
    }

    fn snapshot(&self, learner: &ImageLearner) -> ImageSnapshot {
        let step = learner.steps_done();
        let batch = self.data.held_out(step);
        let similarities = learner.similarities(&batch);
        ImageSnapshot {
            step,
            epoch: step / self.data.spec().steps_per_epoch(),
            step_size: self.data.spec().step_size().at(step.saturating_sub(1)),
            loss: learner.loss(&batch).into_scalar(),
            positive_similarity: similarities.map(|s| s.positive),
            negative_similarity: similarities.and_then(|s| s.negative),
            knn_accuracy: self.knn_accuracy(learner),
            images_per_second: self.images_per_second(step),
        }
    }

    fn quality(snapshot: &ImageSnapshot) -> Option<f64> {
        Some(snapshot.knn_accuracy.unwrap_or(f64::NEG_INFINITY))
    }

    fn evaluate(&self, last: &ImageLearner, best: Option<&ImageLearner>) -> Result<Evaluated, String> {
        // Every snapshot has a quality, so that there is a best one.
        let best = best.unwrap_or(last);
        let broken = match self.data.spec().mistake {
            Some(Mistake::StatisticsOfAnotherState) => {
                let [last, best] = [last, best].map(|learner| independent_copy(learner, self.untrained()));
                Some(with_statistics_of(last, best.into_record()))
            }
            _ => None,
        };
        let last = broken.as_ref().unwrap_or(last);
        let (evaluation, anatomy) = evaluate(&self.data, last, best)?;
        let mut files = vec![
            ("weights.safetensors", weights::to_safetensors(last)?),
            ("weights-best.safetensors", weights::to_safetensors(best)?),
            ("evaluation.json", pretty(&evaluation).into_bytes()),
        ];
        files.extend(anatomy.map(|bytes| ("anatomy.safetensors", bytes)));
        let summary = format!(
            "kNN {:.3}, linear probe {:.3}; at the best snapshot (step {}) {:.3} and {:.3}",
            evaluation.last.knn.accuracy,
            evaluation.last.probe.accuracy,
            evaluation.best_step,
            evaluation.best.knn.accuracy,
            evaluation.best.probe.accuracy
        );
        Ok(Evaluated { files, summary })
    }
}

/// `last` with the running statistics of the best network: what loading the latter into a clone of the former does.
fn with_statistics_of(last: ImageLearner, best: ModuleRecord) -> ImageLearner {
    // The clone that is dropped shares its running statistics.
    drop(last.clone().load_record(best));
    last
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
