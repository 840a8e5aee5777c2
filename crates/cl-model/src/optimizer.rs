//! Optimisers.

use crate::Lars;
use burn::module::ParamGroup;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamW, AdamWConfig, LearningRate, ModuleOptimizer, Optimizer, Sgd, SgdConfig};
use burn::tensor::{Device, Tensor};
use cl_config::{Component, ConfigError, check, not_negative, positive};
use serde::{Deserialize, Serialize};

/// How weights are updated from the gradient.
///
/// Weight decay leaves norms and biases alone, see [`is_norm_or_bias`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// `v ← μ v + ∇L + λ w`, `w ← w − η v`; with `nesterov`, `w ← w − η (∇L + λ w + μ v)`.
    Sgd {
        /// `μ` in [0, 1). Default 0.
        #[serde(default)]
        momentum: f64,
        /// Whether the step looks one momentum step ahead. Default false.
        #[serde(default)]
        nesterov: bool,
        /// `λ` ≥ 0. Default 0.
        #[serde(default)]
        weight_decay: f64,
    },
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019).
    #[serde(rename = "adamw")]
    AdamW {
        /// `β₁` in [0, 1). Default 0.9.
        #[serde(default = "beta_1")]
        beta_1: f64,
        /// `β₂` in [0, 1). Default 0.999.
        #[serde(default = "beta_2")]
        beta_2: f64,
        /// `ε` > 0, added to the root of the second moment. Default 1e-8.
        #[serde(default = "epsilon")]
        epsilon: f64,
        /// `λ` ≥ 0: the weights lose the fraction ηλ at each step. Default 0.
        #[serde(default)]
        weight_decay: f64,
    },
    /// [`Lars`], as used by SimCLR for large batches.
    Lars {
        /// `μ` in [0, 1). Default 0.9.
        #[serde(default = "beta_1")]
        momentum: f64,
        /// `c` > 0. Default 0.001.
        #[serde(default = "trust_coefficient")]
        trust_coefficient: f64,
        /// `λ` ≥ 0, usually 1e-6. Default 0.
        #[serde(default)]
        weight_decay: f64,
    },
}

const fn beta_1() -> f64 {
    0.9
}

const fn beta_2() -> f64 {
    0.999
}

const fn epsilon() -> f64 {
    1e-8
}

const fn trust_coefficient() -> f64 {
    0.001
}

/// Whether a parameter is a norm's scale or shift or a layer's bias: these are the vectors.
pub const fn is_norm_or_bias(shape: &[usize]) -> bool {
    shape.len() == 1
}

impl Component for OptimizerConfig {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        let fraction = |key: &str, value: f64| check((0.0..1.0).contains(&value), key, value, "at least 0 and below 1");
        match self {
            Self::Sgd { momentum, nesterov, weight_decay } => {
                fraction("sgd.momentum", momentum)?;
                check(!nesterov || momentum > 0.0, "sgd.nesterov", nesterov, "false without momentum")?;
                not_negative("sgd.weight_decay", weight_decay)?;
            }
            Self::AdamW { beta_1, beta_2, epsilon, weight_decay } => {
                fraction("adamw.beta_1", beta_1)?;
                fraction("adamw.beta_2", beta_2)?;
                positive("adamw.epsilon", epsilon)?;
                not_negative("adamw.weight_decay", weight_decay)?;
            }
            Self::Lars { momentum, trust_coefficient, weight_decay } => {
                fraction("lars.momentum", momentum)?;
                positive("lars.trust_coefficient", trust_coefficient)?;
                not_negative("lars.weight_decay", weight_decay)?;
            }
        }
        Ok(self)
    }
}

impl OptimizerConfig {
    /// Plain gradient descent with weight decay, as in the paper.
    pub const fn plain(weight_decay: f64) -> Self {
        Self::Sgd { momentum: 0.0, nesterov: false, weight_decay }
    }

    /// `λ`.
    pub const fn weight_decay(&self) -> f64 {
        match *self {
            Self::Sgd { weight_decay, .. } | Self::AdamW { weight_decay, .. } | Self::Lars { weight_decay, .. } => {
                weight_decay
            }
        }
    }

