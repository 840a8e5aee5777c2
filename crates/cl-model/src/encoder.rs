//! The symmetrised-ReLU encoder.

use crate::Bias;
use burn::module::{Module, Param};
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
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
}

/// What stands between the inner products and the thresholds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalization {
    /// Nothing, as in the paper.
    #[default]
    None,
    /// Batch normalisation with trained scale and shift: a departure found in public code.
    Batch,
}

/// What an encoder is like apart from its weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EncoderConfig {
    /// Where thresholds start and whether they are trained. Default [`Bias::Zero`].
    pub bias: Bias,
    /// Default [`Normalization::None`].
    pub normalization: Normalization,
}

impl Default for EncoderConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl EncoderConfig {
    /// Thresholds at zero, no normalisation.
    pub const fn new() -> Self {
        Self { bias: Bias::Zero, normalization: Normalization::None }
    }

    /// An encoder with the given initial weights `[m, d1]`, on their device.
    pub fn init(&self, weights: Tensor<2>) -> SymmetricReluEncoder {
        let [m, _] = weights.dims();
        let device = weights.device();
        let (initial, trained) = match self.bias {
            Bias::Trained { initial } => (initial, true),
            Bias::Zero | Bias::Scheduled(_) => (0.0, false),
        };
        let normalization = match self.normalization {
            Normalization::None => None,
            Normalization::Batch => Some(BatchNormConfig::new(m).init(&device)),
        };
        SymmetricReluEncoder {
            weights: Param::from_tensor(weights),
            biases: Param::from_tensor(Tensor::full([m], initial, &device)).set_require_grad(trained),
            normalization,
        }
    }
}

impl SymmetricReluEncoder {
    /// `f(x)`, `[n, d1]` to `[n, m]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.forward_with(self.weights.val(), self.biases.val(), x)
    }

    /// `f(x)` outside the gradient: nothing is recorded for the backward pass.
    pub fn forward_detached(&self, x: Tensor<2>) -> Tensor<2> {
        self.forward_with(self.weights.val().detach(), self.biases.val().detach(), x).detach()
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
        // Not `detach`: what is detached still registers what is made of it with the graph.
        self.weights.val().inner().square().sum_dim(1).sqrt().squeeze_dim(1)
    }
}

/// `relu(u − b) − relu(−u − b)` with `b` of `u`'s shape or 1 where it is the same along a dimension; for
/// `b ≥ 0` this is soft thresholding.
pub(crate) fn symmetric_relu<const D: usize>(inner: Tensor<D>, thresholds: Tensor<D>) -> Tensor<D> {
    relu(inner.clone() - thresholds.clone()) - relu(-inner - thresholds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn encoder(bias: f64, device: &Device) -> SymmetricReluEncoder {
        let weights = Tensor::from_data([[1.0, 2.0], [0.5, -1.0]], device);
        EncoderConfig { bias: Bias::Trained { initial: bias }, ..EncoderConfig::new() }.init(weights)
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
        let scheduled = EncoderConfig::new().init(weights);
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
