//! A few 3×3 convolutions.

use super::activation::LastActivation;
use super::layers::{ConvNorm, StandardNormals, assert_rgb, channels, multiply_adds};
use crate::config_error::{ConfigError, check};
use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

/// Channels and strides of a [`SmallConvNet`].
///
/// The default, 32–64–128 channels at stride 2 each, costs 2.6 million multiply-adds per 32×32 image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmallConvNetConfig {
    /// Output channels of each layer; at least one layer.
    pub channels: Vec<usize>,
    /// Stride of each layer, 1 or 2.
    pub strides: Vec<usize>,
    /// Default [`LastActivation::Relu`].
    pub last_activation: LastActivation,
}

impl Default for SmallConvNetConfig {
    fn default() -> Self {
        Self { channels: vec![32, 64, 128], strides: vec![2, 2, 2], last_activation: LastActivation::Relu }
    }
}

impl SmallConvNetConfig {
    /// Checks every range.
    ///
    /// # Errors
    /// [`ConfigError`] naming key, value and what would be right.
    pub fn validated(self) -> Result<Self, ConfigError> {
        let wanted = "one or more layers of at least 1 channel";
        let right = !self.channels.is_empty() && self.channels.iter().all(|c| *c >= 1);
        check(right, "small_conv_net.channels", format!("{:?}", self.channels), wanted)?;
        let strides = format!("{:?}", self.strides);
        let wanted = format!("{} numbers, one per layer, each 1 or 2", self.channels.len());
        let right = self.strides.len() == self.channels.len() && self.strides.iter().all(|s| matches!(s, 1 | 2));
        check(right, "small_conv_net.strides", strides, wanted)?;
        self.last_activation.check("small_conv_net.last_activation")?;
        Ok(self)
    }

    /// A network with initial weights from `normals`.
    ///
    /// # Panics
    /// When the configuration has not been validated.
    pub fn init(&self, normals: &mut StandardNormals<'_>, device: &Device) -> SmallConvNet {
        assert_eq!(self.channels.len(), self.strides.len(), "one stride per layer");
        let inputs = std::iter::once(3).chain(self.channels.iter().copied());
        let layers = inputs.zip(&self.channels).zip(&self.strides);
        SmallConvNet {
            layers: layers.map(|((i, o), s)| ConvNorm::init([i, *o], 3, *s, normals, device)).collect(),
            last_activation: self.last_activation,
        }
    }
}

/// 3×3 convolutions without bias, each followed by batch normalisation and a ReLU.
///
/// Not in the paper: a network that two CPU cores can train.
#[derive(Module, Debug)]
pub struct SmallConvNet {
    /// In order.
    pub layers: Vec<ConvNorm>,
    #[module(skip)]
    last_activation: LastActivation,
}

impl SmallConvNet {
    /// The last activation, `[B, C, H', W']`; `visit` sees every layer's on the way.
    pub(super) fn activations(&self, x: Tensor<4>, visit: &mut dyn FnMut(&str, &Tensor<4>)) -> Tensor<4> {
        assert_rgb(&x);
        let last = self.layers.len();
        self.layers.iter().zip(1..).fold(x, |x, (layer, i)| {
            let h = layer.forward(x);
            let a = if i == last { self.last_activation.forward(h) } else { relu(h) };
            visit(&format!("conv{i}"), &a);
            a
        })
    }

    pub(super) fn feature_dim(&self) -> usize {
        self.layers.last().map_or(3, |layer| channels(&layer.norm))
    }

    pub(super) fn multiply_adds(&self, mut size: [usize; 2]) -> u64 {
        self.layers.iter().map(|layer| multiply_adds(&layer.conv, &mut size)).sum()
    }
}
