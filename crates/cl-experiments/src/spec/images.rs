//! What an image run is: every scientific value, checked once.

use super::checks::{at_least, not_negative, positive, range};
use super::mistake::{self, Mistake};
use crate::io::error::SpecError;
use cl_data::images::Cifar100Labels;
use cl_data::images::augmentation::ImageAugmentation;
use cl_model::conv::{ImageEncoderConfig, ProjectorConfig};
use cl_model::probe::MIN_TRAINING_ROWS;
use cl_model::{ConfigError, ImageOptimizer, InfoNce, KeyGradient, LossScale, Similarity, StepSize};
use serde::{Deserialize, Serialize};

/// An image encoder's training, all of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSpec {
    /// What the network sees.
    pub images: ImagesSpec,
    /// How the two views of an image are made; with labels, its one view.
    #[serde(default)]
    pub augmentation: ImageAugmentation,
    /// What learns.
    pub network: NetworkSpec,
    /// What it is asked for.
    pub objective: ImageObjective,
    /// How it is optimised.
    pub optimization: ImageOptimization,
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
    /// What they are. Filled in from the images before a run; where a file gives it, other images are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
}

/// A set of images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dataset {
    /// CIFAR-10 in its binary format, or a part of it.
    Cifar10,
    /// CIFAR-100 in its binary format.
    Cifar100(Cifar100Labels),
    /// `train/<class>/` and `test/<class>/` with PNG and JPEG files.
    Folder(FolderSpec),
    /// Coloured shapes on textured ground, generated; nothing is downloaded.
    Shapes(ShapesSpec),
}

/// A folder of images by class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderSpec {
    /// Height and width that images are brought to.
    pub size: usize,
}

/// How many shapes are generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapesSpec {
    /// Training images.
    pub train: usize,
    /// Test images.
    pub test: usize,
    /// Seed of the images; the same for every seed of training.
    pub seed: u64,
}

/// What images a run was made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// Of training and test images, see [`cl_data::images::ImageSet::fingerprint`].
    pub fingerprint: [String; 2],
    /// Number of training images.
    pub train: usize,
    /// Number of test images.
    pub test: usize,
    /// Height and width.
    pub size: [usize; 2],
    /// `K`.
    pub num_classes: usize,
}

/// Encoder and projector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// From images to features.
    pub encoder: ImageEncoderConfig,
    /// From features to what the contrastive loss sees; not used with labels.
    pub projector: ProjectorConfig,
}

/// What the network is trained for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageObjective {
    /// SimCLR's loss.
    NtXent(NtXentSpec),
    /// The paper's loss, with the other keys of the batch as negatives.
    InfoNce(InfoNceSpec),
    /// Cross-entropy on the labels under a linear head.
    Supervised,
}

/// NT-Xent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NtXentSpec {
    /// `τ`.
    pub temperature: f64,
}

/// InfoNCE.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InfoNceSpec {
    /// Similarity of embeddings.
    pub similarity: Similarity,
    /// Whether keys pass a gradient.
    pub key_gradient: KeyGradient,
    /// `τ`.
    pub temperature: f64,
    /// The factor in front of the loss.
    pub scale: LossScale,
}

/// How the network is optimised: each epoch goes once through the training images, in an order of its own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageOptimization {
    /// Passes over the training images.
    pub epochs: u64,
    /// `B`; what does not fill a batch at the end of an epoch is left out of it.
    pub batch_size: usize,
    /// The optimiser.
    pub optimizer: ImageOptimizer,
    /// Largest step size, after the warm-up; half a cosine leads from there to 0.
    pub peak_step_size: f64,
    /// Epochs of linear warm-up.
    pub warmup_epochs: f64,
}

/// How the network is measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageEvaluationSpec {
    /// `k` of the kNN classifier.
    pub neighbors: usize,
    /// Temperature of its votes.
    pub temperature: f64,
    /// Epochs between two snapshots.
    pub epochs_per_snapshot: u64,
    /// Training images that vote in a snapshot; the final score uses all.
    pub snapshot_train: usize,
    /// Test images that are classified in a snapshot.
    pub snapshot_test: usize,
    /// Whether raw pixels and the untrained encoder are scored as well.
    pub baselines: bool,
    /// Whether activations, filters, colour units and directions are looked at, and images mapped by t-SNE.
    pub anatomy: bool,
}

