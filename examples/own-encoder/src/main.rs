//! An encoder of one's own, on images.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor, activation::gelu};
use cl_config::{Component, ConfigError, at_least};
use cl_experiments::Laboratory;
use cl_model::conv::{ImageEncoder, ImageShape};
use cl_model::{Encoder, EncoderConfig, StandardNormals};
use serde::{Deserialize, Serialize};

/// Two convolutions, each with batch normalisation and GELU; features are the largest values over positions.
#[derive(Module, Debug)]
struct TinyNet {
    convs: Vec<Conv2d>,
    norms: Vec<BatchNorm>,
}

/// A [`TinyNet`] before it has weights.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TinyNetConfig {
    /// Of the first convolution; the second has twice as many.
    channels: usize,
}

impl Component for TinyNetConfig {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        at_least("channels", self.channels as u64, 1)?;
        Ok(self)
    }
}

impl EncoderConfig for TinyNetConfig {
    type Encoder = TinyNet;

    // Burn's initialisers draw from the device, which is seeded with the seed of the run.
    fn init(&self, _: ImageShape, _: &mut StandardNormals<'_>, device: &Device) -> TinyNet {
        let widths = [3, self.channels, 2 * self.channels];
        let conv = |w: &[usize]| {
            let pad = PaddingConfig2d::Explicit(1, 1, 1, 1);
            Conv2dConfig::new([w[0], w[1]], [3, 3]).with_stride([2, 2]).with_padding(pad).init(device)
        };
        let norms = widths[1..].iter().map(|w| BatchNormConfig::new(*w).init(device));
        TinyNet { convs: widths.windows(2).map(conv).collect(), norms: norms.collect() }
    }
}

impl Encoder for TinyNet {
    type Input = Tensor<4>;
    type Shape = ImageShape;

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let layers = self.convs.iter().zip(&self.norms);
        let last = layers.fold(images, |x, (conv, norm)| gelu(norm.forward(conv.forward(x))));
        last.max_dim(3).max_dim(2).flatten(1, 3)
    }

    fn feature_dim(&self) -> usize {
        self.convs.last().map_or(0, |conv| conv.weight.dims()[0])
    }
}

impl ImageEncoder for TinyNet {}

fn main() -> std::process::ExitCode {
    Laboratory::standard().built_from(env!("CARGO_MANIFEST_DIR")).image_encoder::<TinyNetConfig>("tiny_net").main()
}
