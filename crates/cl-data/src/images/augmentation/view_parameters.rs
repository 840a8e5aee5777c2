//! Everything random about one view of each image of a batch.

use super::color_jitter::{ColorChange, color_changes};
use super::gaussian_blur::gaussian_blur;
use super::grayscale::grayscale;
use super::random_resized_crop::{CropBox, crop_and_flip};
use super::{GaussianBlur, ImageAugmentation};
use crate::images::ChannelStatistics;
use crate::{Matrix, Part, Stream};
use burn::tensor::{Tensor, TensorData};
use rand::rngs::ChaCha8Rng;
use std::ops::Range;

/// The drawn parameters of one view of each image; an operation that is off has none.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewParameters {
    /// What is cut out.
    pub boxes: Option<Vec<CropBox>>,
    /// Which images are mirrored.
    pub flips: Option<Vec<bool>>,
    /// How colours change, in order.
    pub color_changes: Option<Vec<Option<[ColorChange; 4]>>>,
    /// Which images become grey.
    pub grayscales: Option<Vec<bool>>,
    /// The blur, with its kernel size, and the standard deviation for each image that is blurred.
    pub blur: Option<(usize, Vec<Option<f64>>)>,
    /// What each normalised pixel is multiplied by, `[B, h·w]`.
    pub mask: Option<Matrix>,
}

impl ViewParameters {
    /// The parameters of both views of each image of a batch.
    ///
    /// Each operation draws from a generator of its own, image by image, the first view of an image before
    /// the second, the same number of words for each.
    ///
    /// # Panics
    /// When parameters of the augmentation are out of range.
    pub fn draw(
        augmentation: &ImageAugmentation,
        images: usize,
        size: [usize; 2],
        stream: Stream,
        step: u64,
    ) -> [Self; 2] {
        let augmentation = augmentation.validated().unwrap_or_else(|error| panic!("{error}"));
        let rng = |part| stream.rng(part, step);
        let boxes = augmentation
            .random_resized_crop
            .map(|crop| for_two_views(images, rng(Part::ImageCrop), |rng| crop.draw(size, rng)));
        let flips =
            augmentation.horizontal_flip.map(|flip| for_two_views(images, rng(Part::ImageFlip), |rng| flip.draw(rng)));
        let color_changes = augmentation
            .color_jitter
            .map(|jitter| for_two_views(images, rng(Part::ImageColorJitter), |rng| jitter.draw(rng)));
        let grayscales =
            augmentation.grayscale.map(|gray| for_two_views(images, rng(Part::ImageGrayscale), |rng| gray.draw(rng)));
        let blur = augmentation.gaussian_blur.map(|blur: GaussianBlur| {
            for_two_views(images, rng(Part::ImageBlur), |rng| blur.draw(rng)).map(|sigmas| (blur.kernel_size, sigmas))
        });
        let mask = augmentation.random_mask.map(|mask| {
            let pair = mask.draw(images, size[0] * size[1], stream, step);
            [pair.x_plus, pair.x_plus_plus]
        });
        let (mut boxes, mut flips, mut color_changes) = (split(boxes), split(flips), split(color_changes));
        let (mut grayscales, mut blur, mut mask) = (split(grayscales), split(blur), split(mask));
        [0, 1].map(|view| Self {
            boxes: boxes[view].take(),
            flips: flips[view].take(),
            color_changes: color_changes[view].take(),
            grayscales: grayscales[view].take(),
            blur: blur[view].take(),
            mask: mask[view].take(),
        })
    }

    /// The views of the images `range` of the batch.
    pub(super) fn apply(&self, images: Tensor<4>, range: Range<usize>, statistics: &ChannelStatistics) -> Tensor<4> {
        let boxes = self.boxes.as_deref().map(|boxes| &boxes[range.clone()]);
        let flips = self.flips.as_deref().map(|flips| &flips[range.clone()]);
        let mut views = crop_and_flip(images, boxes, flips);
        if let Some(changes) = &self.color_changes {
            views = color_changes(views, &changes[range.clone()]);
        }
        if let Some(marks) = &self.grayscales {
            views = grayscale(views, &marks[range.clone()]);
        }
        if let Some((kernel_size, sigmas)) = &self.blur {
            views = gaussian_blur(views, *kernel_size, &sigmas[range.clone()]);
        }
        views = statistics.normalise(views);
        if let Some(factors) = &self.mask {
            views = multiply_pixels(views, factors, range);
        }
        views
    }
}

/// Multiplies all channels of each pixel by its factor.
fn multiply_pixels(views: Tensor<4>, factors: &Matrix, range: Range<usize>) -> Tensor<4> {
    let [count, _, height, width] = views.dims();
    let values = factors.values[range.start * factors.cols..range.end * factors.cols].to_vec();
    let factors = Tensor::from_data(TensorData::new(values, [count, 1, height, width]), &views.device());
    views * factors
}

/// Draws for image 0, view 0; image 0, view 1; image 1, view 0; …
fn for_two_views<T>(images: usize, mut rng: ChaCha8Rng, mut draw: impl FnMut(&mut ChaCha8Rng) -> T) -> [Vec<T>; 2] {
    let mut views = [Vec::with_capacity(images), Vec::with_capacity(images)];
    for _ in 0..images {
        views.iter_mut().for_each(|view| view.push(draw(&mut rng)));
    }
    views
}

fn split<T>(views: Option<[T; 2]>) -> [Option<T>; 2] {
    views.map_or([None, None], |views| views.map(Some))
}
