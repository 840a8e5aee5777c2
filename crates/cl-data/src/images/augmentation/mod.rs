//! Two random views of each image of a batch, by tensor operations on the device of the images.
//!
//! A [`ViewPipeline`] is a list of [`Transform`]s. Those in this module and their parameters follow torchvision (the
//! mask does not), with presets from SimCLR (Chen et al. 2020); others can be added from anywhere. Parameters are drawn
//! on the host, from separate random numbers per transform, and applied to whole batches: leaving one transform out
//! does not change the numbers of the others.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use cl_data::images::ChannelStatistics;
//! use cl_data::images::augmentation::{GaussianBlur, ViewPipeline};
//! use cl_data::{Purpose, Stream};
//!
//! let images = Tensor::<4>::full([2, 3, 32, 32], 0.5, &Device::flex());
//! let statistics = ChannelStatistics { mean: [0.4; 3], std: [0.2; 3] };
//! let pipeline = ViewPipeline::simclr_cifar().with(GaussianBlur::NAME, GaussianBlur::simclr_at_32_pixels())?;
//! pipeline.fits([32, 32])?;
//! let views = pipeline.views(&images, &statistics, Stream::new(1, Purpose::ImageViews), 0);
//! assert_eq!(views.first.dims(), [2, 3, 32, 32]);
//! # Ok::<(), cl_config::ConfigError>(())
//! ```

mod color;
mod color_jitter;
mod draw_request;
mod draws;
mod gaussian_blur;
mod grayscale;
mod horizontal_flip;
mod random_mask;
mod random_resized_crop;
mod ranges;
mod resampling;
mod rows;
mod transform;
mod view_pipeline;

pub use color_jitter::{ColorChange, ColorJitter, color_changes};
pub use draw_request::DrawRequest;
pub use gaussian_blur::{GaussianBlur, gaussian_blur};
pub use grayscale::{Grayscale, grayscale};
pub use horizontal_flip::{HorizontalFlip, horizontal_flip};
pub use random_mask::{MaskPairing, PixelMask};
pub use random_resized_crop::{CropBox, RandomResizedCrop, resized_crop};
pub use transform::{Change, Transform};
pub use view_pipeline::{ImageViews, ViewPipeline};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
