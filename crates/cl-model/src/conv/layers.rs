//! Layers that the encoders are made of.

use crate::encoders::StandardNormals;
use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Initializer, PaddingConfig2d};
use burn::tensor::{Device, Tensor, TensorData};

/// A convolution followed by batch normalisation.
#[derive(Module, Debug)]
pub struct ConvNorm {
    /// Without bias.
    pub conv: Conv2d,
    /// Of the convolution's output.
    pub norm: BatchNorm,
}

impl ConvNorm {
    pub(super) fn init(
        channels: [usize; 2],
        kernel: usize,
        stride: usize,
        normals: &mut StandardNormals<'_>,
        device: &Device,
    ) -> Self {
        Self { conv: conv(channels, kernel, stride, normals, device), norm: batch_norm(channels[1], device) }
    }

    /// `norm(conv(x))`.
    ///
    /// # Shapes
    /// `[B, C_in, H, W]` to `[B, C_out, ⌈H/s⌉, ⌈W/s⌉]` at stride s.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.forward(self.conv.forward(x))
    }
}

/// A tensor of the next normal numbers from the source, times `std`.
///
/// # Panics
/// When the source gives a different number of values than requested.
pub(crate) fn normal<const D: usize>(
    shape: [usize; D],
    std: f64,
    normals: &mut StandardNormals<'_>,
    device: &Device,
) -> Param<Tensor<D>> {
    let count = shape.iter().product();
    let mut values = normals(count);
    assert_eq!(values.len(), count, "a source of normal numbers must give as many as asked for");
    values.iter_mut().for_each(|v| *v *= std as f32);
    Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), device))
}

/// A convolution `[C_in, C_out]` without bias that keeps the size at stride 1; kernels `N(0, 2/(k² C_out))`.
pub(super) fn conv(
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    normals: &mut StandardNormals<'_>,
    device: &Device,
) -> Conv2d {
    let [inputs, outputs] = channels;
    let pad = kernel / 2;
    let mut conv = Conv2dConfig::new(channels, [kernel, kernel])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
        .with_bias(false)
        .with_initializer(Initializer::Zeros)
        .init(device);
    let std = (2.0 / (kernel * kernel * outputs) as f64).sqrt();
    conv.weight = normal([outputs, inputs, kernel, kernel], std, normals, device);
    conv
}

pub(crate) fn batch_norm(channels: usize, device: &Device) -> BatchNorm {
    BatchNormConfig::new(channels).init(device)
}

/// Number of channels of a normalisation.
pub(super) fn channels(norm: &BatchNorm) -> usize {
    norm.gamma.dims()[0]
}

/// The mean over positions, `[B, C, H, W]` to `[B, C]`.
pub(super) fn mean_pool(activations: Tensor<4>) -> Tensor<2> {
    let [b, c, h, w] = activations.dims();
    activations.reshape([b, c, h * w]).mean_dim(2).squeeze_dim(2)
}

/// Multiply-adds of a convolution on one image of `size = [H, W]`, which becomes the size of its output.
pub(super) fn multiply_adds(conv: &Conv2d, size: &mut [usize; 2]) -> u64 {
    for (length, stride) in size.iter_mut().zip(conv.stride) {
        *length = length.div_ceil(stride);
    }
    conv.weight.dims().iter().chain(size.iter()).map(|v| *v as u64).product()
}

/// # Panics
/// When the images do not have three channels.
pub(super) fn assert_rgb(images: &Tensor<4>) {
    let dims = images.dims();
    assert_eq!(dims[1], 3, "images must be [B, 3, H, W], not {dims:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initial_kernels_have_the_fan_out_variance() {
        // The mean square of n standard normal numbers has a standard deviation of √(2/n), 1.1 % here;
        // the source alternates ±1, for which it is exact.
        let mut source = |n: usize| (0..n).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect::<Vec<f32>>();
        let conv = conv([8, 32], 3, 2, &mut source, &Device::flex());
        assert_eq!(conv.weight.dims(), [32, 8, 3, 3]);
        let mean_square = conv.weight.val().square().mean().into_scalar::<f64>();
        assert!((mean_square - 2.0 / (9.0 * 32.0)).abs() < 1e-8, "{mean_square}");
    }

    #[test]
    fn multiply_adds_count_every_product_of_a_strided_convolution() {
        let mut source = |n: usize| vec![0.0; n];
        let conv = conv([3, 32], 3, 2, &mut source, &Device::flex());
        let mut size = [32, 16];
        // 16 × 8 outputs of 32 channels, 27 products each.
        assert_eq!(multiply_adds(&conv, &mut size), 16 * 8 * 32 * 27);
        assert_eq!(size, [16, 8]);
        let out = conv.forward(Tensor::zeros([1, 3, 32, 16], &Device::flex()));
        assert_eq!(out.dims(), [1, 32, 16, 8]);
    }
}
