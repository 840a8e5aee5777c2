//! A multi-layer perceptron for vectors.

use super::{Encoder, EncoderConfig, StandardNormals, VectorEncoder, VectorShape};
use crate::projector::linear;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use cl_config::{Component, ConfigError, at_least, check};
use serde::{Deserialize, Serialize};

/// Sizes of an [`Mlp`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpConfig {
    /// Units of each layer, starting from the input; the last ones are the features. At least one layer.
    pub layer_dims: Vec<usize>,
}

impl Component for MlpConfig {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        check(!self.layer_dims.is_empty(), "layer_dims", "[]", "one or more layers")?;
        for (i, units) in self.layer_dims.iter().enumerate() {
            at_least(&format!("layer_dims[{i}]"), *units as u64, 1)?;
        }
        Ok(self)
    }
}

impl EncoderConfig for MlpConfig {
    type Encoder = Mlp;

    /// Weights `N(0, 2/n)` for n inputs (He et al. 2015), biases 0.
    fn init(&self, shape: VectorShape, normals: &mut StandardNormals<'_>, device: &Device) -> Mlp {
        let inputs = std::iter::once(shape.dim).chain(self.layer_dims.iter().copied());
        let layers = inputs.zip(&self.layer_dims).map(|(i, o)| linear([i, *o], 2.0, normals, device));
        Mlp { layers: layers.collect() }
    }

    fn multiply_adds(&self, shape: VectorShape) -> f64 {
        let inputs = std::iter::once(shape.dim).chain(self.layer_dims.iter().copied());
        inputs.zip(&self.layer_dims).map(|(i, o)| i as f64 * *o as f64).sum()
    }
}

/// Linear layers, each followed by a ReLU: `relu(W_L … relu(W_1 x + b_1) … + b_L)`.
///
/// Not in the paper, whose encoder has one layer and both arms of a symmetrised ReLU.
#[derive(Module, Debug)]
pub struct Mlp {
    /// In order.
    pub layers: Vec<Linear>,
}

impl Encoder for Mlp {
    type Input = Tensor<2>;
    type Shape = VectorShape;

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.layers.iter().fold(x, |x, layer| relu(layer.forward(x)))
    }

    fn feature_dim(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.weight.dims()[1])
    }
}

impl VectorEncoder for Mlp {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_follow_each_other_with_a_relu_behind_each() {
        let shape = VectorShape { dim: 2, code_dim: 1 };
        let config = MlpConfig { layer_dims: vec![2, 1] }.checked().unwrap();
        // W₁ = [[1, −1], [1, −1]], W₂ = [1, −1]ᵀ, both times √(2/2): relu(relu(s) − relu(−s)) for s = x₁ + x₂.
        let mut source = |n: usize| (0..n).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect::<Vec<f32>>();
        let mlp = config.init(shape, &mut source, &Device::flex());
        let x = Tensor::from_data([[1.0, 2.0], [-1.0, -2.0]], &Device::flex());
        assert_eq!(mlp.forward(x).into_data().try_to_vec::<f32>().unwrap(), [3.0, 0.0]);
        assert_eq!((mlp.feature_dim(), config.multiply_adds(shape)), (1, 6.0));
    }

    #[test]
    fn wrong_sizes_are_refused_by_name() {
        let refused = |layer_dims: Vec<usize>| MlpConfig { layer_dims }.checked().unwrap_err().to_string();
        assert!(refused(vec![]).starts_with("layer_dims = [] "));
        assert!(refused(vec![4, 0]).starts_with("layer_dims[1] = 0 "));
    }
}
