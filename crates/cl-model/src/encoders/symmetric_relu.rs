//! The symmetrised-ReLU encoder.

use super::{AfterUpdate, Encoder, EncoderConfig, StandardNormals, VectorEncoder, VectorShape};
use crate::{Bias, BiasRule};
use burn::module::{Module, Param};
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use cl_config::{Component, ConfigError, at_least, not_negative};
use serde::{Deserialize, Serialize};

/// `f_i(x) = relu(⟨w_i, x⟩ − b_i) − relu(−⟨w_i, x⟩ − b_i)`, `i ∈ [m]`.
///
/// Wen & Li 2021, set-up: one layer of `m` neurons, the same threshold `b_i` on both arms.
///
/// # Shapes
/// `x` is `[n, d1]`, `f(x)` is `[n, m]`.
#[derive(Module, Debug)]
pub struct SymmetricReluEncoder {
    /// `W`, `[m, d1]`: row `i` is `w_i`.
    pub weights: Param<Tensor<2>>,
    /// `b`, `[m]`: subtracted. Takes part in the gradient only under [`Bias::Trained`].
    pub biases: Param<Tensor<1>>,
    /// Between the inner products and the thresholds, if any.
    pub normalization: Option<BatchNorm>,
    /// The rule by which thresholds are set after each update, with d.
    #[module(skip)]
    bias_rule: Option<(BiasRule, usize)>,
}

/// What is between the inner products and the thresholds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalization {
    /// Nothing, as in the paper.
    #[default]
    None,
    /// Batch normalisation with trained scale and shift: a departure found in public code.
    Batch,
}

/// The configuration of the paper's encoder.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SymmetricReluConfig {
    /// `m`.
    pub num_neurons: usize,
    /// `σ_0 √d1`: initial weights are `N(0, σ_0²)`.
    pub initial_scale: f64,
    /// How thresholds are determined.
    pub bias: Bias,
    /// What is before the thresholds.
    #[serde(default)]
    pub normalization: Normalization,
}

impl Component for SymmetricReluConfig {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        at_least("num_neurons", self.num_neurons as u64, 1)?;
        not_negative("initial_scale", self.initial_scale)?;
        let bias = self.bias.checked().map_err(|e| e.below("bias"))?;
        Ok(Self { bias, ..self })
    }
}

impl EncoderConfig for SymmetricReluConfig {
    type Encoder = SymmetricReluEncoder;

    fn init(&self, shape: VectorShape, normals: &mut StandardNormals<'_>, device: &Device) -> SymmetricReluEncoder {
        let (m, d1) = (self.num_neurons, shape.dim);
        let std = (self.initial_scale / (d1 as f64).sqrt()) as f32;
        let weights: Vec<f32> = normals(m * d1).into_iter().map(|v| v * std).collect();
        let encoder = SymmetricReluEncoder::new(Tensor::from_data(TensorData::new(weights, [m, d1]), device));
        let encoder = match self.bias {
            Bias::Zero => encoder,
            Bias::Trained { initial } => encoder.with_trained_bias(initial),
            Bias::Scheduled(rule) => encoder.with_bias_rule(rule, shape.code_dim),
        };
        match self.normalization {
            Normalization::None => encoder,
            Normalization::Batch => {
                SymmetricReluEncoder { normalization: Some(BatchNormConfig::new(m).init(device)), ..encoder }
            }
        }
    }

    fn multiply_adds(&self, shape: VectorShape) -> f64 {
        self.num_neurons as f64 * shape.dim as f64
    }
}

impl SymmetricReluEncoder {
    /// The encoder with given weights `[m, d1]`, on their device, without thresholds or normalisation.
    pub fn new(weights: Tensor<2>) -> Self {
        let ([m, _], device) = (weights.dims(), weights.device());
        Self {
            weights: Param::from_tensor(weights),
            biases: Param::from_tensor(Tensor::zeros([m], &device)).set_require_grad(false),
            normalization: None,
            bias_rule: None,
        }
    }

    /// The same with thresholds that are trained from `initial`.
    pub fn with_trained_bias(self, initial: f64) -> Self {
        let biases = Tensor::full([self.weights.dims()[0]], initial, &self.weights.device());
        Self { biases: Param::from_tensor(biases).set_require_grad(true), ..self }
    }

    /// The same with thresholds that follow `rule` for codes of dimension d.
    pub fn with_bias_rule(self, rule: BiasRule, code_dim: usize) -> Self {
        Self { bias_rule: Some((rule, code_dim)), ..self }
    }

    fn forward_with(&self, weights: Tensor<2>, biases: Tensor<1>, x: Tensor<2>) -> Tensor<2> {
        let inner = x.matmul(weights.transpose());
        let inner = match &self.normalization {
            Some(normalization) => normalization.forward(inner),
            None => inner,
        };
        symmetric_relu(inner, biases.unsqueeze())
    }

