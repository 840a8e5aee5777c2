//! Feeds an image encoder and measures it: [`Task`] for images.
//!
//! Every batch is a pure function of `(images, specification, seed, step)`, and every snapshot is one of these and of
//! the weights, so that a resumed run writes what an uninterrupted one would.

use super::data::ImageData;
use super::evaluation::evaluate;
use super::model::{self, ImageBatch, halves, similarities};
use super::spec::ImageSpec;
use crate::io::error::UserError;
use crate::io::files::pretty;
use crate::spec::Schedule;
use crate::spec::mistake::Mistake;
use crate::tasks::spread::{ViewDistances, is_finite, output_measures};
use crate::tasks::task::{Evaluated, Measured, Place, Shown, Task};
use crate::tasks::weights;
use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::store::ModuleRecord;
use burn::tensor::{Device, Tensor};
use burn::train::TrainOutput;
use cl_data::{Purpose, Stream, epoch_order};
use cl_model::conv::ImageEncoder;
use cl_model::knn::KNearestNeighbors;
use cl_model::probe::accuracy;
use cl_model::representation::{OutputMeasures, effective_rank};
use cl_model::{Encoder, EncoderConfig, PredictorConfig, Siamese, independent_copy};
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;
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
    pub learning_rate: f64,
    /// Loss on a batch of augmented test images, with running statistics in batch normalisation.
    pub loss: f64,
    /// Mean cosine of the projections of two views of a test image; `None` with labels.
    pub positive_similarity: Option<f64>,
    /// Mean cosine of the projections of views of different test images; `None` with labels and for a single image.
    pub negative_similarity: Option<f64>,
    /// Of the outputs for the same batch, before any predictor; `None` with labels.
    #[serde(default)]
    pub outputs: Option<OutputMeasures>,
    /// How far the views of the same batch are apart; `None` with labels and where all are alike.
    #[serde(default)]
    pub view_distances: Option<ViewDistances>,
    /// Effective rank of the features of the test images that kNN classifies, see [`effective_rank`]; `None` where one is not finite.
    #[serde(default)]
    pub feature_rank: Option<f64>,
    /// Norm of the gradient of all parameters together for the next training batch, before any bound; `None` where it is not finite.
    #[serde(default)]
    pub gradient_norm: Option<f64>,
    /// Accuracy of kNN on features; `None` where a feature is not finite.
    pub knn_accuracy: Option<f64>,
    /// Images trained on per second since the previous snapshot; not recorded, 0 at the first.
    #[serde(skip)]
    pub images_per_second: f64,
}

/// A training of one kind of encoder on the images of a run.
#[derive(Debug)]
pub struct ImageTraining<C> {
    data: ImageData,
    /// The order of the most recently drawn epoch.
    order: Mutex<(u64, Arc<Vec<usize>>)>,
    /// Step and time of the last snapshot.
    clock: Mutex<Option<(u64, Instant)>>,
    encoder: PhantomData<fn() -> C>,
}

/// The model in training.
type ModelOf<C> = Siamese<<C as EncoderConfig>::Encoder>;

impl<C: EncoderConfig<Encoder: ImageEncoder>> ImageTraining<C> {
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

    /// Accuracy of kNN, and the effective rank of the features that it classifies.
    fn knn(&self, model: &ModelOf<C>) -> Knn {
        let e = &self.data.spec().evaluation;
        let knn = KNearestNeighbors { k: e.neighbors, temperature: e.temperature };
        // In the order of the set, as in the evaluation: equally similar images vote in their order.
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
            [(train, &voting), (test, &asked)].map(|(set, part)| self.data.features(model, set, part));
        let voting = labels(self.data.train_labels(), &voting);
        let feature_rank = is_finite(&queries).then(|| effective_rank(queries.clone()));
        let predicted = knn.predict(known, &voting, queries, train.num_classes());
        Knn { accuracy: predicted.ok().map(|p| accuracy(&p, &labels(test.labels(), &asked))), feature_rank }
    }

    fn images_per_second(&self, step: u64) -> f64 {
        let now = Instant::now();
        let Some(before) = self.clock.lock().ok().and_then(|mut clock| clock.replace((step, now))) else { return 0.0 };
        let images = (step.saturating_sub(before.0) * self.data.spec().optimization.batch_size as u64) as f64;
        images / now.duration_since(before.1).as_secs_f64()
    }
}

impl<C: EncoderConfig<Encoder: ImageEncoder>> Task for ImageTraining<C> {
    type Spec = ImageSpec;
    type Model = ModelOf<C>;
    type Batch = ImageBatch;
    type Snapshot = ImageSnapshot;

    /// Reads the images, which must match those pinned by the specification.
    fn new(spec: &ImageSpec, seed: u64, place: Place) -> Result<Self, UserError> {
        let data = ImageData::new(spec, seed, place)?;
        let (order, clock) = (Mutex::new((u64::MAX, Arc::default())), Mutex::new(None));
        Ok(Self { data, order, clock, encoder: PhantomData })
    }

