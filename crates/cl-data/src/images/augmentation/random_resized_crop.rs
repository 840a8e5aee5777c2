//! A random part of each image, brought to one size.

use super::draws::{index, uniform, unit};
use super::horizontal_flip::horizontal_flip;
use super::ranges::{require, require_positive_interval};
use super::resampling::{Matrices, resample, write_interpolation};
use super::rows::require_one_each;
use crate::DataError;
use burn::tensor::Tensor;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// A box of random area and shape, resized to the size of the image.
///
/// As in torchvision's `RandomResizedCrop`: the area is a uniform share of the image's, the logarithm of
/// width over height is uniform, both are drawn anew until the rounded box fits, at most ten times, and
/// then the largest centred box within the ratios is taken. The box lies uniformly.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomResizedCrop {
    /// Smallest and largest area as a share of the image's, in (0, 1]. SimCLR: 0.08 and 1.
    pub scale: [f64; 2],
    /// Smallest and largest width over height, in (0, ∞). SimCLR: ¾ and 4⁄3.
    pub ratio: [f64; 2],
}

/// A box of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CropBox {
    /// Row of the uppermost pixels.
    pub top: usize,
    /// Column of the leftmost pixels.
    pub left: usize,
    /// Number of rows, at least 1.
    pub height: usize,
    /// Number of columns, at least 1.
    pub width: usize,
}

const SCALE: [&str; 2] = ["random_resized_crop.scale[0]", "random_resized_crop.scale[1]"];
const RATIO: [&str; 2] = ["random_resized_crop.ratio[0]", "random_resized_crop.ratio[1]"];

/// Boxes drawn before the centred one is taken.
const TRIES: usize = 10;

impl RandomResizedCrop {
    /// SimCLR's: area from 0.08 to 1, ratio from ¾ to 4⁄3 (Chen et al. 2020, appendix A).
    pub const fn simclr() -> Self {
        Self { scale: [0.08, 1.0], ratio: [3.0 / 4.0, 4.0 / 3.0] }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`DataError::OutOfRange`] naming the key.
    pub fn validate(&self) -> Result<(), DataError> {
        require(self.scale[1] <= 1.0, SCALE[1], self.scale[1], "(0, 1]")?;
        require_positive_interval(SCALE, self.scale, "(0, random_resized_crop.scale[1]]")?;
        require_positive_interval(RATIO, self.ratio, "(0, random_resized_crop.ratio[1]]")
    }

    /// A box for one image of `height` × `width` pixels; always 22 words of the generator.
    pub fn draw(&self, [height, width]: [usize; 2], rng: &mut impl Rng) -> CropBox {
        let log_ratio = self.ratio.map(f64::ln);
        let mut found = None;
        for _ in 0..TRIES {
            let area = (height * width) as f64 * uniform(rng, self.scale);
            let ratio = uniform(rng, log_ratio);
            if found.is_none() {
                let ratio = ratio.exp();
                let size = [(area / ratio).sqrt(), (area * ratio).sqrt()].map(|v| v.round_ties_even() as usize);
                found = (1..=height).contains(&size[0]).then_some(size).filter(|s| (1..=width).contains(&s[1]));
            }
        }
        match found {
            Some([h, w]) => {
                CropBox { top: index(rng, height - h + 1), left: index(rng, width - w + 1), height: h, width: w }
            }
            None => {
                let _unused = (unit(rng), unit(rng));
                self.centred([height, width])
            }
        }
    }

    /// The largest centred box whose width over height is within the ratios.
    fn centred(&self, [height, width]: [usize; 2]) -> CropBox {
        let [lowest, highest] = self.ratio;
        let (h, w) = (height as f64, width as f64);
        let at_least_one = |v: f64| (v.round_ties_even() as usize).max(1);
        let [box_height, box_width] = if w / h < lowest {
            [at_least_one(w / lowest), width]
        } else if w / h > highest {
            [height, at_least_one(h * highest)]
        } else {
            [height, width]
        };
        CropBox { top: (height - box_height) / 2, left: (width - box_width) / 2, height: box_height, width: box_width }
    }
}

/// Cuts a box out of each image, mirrors it where asked, and resizes it.
///
/// Bilinear with antialiasing, see torchvision's `resized_crop(…, antialias=True)`.
///
/// # Shapes
/// `[n, c, h, w]` and `n` boxes and flips to `[n, c, size[0], size[1]]`.
///
/// # Panics
/// When the numbers of images, boxes and flips differ, or a box is not inside the image.
pub fn resized_crop(images: Tensor<4>, boxes: &[CropBox], flips: &[bool], size: [usize; 2]) -> Tensor<4> {
    let [count, _, height, width] = images.dims();
    require_one_each(&images, boxes.len());
    require_one_each(&images, flips.len());
    let mut rows = Matrices::zeros(count, size[0], height);
    let mut columns = Matrices::zeros(count, size[1], width);
    for (((b, flip), rows), columns) in boxes.iter().zip(flips).zip(rows.iter_mut()).zip(columns.iter_mut()) {
        assert!(
            b.height > 0 && b.width > 0 && b.top + b.height <= height && b.left + b.width <= width,
            "{b:?} is not inside {height} × {width} pixels"
        );
        write_interpolation(rows, height, b.top, b.height, false);
        write_interpolation(columns, width, b.left, b.width, *flip);
    }
    resample(images, rows, columns)
}

/// Crops and flips as far as either is there, to the size the images have.
pub(super) fn crop_and_flip(images: Tensor<4>, boxes: Option<&[CropBox]>, flips: Option<&[bool]>) -> Tensor<4> {
    let [count, _, height, width] = images.dims();
    match (boxes, flips) {
        (Some(boxes), Some(flips)) => resized_crop(images, boxes, flips, [height, width]),
        (Some(boxes), None) => resized_crop(images, boxes, &vec![false; count], [height, width]),
        (None, Some(flips)) => horizontal_flip(images, flips),
        (None, None) => images,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Part, Purpose, Stream};

    #[test]
    fn a_box_takes_22_words_whether_it_fits_or_not() {
        let stream = Stream::new(1, Purpose::ImageViews);
        // A ratio of 100 never fits a square of 8 × 8 at these areas.
        for ratio in [[0.75, 4.0 / 3.0], [100.0, 100.0]] {
            let crop = RandomResizedCrop { scale: [0.5, 1.0], ratio };
            let mut drawn = stream.rng(Part::ImageCrop, 0);
            crop.draw([8, 8], &mut drawn);
            let mut skipped = stream.rng(Part::ImageCrop, 0);
            (0..22).for_each(|_| _ = skipped.next_u64());
            assert_eq!(drawn.next_u64(), skipped.next_u64());
        }
    }

    #[test]
    fn where_no_box_fits_the_largest_centred_one_is_taken() {
        let rng = || Stream::new(1, Purpose::ImageViews).rng(Part::ImageCrop, 0);
        let wide = RandomResizedCrop { scale: [1.0, 1.0], ratio: [2.0, 2.0] };
        assert_eq!(wide.draw([8, 8], &mut rng()), CropBox { top: 2, left: 0, height: 4, width: 8 });
        let tall = RandomResizedCrop { scale: [1.0, 1.0], ratio: [0.5, 0.5] };
        assert_eq!(tall.draw([8, 8], &mut rng()), CropBox { top: 0, left: 2, height: 8, width: 4 });
        let square = RandomResizedCrop { scale: [1.0, 1.0], ratio: [1.0, 1.0] };
        assert_eq!(square.draw([6, 9], &mut rng()), CropBox { top: 0, left: 1, height: 6, width: 6 });
    }
}