    /// `‖w_i‖`, `[m]`, outside the gradient.
    pub fn weight_norms(&self) -> Tensor<1> {
        // Not `detach`: operations on a detached tensor are still registered with the graph.
        self.weights.val().inner().square().sum_dim(1).sqrt().squeeze_dim(1)
    }
}

impl Encoder for SymmetricReluEncoder {
    type Input = Tensor<2>;
    type Shape = VectorShape;

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.forward_with(self.weights.val(), self.biases.val(), x)
    }

    fn forward_detached(&self, x: Tensor<2>) -> Tensor<2> {
        self.forward_with(self.weights.val().detach(), self.biases.val().detach(), x).detach()
    }

    fn feature_dim(&self) -> usize {
        self.weights.dims()[0]
    }

    fn after_update(&self, step: u64) -> Option<AfterUpdate<Self>> {
        let (rule, code_dim) = self.bias_rule.filter(|(rule, _)| step >= rule.start_step)?;
        let before = self.weight_norms();
        Some(Box::new(move |mut encoder| {
            let after = encoder.weight_norms();
            encoder.biases =
                encoder.biases.map(|b| rule.apply(b.detach(), before, after, step, code_dim).set_require_grad(false));
            encoder
        }))
    }
}

impl VectorEncoder for SymmetricReluEncoder {
    fn neuron_weights(&self) -> Option<Tensor<2>> {
        Some(self.weights.val())
    }

    fn as_symmetric_relu(&self) -> Option<&SymmetricReluEncoder> {
        Some(self)
    }
}

/// `relu(u − b) − relu(−u − b)` with `b` of the shape of `u`, or 1 along dimensions where it is the same; for `b ≥ 0`
/// this is soft thresholding.
pub(crate) fn symmetric_relu<const D: usize>(inner: Tensor<D>, thresholds: Tensor<D>) -> Tensor<D> {
    relu(inner.clone() - thresholds.clone()) - relu(-inner - thresholds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoder(bias: f64, device: &Device) -> SymmetricReluEncoder {
        let weights = Tensor::from_data([[1.0, 2.0], [0.5, -1.0]], device);
        SymmetricReluEncoder::new(weights).with_trained_bias(bias)
    }

    fn values(t: Tensor<2>) -> Vec<f32> {
        t.into_data().try_to_vec().unwrap()
    }

    #[test]
    fn values_are_those_of_soft_thresholding() {
        // ⟨w_1, x⟩ = 3, ⟨w_2, x⟩ = −0.5; and −1, 0.5·(−3) − 1 = −2.5.
        let x = Tensor::from_data([[1.0, 1.0], [-3.0, 1.0]], &Device::flex());
        assert_eq!(values(encoder(0.75, &Device::flex()).forward(x)), [2.25, 0.0, -0.25, -1.75]);
    }

    #[test]
    fn a_negative_threshold_keeps_both_arms_open() {
        // relu(0.2 + 1) − relu(−0.2 + 1) = 0.4.
        let device = Device::flex();
        let out = symmetric_relu::<2>(Tensor::from_data([[0.2]], &device), Tensor::from_data([[-1.0]], &device));
        assert!((out.into_scalar::<f32>() - 0.4).abs() < 1e-6);
    }

    #[test]
    fn gradient_reaches_active_neurons_only_and_not_a_scheduled_bias() {
        let device = Device::flex().autodiff();
        let x = Tensor::from_data([[1.0, 1.0]], &device);
        let trained = encoder(0.75, &device);
        let grads = trained.forward(x.clone()).sum().backward();
        // Neuron 1 is active (u = 3 > b): ∂f/∂w = x, ∂f/∂b = −1. Neuron 2 is not (|u| = 0.5 < b).
        assert_eq!(values(trained.weights.grad(&grads).unwrap()), [1.0, 1.0, 0.0, 0.0]);
        assert_eq!(trained.biases.grad(&grads).unwrap().into_data().try_to_vec::<f32>().unwrap(), [-1.0, 0.0]);

        let weights = Tensor::from_data([[1.0, 2.0]], &device);
        let scheduled = SymmetricReluEncoder::new(weights);
        let grads = scheduled.forward(x).sum().backward();
        assert!(scheduled.biases.grad(&grads).is_none());
    }

    #[test]
    fn the_detached_pass_gives_the_same_values() {
        let device = Device::flex().autodiff();
        let x = Tensor::from_data([[1.0, 1.0], [-3.0, 1.0]], &device);
        let encoder = encoder(0.75, &device);
        assert_eq!(values(encoder.forward_detached(x.clone())), values(encoder.forward(x)));
    }

    #[test]
    fn weight_norms_are_euclidean() {
        let norms = encoder(0.0, &Device::flex()).weight_norms().into_data().try_to_vec::<f32>().unwrap();
        assert!((norms[0] - 5f32.sqrt()).abs() < 1e-6 && (norms[1] - 1.25f32.sqrt()).abs() < 1e-6);
    }
}
