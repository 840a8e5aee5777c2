//! The network between features and the loss.

use crate::conv::{batch_norm, normal};
use crate::encoders::{Normalization, StandardNormals};
use burn::module::{Module, Param};
use burn::nn::{BatchNorm, Initializer, Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use cl_config::{Component, ConfigError, at_least};
use serde::{Deserialize, Serialize};

/// Sizes of a [`Projector`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectorConfig {
    /// Units of each hidden layer, starting from the features; none for a linear projector.
    pub hidden_dims: Vec<usize>,
    /// Coordinates of the embedding that the loss sees.
    pub output_dim: usize,
    /// Before each ReLU. Default [`Normalization::None`].
    #[serde(default)]
    pub normalization: Normalization,
    /// Whether it keeps its initial weights. Norms still normalise with the statistics of each batch.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub frozen: bool,
}

impl Component for ProjectorConfig {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        for (i, units) in self.hidden_dims.iter().enumerate() {
            at_least(&format!("hidden_dims[{i}]"), *units as u64, 1)?;
        }
        at_least("output_dim", self.output_dim as u64, 1)?;
        Ok(self)
    }
}

impl ProjectorConfig {
    /// A projector of features `[B, feature_dim]`: weights `N(0, 2/n)` before a ReLU and `N(0, 1/n)` at the end, for n
    /// inputs (He et al. 2015), biases 0.
    pub fn init(&self, feature_dim: usize, normals: &mut StandardNormals<'_>, device: &Device) -> Projector {
        let (mut hidden, mut norms, mut inputs) = (Vec::new(), Vec::new(), feature_dim);
        for units in self.hidden_dims.iter().copied() {
            hidden.push(linear([inputs, units], 2.0, normals, device));
            if self.normalization == Normalization::Batch {
                norms.push(batch_norm(units, device));
            }
            inputs = units;
        }
        let projector = Projector { hidden, norms, output: linear([inputs, self.output_dim], 1.0, normals, device) };
        if self.frozen { projector.no_grad() } else { projector }
    }
}

/// A linear layer with weights `N(0, gain/n)` for n inputs, bias 0.
pub(crate) fn linear(dims: [usize; 2], gain: f64, normals: &mut StandardNormals<'_>, device: &Device) -> Linear {
    let mut linear = LinearConfig::new(dims[0], dims[1]).with_initializer(Initializer::Zeros).init(device);
    linear.weight = normal(dims, (gain / dims[0] as f64).sqrt(), normals, device);
    linear.bias = Some(Param::from_tensor(Tensor::zeros([dims[1]], device)));
    linear
}

/// `W₂ relu(norm(W₁ x + b₁)) + b₂`, with any number of hidden layers: SimCLR's projection head (Chen et al. 2020).
#[derive(Module, Debug)]
pub struct Projector {
    /// The hidden layers, each followed by a ReLU.
    pub hidden: Vec<Linear>,
    /// One per hidden layer, before its ReLU; none without normalisation.
    pub norms: Vec<BatchNorm>,
    /// The last layer.
    pub output: Linear,
}

impl Projector {
    /// `[B, feature_dim]` to `[B, output_dim]`.
    pub fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        let hidden = self.hidden.iter().enumerate().fold(features, |x, (i, layer)| {
            let h = layer.forward(x);
            relu(match self.norms.get(i) {
                Some(norm) => norm.forward(h),
                None => h,
            })
        });
        self.output.forward(hidden)
    }

    /// Multiply-adds of the forward pass of one sample.
    pub fn multiply_adds(&self) -> u64 {
        let layers = self.hidden.iter().chain([&self.output]);
        layers.map(|layer| layer.weight.dims().iter().product::<usize>() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts 1, 2, 3, ….
    fn counting() -> impl FnMut(usize) -> Vec<f32> {
        let mut next = 0;
        move |n: usize| {
            let values = (next..next + n).map(|i| (i + 1) as f32).collect();
            next += n;
            values
        }
    }

    fn config(hidden_dims: &[usize], output_dim: usize) -> ProjectorConfig {
        let normalization = Normalization::None;
        ProjectorConfig { hidden_dims: hidden_dims.to_vec(), output_dim, normalization, frozen: false }
    }

    #[test]
    fn values_are_those_of_two_layers_with_a_relu_between() {
        // W₁ = [[1, 2], [3, 4]] · √(2/2), W₂ = [5, 6]ᵀ · √(1/2).
        let projector = config(&[2], 1).init(2, &mut counting(), &Device::flex());
        let x = Tensor::from_data([[1.0, 1.0], [2.0, -1.0]], &Device::flex());
        let out = projector.forward(x).into_data().try_to_vec::<f32>().unwrap();
        // Row 1: relu(4, 6); row 2: relu(−1, 0).
        assert!((out[0] - 56.0 / 2f32.sqrt()).abs() < 1e-4 && out[1] == 0.0, "{out:?}");
        assert_eq!(projector.multiply_adds(), 6);
    }

    #[test]
    fn without_hidden_layers_it_is_linear_and_more_of_them_are_applied_in_order() {
        let x = || Tensor::<2>::from_data([[1.0], [-1.0]], &Device::flex());
        let values = |p: Projector| p.forward(x()).into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(values(config(&[], 1).init(1, &mut counting(), &Device::flex())), [1.0, -1.0]);
        // √2 · 1, then √2 · 2, then 3: 12 for a positive input, 0 for a negative one.
        let deep = values(config(&[1, 1], 1).init(1, &mut counting(), &Device::flex()));
        assert!((deep[0] - 12.0).abs() < 1e-5 && deep[1] == 0.0, "{deep:?}");
    }

    #[test]
    fn a_frozen_projector_takes_no_gradient_and_passes_one_on() {
        let device = Device::flex().autodiff();
        for (frozen, normalization) in
            [(true, Normalization::None), (true, Normalization::Batch), (false, Normalization::None)]
        {
            let config = ProjectorConfig { frozen, normalization, ..config(&[3], 2) };
            let projector = config.init(2, &mut counting(), &device);
            let x = Tensor::<2>::from_data([[1.0, 2.0], [3.0, -1.0]], &device).require_grad();
            let gradients = projector.forward(x.clone()).square().sum().backward();
            assert_eq!(projector.output.weight.grad(&gradients).is_none(), frozen);
            assert_eq!(projector.hidden[0].weight.grad(&gradients).is_none(), frozen);
            assert!(x.grad(&gradients).is_some());
        }
    }

    #[test]
    fn batch_normalisation_stands_in_front_of_the_relu() {
        let device = Device::flex().autodiff();
        let mut source = |n: usize| vec![1.0; n];
        let config = ProjectorConfig { normalization: Normalization::Batch, ..config(&[1], 1) };
        let projector = config.init(1, &mut source, &device);
        // Two rows are normalised to ∓1 whatever their values, up to ε; W₂ = 1.
        let x = Tensor::from_data([[10.0], [30.0]], &device);
        let out = projector.forward(x).into_data().try_to_vec::<f32>().unwrap();
        assert!(out[0] == 0.0 && (out[1] - 1.0).abs() < 1e-6, "{out:?}");
    }
}
