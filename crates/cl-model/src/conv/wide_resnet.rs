//! Wide residual networks.

use super::activation::LastActivation;
use super::image_encoder::{ImageEncoder, ImageShape};
use super::layers::{assert_rgb, batch_norm, channels, conv, mean_pool, multiply_adds};
use crate::encoders::{Encoder, EncoderConfig, StandardNormals};
use burn::module::Module;
use burn::nn::BatchNorm;
use burn::nn::conv::Conv2d;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use cl_config::{Component, ConfigError, check};
use serde::{Deserialize, Serialize};

/// Depth and width of a [`WideResNet`].
///
/// The default is the network of Wen & Li 2021, experiments: Wide-ResNet 34×5.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WideResNetConfig {
    /// Number of layers, 6n + 4 for n blocks per group; at least 10. Default 34.
    pub depth: usize,
    /// `k`: the three groups have 16k, 32k and 64k channels. Default 5.
    pub widen_factor: usize,
    /// Default [`LastActivation::Relu`].
    pub last_activation: LastActivation,
}

impl Default for WideResNetConfig {
    fn default() -> Self {
        Self { depth: 34, widen_factor: 5, last_activation: LastActivation::Relu }
    }
}

impl Component for WideResNetConfig {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        let right = self.depth >= 10 && (self.depth - 4).is_multiple_of(6);
        check(right, "depth", self.depth, "6n + 4 with n ≥ 1: 10, 16, 22, 28, 34, …")?;
        check(self.widen_factor >= 1, "widen_factor", self.widen_factor, "at least 1")?;
        self.last_activation.check("last_activation")?;
        Ok(self)
    }
}

impl EncoderConfig for WideResNetConfig {
    type Encoder = WideResNet;

    fn init(&self, _: ImageShape, normals: &mut StandardNormals<'_>, device: &Device) -> WideResNet {
        let blocks = (self.depth - 4) / 6;
        let [w1, w2, w3] = [16, 32, 64].map(|width| width * self.widen_factor);
        let conv1 = conv([3, 16], 3, 1, normals, device);
        let mut group = |inputs: usize, outputs: usize, stride: usize| {
            let block = |i| match i {
                0 => PreActivationBlock::init([inputs, outputs], stride, normals, device),
                _ => PreActivationBlock::init([outputs, outputs], 1, normals, device),
            };
            (0..blocks).map(block).collect()
        };
        WideResNet {
            conv1,
            block1: group(16, w1, 1),
            block2: group(w1, w2, 2),
            block3: group(w2, w3, 2),
            norm: batch_norm(w3, device),
            last_activation: self.last_activation,
        }
    }

    fn multiply_adds(&self, shape: ImageShape) -> f64 {
        let encoder = self.init(shape, &mut |n| vec![0.0; n], &Device::flex());
        encoder.multiply_adds(shape).unwrap_or(0) as f64
    }
}

/// Wide-ResNet (Zagoruyko & Komodakis 2016): three groups of pre-activation blocks, without dropout.
#[derive(Module, Debug)]
pub struct WideResNet {
    /// 3×3, stride 1, 16 channels.
    pub conv1: Conv2d,
    /// At full size.
    pub block1: Vec<PreActivationBlock>,
    /// At half the size.
    pub block2: Vec<PreActivationBlock>,
    /// At a quarter of the size.
    pub block3: Vec<PreActivationBlock>,
    /// Before the last activation.
    pub norm: BatchNorm,
    #[module(skip)]
    last_activation: LastActivation,
}

impl WideResNet {
    fn groups(&self) -> [&Vec<PreActivationBlock>; 3] {
        [&self.block1, &self.block2, &self.block3]
    }

    /// The last activation, `[B, C, H', W']`; `visit` is called with what follows the stem and each block: its output
    /// after the normalisation and the activation that come next.
    fn activations(&self, x: Tensor<4>, visit: &mut dyn FnMut(&str, &Tensor<4>)) -> Tensor<4> {
        assert_rgb(&x);
        let mut h = self.conv1.forward(x);
        let mut name = String::from("conv1");
        for (blocks, group) in self.groups().into_iter().zip(1..) {
            for (i, block) in blocks.iter().enumerate() {
                let a = relu(block.bn1.forward(h.clone()));
                visit(&name, &a);
                h = block.sum(h, a);
                name = format!("block{group}.{i}");
            }
        }
        let a = self.last_activation.forward(self.norm.forward(h));
        visit(&name, &a);
        a
    }
}

impl Encoder for WideResNet {
    type Input = Tensor<4>;
    type Shape = ImageShape;

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        mean_pool(self.activations(images, &mut |_, _| {}))
    }

    fn feature_dim(&self) -> usize {
        channels(&self.norm)
    }
}

impl ImageEncoder for WideResNet {
    fn forward_layers(&self, images: Tensor<4>) -> Vec<(String, Tensor<4>)> {
        let mut layers = Vec::new();
        self.activations(images, &mut |name, a| layers.push((name.into(), a.clone())));
        layers
    }

    fn first_layer_filters(&self) -> Option<Tensor<4>> {
        Some(self.conv1.weight.val().detach())
    }

    fn multiply_adds(&self, shape: ImageShape) -> Option<u64> {
        let mut size = [shape.height, shape.width];
        let stem = multiply_adds(&self.conv1, &mut size);
        Some(stem + self.groups().into_iter().flatten().map(|block| block.multiply_adds(&mut size)).sum::<u64>())
    }
}

/// Two 3×3 convolutions, each preceded by batch normalisation and ReLU, with a shortcut.
#[derive(Module, Debug)]
pub struct PreActivationBlock {
    /// Before `conv1`.
    pub bn1: BatchNorm,
    /// 3×3; halves the size where the block does.
    pub conv1: Conv2d,
    /// Before `conv2`.
    pub bn2: BatchNorm,
    /// 3×3, stride 1.
    pub conv2: Conv2d,
    /// 1×1 on the activated input where size or channels change.
    pub shortcut: Option<Conv2d>,
}

impl PreActivationBlock {
    fn init(channels: [usize; 2], stride: usize, normals: &mut StandardNormals<'_>, device: &Device) -> Self {
        let [inputs, outputs] = channels;
        Self {
            bn1: batch_norm(inputs, device),
            conv1: conv(channels, 3, stride, normals, device),
            bn2: batch_norm(outputs, device),
            conv2: conv([outputs, outputs], 3, 1, normals, device),
            shortcut: (stride != 1 || inputs != outputs).then(|| conv(channels, 1, stride, normals, device)),
        }
    }

    /// `conv2(relu(bn2(conv1(a)))) + shortcut`, where `a = relu(bn1(x))`; the shortcut starts from `x`, or
    /// from `a` where it is a convolution.
    fn sum(&self, x: Tensor<4>, a: Tensor<4>) -> Tensor<4> {
        let shortcut = match &self.shortcut {
            Some(shortcut) => shortcut.forward(a.clone()),
            None => x,
        };
        self.conv2.forward(relu(self.bn2.forward(self.conv1.forward(a)))) + shortcut
    }

    fn multiply_adds(&self, size: &mut [usize; 2]) -> u64 {
        let mut shortcut_size = *size;
        let shortcut = self.shortcut.as_ref().map_or(0, |conv| multiply_adds(conv, &mut shortcut_size));
        shortcut + multiply_adds(&self.conv1, size) + multiply_adds(&self.conv2, size)
    }
}