impl ImageSpec {
    /// Checks every range.
    ///
    /// # Errors
    /// [`SpecError`] naming key, value and what would be right.
    pub fn resolve(&mut self) -> Result<(), SpecError> {
        match self.images.dataset {
            Dataset::Cifar10 | Dataset::Cifar100(_) => {}
            Dataset::Folder(folder) => at_least("images.dataset.folder.size", folder.size as u64, 8)?,
            Dataset::Shapes(shapes) => {
                at_least("images.dataset.shapes.train", shapes.train as u64, MIN_TRAINING_ROWS as u64)?;
                at_least("images.dataset.shapes.test", shapes.test as u64, 1)?;
            }
        }
        self.augmentation = self.augmentation.validated().map_err(|e| SpecError::data("augmentation", e))?;
        self.network.encoder =
            self.network.encoder.clone().validated().map_err(|e| config_error("network.encoder", e))?;
        self.network.projector =
            self.network.projector.validated().map_err(|e| config_error("network.projector", e))?;
        match self.objective {
            ImageObjective::NtXent(nt_xent) => positive("objective.nt_xent.temperature", nt_xent.temperature)?,
            ImageObjective::InfoNce(info_nce) => positive("objective.info_nce.temperature", info_nce.temperature)?,
            ImageObjective::Supervised => {}
        }
        let o = &mut self.optimization;
        at_least("optimization.epochs", o.epochs, 1)?;
        at_least("optimization.batch_size", o.batch_size as u64, 2)?;
        positive("optimization.peak_step_size", o.peak_step_size)?;
        not_negative("optimization.warmup_epochs", o.warmup_epochs)?;
        let warm_up = o.warmup_epochs < o.epochs as f64;
        range("optimization.warmup_epochs", o.warmup_epochs, warm_up, "shorter than optimization.epochs")?;
        o.optimizer = o.optimizer.validated().map_err(|e| config_error("optimization.optimizer", e))?;
        let e = &self.evaluation;
        at_least("evaluation.neighbors", e.neighbors as u64, 1)?;
        positive("evaluation.temperature", e.temperature)?;
        at_least("evaluation.epochs_per_snapshot", e.epochs_per_snapshot, 1)?;
        let divides = o.epochs.is_multiple_of(e.epochs_per_snapshot);
        let wanted = "a divisor of optimization.epochs";
        range("evaluation.epochs_per_snapshot", e.epochs_per_snapshot as f64, divides, wanted)?;
        at_least("evaluation.snapshot_train", e.snapshot_train as u64, 2)?;
        at_least("evaluation.snapshot_test", e.snapshot_test as u64, 2)
    }

    /// Pins the images and checks what depends on them.
    ///
    /// # Errors
    /// [`SpecError`] when other images were asked for or there are too few for a batch.
    pub fn pin(&mut self, content: Content) -> Result<(), SpecError> {
        if let Some(wanted) = &self.images.content
            && *wanted != content
        {
            return Err(SpecError::Range {
                key: "images.content.fingerprint".into(),
                value: wanted.fingerprint.join(", "),
                right: format!("that of the images found, {}", content.fingerprint.join(", ")),
            });
        }
        self.fits(&content)?;
        self.images.content = Some(content);
        Ok(())
    }

    /// What can only be checked once the images are known.
    fn fits(&self, content: &Content) -> Result<(), SpecError> {
        let [train, test] = match self.images.dataset {
            Dataset::Shapes(_) => ["images.dataset.shapes.train", "images.dataset.shapes.test"],
            _ => ["training images", "test images"],
        };
        at_least(train, content.train as u64, MIN_TRAINING_ROWS as u64)?;
        at_least(test, content.test as u64, 1)?;
        if self.objective == ImageObjective::Supervised {
            at_least("number of classes", content.num_classes as u64, 2)?;
        }
        let batch_size = self.optimization.batch_size;
        let fits = batch_size <= content.train;
        let wanted = format!("at most the number of training images, {}", content.train);
        range("optimization.batch_size", batch_size as f64, fits, &wanted)?;
        if let Some(blur) = self.augmentation.gaussian_blur {
            let side = content.size[0].min(content.size[1]);
            let wanted =
                format!("at most {}, so that half of it is smaller than images of {side} pixels", 2 * side - 1);
            let key = "augmentation.gaussian_blur.kernel_size";
            range(key, blur.kernel_size as f64, blur.kernel_size / 2 < side, &wanted)?;
        }
        Ok(())
    }

    /// What the images are.
    ///
    /// # Panics
    /// When they have not been pinned.
    pub fn content(&self) -> &Content {
        self.images.content.as_ref().expect("images are pinned before a run")
    }

    /// Batches of an epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        (self.content().train / self.optimization.batch_size) as u64
    }

    /// `T`.
    pub fn steps(&self) -> u64 {
        self.optimization.epochs * self.steps_per_epoch()
    }

    /// Warm-up, then half a cosine.
    pub fn step_size(&self) -> StepSize {
        let warmup_steps = (self.optimization.warmup_epochs * self.steps_per_epoch() as f64).round() as u64;
        StepSize::WarmupCosine { peak: self.optimization.peak_step_size, warmup_steps, steps: self.steps() }
    }

    /// Multiply-adds of the encoder for one image; 0 before the images are known.
    pub fn encoder_multiply_adds(&self) -> u64 {
        let Some(content) = &self.images.content else { return 0 };
        let [height, width] = content.size;
        let encoder = self.network.encoder.init(&mut |n| vec![0.0; n], &burn::tensor::Device::flex());
        encoder.multiply_adds(height, width)
    }

    /// Cost in multiply-adds, for time estimates.
    pub fn cost(&self) -> f64 {
        let Some(content) = &self.images.content else { return 0.0 };
        let forward = self.encoder_multiply_adds() as f64;
        let views = if self.objective == ImageObjective::Supervised { 1.0 } else { 2.0 };
        let training = self.optimization.epochs as f64 * content.train as f64 * views * 3.0 * forward;
        let snapshots = (self.optimization.epochs / self.evaluation.epochs_per_snapshot) as f64;
        let measured = (self.evaluation.snapshot_train + self.evaluation.snapshot_test) as f64 * forward;
        training + snapshots * measured
    }
}

impl InfoNceSpec {
    /// The loss.
    pub fn info_nce(&self) -> InfoNce {
        InfoNce {
            similarity: self.similarity,
            key_gradient: self.key_gradient,
            temperature: self.temperature,
            scale: self.scale,
        }
    }
}

fn config_error(key: &str, error: ConfigError) -> SpecError {
    match error {
        ConfigError::Range { key: inner, value, right } => {
            SpecError::Range { key: format!("{key}.{inner}"), value, right }
        }
        other => SpecError::Parse { message: format!("{key}: {other}") },
    }
}
