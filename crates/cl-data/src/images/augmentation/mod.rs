//! Two random views of each image of a batch, by tensor operations on the device of the images.
//!
//! The operations and their parameters are torchvision's, the defaults those of SimCLR (Chen et al. 2020).
//! Parameters are drawn on the host, one address of randomness per operation, and applied to whole batches:
//! turning one operation off leaves the numbers of the others as they are.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use cl_data::images::ChannelStatistics;
//! use cl_data::images::augmentation::ImageAugmentation;
//! use cl_data::{Purpose, Stream};
//!
//! let images = Tensor::<4>::full([2, 3, 32, 32], 0.5, &Device::flex());
//! let statistics = ChannelStatistics { mean: [0.4; 3], std: [0.2; 3] };
//! let views = ImageAugmentation::simclr_cifar().views(&images, &statistics, Stream::new(1, Purpose::ImageViews), 0);
//! assert_eq!(views.first.dims(), [2, 3, 32, 32]);
//! ```

mod color;
mod color_jitter;
mod draws;
mod gaussian_blur;
mod grayscale;
mod horizontal_flip;
mod random_mask;
mod random_resized_crop;
mod ranges;
mod resampling;
mod rows;
mod view_parameters;

pub use color_jitter::{ColorChange, ColorJitter, color_changes};
pub use gaussian_blur::{GaussianBlur, gaussian_blur};
pub use grayscale::{Grayscale, grayscale};
pub use horizontal_flip::{HorizontalFlip, horizontal_flip};
pub use random_mask::{MaskPairing, PixelMask};
pub use random_resized_crop::{CropBox, RandomResizedCrop, resized_crop};
pub use view_parameters::ViewParameters;

use super::ChannelStatistics;
use crate::{DataError, Stream};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// What makes two views of an image: the operations in the order in which they are applied.
///
/// An operation that is absent is not applied. Between `gaussian_blur` and `random_mask` views are
/// normalised, always. Colours are in [0, 1] before that, and every change of colour clamps to this range.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageAugmentation {
    /// A random part of the image, brought back to its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_resized_crop: Option<RandomResizedCrop>,
    /// Left and right exchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub horizontal_flip: Option<HorizontalFlip>,
    /// Brightness, contrast, saturation and hue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color_jitter: Option<ColorJitter>,
    /// Colour taken away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grayscale: Option<Grayscale>,
    /// Blur of random width.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gaussian_blur: Option<GaussianBlur>,
    /// RandomMask on the pixels of the normalised views.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_mask: Option<PixelMask>,
}

/// Two views of the same images, normalised.
///
/// # Shapes
/// Both `[B, 3, h, w]`; row `i` of one belongs to row `i` of the other.
#[derive(Debug, Clone)]
pub struct ImageViews {
    /// `x⁺`.
    pub first: Tensor<4>,
    /// `x⁺⁺`.
    pub second: Tensor<4>,
}

/// Images whose views are made together: their intermediate values stay in a core's cache.
const IMAGES_PER_CHUNK: usize = 32;

impl ImageAugmentation {
    /// Both views are the normalised image.
    pub const fn none() -> Self {
        Self {
            random_resized_crop: None,
            horizontal_flip: None,
            color_jitter: None,
            grayscale: None,
            gaussian_blur: None,
            random_mask: None,
        }
    }

    /// SimCLR's on CIFAR-10 (Chen et al. 2020, appendices A and B.9): crop, flip, colour distortion of
    /// strength ½ and greyscale, no blur.
    pub const fn simclr_cifar() -> Self {
        Self {
            random_resized_crop: Some(RandomResizedCrop::simclr()),
            horizontal_flip: Some(HorizontalFlip { probability: 0.5 }),
            color_jitter: Some(ColorJitter::simclr_cifar()),
            grayscale: Some(Grayscale { probability: 0.2 }),
            ..Self::none()
        }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`DataError::OutOfRange`] naming operation and key.
    pub fn validated(self) -> Result<Self, DataError> {
        self.random_resized_crop.as_ref().map_or(Ok(()), RandomResizedCrop::validate)?;
        self.horizontal_flip.as_ref().map_or(Ok(()), HorizontalFlip::validate)?;
        self.color_jitter.as_ref().map_or(Ok(()), ColorJitter::validate)?;
        self.grayscale.as_ref().map_or(Ok(()), Grayscale::validate)?;
        self.gaussian_blur.as_ref().map_or(Ok(()), GaussianBlur::validate)?;
        self.random_mask.as_ref().map_or(Ok(()), PixelMask::validate)?;
        Ok(self)
    }

    /// Two views of each image.
    ///
    /// A function of its arguments alone; the views of an image depend on its place in the batch and not on
    /// the other images. Views are computed and returned without autodiff,
    /// also where the images are on a device with autodiff. Operations with tensors under autodiff take
    /// them as constants; [`Tensor::autodiff`] puts them under autodiff where a caller needs that.
    ///
    /// # Shapes
    /// Images `[B, 3, h, w]` in [0, 1].
    ///
    /// # Panics
    /// When parameters are out of range, see [`validated`](Self::validated), when there are not three
    /// channels, or when images are not larger than half a blur's kernel.
    pub fn views(&self, images: &Tensor<4>, statistics: &ChannelStatistics, stream: Stream, step: u64) -> ImageViews {
        let [first, second] = self.chunks_of_views(images, statistics, stream, step, IMAGES_PER_CHUNK);
        ImageViews { first: Tensor::cat(first, 0), second: Tensor::cat(second, 0) }
    }

    /// The same views as one tensor, for one pass through a network.
    ///
    /// # Shapes
    /// Images `[B, 3, h, w]` in [0, 1] to `[2B, 3, h, w]`: first all first views, then all second views.
    ///
    /// # Panics
    /// As [`views`](Self::views).
    pub fn stacked_views(
        &self,
        images: &Tensor<4>,
        statistics: &ChannelStatistics,
        stream: Stream,
        step: u64,
    ) -> Tensor<4> {
        self.stacked_views_in_chunks(images, statistics, stream, step, IMAGES_PER_CHUNK)
    }

    /// The same, with the number of images (at least 1) that go through the operations together.
    ///
    /// A processor is fastest where a chunk fits its cache (32 images, the default of the other two), a
    /// graphics card with the whole batch at once. Values differ by rounding at most.
    ///
    /// # Panics
    /// As [`views`](Self::views), and when `images_per_chunk` is 0.
    pub fn stacked_views_in_chunks(
        &self,
        images: &Tensor<4>,
        statistics: &ChannelStatistics,
        stream: Stream,
        step: u64,
        images_per_chunk: usize,
    ) -> Tensor<4> {
        let chunks = self.chunks_of_views(images, statistics, stream, step, images_per_chunk);
        Tensor::cat(chunks.into_iter().flatten().collect(), 0)
    }

    fn chunks_of_views(
        &self,
        images: &Tensor<4>,
        statistics: &ChannelStatistics,
        stream: Stream,
        step: u64,
        images_per_chunk: usize,
    ) -> [Vec<Tensor<4>>; 2] {
        assert!(images_per_chunk > 0, "images_per_chunk = 0, but it has to be at least 1");
        let images = images.clone().inner();
        let [count, _, height, width] = images.dims();
        ViewParameters::draw(self, count, [height, width], stream, step).map(|parameters| {
            (0..count)
                .step_by(images_per_chunk)
                .map(|start| {
                    let range = start..count.min(start + images_per_chunk);
                    parameters.apply(images.clone().slice([range.clone()]), range, statistics)
                })
                .collect()
        })
    }
}

#[cfg(test)]
mod tests;
