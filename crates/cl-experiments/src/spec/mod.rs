//! What a run is: every scientific value, checked once.

mod checks;
pub mod experiment;
pub mod images;
pub mod mistake;

use crate::io::error::SpecError;
use crate::spec::images::{ImageSpec, NtXentSpec};
use checks::{at_least, finite, not_negative, positive};
use cl_data::{
    Augmentation, Dictionary, Negatives, PairSampler, Purpose, SparseCodeDistribution, SparseCodingModel, Stream,
    default_noise_variance, default_nonzero_probability,
};
use cl_model::{Bias, InfoNce, KeyGradient, LossScale, Normalization, Similarity, StepSize};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One run up to its seed: train an encoder, or estimate moments of the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunSpec {
    /// Train an encoder and measure what it learned.
    Training(TrainingSpec),
    /// Estimate cross-view second moments of the data, without training.
    Moments(MomentsSpec),
    /// Train a convolutional encoder on images.
    Images(Box<ImageSpec>),
}

/// An encoder's training, all of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSpec {
    /// What the network sees.
    pub data: DataSpec,
    /// What learns.
    pub encoder: EncoderSpec,
    /// What it is asked for.
    pub objective: Objective,
    /// How it is optimised.
    pub training: OptimizationSpec,
    /// How it is measured.
    pub measurement: MeasurementSpec,
}

/// A Monte-Carlo estimate of cross-view moments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MomentsSpec {
    /// What is sampled.
    pub data: DataSpec,
    /// How much of it.
    pub moments: MomentsSize,
}

/// Size of a Monte-Carlo estimate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MomentsSize {
    /// What goes through the augmentation.
    pub part: MomentsPart,
    /// Positive pairs drawn.
    pub samples: usize,
    /// Directions in the complement of span(M), beside the d directions along M.
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

/// The sparse coding model and the augmentation.
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
    /// How the views of a positive pair are made.
    pub augmentation: Augmentation,
}

/// The encoder.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderSpec {
    /// `m`.
    pub num_neurons: usize,
    /// `σ_0 √d1`: initial weights are `N(0, σ_0²)`.
    pub initial_scale: f64,
    /// How thresholds come about.
    pub bias: Bias,
    /// What stands before the thresholds.
    pub normalization: Normalization,
}

/// What the encoder is trained for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// InfoNCE on positive pairs.
    Contrastive(ContrastiveSpec),
    /// SimCLR's loss on positive pairs.
    NtXent(NtXentSpec),
    /// Cross-entropy on classes `argmax_k (C z)_k` under a linear head, on unaugmented observations.
    Supervised(SupervisedSpec),
}

/// The contrastive objective.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContrastiveSpec {
    /// Similarity of embeddings.
    pub similarity: Similarity,
    /// Whether keys pass a gradient.
    pub key_gradient: KeyGradient,
    /// `τ`.
    pub temperature: f64,
    /// The factor in front of the loss.
    pub scale: LossScale,
    /// Where negatives come from.
    pub negatives: Negatives,
}

/// The supervised objective.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SupervisedSpec {
    /// `K`, at least 2.
    pub num_classes: usize,
    /// Whether each observation has the class of another one, so that classes say nothing.
    #[serde(default, skip_serializing_if = "is_off")]
    pub shuffled_labels: bool,
}

fn is_off(switch: &bool) -> bool {
    !switch
}

/// Stochastic gradient descent on fresh samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizationSpec {
    /// `T`.
    pub steps: u64,
    /// `B`.
    pub batch_size: usize,
    /// `η`.
    pub step_size: StepSize,
    /// `λ`, on the encoder's weights.
    pub weight_decay: f64,
    /// Steps between two snapshots; an epoch of the dashboard.
    pub steps_per_epoch: u64,
    /// Observations that are drawn once and trained on again and again, see [`PairSampler::training_set`]; fresh ones at each step when
    /// not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training_set_size: Option<usize>,
}

/// Sizes of the samples that measures are taken on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasurementSpec {
    /// Held-out observations for correlations and sparsity at the end.
    pub evaluation_samples: usize,
    /// Observations a probe is fitted on, and as many it is scored on, at the end.
    pub probe_samples: usize,
    /// Whether the probe is also fitted on x, on the oracle code and on the untrained encoder.
    pub baselines: bool,
    /// Whether each observation has the downstream target of another one, so that there is nothing to predict.
    #[serde(default, skip_serializing_if = "is_off")]
    pub shuffled_targets: bool,
}

/// Writes −0 as 0, which it equals: they would make two runs of one setting.
fn without_negative_zeros(value: &mut toml::Value) {
    match value {
        toml::Value::Float(number) if *number == 0.0 => *number = 0.0,
        toml::Value::Array(values) => values.iter_mut().for_each(without_negative_zeros),
        toml::Value::Table(table) => table.iter_mut().for_each(|(_, value)| without_negative_zeros(value)),
        _ => {}
    }
}

