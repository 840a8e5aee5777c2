//! What an image run is: every scientific value, checked once.

use super::dataset::{self, Content, Dataset};
use crate::io::error::{SpecError, UserError};
use crate::spec::mistake::{self, Mistake};
use crate::spec::under_name::{self, UnderName};
use crate::spec::{ChosenPart, ModelSpec, Optimization, Part, Parts, SUPERVISED, Schedule, Specification};
use cl_config::{ConfigError, at_least, check, positive, probability};
use cl_data::PositiveSource;
use cl_data::images::augmentation::{Transform, ViewPipeline};
use cl_model::Objective;
use cl_model::conv::ImageShape;
use cl_model::probe::MIN_TRAINING_ROWS;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// Everything about the training of an image encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSpec {
    /// What the model sees.
    #[serde(with = "under_name")]
    pub data: ImagesSpec,
    /// How the two views of an image are made; with labels, its single view.
    #[serde(default)]
    pub views: ImageViewsSpec,
    /// What learns.
    pub model: ModelSpec<ImageShape>,
    /// What it is trained for: a two-view objective, or `supervised`, cross-entropy on the labels under a linear head.
    pub objective: Part<dyn Objective>,
    /// How it is optimised.
    pub optimization: Optimization,
    /// How it is measured.
    pub evaluation: ImageEvaluationSpec,
    /// A mistake made on purpose; none in experiment files.
    #[serde(default, skip_serializing_if = "mistake::is_none")]
    pub mistake: Option<Mistake>,
}

/// Which images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImagesSpec {
    /// Where they come from.
    pub dataset: Dataset,
    /// How much rarer the last class is than the first among training images, at least 1, see [`cl_data::images::ImageSet::long_tailed`]; all are
    /// used if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imbalance: Option<f64>,
    /// What they contain. Filled in from the images before a run; if a file gives it, other images are rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
}

impl UnderName for ImagesSpec {
    const NAME: &'static str = "images";
}

/// How the views of an image are made.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageViewsSpec {
    /// Transforms in the order in which they are applied; without any, both views are the image itself.
    pub transform: Vec<Part<dyn Transform>>,
    /// Which image the second view shows.
    #[serde(default, skip_serializing_if = "is_same")]
    pub positives: PositiveSource,
}

fn is_same(positives: &PositiveSource) -> bool {
    *positives == PositiveSource::SameObservation
}

impl ImageViewsSpec {
    fn check(&mut self, parts: &Parts) -> Result<(), SpecError> {
        for (i, transform) in self.transform.iter_mut().enumerate() {
            transform.check(&format!("views.transform[{i}]"), &parts.transforms)?;
        }
        Ok(self.in_order().map(drop).map_err(|e| e.below("views"))?)
    }

    fn in_order(&self) -> Result<ViewPipeline, ConfigError> {
        ViewPipeline::new(self.transform.iter().map(|part| (part.name().into(), part.get().clone())).collect())
    }

    /// What makes the views.
    ///
    /// # Panics
    /// Before it has been checked.
    pub fn pipeline(&self) -> ViewPipeline {
        self.in_order().expect("the order has been checked")
    }
}

/// How the network is measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageEvaluationSpec {
    /// `k` of the kNN classifier.
    pub neighbors: usize,
    /// Temperature of its votes.
    pub temperature: f64,
    /// Training images that vote in a snapshot; the final score uses all.
    pub snapshot_train: usize,
    /// Test images that are classified in a snapshot.
    pub snapshot_test: usize,
    /// Whether raw pixels and the untrained encoder are scored as well.
    pub baselines: bool,
    /// Whether activations, filters, colour units and directions are analysed, and images mapped by t-SNE.
    pub analysis: bool,
}

impl Specification for ImageSpec {
    fn check(&mut self, parts: &Parts) -> Result<(), SpecError> {
        match self.data.dataset {
            Dataset::Cifar10 | Dataset::Cifar100(_) => {}
            Dataset::Folder(folder) => at_least("data.images.dataset.folder.size", folder.size as u64, 8)?,
            Dataset::Shapes(shapes) => {
                at_least(SHAPES_KEYS[0], shapes.train as u64, MIN_TRAINING_ROWS as u64)?;
                at_least(SHAPES_KEYS[1], shapes.test as u64, 1)?;
            }
        }
        if let Some(imbalance) = self.data.imbalance {
            let wanted = "at least 1, and finite";
            check(imbalance >= 1.0 && imbalance.is_finite(), "data.images.imbalance", imbalance, wanted)?;
        }
        self.views.check(parts)?;
        probability("views.positives", self.views.positives.probability())?;
        let wanted = "0, or left out: with labels there is no second view";
        let p = self.views.positives.probability();
        check(p == 0.0 || !self.is_supervised(), "views.positives", p, wanted)?;
        self.model.check(&parts.image_encoders)?;
        if !self.is_supervised() {
            self.objective.check("objective", &parts.objectives)?;
            let wanted = "an objective of features: images are not reconstructed";
            check(self.objective.get().reconstructs().is_none(), "objective", self.objective.name(), wanted)?;
        }
        self.optimization.check()?;
        let batch_size = self.optimization.batch_size;
        self.model.check_targets(self.objective.name(), self.objective().map(AsRef::as_ref), batch_size)?;
        at_least("optimization.batch_size", self.optimization.batch_size as u64, 2)?;
        let e = &self.evaluation;
        at_least("evaluation.neighbors", e.neighbors as u64, 1)?;
        positive("evaluation.temperature", e.temperature)?;
        at_least("evaluation.snapshot_train", e.snapshot_train as u64, 2)?;
        Ok(at_least("evaluation.snapshot_test", e.snapshot_test as u64, 2)?)
    }

