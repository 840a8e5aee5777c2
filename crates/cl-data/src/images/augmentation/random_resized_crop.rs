//! A random part of each image, resized to one size.

use super::draws::{index, uniform, unit};
use super::horizontal_flip::Flips;
use super::ranges::positive_interval;
use super::resampling::{Matrices, resample, write_interpolation};
use super::rows::require_one_each;
use super::transform::require_checked;
use super::{Change, DrawRequest, Transform};
use burn::tensor::Tensor;
use cl_config::{Component, ConfigError, check};
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::ops::Range;

/// A box of random area and shape, resized to the size of the image.
///
/// As in torchvision's `RandomResizedCrop`: the area is a uniform fraction of the image's, the logarithm of width over
/// height is uniform, both are redrawn until the rounded box fits, at most ten times, and after that the largest
/// centred box within the ratios is taken. The position of the box is uniform.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomResizedCrop {
    /// Smallest and largest area as a fraction of the image's, in (0, 1]. SimCLR: 0.08 and 1.
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

/// Boxes drawn before the centred one is taken.
const TRIES: usize = 10;

impl RandomResizedCrop {
    /// Its name in files.
    pub const NAME: &'static str = "random_resized_crop";

    /// SimCLR's: area from 0.08 to 1, ratio from ¾ to 4⁄3 (Chen et al. 2020, appendix A).
    pub const fn simclr() -> Self {
        Self { scale: [0.08, 1.0], ratio: [3.0 / 4.0, 4.0 / 3.0] }
    }

    /// A box for one image of `height` × `width` pixels; always uses 22 words of the generator.
    pub fn draw_one(&self, [height, width]: [usize; 2], rng: &mut impl Rng) -> CropBox {
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

impl Component for RandomResizedCrop {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        check(self.scale[1] <= 1.0, "scale[1]", self.scale[1], "larger than 0 and at most 1")?;
        positive_interval("scale", self.scale)?;
        positive_interval("ratio", self.ratio)?;
        Ok(self)
    }
}

impl Transform for RandomResizedCrop {
    fn draw(&self, batch: &DrawRequest<'_>) -> [Box<dyn Change>; 2] {
        let crop = require_checked(self);
        batch.for_each_view(|rng| crop.draw_one(batch.size(), rng), Crops::unmirrored)
    }
}

/// What is cut out of each image, and whether it is mirrored afterwards.
#[derive(Debug)]
struct Crops {
    boxes: Vec<CropBox>,
    flips: Vec<bool>,
}

impl Crops {
    fn unmirrored(boxes: Vec<CropBox>) -> Self {
        Self { flips: vec![false; boxes.len()], boxes }
    }
}

impl Change for Crops {
    fn apply(&self, views: Tensor<4>, range: Range<usize>) -> Tensor<4> {
        let [_, _, height, width] = views.dims();
        resized_crop(views, &self.boxes[range.clone()], &self.flips[range], [height, width])
    }