impl RunSpec {
    /// Reads a merged table; the sections decide the kind.
    ///
    /// # Errors
    /// [`SpecError`] naming the key.
    pub fn from_table(table: toml::Table) -> Result<Self, SpecError> {
        let (is_moments, is_images) = (table.contains_key("moments"), table.contains_key("images"));
        let mut value = toml::Value::Table(table);
        without_negative_zeros(&mut value);
        let parse_error = |e: toml::de::Error| SpecError::Parse { message: e.to_string().trim().replace("\n", " ") };
        let spec = if is_images {
            Self::Images(value.try_into().map_err(parse_error)?)
        } else if is_moments {
            Self::Moments(value.try_into().map_err(parse_error)?)
        } else {
            Self::Training(value.try_into().map_err(parse_error)?)
        };
        spec.validated()
    }

    /// Checks every range and writes defaults out, so that the specification says all.
    ///
    /// # Errors
    /// [`SpecError`] naming key, value and what would be right.
    pub fn validated(mut self) -> Result<Self, SpecError> {
        match &mut self {
            Self::Training(spec) => spec.resolve()?,
            Self::Images(spec) => spec.resolve()?,
            Self::Moments(spec) => {
                spec.data.resolve()?;
                at_least("moments.samples", spec.moments.samples as u64, 2)?;
                let most = spec.data.input_dim - spec.data.code_dim;
                if spec.moments.complement_directions > most {
                    return Err(SpecError::Range {
                        key: "moments.complement_directions".into(),
                        value: spec.moments.complement_directions.to_string(),
                        right: format!("at most input_dim − code_dim = {most}"),
                    });
                }
            }
        }
        Ok(self)
    }

    /// Twelve hexadecimal digits that stand for this specification under the present versions of data and
    /// algorithm.
    pub fn digest(&self) -> String {
        let text = serde_json::json!({
            "spec": self,
            "data_version": cl_data::DATA_VERSION,
            "algorithm_version": cl_model::ALGORITHM_VERSION,
        });
        hex::encode(&Sha256::digest(text.to_string())[..6])
    }

    /// Steps of training.
    pub fn steps(&self) -> u64 {
        match self {
            Self::Training(spec) => spec.training.steps,
            Self::Images(spec) => spec.steps(),
            Self::Moments(_) => 0,
        }
    }

    /// Cost in multiply-adds, for time estimates.
    pub fn cost(&self) -> f64 {
        match self {
            Self::Training(spec) => {
                let (b, d1) = (spec.training.batch_size as f64, spec.data.input_dim as f64);
                let (m, n) = (spec.encoder.num_neurons as f64, spec.num_negatives() as f64);
                let step = (2.0 * b * d1 + n * d1 + b * d1) * m + 2.0 * b * n * m + 30.0 * (b + n) * d1;
                spec.training.steps as f64 * step
            }
            Self::Images(spec) => spec.cost(),
            Self::Moments(spec) => {
                let directions = (spec.data.code_dim + spec.moments.complement_directions) as f64;
                spec.moments.samples as f64 * spec.data.input_dim as f64 * (2.0 * directions + 60.0)
            }
        }
    }
}

impl DataSpec {
    fn resolve(&mut self) -> Result<(), SpecError> {
        at_least("data.code_dim", self.code_dim as u64, 1)?;
        if self.code_dim > self.input_dim {
            return Err(SpecError::Range {
                key: "data.code_dim".into(),
                value: self.code_dim.to_string(),
                right: format!("at most data.input_dim = {}: orthonormal columns need d ≤ d1", self.input_dim),
            });
        }
        let code = *self.sparse_code.get_or_insert(SparseCodeDistribution::Bernoulli {
            nonzero_probability: default_nonzero_probability(self.code_dim),
        });
        code.validate(self.code_dim).map_err(|e| SpecError::data("data.sparse_code", e))?;
        let q = code.nonzero_probability(self.code_dim);
        let noise_std = *self.noise_std.get_or_insert(default_noise_variance(self.code_dim, q).sqrt());
        not_negative("data.noise_std", noise_std)?;
        self.augmentation.validate().map_err(|e| SpecError::data("data.augmentation", e))
    }

    /// The data model of one seed.
    ///
    /// # Panics
    /// When the specification has not been validated.
    pub fn model(&self, seed: u64) -> SparseCodingModel {
        let checked = "the specification has been validated";
        let dictionary =
            Dictionary::random(self.code_dim, self.input_dim, Stream::new(seed, Purpose::Dictionary)).expect(checked);
        SparseCodingModel::new(dictionary, self.sparse_code.expect(checked), self.noise_std.expect(checked))
            .expect(checked)
    }
}

