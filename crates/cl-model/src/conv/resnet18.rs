//! ResNet-18 for small images.

use super::activation::LastActivation;
use super::image_encoder::{ImageEncoder, ImageShape};
use super::layers::{ConvNorm, assert_rgb, batch_norm, channels, conv, mean_pool, multiply_adds};
use super::on_host::{ConvAndNorm, ConvStack};
use crate::encoders::{Encoder, EncoderConfig, StandardNormals};
use crate::host_conv::Stage;
use burn::module::Module;
use burn::nn::BatchNorm;
use burn::nn::conv::Conv2d;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use cl_config::{Component, ConfigError, check};
use serde::{Deserialize, Serialize};

/// Width and last activation of a [`ResNet18`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResNet18Config {
    /// Channels of the first stage; the four stages have 1, 2, 4 and 8 times as many. Default 64.
    pub width: usize,
    /// Default [`LastActivation::Relu`].
    pub last_activation: LastActivation,
}

impl Default for ResNet18Config {
    fn default() -> Self {
        Self { width: 64, last_activation: LastActivation::Relu }
    }
}

impl Component for ResNet18Config {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        check(self.width >= 1, "width", self.width, "at least 1")?;
        self.last_activation.check("last_activation")?;
        Ok(self)
    }
}

impl EncoderConfig for ResNet18Config {
    type Encoder = ResNet18;

    fn init(&self, _: ImageShape, normals: &mut StandardNormals<'_>, device: &Device) -> ResNet18 {
        let w = self.width;
        let conv1 = conv([3, w], 3, 1, normals, device);
        let mut stage = |inputs: usize, outputs: usize, stride: usize| {
            vec![
                BasicBlock::init([inputs, outputs], stride, normals, device),
                BasicBlock::init([outputs, outputs], 1, normals, device),
            ]
        };
        ResNet18 {
            conv1,
            bn1: batch_norm(w, device),
            layer1: stage(w, w, 1),
            layer2: stage(w, 2 * w, 2),
            layer3: stage(2 * w, 4 * w, 2),
            layer4: stage(4 * w, 8 * w, 2),
            last_activation: self.last_activation,
        }
    }

    fn multiply_adds(&self, shape: ImageShape) -> f64 {
        let encoder = self.init(shape, &mut |n| vec![0.0; n], &Device::flex());
        encoder.multiply_adds(shape).unwrap_or(0) as f64
    }
}

/// ResNet-18 (He et al. 2016) as is usual for 32×32 images: the first convolution is 3×3 at stride 1 and no pooling
/// follows it.
///
/// Fields have torchvision's names, except that `downsample.0` and `.1` are `conv` and `norm`.
#[derive(Module, Debug)]
pub struct ResNet18 {
    /// 3×3, stride 1.
    pub conv1: Conv2d,
    /// After `conv1`.
    pub bn1: BatchNorm,
    /// Two blocks at full size.
    pub layer1: Vec<BasicBlock>,
    /// Two blocks at half the size.
    pub layer2: Vec<BasicBlock>,
    /// Two blocks at a quarter of the size.
    pub layer3: Vec<BasicBlock>,
    /// Two blocks at an eighth of the size.
    pub layer4: Vec<BasicBlock>,
    #[module(skip)]
    last_activation: LastActivation,
}

impl ResNet18 {
    fn stages(&self) -> [&Vec<BasicBlock>; 4] {
        [&self.layer1, &self.layer2, &self.layer3, &self.layer4]
    }

    /// The last activation, `[B, C, H', W']`; `visit` is called with the stem's and every block's on the way.
    fn activations(&self, x: Tensor<4>, visit: &mut dyn FnMut(&str, &Tensor<4>)) -> Tensor<4> {
        assert_rgb(&x);
        let mut a = relu(self.bn1.forward(self.conv1.forward(x)));
        visit("conv1", &a);
        for (stage, blocks) in self.stages().into_iter().enumerate() {
            for (i, block) in blocks.iter().enumerate() {
                let h = block.sum(a);
                let is_last = stage == 3 && i + 1 == blocks.len();
                a = if is_last { self.last_activation.forward(h) } else { relu(h) };
                visit(&format!("layer{}.{i}", stage + 1), &a);
            }
        }
        a
    }
}

