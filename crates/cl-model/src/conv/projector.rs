//! The network between features and the loss.

use super::layers::{StandardNormals, batch_norm, normal};
use crate::Normalization;
use crate::config_error::{ConfigError, check};
use burn::module::{Module, Param};
use burn::nn::{BatchNorm, Initializer, Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

/// Sizes of a [`Projector`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectorConfig {
    /// Hidden units.
    pub hidden_dim: usize,
    /// Coordinates of the embedding that the loss sees.
    pub output_dim: usize,
    /// In front of the ReLU. Default [`Normalization::None`].
    #[serde(default)]
    pub normalization: Normalization,
}

impl ProjectorConfig {
    /// Checks every range.
    ///
    /// # Errors
    /// [`ConfigError`] naming key, value and what would be right.
    pub fn validated(self) -> Result<Self, ConfigError> {
        check(self.hidden_dim >= 1, "hidden_dim", self.hidden_dim, "at least 1")?;
        check(self.output_dim >= 1, "output_dim", self.output_dim, "at least 1")?;
        Ok(self)
    }

    /// A projector of features `[B, feature_dim]`: weights `N(0, 2/n)` in front of the ReLU and `N(0, 1/n)`
    /// behind it, for n inputs (He et al. 2015), biases 0.
    pub fn init(&self, feature_dim: usize, normals: &mut StandardNormals<'_>, device: &Device) -> Projector {
        Projector {
            hidden: linear([feature_dim, self.hidden_dim], 2.0, normals, device),
            norm: match self.normalization {
                Normalization::None => None,
                Normalization::Batch => Some(batch_norm(self.hidden_dim, device)),
            },
            output: linear([self.hidden_dim, self.output_dim], 1.0, normals, device),
        }
    }
}

fn linear(dims: [usize; 2], gain: f64, normals: &mut StandardNormals<'_>, device: &Device) -> Linear {
    let mut linear = LinearConfig::new(dims[0], dims[1]).with_initializer(Initializer::Zeros).init(device);
    linear.weight = normal(dims, (gain / dims[0] as f64).sqrt(), normals, device);
    linear.bias = Some(Param::from_tensor(Tensor::zeros([dims[1]], device)));
    linear
}

/// `W₂ relu(norm(W₁ x + b₁)) + b₂`, the projection head of SimCLR (Chen et al. 2020).
#[derive(Module, Debug)]
pub struct Projector {
    /// `W₁`, `b₁`.
    pub hidden: Linear,
    /// In front of the ReLU, if any.
    pub norm: Option<BatchNorm>,
    /// `W₂`, `b₂`.
    pub output: Linear,
}

impl Projector {
    /// `[B, feature_dim]` to `[B, output_dim]`.
    pub fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        let h = self.hidden.forward(features);
        let h = match &self.norm {
            Some(norm) => norm.forward(h),
            None => h,
        };
        self.output.forward(relu(h))
    }

    /// Multiply-adds of the forward pass of one image.
    pub fn multiply_adds(&self) -> u64 {
        let count = |linear: &Linear| linear.weight.dims().iter().product::<usize>() as u64;
        count(&self.hidden) + count(&self.output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_two_layers_with_a_relu_between() {
        // The source counts 1, 2, 3, …: W₁ = [[1, 2], [3, 4]] · √(2/2), W₂ = [5, 6]ᵀ · √(1/2).
        let mut next = 0;
        let mut source = |n: usize| {
            (0..n)
                .map(|_| {
                    next += 1;
                    next as f32
                })
                .collect::<Vec<f32>>()
        };
        let config = ProjectorConfig { hidden_dim: 2, output_dim: 1, normalization: Normalization::None };
        let projector = config.init(2, &mut source, &Device::flex());
        let x = Tensor::from_data([[1.0, 1.0], [2.0, -1.0]], &Device::flex());
        let out = projector.forward(x).into_data().try_to_vec::<f32>().unwrap();
        // Row 1: relu(4, 6); row 2: relu(−1, 0).
        assert!((out[0] - 56.0 / 2f32.sqrt()).abs() < 1e-4 && out[1] == 0.0, "{out:?}");
        assert_eq!(projector.multiply_adds(), 6);
    }

    #[test]
    fn batch_normalisation_stands_in_front_of_the_relu() {
        let device = Device::flex().autodiff();
        let mut source = |n: usize| vec![1.0; n];
        let config = ProjectorConfig { hidden_dim: 1, output_dim: 1, normalization: Normalization::Batch };
        let projector = config.init(1, &mut source, &device);
        // Two rows are normalised to ∓1 whatever their values, up to ε; W₂ = 1.
        let x = Tensor::from_data([[10.0], [30.0]], &device);
        let out = projector.forward(x).into_data().try_to_vec::<f32>().unwrap();
        assert!(out[0] == 0.0 && (out[1] - 1.0).abs() < 1e-6, "{out:?}");
    }
}