    fn runner(&self) -> String {
        format!("images, {}", self.model.encoder.name())
    }

    fn steps(&self) -> u64 {
        self.data.content.as_ref().map_or(0, |_| self.schedule().steps)
    }

    fn cost(&self) -> f64 {
        let Some(content) = &self.data.content else { return 0.0 };
        let forward = self.encoder_multiply_adds();
        let views = if self.is_supervised() { 1.0 } else { 2.0 };
        let trained_on = self.steps() as f64 * self.optimization.batch_size as f64;
        let snapshots = self.steps() as f64 / self.schedule().steps_per_snapshot as f64;
        let e = &self.evaluation;
        let measured = (e.snapshot_train.min(content.train) + e.snapshot_test.min(content.test)) as f64;
        let passes = if self.model.momentum_copy.is_some() { 4.0 } else { 3.0 };
        (trained_on * views * passes + snapshots * measured) * forward
    }

    fn chosen(&self) -> Vec<ChosenPart> {
        let encoder = ChosenPart::new("model.encoder", &self.model.encoder);
        let objective = (!self.is_supervised()).then(|| ChosenPart::new("objective", &self.objective));
        let transforms = self.views.transform.iter().map(|part| ChosenPart::new("views.transform", part));
        std::iter::once(encoder).chain(objective).chain(transforms).collect()
    }

    fn pin(&mut self, data_dir: Option<&Path>) -> Result<(), UserError> {
        let images = dataset::load(&self.data.dataset, self.data.imbalance, data_dir)?;
        self.fix_content(images.1.clone()).map_err(|e| UserError::Run(e.to_string()))
    }
}

/// Keys for the numbers of generated images.
const SHAPES_KEYS: [&str; 2] = ["data.images.dataset.shapes.train", "data.images.dataset.shapes.test"];

impl ImageSpec {
    /// Fixes the images and checks what depends on them.
    ///
    /// # Errors
    /// [`SpecError`] when other images were asked for or there are too few for a batch.
    pub fn fix_content(&mut self, content: Content) -> Result<(), SpecError> {
        if let Some(wanted) = &self.data.content {
            let right = format!("that of the images found, {}", content.fingerprint.join(", "));
            check(*wanted == content, "data.images.content.fingerprint", wanted.fingerprint.join(", "), right)?;
        }
        self.fits(&content)?;
        self.data.content = Some(content);
        Ok(())
    }

    /// What can only be checked once the images are known.
    fn fits(&self, content: &Content) -> Result<(), SpecError> {
        let [train, test] = match self.data.dataset {
            Dataset::Shapes(_) => SHAPES_KEYS,
            _ => ["training images", "test images"],
        };
        at_least(train, content.train as u64, MIN_TRAINING_ROWS as u64)?;
        at_least(test, content.test as u64, 1)?;
        if self.is_supervised() {
            at_least("number of classes", content.num_classes as u64, 2)?;
        }
        let batch_size = self.optimization.batch_size;
        let wanted = format!("at most the number of training images, {}", content.train);
        check(batch_size <= content.train, "optimization.batch_size", batch_size, wanted)?;
        Ok(self.views.pipeline().fits(content.size).map_err(|e| e.below("views"))?)
    }

    /// Whether labels are used instead of two views.
    pub fn is_supervised(&self) -> bool {
        self.objective.name() == SUPERVISED
    }

    /// The two-view objective; `None` with labels.
    pub fn objective(&self) -> Option<&Arc<dyn Objective>> {
        (!self.is_supervised()).then(|| self.objective.get())
    }

    /// The contents of the images.
    ///
    /// # Panics
    /// When they have not been pinned.
    pub fn content(&self) -> &Content {
        self.data.content.as_ref().expect("images are pinned before a run")
    }

    /// What an encoder has to know about the images.
    ///
    /// # Panics
    /// When they have not been pinned.
    pub fn shape(&self) -> ImageShape {
        let [height, width] = self.content().size;
        ImageShape { height, width }
    }

    /// Batches of an epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        (self.content().train / self.optimization.batch_size) as u64
    }

    /// Length and learning rate.
    pub fn schedule(&self) -> Schedule {
        self.optimization.schedule(self.steps_per_epoch())
    }

    /// Multiply-adds of the encoder for one image; 0 before the images are known, or if it does not report them.
    pub fn encoder_multiply_adds(&self) -> f64 {
        self.data.content.as_ref().map_or(0.0, |_| self.model.encoder.get().multiply_adds(self.shape()))
    }
}
