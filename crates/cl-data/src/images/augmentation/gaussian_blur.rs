//! Blur by a Gaussian of random width.

use super::draws::{happens, uniform};
use super::ranges::{require, require_positive_interval, require_probability};
use super::resampling::{Matrices, resample};
use super::rows::map_marked;
use crate::DataError;
use burn::tensor::Tensor;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// Blurs an image with a probability, as torchvision's `GaussianBlur` inside `RandomApply`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GaussianBlur {
    /// Probability per view, in [0, 1]. SimCLR on ImageNet: ½; none on CIFAR-10.
    pub probability: f64,
    /// Width and height of the kernel in pixels, odd, with half of it smaller than the image. SimCLR: a
    /// tenth of the image, 3 for 32 pixels.
    pub kernel_size: usize,
    /// Smallest and largest standard deviation in pixels, in (0, ∞). SimCLR: 0.1 and 2.
    pub sigma: [f64; 2],
}

impl GaussianBlur {
    /// SimCLR's blur at 32 pixels (Chen et al. 2020, appendix A, which uses it on ImageNet only).
    pub const fn simclr_at_32_pixels() -> Self {
        Self { probability: 0.5, kernel_size: 3, sigma: [0.1, 2.0] }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`DataError::OutOfRange`] naming the key.
    pub fn validate(&self) -> Result<(), DataError> {
        require_probability("gaussian_blur.probability", self.probability)?;
        let size = self.kernel_size;
        require(size % 2 == 1, "gaussian_blur.kernel_size", size as f64, "1, 3, 5, …")?;
        let names = ["gaussian_blur.sigma[0]", "gaussian_blur.sigma[1]"];
        require_positive_interval(names, self.sigma, "(0, gaussian_blur.sigma[1]]")
    }

    /// The standard deviation for one image, if it is blurred; always two words of the generator.
    pub fn draw(&self, rng: &mut impl Rng) -> Option<f64> {
        let applied = happens(rng, self.probability);
        let sigma = uniform(rng, self.sigma);
        applied.then_some(sigma)
    }
}

/// Blurs each image that has a standard deviation (in pixels), reflecting at the borders.
///
/// The kernel is `exp(−t² / 2σ²)` at the pixels `|t| ≤ kernel_size / 2`, normalised, along both axes.
///
/// # Shapes
/// `[n, c, h, w]` and `n` entries to `[n, c, h, w]`.
///
/// # Panics
/// When there is not one entry per image, the kernel size is even, or half of it is not smaller than the image.
pub fn gaussian_blur(images: Tensor<4>, kernel_size: usize, sigmas: &[Option<f64>]) -> Tensor<4> {
    let [_, _, height, width] = images.dims();
    assert!(
        kernel_size % 2 == 1 && kernel_size / 2 < height.min(width),
        "a kernel of {kernel_size} pixels on images of {height} × {width}; it has to be odd, and half of it smaller"
    );
    map_marked(images, sigmas.iter().map(Option::is_some), |images, marked| {
        let kernels = || marked.iter().filter_map(|&image| sigmas[image]).map(|sigma| kernel(kernel_size, sigma));
        resample(images, blurs(kernels(), marked.len(), height), blurs(kernels(), marked.len(), width))
    })
}

fn kernel(size: usize, sigma: f64) -> Vec<f64> {
    let half = (size / 2) as f64;
    let values: Vec<f64> = (0..size).map(|t| (-0.5 * ((t as f64 - half) / sigma).powi(2)).exp()).collect();
    let total: f64 = values.iter().sum();
    values.iter().map(|value| value / total).collect()
}

/// The matrix of each kernel along an axis, `[count, length, length]`.
fn blurs(kernels: impl Iterator<Item = Vec<f64>>, count: usize, length: usize) -> Matrices {
    let mut matrices = Matrices::zeros(count, length, length);
    for (matrix, kernel) in matrices.iter_mut().zip(kernels) {
        let half = kernel.len() / 2;
        for (i, row) in matrix.chunks_exact_mut(length).enumerate() {
            for (t, weight) in kernel.iter().enumerate() {
                row[reflected(i as isize + t as isize - half as isize, length)] += *weight as f32;
            }
        }
    }
    matrices
}

/// The pixel that stands in for one outside, the border pixel itself being the mirror.
fn reflected(position: isize, length: usize) -> usize {
    let last = length as isize - 1;
    let position = position.abs();
    (if position > last { 2 * last - position } else { position }) as usize
}