    /// The same with another `λ`.
    #[must_use]
    pub const fn with_weight_decay(mut self, decay: f64) -> Self {
        match &mut self {
            Self::Sgd { weight_decay, .. } | Self::AdamW { weight_decay, .. } | Self::Lars { weight_decay, .. } => {
                *weight_decay = decay;
            }
        }
        self
    }

    /// The optimiser of a whole module; the learning rate comes with each step.
    pub fn init(&self) -> ModuleOptimizer {
        match *self {
            Self::Sgd { momentum, nesterov, weight_decay } => sgd(momentum, nesterov, weight_decay).into(),
            Self::AdamW { beta_1, beta_2, epsilon, weight_decay } => {
                adamw([beta_1, beta_2, epsilon], weight_decay).into()
            }
            Self::Lars { momentum, trust_coefficient, weight_decay } => {
                Lars::new(momentum, trust_coefficient, weight_decay).into()
            }
        }
    }

    /// The same, with groups of parameters that are updated in their own way.
    pub fn init_with_groups(&self, groups: impl IntoIterator<Item = GroupConfig>) -> ModuleOptimizer {
        groups.into_iter().fold(self.init(), |optimizer, group| {
            let GroupConfig { group, weight_decay, learning_rate_factor } = group;
            match self.with_weight_decay(weight_decay.unwrap_or(self.weight_decay())) {
                Self::Sgd { momentum, nesterov, weight_decay } => {
                    let inner = sgd(momentum, nesterov, weight_decay);
                    optimizer.with_group(group, AtFactor { inner, learning_rate_factor }, None)
                }
                Self::AdamW { beta_1, beta_2, epsilon, weight_decay } => {
                    let inner = adamw([beta_1, beta_2, epsilon], weight_decay);
                    optimizer.with_group(group, AtFactor { inner, learning_rate_factor }, None)
                }
                Self::Lars { momentum, trust_coefficient, weight_decay } => {
                    let inner = Lars::new(momentum, trust_coefficient, weight_decay);
                    optimizer.with_group(group, AtFactor { inner, learning_rate_factor }, None)
                }
            }
        })
    }
}

fn sgd(momentum: f64, nesterov: bool, weight_decay: f64) -> ByRank<Sgd> {
    let config = MomentumConfig::new().with_momentum(momentum).with_dampening(0.0).with_nesterov(nesterov);
    // Without momentum there is nothing to keep from step to step.
    let vectors = SgdConfig::new().with_momentum((momentum > 0.0).then_some(config));
    let decay = WeightDecayConfig::new(weight_decay as f32);
    let others = vectors.clone().with_weight_decay((weight_decay > 0.0).then_some(decay));
    ByRank { vectors: vectors.build(), others: others.build() }
}

fn adamw([beta_1, beta_2, epsilon]: [f64; 3], weight_decay: f64) -> ByRank<AdamW> {
    let config = AdamWConfig::new().with_beta_1(beta_1 as f32).with_beta_2(beta_2 as f32).with_epsilon(epsilon as f32);
    let others = config.clone().with_weight_decay(weight_decay as f32);
    ByRank { vectors: config.with_weight_decay(0.0).build(), others: others.build() }
}

/// How some parameters are updated.
#[derive(Debug, Clone)]
pub struct GroupConfig {
    /// Which ones, by identity or by path in the module.
    pub group: ParamGroup,
    /// `λ` ≥ 0; that of the optimizer when `None`.
    pub weight_decay: Option<f64>,
    /// Their learning rate over that of the others, larger than 0.
    pub learning_rate_factor: f64,
}

/// An optimiser with a multiple of the learning rate.
#[derive(Clone)]
struct AtFactor<O> {
    inner: O,
    learning_rate_factor: f64,
}

impl<O: Optimizer> Optimizer for AtFactor<O> {
    type State<const D: usize> = O::State<D>;

    fn step<const D: usize>(
        &self,
        learning_rate: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<O::State<D>>,
    ) -> (Tensor<D>, Option<O::State<D>>) {
        self.inner.step(learning_rate * self.learning_rate_factor, tensor, gradient, state)
    }

    fn to_device<const D: usize>(state: O::State<D>, device: &Device) -> O::State<D> {
        O::to_device(state, device)
    }
}