    /// A flip is free while images are resampled.
    fn fused_with(&self, next: &dyn Change) -> Option<Box<dyn Change>> {
        let Flips(next) = (next as &dyn Any).downcast_ref()?;
        let flips = self.flips.iter().zip(next).map(|(before, after)| before ^ after).collect();
        Some(Box::new(Self { boxes: self.boxes.clone(), flips }))
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

#[cfg(test)]
mod tests {
    use super::super::testing::{STATISTICS, assert_close, assert_files_hold, images, message, stream, values};
    use super::super::{HorizontalFlip, ViewPipeline};
    use super::*;
    use crate::Part;

    #[test]
    fn a_box_takes_22_words_whether_it_fits_or_not() {
        // A ratio of 100 never fits a square of 8 × 8 at these areas.
        for ratio in [[0.75, 4.0 / 3.0], [100.0, 100.0]] {
            let crop = RandomResizedCrop { scale: [0.5, 1.0], ratio };
            let mut drawn = stream().rng(Part::ImageCrop, 0);
            crop.draw_one([8, 8], &mut drawn);
            let mut skipped = stream().rng(Part::ImageCrop, 0);
            (0..22).for_each(|_| _ = skipped.next_u64());
            assert_eq!(drawn.next_u64(), skipped.next_u64());
        }
    }

    #[test]
    fn where_no_box_fits_the_largest_centred_one_is_taken() {
        let rng = || stream().rng(Part::ImageCrop, 0);
        let wide = RandomResizedCrop { scale: [1.0, 1.0], ratio: [2.0, 2.0] };
        assert_eq!(wide.draw_one([8, 8], &mut rng()), CropBox { top: 2, left: 0, height: 4, width: 8 });
        let tall = RandomResizedCrop { scale: [1.0, 1.0], ratio: [0.5, 0.5] };
        assert_eq!(tall.draw_one([8, 8], &mut rng()), CropBox { top: 0, left: 2, height: 8, width: 4 });
        let square = RandomResizedCrop { scale: [1.0, 1.0], ratio: [1.0, 1.0] };
        assert_eq!(square.draw_one([6, 9], &mut rng()), CropBox { top: 0, left: 1, height: 6, width: 6 });
    }

    /// Boxes of 20 images in both views, drawn as the first crop of a list draws them.
    fn boxes(crop: RandomResizedCrop) -> [Vec<CropBox>; 2] {
        let mut rng = stream().rng(Part::ImageCrop, 0);
        let drawn: Vec<_> = (0..40).map(|_| crop.draw_one([8, 12], &mut rng)).collect();
        [0, 1].map(|view| drawn.iter().skip(view).step_by(2).copied().collect())
    }

    fn flips(probability: f64) -> [Vec<bool>; 2] {
        let mut rng = stream().rng(Part::ImageFlip, 0);
        let drawn: Vec<_> = (0..40).map(|_| HorizontalFlip { probability }.draw_one(&mut rng)).collect();
        [0, 1].map(|view| drawn.iter().skip(view).step_by(2).copied().collect())
    }

    #[test]
    fn a_flip_right_after_a_crop_is_part_of_its_resampling() {
        let (crop, flip) = (RandomResizedCrop::simclr(), HorizontalFlip { probability: 0.5 });
        let fused = ViewPipeline::none()
            .with(RandomResizedCrop::NAME, crop)
            .and_then(|crops| crops.with(HorizontalFlip::NAME, flip))
            .unwrap();
        let views = fused.views(&images(20), &STATISTICS, stream(), 0);
        let changes = fused.draw(20, [8, 12], &STATISTICS, stream(), 0);
        assert_eq!(changes.map(|changes| changes.len()), [2, 2], "one resampling and normalising");
        for ((boxes, flips), found) in boxes(crop).iter().zip(flips(0.5)).zip([views.first, views.second]) {
            let at_once = STATISTICS.normalise(resized_crop(images(20), boxes, &flips, [8, 12]));
            assert_eq!(values(&found), values(&at_once));
            let cropped = resized_crop(images(20), boxes, &[false; 20], [8, 12]);
            let one_by_one = STATISTICS.normalise(super::super::horizontal_flip(cropped, &flips));
            assert_close(&found, &one_by_one);
        }
    }

    #[test]
    fn two_flips_after_a_crop_cancel_where_both_happen() {
        let crops = Crops::unmirrored(boxes(RandomResizedCrop::simclr())[0].clone());
        let [once, twice] = flips(0.5);
        let fused = crops.fused_with(&Flips(once.clone())).and_then(|both| both.fused_with(&Flips(twice.clone())));
        let found = fused.unwrap().apply(images(20), 0..20);
        let flips: Vec<bool> = once.iter().zip(&twice).map(|(once, twice)| once != twice).collect();
        assert_eq!(values(&found), values(&resized_crop(images(20), &crops.boxes, &flips, [8, 12])));
    }

    #[test]
    fn nothing_but_a_flip_is_fused_with_a_crop() {
        let crops = Crops::unmirrored(boxes(RandomResizedCrop::simclr())[0].clone());
        assert!(crops.fused_with(&crops).is_none() && Flips(vec![true; 20]).fused_with(&crops).is_none());
    }

    #[test]
    fn a_file_gives_back_what_was_written() {
        let text = toml::to_string(&RandomResizedCrop::simclr()).unwrap();
        assert_files_hold(RandomResizedCrop::simclr(), &[&format!("{text}size = 32"), "scale = [0.5, 1.0]"]);
    }

    #[test]
    fn parameters_out_of_range_are_named() {
        let any = [1.0, 1.0];
        for (wrong, expected) in [
            (
                RandomResizedCrop { scale: [0.0, 1.0], ratio: any },
                "scale[0] = 0 is out of range; it has to be larger than 0 and at most scale[1]",
            ),
            (
                RandomResizedCrop { scale: [0.1, 1.5], ratio: any },
                "scale[1] = 1.5 is out of range; it has to be larger than 0 and at most 1",
            ),
            (
                RandomResizedCrop { scale: any, ratio: [2.0, 1.0] },
                "ratio[0] = 2 is out of range; it has to be larger than 0 and at most ratio[1]",
            ),
            (
                RandomResizedCrop { scale: any, ratio: [1.0, f64::INFINITY] },
                "ratio[1] = inf is out of range; it has to be a finite number larger than 0",
            ),
        ] {
            assert_eq!(message(wrong), expected);
        }
    }
}