    fn schedule(&self) -> Schedule {
        self.data.spec().schedule()
    }

    fn device(&self) -> &Device {
        self.data.device()
    }

    fn init(&self, device: &Device) -> ModelOf<C> {
        model::initial::<C>(self.data.spec(), self.data.seed(), device)
    }

    fn optimizer(&self) -> ModuleOptimizer {
        let spec = self.data.spec();
        spec.optimization.optimizer.init_with_groups(spec.model.predictor.as_ref().map(PredictorConfig::group))
    }

    fn batch(&self, step: u64) -> ImageBatch {
        let per_epoch = self.data.spec().steps_per_epoch();
        let order = self.order(step / per_epoch);
        let from = (step % per_epoch) as usize * self.data.spec().optimization.batch_size;
        let indices = &order[from..from + self.data.spec().optimization.batch_size];
        self.data.drawn((&self.data.splits().train, self.data.train_labels()), indices, Purpose::ImageViews, step)
    }

    fn loss(&self, model: &ModelOf<C>, batch: ImageBatch) -> Tensor<1> {
        model::loss(model, self.data.spec(), &batch)
    }

    fn gradients(&self, model: &ModelOf<C>, batch: ImageBatch) -> TrainOutput<Tensor<1>> {
        model::gradients(model, self.data.spec(), &batch)
    }

    fn update(
        &self,
        model: ModelOf<C>,
        step: u64,
        gradients: GradientsParams,
        optimize: impl FnOnce(ModelOf<C>, GradientsParams) -> ModelOf<C>,
    ) -> ModelOf<C> {
        model.updated(step, gradients, optimize)
    }

    fn snapshot(&self, model: &ModelOf<C>, step: u64) -> ImageSnapshot {
        let spec = self.data.spec();
        let batch = self.data.held_out(step);
        let features = (!spec.is_supervised()).then(|| model.encoder.forward(batch.views.clone()));
        let outputs = features.clone().map(|features| halves(model.project(features)));
        let similarities = outputs.clone().map(similarities);
        let view_distances = features.zip(outputs.clone()).and_then(|(f, o)| ViewDistances::measure(halves(f), o));
        let knn = self.knn(model);
        ImageSnapshot {
            step,
            epoch: step / spec.steps_per_epoch(),
            learning_rate: spec.schedule().learning_rate.at(step.saturating_sub(1)),
            loss: model::loss(model, spec, &batch).into_scalar(),
            positive_similarity: similarities.map(|s| s.positive),
            negative_similarity: similarities.and_then(|s| s.negative),
            outputs: outputs.and_then(output_measures),
            view_distances,
            feature_rank: knn.feature_rank,
            gradient_norm: self.gradient_norm(model, step),
            knn_accuracy: knn.accuracy,
            images_per_second: self.images_per_second(step),
        }
    }

    fn quality(snapshot: &ImageSnapshot) -> Option<f64> {
        Some(snapshot.knn_accuracy.unwrap_or(f64::NEG_INFINITY))
    }

    fn evaluate(&self, last: &ModelOf<C>, best: Option<(&ModelOf<C>, u64)>) -> Result<Evaluated, String> {
        // Every snapshot has a quality, so there is always a best one.
        let best = best.unwrap_or((last, self.schedule().steps));
        let broken = match self.data.spec().mistake {
            Some(Mistake::StatisticsOfAnotherState) => {
                let [last, best] = [last, best.0].map(|model| independent_copy(model, self.untrained()));
                Some(with_statistics_of(last, best.into_record()))
            }
            _ => None,
        };
        let last = broken.as_ref().unwrap_or(last);
        let (evaluation, analysis) = evaluate(&self.data, last, best, || self.untrained())?;
        let mut files = vec![
            ("weights.safetensors", weights::to_safetensors(last)?),
            ("weights-best.safetensors", weights::to_safetensors(best.0)?),
            ("evaluation.json", pretty(&evaluation).into_bytes()),
        ];
        files.extend(analysis.map(|bytes| ("analysis.safetensors", bytes)));
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

/// `last` with the running statistics of the best network: the effect of loading that into a clone of `last`.
fn with_statistics_of<M: Module>(last: M, best: ModuleRecord) -> M {
    // The dropped clone shares its running statistics with `last`.
    drop(last.clone().load_record(best));
    last
}

/// What kNN on features shows.
struct Knn {
    accuracy: Option<f64>,
    feature_rank: Option<f64>,
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
            Shown { name: "Effective rank", read: |s| s.feature_rank.unwrap_or(0.0), higher_is_better: true },
            Shown { name: "kNN accuracy", read: |s| s.knn_accuracy.unwrap_or(0.0), higher_is_better: true },
            Shown { name: "Gradient norm", read: |s| s.gradient_norm.unwrap_or(0.0), higher_is_better: false },
            Shown { name: "Images per second", read: |s| s.images_per_second, higher_is_better: true },
        ]
    }

    fn warning(&self) -> Option<String> {
        self.outputs?.collapse().map(String::from)
    }
}