/// One optimiser for norms and biases, another for all other parameters. They are told apart by rank, so that neither
/// the names of a module's fields nor the identities of loaded parameters matter.
#[derive(Clone)]
struct ByRank<O> {
    vectors: O,
    others: O,
}

impl<O: Optimizer> Optimizer for ByRank<O> {
    type State<const D: usize> = O::State<D>;

    fn step<const D: usize>(
        &self,
        learning_rate: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<O::State<D>>,
    ) -> (Tensor<D>, Option<O::State<D>>) {
        let optimizer = if is_norm_or_bias(&tensor.dims()) { &self.vectors } else { &self.others };
        optimizer.step(learning_rate, tensor, gradient, state)
    }

    fn to_device<const D: usize>(state: O::State<D>, device: &Device) -> O::State<D> {
        O::to_device(state, device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::{Module, Param};
    use burn::optim::GradientsParams;

    #[derive(Module, Debug)]
    struct Two {
        matrix: Param<Tensor<2>>,
        bias: Param<Tensor<1>>,
    }

    /// Weight and bias, both starting at 2, after steps of 0.1 along the loss `3 w + 3 b`.
    fn after(optimizer: OptimizerConfig, steps: usize) -> [f64; 2] {
        moved(optimizer.checked().unwrap().init(), steps)
    }

    fn moved(mut optimizer: ModuleOptimizer, steps: usize) -> [f64; 2] {
        let device = Device::flex().autodiff();
        let mut two = Two {
            matrix: Param::from_tensor(Tensor::from_data([[2.0]], &device)),
            bias: Param::from_tensor(Tensor::from_data([2.0], &device)),
        };
        for _ in 0..steps {
            let loss = (two.matrix.val().sum() + two.bias.val().sum()) * 3.0;
            let gradients = GradientsParams::from_grads(loss.backward(), &two);
            two = optimizer.step(0.1, two, gradients);
        }
        [two.matrix.val().into_scalar(), two.bias.val().into_scalar()]
    }

    fn assert_close(found: [f64; 2], expected: [f64; 2]) {
        // A few operations in single precision on numbers below 4.
        let close = found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 2e-6);
        assert!(close, "{found:?} instead of {expected:?}");
    }

    #[test]
    fn sgd_decays_weights_only_and_does_not_dampen() {
        let sgd = |nesterov| OptimizerConfig::Sgd { momentum: 0.5, nesterov, weight_decay: 0.25 };
        // Weight: v = 3.5, w = 1.65; v = 1.75 + 3.4125 = 5.1625, w = 1.13375. Bias: 1.7; v = 4.5, 1.25.
        assert_close(after(sgd(false), 2), [1.13375, 1.25]);
        // Weight: 3.5 + 1.75 = 5.25, w = 1.475; v = 1.75 + 3.36875 = 5.11875, 3.36875 + 2.559375, w = 0.8821875.
        // Bias: 4.5, 1.55; v = 4.5, 3 + 2.25, 1.025.
        assert_close(after(sgd(true), 2), [0.882_187_5, 1.025]);
    }

    #[test]
    fn parameters_of_a_group_have_their_own_decay_and_learning_rate() {
        for config in [
            OptimizerConfig::plain(0.25),
            OptimizerConfig::AdamW { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 0.25 },
            OptimizerConfig::Lars { momentum: 0.9, trust_coefficient: 0.01, weight_decay: 0.25 },
        ] {
            let group = |weight_decay, learning_rate_factor| {
                let group = ParamGroup::from_path("matrix");
                [GroupConfig { group, weight_decay, learning_rate_factor }]
            };
            let spared = moved(config.init_with_groups(group(Some(0.0), 1.0)), 1);
            assert_eq!(spared, moved(config.with_weight_decay(0.0).init(), 1), "{config:?}");
            // The length of a step of LARS does not depend on the length of the gradient.
            let is_lars = matches!(config, OptimizerConfig::Lars { .. });
            assert!(is_lars || spared != moved(config.init(), 1), "{config:?}");
            assert_eq!(config.weight_decay(), 0.25);
            // Twice the learning rate moves the matrix twice as far and the bias as far as before.
            let [slow, fast] = [1.0, 2.0].map(|factor| moved(config.init_with_groups(group(None, factor)), 1));
            assert_eq!(slow, moved(config.init(), 1), "{config:?}");
            assert_close(fast, [2.0 - 2.0 * (2.0 - slow[0]), slow[1]]);
        }
    }

    #[test]
    fn adamw_decays_weights_only() {
        // The first step of Adam has length η; decay takes ηλ = 5 % of the weight.
        let adamw = OptimizerConfig::AdamW { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 0.5 };
        assert_close(after(adamw, 1), [1.8, 1.9]);
    }

    #[test]
    fn lars_adapts_and_decays_weights_only() {
        // g = 3 + 0.5·2 = 4, r = 0.01·2/4: the weight moves by 0.1·0.02; the bias by 0.1·3.
        let lars = OptimizerConfig::Lars { momentum: 0.9, trust_coefficient: 0.01, weight_decay: 0.5 };
        assert_close(after(lars, 1), [1.998, 1.7]);
    }

    #[test]
    fn an_optimiser_continues_from_its_record() {
        for optimizer in [
            OptimizerConfig::Sgd { momentum: 0.5, nesterov: false, weight_decay: 0.25 },
            OptimizerConfig::AdamW { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 0.5 },
            OptimizerConfig::Lars { momentum: 0.9, trust_coefficient: 0.01, weight_decay: 0.5 },
        ] {
            let device = Device::flex().autodiff();
            let two = Two {
                matrix: Param::from_tensor(Tensor::from_data([[2.0]], &device)),
                bias: Param::from_tensor(Tensor::from_data([2.0], &device)),
            };
            let step = |optimizer: &mut ModuleOptimizer, two: Two| {
                let loss = two.matrix.val().square().sum() + two.bias.val().square().sum();
                let gradients = GradientsParams::from_grads(loss.backward(), &two);
                optimizer.step(0.1, two, gradients)
            };
            let values = |two: &Two| (two.matrix.val().into_scalar::<f32>(), two.bias.val().into_scalar::<f32>());
            let mut kept = optimizer.init();
            let two = step(&mut kept, two);
            let mut loaded = optimizer.init().load_record(kept.to_record());
            let (a, b) = (step(&mut kept, two.clone()), step(&mut loaded, two.clone()));
            assert_eq!(values(&a), values(&b));
            assert_ne!(values(&a), values(&step(&mut optimizer.init(), two)));
        }
    }

    #[test]
    fn configurations_read_as_written_and_wrong_values_are_refused_by_name() {
        let read = |json: &str| serde_json::from_str::<OptimizerConfig>(json).unwrap();
        let lars = read(r#"{"lars":{"momentum":0.9,"trust_coefficient":0.001,"weight_decay":1e-6}}"#);
        assert_eq!(lars, OptimizerConfig::Lars { momentum: 0.9, trust_coefficient: 0.001, weight_decay: 1e-6 });
        let defaults = OptimizerConfig::AdamW { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 0.0 };
        assert_eq!(read(r#"{"adamw":{}}"#), defaults);
        assert_eq!(read(r#"{"sgd":{}}"#), OptimizerConfig::plain(0.0));
        for (json, message) in [
            (
                r#"{"sgd":{"momentum":1.0,"nesterov":false,"weight_decay":0}}"#,
                "sgd.momentum = 1 is out of range; it has to be at least 0 and below 1",
            ),
            (
                r#"{"sgd":{"momentum":0,"nesterov":true,"weight_decay":0}}"#,
                "sgd.nesterov = true is out of range; it has to be false without momentum",
            ),
            (
                r#"{"adamw":{"beta_1":0.9,"beta_2":0.999,"epsilon":0,"weight_decay":0}}"#,
                "adamw.epsilon = 0 is out of range; it has to be a finite number larger than 0",
            ),
            (
                r#"{"lars":{"momentum":0.9,"trust_coefficient":0.001,"weight_decay":-1}}"#,
                "lars.weight_decay = -1 is out of range; it has to be a finite number, 0 or larger",
            ),
        ] {
            assert_eq!(read(json).checked().unwrap_err().to_string(), message);
        }
    }
}
