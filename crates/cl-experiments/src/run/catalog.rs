//! Everything runs can be built from: what names in experiment files refer to, and what executes each kind of run.

use crate::io::error::UserError;
use crate::run::bench::steps::{Lengths, Timed, time};
use crate::run::folder::RunFolder;
use crate::run::headless::{self, Outcome, Session};
use crate::run::learner;
use crate::spec::{Parts, RunSpec};
use crate::tasks::choice::{Choice, choose};
use crate::tasks::circular_signals::spec::SignalSpec;
use crate::tasks::circular_signals::world::Signals;
use crate::tasks::class_features::spec::ClassSpec;
use crate::tasks::class_features::world::Classes;
use crate::tasks::images::spec::ImageSpec;
use crate::tasks::images::training::ImageTraining;
use crate::tasks::sparse_coding;
use crate::tasks::sparse_coding::spec::MomentsSpec;
use crate::tasks::sparse_coding::training::SparseCoding;
use crate::tasks::task::{Place, Task};
use crate::tasks::text::spec::TextSpec;
use crate::tasks::text::world::Texts;
use crate::tasks::two_views::TwoViews;
use cl_config::Component;
use cl_data::images::augmentation::{
    ColorJitter, GaussianBlur, Grayscale, HorizontalFlip, PixelMask, RandomResizedCrop, Transform,
};
use cl_data::tokens::augmentation::{
    ComplementarySplit, DropTokens, LocalReordering, ReplaceSynonyms, Restyle, TokenTransform,
};
use cl_model::conv::{ImageEncoder, ResNet18Config, SmallConvNetConfig, WideResNetConfig};
use cl_model::{
    AlignmentUniformity, BalancedNtXent, BarlowTwins, DecoupledNtXent, EncoderConfig, InfoNce, MaskedReconstruction,
    MaskedTokens, MeanPoolConfig, MlpConfig, NegativeCosine, NtXent, Objective, Spectral, SymmetricReluConfig,
    TokenEncoder, TransformerConfig, VectorEncoder, VicReg,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

type Headless = fn(&RunSpec, u64, &RunFolder, Session) -> Result<Outcome, UserError>;
type WithBurnTrain = fn(&RunSpec, u64, &RunFolder, &learner::Request, Arc<AtomicBool>) -> Result<bool, UserError>;

type Time = fn(&RunSpec, u64, Place, &dyn Fn(u64) -> Lengths) -> Result<Timed, UserError>;

/// What executes one kind of run.
#[derive(Clone, Copy)]
pub(crate) struct Runner {
    /// The trainer under `reproduce`.
    pub headless: Headless,
    /// burn-train's learner; `None` where nothing is trained.
    pub with_burn_train: Option<WithBurnTrain>,
    /// The timing function; `None` where nothing is trained.
    pub time: Option<Time>,
}

impl Runner {
    fn of<T: Task>() -> Self {
        Self { headless: headless::train::<T>, with_burn_train: Some(learner::train_task::<T>), time: Some(time::<T>) }
    }
}

/// Parts by name, and the runners that execute runs.
pub struct Catalog {
    parts: Parts,
    runners: BTreeMap<String, Runner>,
    is_own: bool,
}

impl Catalog {
    /// Everything built into this program.
    pub fn standard() -> Self {
        let mut parts = Parts::empty();
        parts.add_kind("sparse_coding", sparse_coding::spec::read);
        parts.add_specification::<SignalSpec>("circular_signals", false);
        parts.add_specification::<ClassSpec>("class_features", false);
        parts.add_specification::<ImageSpec>("images", false);
        parts.add_specification::<TextSpec>("text", false);
        let moments = Runner { headless: headless::estimate, with_burn_train: None, time: None };
        let runners = [(MomentsSpec::RUNNER.to_string(), moments)].into_iter().collect();
        let standard = Self { parts, runners, is_own: false }
            .vector_encoder::<SymmetricReluConfig>("symmetric_relu")
            .vector_encoder::<MlpConfig>("mlp")
            .image_encoder::<SmallConvNetConfig>("small_conv_net")
            .image_encoder::<ResNet18Config>("resnet18")
            .image_encoder::<WideResNetConfig>("wide_resnet")
            .token_encoder::<MeanPoolConfig>("mean_pool")
            .token_encoder::<TransformerConfig>("transformer")
            .transform::<RandomResizedCrop>(RandomResizedCrop::NAME)
            .transform::<HorizontalFlip>(HorizontalFlip::NAME)
            .transform::<ColorJitter>(ColorJitter::NAME)
            .transform::<Grayscale>(Grayscale::NAME)
            .transform::<GaussianBlur>(GaussianBlur::NAME)
            .transform::<PixelMask>(PixelMask::NAME)
            .token_transform::<DropTokens>(DropTokens::NAME)
            .token_transform::<ReplaceSynonyms>(ReplaceSynonyms::NAME)
            .token_transform::<Restyle>(Restyle::NAME)
            .token_transform::<LocalReordering>(LocalReordering::NAME)
            .token_transform::<ComplementarySplit>(ComplementarySplit::NAME)
            .objective::<InfoNce>("info_nce")
            .objective::<NtXent>("nt_xent")
            .objective::<DecoupledNtXent>("decoupled_nt_xent")
            .objective::<BalancedNtXent>("balanced_nt_xent")
            .objective::<Spectral>("spectral")
            .objective::<BarlowTwins>("barlow_twins")
            .objective::<VicReg>("vicreg")
            .objective::<NegativeCosine>("negative_cosine")
            .objective::<AlignmentUniformity>("alignment_uniformity")
            .objective::<MaskedReconstruction>("masked_reconstruction")
            .objective::<MaskedTokens>("masked_tokens");
        Self { is_own: true, ..standard }
    }

    /// Adds a vector encoder, chosen by `model.encoder.<name>` together with any data that are vectors.
    #[must_use]
    pub fn vector_encoder<C: EncoderConfig<Encoder: VectorEncoder>>(mut self, name: &str) -> Self {
        self.parts.add_vector_encoder::<C>(name, self.is_own);
        self.runners.insert(format!("sparse_coding, {name}"), Runner::of::<SparseCoding<C>>());
        self.runners.insert(format!("circular_signals, {name}"), Runner::of::<TwoViews<Signals, C>>());
        self.runners.insert(format!("class_features, {name}"), Runner::of::<TwoViews<Classes, C>>());
        self
    }

    /// Adds an image encoder, chosen by `model.encoder.<name>` together with `data.images`.
    #[must_use]
    pub fn image_encoder<C: EncoderConfig<Encoder: ImageEncoder>>(mut self, name: &str) -> Self {
        self.parts.add_image_encoder::<C>(name, self.is_own);
        self.runners.insert(format!("images, {name}"), Runner::of::<ImageTraining<C>>());
        self
    }

    /// Adds an encoder of sentences, chosen by `model.encoder.<name>` together with `data.text`.
    #[must_use]
    pub fn token_encoder<C: EncoderConfig<Encoder: TokenEncoder>>(mut self, name: &str) -> Self {
        self.parts.add_token_encoder::<C>(name, self.is_own);
        self.runners.insert(format!("text, {name}"), Runner::of::<TwoViews<Texts, C>>());
        self
    }

    /// Adds a transform of sentences, for `views.transform` together with `data.text`.
    #[must_use]
    pub fn token_transform<T: Component + TokenTransform>(mut self, name: &str) -> Self {
        self.parts.add_token_transform::<T>(name, self.is_own);
        self
    }

    /// Adds an image transform, for `views.transform` together with `data.images`.
    #[must_use]
    pub fn transform<T: Component + Transform>(mut self, name: &str) -> Self {
        self.parts.add_transform::<T>(name, self.is_own);
        self
    }

    /// Adds a two-view objective, chosen by `objective.<name>`.
    #[must_use]
    pub fn objective<O: Component + Objective>(mut self, name: &str) -> Self {
        self.parts.add_objective::<O>(name, self.is_own);
        self
    }

    /// Adds a kind of data with its model and its measures, chosen by `data.<name>`.
    ///
    /// # Panics
    /// When its specification names another runner, see [`Specification::runner`](crate::spec::Specification::runner).
    #[must_use]
    pub fn task<T: Task>(mut self, name: &str) -> Self {
        self.parts.add_specification::<T::Spec>(name, self.is_own);
        self.runners.insert(name.to_string(), Runner::of::<T>());
        self
    }

    /// What experiment files can name.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// What executes a run.
    ///
    /// # Errors
    /// [`UserError`] when nothing does, for example for a kind of data that was added under another name.
    pub(crate) fn runner(&self, spec: &RunSpec) -> Result<Runner, UserError> {
        let name = spec.runner();
        let known = || self.runners.keys().map(String::as_str).collect::<Vec<_>>().join("; ");
        self.runners
            .get(&name)
            .copied()
            .ok_or_else(|| UserError::Run(format!("nothing carries out runs of {name:?}; there are {}", known())))
    }
}

impl Catalog {
    /// Runs `spec` under `seed` in `folder`, from the last checkpoint if there is one. A complete folder is left alone.
    ///
    /// # Errors
    /// [`UserError`] when the folder cannot be used, or when numbers stop being finite.
    pub fn execute(
        &self,
        spec: &RunSpec,
        seed: u64,
        folder: &RunFolder,
        session: Session,
    ) -> Result<Outcome, UserError> {
        if folder.is_complete() {
            folder.check_maker(spec)?;
            folder.tidy();
            return Ok(Outcome::Finished);
        }
        let runner = self.runner(spec)?;
        let _lock = folder.open(spec, seed)?;
        (runner.headless)(spec, seed, folder, session)
    }

    /// Trains one point under burn-train's learner; returns whether training ran to its end.
    ///
    /// # Errors
    /// [`UserError`] on bad arguments or folders, and when numbers stop being finite.
    pub fn train(&self, request: &learner::Request, stop: Arc<AtomicBool>) -> Result<bool, UserError> {
        let (point, data_dir) = (request.point.as_deref(), request.data_dir.as_deref());
        let Choice { claim, point, seed } = choose(&request.experiment, point, request.seed, data_dir, &self.parts)?;
        let folder = RunFolder::find(&request.runs, &claim, &point.name, &point.spec, seed);
        if folder.is_complete() {
            folder.check_maker(&point.spec)?;
            folder.tidy();
            crate::say_line!("{} is complete; it is reused.", folder.path().display());
            return Ok(true);
        }
        let Some(train) = self.runner(&point.spec)?.with_burn_train else {
            let message = format!("--point {}: it estimates moments and has nothing to train", point.name);
            return Err(UserError::Argument(message));
        };
        train(&point.spec, seed, &folder, request, stop)
    }

    /// Times the steps of a run.
    ///
    /// # Errors
    /// [`UserError`] when there are no steps, or data cannot be read.
    pub(crate) fn time(
        &self,
        spec: &RunSpec,
        seed: u64,
        place: Place,
        lengths: &dyn Fn(u64) -> Lengths,
    ) -> Result<Timed, UserError> {
        match self.runner(spec)?.time {
            Some(time) => time(spec, seed, place, lengths),
            None => Err(UserError::Argument("nothing is trained, so there is no step to time".into())),
        }
    }
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog").field("parts", &self.parts).field("runners", &self.runners.keys()).finish()
    }
}
