//! The specification of a run on the sparse coding model.

use crate::io::error::SpecError;
use crate::spec::under_name::{self, UnderName};
use crate::spec::{
    ChosenPart, ModelSpec, Optimization, Part, Parts, RunSpec, SUPERVISED, Schedule, Specification, is_off,
};
use cl_config::{Component, at_least, check, not_negative};
use cl_data::{
    Augmentation, Dictionary, Negatives, PairSampler, Purpose, SparseCodeDistribution, SparseCodingModel, Stream,
    default_noise_variance, default_nonzero_probability,
};
use cl_model::{MaskedReconstruction, Objective, Reconstructed, SymmetricReluConfig, VectorShape};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use toml::Table;

/// Everything about the training of an encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSpec {
    /// What the model sees.
    #[serde(with = "under_name")]
    pub data: DataSpec,
    /// How the two views of an observation are made.
    #[serde(default)]
    pub views: VectorViews,
    /// What learns.
    pub model: ModelSpec<VectorShape>,
    /// What it is trained for: a two-view objective, or `supervised`, cross-entropy on classes `argmax_k (C z)_k` under
    /// a linear head, on unaugmented observations.
    pub objective: Part<dyn Objective>,
    /// How it is optimised.
    pub optimization: Optimization,
    /// How it is measured.
    pub evaluation: EvaluationSpec,
}

/// A Monte-Carlo estimate of cross-view moments, without training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MomentsSpec {
    /// What is sampled.
    #[serde(with = "under_name")]
    pub data: DataSpec,
    /// How the two views of an observation are made.
    #[serde(default)]
    pub views: VectorViews,
    /// The size of the estimate.
    pub moments: MomentsSize,
}

/// Size of a Monte-Carlo estimate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MomentsSize {
    /// Which part goes through the augmentation.
    pub part: MomentsPart,
    /// Positive pairs drawn.
    pub samples: usize,
    /// Directions in the complement of span(M), in addition to the d directions along M.
    pub complement_directions: usize,
}

/// What a Monte-Carlo estimate is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MomentsPart {
    /// Whole observations `x = M z + ξ`.
    Observation,
    /// The dense features `ξ` alone.
    DenseNoise,
}

/// The sparse coding model and what is drawn from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSpec {
    /// `d`.
    pub code_dim: usize,
    /// `d1`, at least d.
    pub input_dim: usize,
    /// Default: Bernoulli with `q = max(log log d, 1)/d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sparse_code: Option<SparseCodeDistribution>,
    /// `σ_ξ`. Default: `σ_ξ² = max(√log d / d, 1.5 q)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise_std: Option<f64>,
    /// Samples in addition to the positive pairs, for objectives with separate negatives. Default: the other keys.
    #[serde(default = "other_keys")]
    pub negatives: Negatives,
    /// Observations that are drawn once and used repeatedly, see [`PairSampler::training_set`]; fresh ones at each step
    /// when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training_set_size: Option<usize>,
    /// Classes, for the supervised objective.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<ClassesSpec>,
}

const fn other_keys() -> Negatives {
    Negatives::OtherKeys
}

impl UnderName for DataSpec {
    const NAME: &'static str = "sparse_coding";
}

/// Classes of observations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassesSpec {
    /// `K`, at least 2.
    pub count: usize,
    /// Whether each observation has the class of another one, so that classes are uninformative.
    #[serde(default, skip_serializing_if = "is_off")]
    pub shuffled: bool,
}

/// How the two views of an observation are made.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorViews {
    /// One transform of a pair of views; if there is none, both views are the observation itself.
    pub transform: Vec<Augmentation>,
}

impl From<Augmentation> for VectorViews {
    fn from(augmentation: Augmentation) -> Self {
        Self { transform: if augmentation == Augmentation::None { Vec::new() } else { vec![augmentation] } }
    }
}

/// Sizes of the samples that measures are taken on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationSpec {
    /// Held-out observations for correlations and sparsity at the end.
    pub samples: usize,
    /// Observations that the final probe is fitted on, and the number it is scored on.
    pub probe_samples: usize,
    /// Whether the probe is also fitted on x, on the oracle code and on the untrained encoder.
    pub baselines: bool,
    /// Whether each observation has the downstream target of another one, so that there is nothing to predict.
    #[serde(default, skip_serializing_if = "is_off")]
    pub shuffled_targets: bool,
}