impl Encoder for ResNet18 {
    type Input = Tensor<4>;
    type Shape = ImageShape;

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        mean_pool(self.activations(images, &mut |_, _| {}))
    }

    fn feature_dim(&self) -> usize {
        self.layer4.last().map_or(0, |block| channels(&block.bn2))
    }
}

impl ImageEncoder for ResNet18 {
    fn forward_layers(&self, images: Tensor<4>) -> Vec<(String, Tensor<4>)> {
        let mut layers = Vec::new();
        self.activations(images, &mut |name, a| layers.push((name.into(), a.clone())));
        layers
    }

    fn first_layer_filters(&self) -> Option<Tensor<4>> {
        Some(self.conv1.weight.val().detach())
    }

    fn as_conv_stack(&self) -> Option<ConvStack<'_>> {
        let stem = Stage::Layer(ConvAndNorm { conv: &self.conv1, norm: &self.bn1 });
        let blocks = self.stages().into_iter().flatten().map(BasicBlock::as_stage);
        Some(ConvStack { stages: std::iter::once(stem).chain(blocks).collect(), last_activation: self.last_activation })
    }

    fn multiply_adds(&self, shape: ImageShape) -> Option<u64> {
        let mut size = [shape.height, shape.width];
        let stem = multiply_adds(&self.conv1, &mut size);
        Some(stem + self.stages().into_iter().flatten().map(|block| block.multiply_adds(&mut size)).sum::<u64>())
    }
}

/// Two 3×3 convolutions with a shortcut.
#[derive(Module, Debug)]
pub struct BasicBlock {
    /// 3×3; halves the size where the block does.
    pub conv1: Conv2d,
    /// After `conv1`.
    pub bn1: BatchNorm,
    /// 3×3, stride 1.
    pub conv2: Conv2d,
    /// After `conv2`.
    pub bn2: BatchNorm,
    /// 1×1 on the shortcut where size or channels change.
    pub downsample: Option<ConvNorm>,
}

impl BasicBlock {
    fn init(channels: [usize; 2], stride: usize, normals: &mut StandardNormals<'_>, device: &Device) -> Self {
        let [inputs, outputs] = channels;
        Self {
            conv1: conv(channels, 3, stride, normals, device),
            bn1: batch_norm(outputs, device),
            conv2: conv([outputs, outputs], 3, 1, normals, device),
            bn2: batch_norm(outputs, device),
            downsample: (stride != 1 || inputs != outputs)
                .then(|| ConvNorm::init(channels, 1, stride, normals, device)),
        }
    }

    fn as_stage(&self) -> Stage<ConvAndNorm<'_>> {
        let first = ConvAndNorm { conv: &self.conv1, norm: &self.bn1 };
        let second = ConvAndNorm { conv: &self.conv2, norm: &self.bn2 };
        Stage::Residual { layers: [first, second], shortcut: self.downsample.as_ref().map(Into::into) }
    }

    /// `bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x)`, before the block's last activation.
    fn sum(&self, x: Tensor<4>) -> Tensor<4> {
        let h = relu(self.bn1.forward(self.conv1.forward(x.clone())));
        let h = self.bn2.forward(self.conv2.forward(h));
        let shortcut = match &self.downsample {
            Some(downsample) => downsample.forward(x),
            None => x,
        };
        h + shortcut
    }

    fn multiply_adds(&self, size: &mut [usize; 2]) -> u64 {
        let mut shortcut_size = *size;
        let shortcut = self.downsample.as_ref().map_or(0, |d| multiply_adds(&d.conv, &mut shortcut_size));
        shortcut + multiply_adds(&self.conv1, size) + multiply_adds(&self.conv2, size)
    }
}
