//! Blur by a Gaussian of random width.

use super::draws::{happens, uniform};
use super::ranges::positive_interval;
use super::resampling::{Matrices, resample};
use super::rows::map_marked;
use super::transform::require_checked;
use super::{Change, DrawRequest, Transform};
use burn::tensor::Tensor;
use cl_config::{Component, ConfigError, check, probability};
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::ops::Range;

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
    /// Its name in files.
    pub const NAME: &'static str = "gaussian_blur";

    /// SimCLR's blur at 32 pixels (Chen et al. 2020, appendix A, which uses it on ImageNet only).
    pub const fn simclr_at_32_pixels() -> Self {
        Self { probability: 0.5, kernel_size: 3, sigma: [0.1, 2.0] }
    }

    /// The standard deviation for one image, if it is blurred; always uses two words of the generator.
    pub fn draw_one(&self, rng: &mut impl Rng) -> Option<f64> {
        let applied = happens(rng, self.probability);
        let sigma = uniform(rng, self.sigma);
        applied.then_some(sigma)
    }
}

impl Component for GaussianBlur {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        probability("probability", self.probability)?;
        check(self.kernel_size % 2 == 1, "kernel_size", self.kernel_size, "an odd number")?;
        positive_interval("sigma", self.sigma)?;
        Ok(self)
    }
}

impl Transform for GaussianBlur {
    fn draw(&self, batch: &DrawRequest<'_>) -> [Box<dyn Change>; 2] {
        let blur = require_checked(self);
        batch.for_each_view(|rng| blur.draw_one(rng), |sigmas| Blurs { kernel_size: blur.kernel_size, sigmas })
    }

    fn fits(&self, [height, width]: [usize; 2]) -> Result<(), ConfigError> {
        let side = height.min(width);
        let most = 2 * side - 1;
        let right = format!("at most {most}, so that half of it is smaller than images of {side} pixels");
        check(self.kernel_size / 2 < side, "kernel_size", self.kernel_size, right)
    }
}

/// The width of the blur of each blurred image, in pixels.
#[derive(Debug)]
struct Blurs {
    kernel_size: usize,
    sigmas: Vec<Option<f64>>,
}

impl Change for Blurs {
    fn apply(&self, views: Tensor<4>, range: Range<usize>) -> Tensor<4> {
        gaussian_blur(views, self.kernel_size, &self.sigmas[range])
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

/// The pixel that stands in for one outside, mirrored at the border pixel.
fn reflected(position: isize, length: usize) -> usize {
    let last = length as isize - 1;
    let position = position.abs();
    (if position > last { 2 * last - position } else { position }) as usize
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_files_hold, assert_uniform, message, stream};
    use super::*;
    use crate::Part;

    #[test]
    fn widths_are_uniform_in_their_range() {
        let mut rng = stream().rng(Part::ImageBlur, 0);
        let blur = GaussianBlur { probability: 1.0, ..GaussianBlur::simclr_at_32_pixels() };
        let sample = (0..20_000).map(|_| (blur.draw_one(&mut rng).unwrap() - 0.1) / 1.9).collect();
        assert_uniform(sample, "sigma");
    }

    #[test]
    fn half_a_kernel_has_to_be_smaller_than_the_images() {
        let blur = |kernel_size| GaussianBlur { kernel_size, ..GaussianBlur::simclr_at_32_pixels() };
        assert_eq!(blur(15).fits([8, 12]), Ok(()));
        let message = blur(17).fits([12, 8]).unwrap_err().to_string();
        let expected = "kernel_size = 17 is out of range; it has to be at most 15, so that half of it is smaller than \
                        images of 8 pixels";
        assert_eq!(message, expected);
    }

    #[test]
    fn a_file_gives_back_what_was_written() {
        let text = toml::to_string(&GaussianBlur::simclr_at_32_pixels()).unwrap();
        assert_files_hold(GaussianBlur::simclr_at_32_pixels(), &[&format!("width = 3\n{text}"), "kernel_size = 3"]);
    }

    #[test]
    fn parameters_out_of_range_are_named() {
        let blur = GaussianBlur::simclr_at_32_pixels();
        for (wrong, expected) in [
            (
                GaussianBlur { probability: 1.5, ..blur },
                "probability = 1.5 is out of range; it has to be a probability, from 0 to 1",
            ),
            (GaussianBlur { kernel_size: 4, ..blur }, "kernel_size = 4 is out of range; it has to be an odd number"),
            (
                GaussianBlur { sigma: [0.1, f64::INFINITY], ..blur },
                "sigma[1] = inf is out of range; it has to be a finite number larger than 0",
            ),
            (
                GaussianBlur { sigma: [0.0, 2.0], ..blur },
                "sigma[0] = 0 is out of range; it has to be larger than 0 and at most sigma[1]",
            ),
        ] {
            assert_eq!(message(wrong), expected);
        }
    }
}