/// Reads either kind of run on the sparse coding model: moments if there is such a section.
///
/// # Errors
/// [`SpecError`] naming key, value and what would be right.
pub fn read(mut table: Table, parts: &Parts) -> Result<RunSpec, SpecError> {
    if table.contains_key("moments") {
        // From a base file it only takes what is sampled.
        table.retain(|key, _| ["data", "views", "moments"].contains(&key));
        return RunSpec::read::<MomentsSpec>(table, parts);
    }
    RunSpec::read::<TrainingSpec>(table, parts)
}

impl MomentsSpec {
    /// The name of what executes it.
    pub const RUNNER: &str = "sparse_coding, moments";
}

impl Specification for MomentsSpec {
    fn check(&mut self, _: &Parts) -> Result<(), SpecError> {
        self.data.check()?;
        self.views.check()?;
        at_least("moments.samples", self.moments.samples as u64, 2)?;
        let most = self.data.input_dim - self.data.code_dim;
        let directions = self.moments.complement_directions;
        let wanted = format!("at most input_dim − code_dim = {most}");
        Ok(check(directions <= most, "moments.complement_directions", directions, wanted)?)
    }

    fn runner(&self) -> String {
        Self::RUNNER.into()
    }

    fn steps(&self) -> u64 {
        0
    }

    fn cost(&self) -> f64 {
        let directions = (self.data.code_dim + self.moments.complement_directions) as f64;
        self.moments.samples as f64 * self.data.input_dim as f64 * (2.0 * directions + 60.0)
    }
}

impl DataSpec {
    fn check(&mut self) -> Result<(), SpecError> {
        at_least("data.sparse_coding.code_dim", self.code_dim as u64, 1)?;
        let wanted = format!("at most input_dim = {}: orthonormal columns need d ≤ d1", self.input_dim);
        check(self.code_dim <= self.input_dim, "data.sparse_coding.code_dim", self.code_dim, wanted)?;
        let code = *self.sparse_code.get_or_insert(SparseCodeDistribution::Bernoulli {
            nonzero_probability: default_nonzero_probability(self.code_dim),
        });
        code.checked(self.code_dim).map_err(|e| e.below("data.sparse_coding.sparse_code"))?;
        let q = code.nonzero_probability(self.code_dim);
        let noise_std = *self.noise_std.get_or_insert(default_noise_variance(self.code_dim, q).sqrt());
        not_negative("data.sparse_coding.noise_std", noise_std)?;
        if let Negatives::Fresh { count } | Negatives::FreshAugmented { count } = self.negatives {
            at_least("data.sparse_coding.negatives.count", count as u64, 1)?;
        }
        if let Some(classes) = self.classes {
            at_least("data.sparse_coding.classes.count", classes.count as u64, 2)?;
        }
        Ok(())
    }

    /// The data model of one seed.
    ///
    /// # Panics
    /// When the specification has not been checked.
    pub fn model(&self, seed: u64) -> SparseCodingModel {
        let checked = "the specification has been checked";
        let dictionary =
            Dictionary::random(self.code_dim, self.input_dim, Stream::new(seed, Purpose::Dictionary)).expect(checked);
        SparseCodingModel::new(dictionary, self.sparse_code.expect(checked), self.noise_std.expect(checked))
            .expect(checked)
    }

    /// What an encoder has to know about observations.
    pub fn shape(&self) -> VectorShape {
        VectorShape { dim: self.input_dim, code_dim: self.code_dim }
    }
}

impl VectorViews {
    fn check(&mut self) -> Result<(), SpecError> {
        self.transform.retain(|transform| *transform != Augmentation::None);
        let wanted = "at most one: the moments of several in a row are not known";
        check(self.transform.len() <= 1, "views.transform", format!("{} transforms", self.transform.len()), wanted)?;
        self.augmentation().checked().map_err(|e| e.below("views.transform[0]"))?;
        Ok(())
    }

