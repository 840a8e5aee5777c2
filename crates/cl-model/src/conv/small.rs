//! A few 3×3 convolutions.

use super::activation::LastActivation;
use super::image_encoder::{ImageEncoder, ImageShape};
use super::layers::{ConvNorm, assert_rgb, channels, mean_pool, multiply_adds};
use super::on_host::ConvStack;
use crate::encoders::{Encoder, EncoderConfig, StandardNormals};
use crate::host_conv::Stage;
use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use cl_config::{Component, ConfigError, check};
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

impl Component for SmallConvNetConfig {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        let wanted = "one or more layers of at least 1 channel";
        let right = !self.channels.is_empty() && self.channels.iter().all(|c| *c >= 1);
        check(right, "channels", format!("{:?}", self.channels), wanted)?;
        let strides = format!("{:?}", self.strides);
        let wanted = format!("{} numbers, one per layer, each 1 or 2", self.channels.len());
        let right = self.strides.len() == self.channels.len() && self.strides.iter().all(|s| matches!(s, 1 | 2));
        check(right, "strides", strides, wanted)?;
        self.last_activation.check("last_activation")?;
        Ok(self)
    }
}

impl EncoderConfig for SmallConvNetConfig {
    type Encoder = SmallConvNet;

    fn init(&self, _: ImageShape, normals: &mut StandardNormals<'_>, device: &Device) -> SmallConvNet {
        assert_eq!(self.channels.len(), self.strides.len(), "one stride per layer");
        let inputs = std::iter::once(3).chain(self.channels.iter().copied());
        let layers = inputs.zip(&self.channels).zip(&self.strides);
        SmallConvNet {
            layers: layers.map(|((i, o), s)| ConvNorm::init([i, *o], 3, *s, normals, device)).collect(),
            last_activation: self.last_activation,
        }
    }

    fn multiply_adds(&self, shape: ImageShape) -> f64 {
        let encoder = self.init(shape, &mut |n| vec![0.0; n], &Device::flex());
        encoder.multiply_adds(shape).unwrap_or(0) as f64
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
    /// The last activation, `[B, C, H', W']`; `visit` is called with every layer's on the way.
    fn activations(&self, x: Tensor<4>, visit: &mut dyn FnMut(&str, &Tensor<4>)) -> Tensor<4> {
        assert_rgb(&x);
        let last = self.layers.len();
        self.layers.iter().zip(1..).fold(x, |x, (layer, i)| {
            let h = layer.forward(x);
            let a = if i == last { self.last_activation.forward(h) } else { relu(h) };
            visit(&format!("conv{i}"), &a);
            a
        })
    }
}

impl Encoder for SmallConvNet {
    type Input = Tensor<4>;
    type Shape = ImageShape;

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        mean_pool(self.activations(images, &mut |_, _| {}))
    }

    fn feature_dim(&self) -> usize {
        self.layers.last().map_or(3, |layer| channels(&layer.norm))
    }
}

impl ImageEncoder for SmallConvNet {
    fn forward_layers(&self, images: Tensor<4>) -> Vec<(String, Tensor<4>)> {
        let mut layers = Vec::new();
        self.activations(images, &mut |name, a| layers.push((name.into(), a.clone())));
        layers
    }

    fn first_layer_filters(&self) -> Option<Tensor<4>> {
        self.layers.first().map(|layer| layer.conv.weight.val().detach())
    }

    fn as_conv_stack(&self) -> Option<ConvStack<'_>> {
        let stages = self.layers.iter().map(|layer| Stage::Layer(layer.into())).collect();
        Some(ConvStack { stages, last_activation: self.last_activation })
    }

    fn multiply_adds(&self, shape: ImageShape) -> Option<u64> {
        let mut size = [shape.height, shape.width];
        Some(self.layers.iter().map(|layer| multiply_adds(&layer.conv, &mut size)).sum())
    }
}