impl TrainingSpec {
    fn resolve(&mut self) -> Result<(), SpecError> {
        self.data.resolve()?;
        at_least("encoder.num_neurons", self.encoder.num_neurons as u64, 1)?;
        not_negative("encoder.initial_scale", self.encoder.initial_scale)?;
        match self.encoder.bias {
            Bias::Zero => {}
            Bias::Trained { initial } => finite("encoder.bias.trained.initial", initial)?,
            Bias::Scheduled(rule) => {
                not_negative("encoder.bias.scheduled.initial_ratio", rule.initial_ratio)?;
                not_negative("encoder.bias.scheduled.growth", rule.growth)?;
                not_negative("encoder.bias.scheduled.cap_ratio", rule.cap_ratio)?;
                if rule.cap_ratio < rule.initial_ratio {
                    return Err(SpecError::Range {
                        key: "encoder.bias.scheduled.cap_ratio".into(),
                        value: rule.cap_ratio.to_string(),
                        right: format!("at least initial_ratio = {}", rule.initial_ratio),
                    });
                }
            }
        }
        match self.objective {
            Objective::Contrastive(c) => {
                positive("objective.contrastive.temperature", c.temperature)?;
                match c.negatives {
                    Negatives::Fresh { count } | Negatives::FreshAugmented { count } => {
                        at_least("objective.contrastive.negatives.count", count as u64, 1)?;
                    }
                    Negatives::OtherKeys => at_least("training.batch_size", self.training.batch_size as u64, 2)?,
                }
            }
            Objective::NtXent(s) => {
                positive("objective.nt_xent.temperature", s.temperature)?;
                at_least("training.batch_size", self.training.batch_size as u64, 2)?;
            }
            Objective::Supervised(s) => {
                at_least("objective.supervised.num_classes", s.num_classes as u64, 2)?;
                if let Some(size) = self.training.training_set_size {
                    return Err(SpecError::Range {
                        key: "training.training_set_size".into(),
                        value: size.to_string(),
                        right: "left out: the supervised objective draws fresh observations".into(),
                    });
                }
            }
        }
        let training = &self.training;
        at_least("training.steps", training.steps, 1)?;
        at_least("training.batch_size", training.batch_size as u64, 1)?;
        at_least("training.steps_per_epoch", training.steps_per_epoch, 1)?;
        if let Some(size) = training.training_set_size {
            at_least("training.training_set_size", size as u64, training.batch_size as u64)?;
        }
        if !training.steps.is_multiple_of(training.steps_per_epoch) {
            return Err(SpecError::Range {
                key: "training.steps_per_epoch".into(),
                value: training.steps_per_epoch.to_string(),
                right: format!("a divisor of training.steps = {}", training.steps),
            });
        }
        not_negative("training.weight_decay", training.weight_decay)?;
        match training.step_size {
            StepSize::Constant { eta } => positive("training.step_size.constant.eta", eta)?,
            StepSize::ExponentialDecay { eta, decay_from, end_step, final_eta } => {
                positive("training.step_size.exponential_decay.eta", eta)?;
                positive("training.step_size.exponential_decay.final_eta", final_eta)?;
                if end_step <= decay_from {
                    return Err(SpecError::Range {
                        key: "training.step_size.exponential_decay.end_step".into(),
                        value: end_step.to_string(),
                        right: format!("later than decay_from = {decay_from}"),
                    });
                }
            }
            StepSize::WarmupCosine { peak, warmup_steps, steps } => {
                positive("training.step_size.warmup_cosine.peak", peak)?;
                if steps <= warmup_steps {
                    return Err(SpecError::Range {
                        key: "training.step_size.warmup_cosine.steps".into(),
                        value: steps.to_string(),
                        right: format!("later than warmup_steps = {warmup_steps}"),
                    });
                }
            }
        }
        at_least("measurement.evaluation_samples", self.measurement.evaluation_samples as u64, 8)?;
        at_least("measurement.probe_samples", self.measurement.probe_samples as u64, 8)
    }

    /// `N`.
    pub fn num_negatives(&self) -> usize {
        match self.objective {
            Objective::Contrastive(c) => match c.negatives {
                Negatives::Fresh { count } | Negatives::FreshAugmented { count } => count,
                Negatives::OtherKeys => self.training.batch_size - 1,
            },
            // All views of other samples.
            Objective::NtXent(_) => 2 * self.training.batch_size - 2,
            Objective::Supervised(_) => 0,
        }
    }

    /// `T1`, when thresholds are set; `None` without the paper's rule.
    pub fn bias_start(&self) -> Option<u64> {
        match self.encoder.bias {
            Bias::Scheduled(rule) => Some(rule.start_step),
            _ => None,
        }
    }

    /// Number of epochs.
    pub fn epochs(&self) -> u64 {
        self.training.steps / self.training.steps_per_epoch
    }

    /// Draws the contrastive batches of one seed.
    pub fn sampler(&self, seed: u64) -> PairSampler {
        let negatives = match self.objective {
            Objective::Contrastive(c) => c.negatives,
            Objective::NtXent(_) | Objective::Supervised(_) => Negatives::OtherKeys,
        };
        let data = self.data.model(seed);
        PairSampler {
            training_set: self.training.training_set_size.map(|n| PairSampler::training_set(&data, n, seed)),
            data,
            augmentation: self.data.augmentation,
            batch_size: self.training.batch_size,
            negatives,
            seed,
        }
    }
}

impl ContrastiveSpec {
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