    /// The transform of a pair of views.
    pub fn augmentation(&self) -> Augmentation {
        self.transform.first().copied().unwrap_or(Augmentation::None)
    }
}

impl Specification for TrainingSpec {
    fn check(&mut self, parts: &Parts) -> Result<(), SpecError> {
        self.data.check()?;
        self.views.check()?;
        self.model.check(&parts.vector_encoders)?;
        self.optimization.check()?;
        self.optimization.check_in_steps()?;
        self.check_objective(parts)?;
        if let Some(size) = self.data.training_set_size {
            at_least("data.sparse_coding.training_set_size", size as u64, self.optimization.batch_size as u64)?;
        }
        at_least("evaluation.samples", self.evaluation.samples as u64, 8)?;
        Ok(at_least("evaluation.probe_samples", self.evaluation.probe_samples as u64, 8)?)
    }

    fn runner(&self) -> String {
        format!("sparse_coding, {}", self.model.encoder.name())
    }

    fn steps(&self) -> u64 {
        self.schedule().steps
    }

    fn cost(&self) -> f64 {
        let (b, d1) = (self.optimization.batch_size as f64, self.data.input_dim as f64);
        let (n, forward) = (self.num_negatives() as f64, self.encoder_multiply_adds());
        // About as many outputs as one layer with that many weights would have.
        // A copy makes the targets of both views, or the keys of one; those in a queue have been made.
        let (copied, embedded) = match (&self.model.momentum_copy, &self.model.queue) {
            (_, Some(_)) => (b, 0.0),
            (Some(_), None) => (2.0 * b, n),
            (None, None) => (0.0, n),
        };
        let step = (3.0 * b + embedded + copied) * forward + 2.0 * b * n * forward / d1 + 30.0 * (b + n) * d1;
        self.steps() as f64 * step
    }

    fn chosen(&self) -> Vec<ChosenPart> {
        let encoder = ChosenPart::new("model.encoder", &self.model.encoder);
        let objective = (!self.is_supervised()).then(|| ChosenPart::new("objective", &self.objective));
        std::iter::once(encoder).chain(objective).collect()
    }
}

impl TrainingSpec {
    fn check_objective(&mut self, parts: &Parts) -> Result<(), SpecError> {
        if self.is_supervised() {
            let message = "objective = \"supervised\": it needs classes, so give data.sparse_coding.classes".into();
            self.data.classes.ok_or(SpecError::Parse { message })?;
            let key = "data.sparse_coding.training_set_size";
            let size = self.data.training_set_size;
            let wanted = "left out: the supervised objective draws fresh observations";
            check(size.is_none(), key, size.unwrap_or(0), wanted)?;
            self.data.negatives = Negatives::OtherKeys;
            return self.model.check_targets(SUPERVISED, None, self.optimization.batch_size);
        }
        self.objective.check("objective", &parts.objectives)?;
        let batch_size = self.optimization.batch_size;
        self.model.check_targets(self.objective.name(), Some(self.objective.get().as_ref()), batch_size)?;
        if self.model.queue.is_some() {
            let wanted = "other_keys: the keys of the queue are the negatives";
            let key = "data.sparse_coding.negatives";
            check(self.data.negatives == Negatives::OtherKeys, key, "fresh ones", wanted)?;
        }
        if let Some(what) = self.objective.get().reconstructs() {
            let wanted = "one of observations: tokens are decoded from data.text";
            check(what == Reconstructed::Observations, "objective", self.objective.name(), wanted)?;
            let name = self.model.encoder.name();
            let wanted = "symmetric_relu: the objective decodes with the encoder's own weights";
            check(self.symmetric_relu().is_some(), "model.encoder", name, wanted)?;
            let wanted = "left out: the objective decodes features";
            check(self.model.projector.is_none(), "model.projector", "a projector", wanted)?;
            self.check_scale()?;
        }
        if !self.objective.get().takes_negatives() {
            // None are drawn, whatever the data specify.
            self.data.negatives = Negatives::OtherKeys;
        }
        if self.data.negatives == Negatives::OtherKeys {
            at_least("optimization.batch_size", self.optimization.batch_size as u64, 2)?;
        }
        Ok(())
    }

    /// What every coordinate that the second view shows has been multiplied by; `None` if that differs from one to the other.
    pub fn second_view_factor(&self) -> Option<f32> {
        match self.views.augmentation() {
            Augmentation::None => Some(1.0),
            Augmentation::ComplementaryMask { keep_probability: p, masked_fraction: 1.0, rescaling } => {
                Some(rescaling.factor(1.0 - p))
            }
            Augmentation::IndependentMasks { keep_probability: p, masked_fraction: 1.0, rescaling } => {
                Some(rescaling.factor(p))
            }
            _ => None,
        }
    }

    /// A reconstruction is compared with the second view in the units of that view.
    fn check_scale(&self) -> Result<(), SpecError> {
        let Some(loss) = self.objective.config::<MaskedReconstruction>() else { return Ok(()) };
        let Some(factor) = self.second_view_factor() else {
            let message = "views.transform: masked_reconstruction needs a masked_fraction of 1".into();
            return Err(SpecError::Parse { message });
        };
        let wanted = format!("{factor}, what the views multiply the coordinates of the second view by");
        let is_same = (loss.scale - f64::from(factor)).abs() < 1e-6 * f64::from(factor);
        Ok(check(is_same, "objective.masked_reconstruction.scale", loss.scale, wanted)?)
    }

    /// Whether labels are used instead of two views.
    pub fn is_supervised(&self) -> bool {
        self.objective.name() == SUPERVISED
    }

    /// The two-view objective; `None` with labels.
    pub fn objective(&self) -> Option<&Arc<dyn Objective>> {
        (!self.is_supervised()).then(|| self.objective.get())
    }

    /// The paper's encoder, if that is what learns.
    pub fn symmetric_relu(&self) -> Option<&SymmetricReluConfig> {
        self.model.encoder.config()
    }

    /// Multiply-adds of the encoder's forward pass of one observation; 0 if the encoder does not report them.
    pub fn encoder_multiply_adds(&self) -> f64 {
        self.model.encoder.get().multiply_adds(self.data.shape())
    }

    /// Length and learning rate.
    pub fn schedule(&self) -> Schedule {
        self.optimization.schedule(1)
    }

    /// `λ`.
    pub fn weight_decay(&self) -> f64 {
        self.optimization.optimizer.weight_decay()
    }

    /// `N`, or the number of other views in the batch.
    pub fn num_negatives(&self) -> usize {
        if let Some(queue) = self.model.queue {
            return queue.size;
        }
        match (self.data.negatives, self.objective()) {
            (_, None) => 0,
            (Negatives::Fresh { count } | Negatives::FreshAugmented { count }, _) => count,
            (Negatives::OtherKeys, Some(objective)) if objective.takes_negatives() => self.optimization.batch_size - 1,
            // All views of other samples.
            (Negatives::OtherKeys, Some(_)) => 2 * self.optimization.batch_size - 2,
        }
    }

    /// The loss before anything has been learned, if known.
    pub fn loss_at_chance(&self) -> Option<f64> {
        let Some(objective) = self.objective() else {
            return self.data.classes.map(|classes| (classes.count as f64).ln());
        };
        let negatives = match (self.model.queue, self.data.negatives) {
            (Some(queue), _) => Some(queue.size),
            (None, Negatives::Fresh { count } | Negatives::FreshAugmented { count }) => Some(count),
            (None, Negatives::OtherKeys) => None,
        };
        objective.at_chance(self.optimization.batch_size, negatives)
    }

    /// `T1`, when thresholds are set; `None` without the paper's rule.
    pub fn bias_start(&self) -> Option<u64> {
        match self.symmetric_relu()?.bias {
            cl_model::Bias::Scheduled(rule) => Some(rule.start_step),
            _ => None,
        }
    }

    /// Draws the contrastive batches of one seed.
    pub fn sampler(&self, seed: u64) -> PairSampler {
        let data = self.data.model(seed);
        PairSampler {
            training_set: self.data.training_set_size.map(|n| PairSampler::training_set(&data, n, seed)),
            data,
            augmentation: self.views.augmentation(),
            batch_size: self.optimization.batch_size,
            negatives: self.data.negatives,
            seed,
        }
    }
}
