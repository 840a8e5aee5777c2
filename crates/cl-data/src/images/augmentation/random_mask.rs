//! RandomMask on pixels.

use super::transform::require_checked;
use super::{Change, DrawRequest, Transform};
use crate::{Augmentation, Matrix, Rescaling};
use burn::tensor::{Tensor, TensorData};
use cl_config::{Component, ConfigError};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Sets random pixels of the normalised views to zero and scales the others up.
///
/// The RandomMask of Wen & Li (2021) with one coordinate of `D` per pixel, shared by the channels. Zero is the mean
/// colour, since views are normalised first. The masks are on the grid of each view: after a crop, the same coordinate
/// of two views shows different places of the image.
///
/// Not in the paper, whose images are only cropped and recoloured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PixelMask {
    /// `p`: in (0, 1) for complementary masks, in (0, 1] for independent ones. The paper's RandomMask: ½.
    pub keep_probability: f64,
    /// How the masks of the two views are related.
    pub pairing: MaskPairing,
}

/// How the masks of two views are related.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskPairing {
    /// `D / p` and `(I − D) / (1 − p)`: a coordinate of the grid is in one view or in the other.
    Complementary,
    /// `D / p` and `D' / p` with masks of their own.
    Independent,
}

impl PixelMask {
    /// Its name in files.
    pub const NAME: &'static str = "random_mask";

    /// The same masks on the coordinates of vectors.
    fn augmentation(&self) -> Augmentation {
        let (keep_probability, masked_fraction, rescaling) = (self.keep_probability, 1.0, Rescaling::Unbiased);
        match self.pairing {
            MaskPairing::Complementary => {
                Augmentation::ComplementaryMask { keep_probability, masked_fraction, rescaling }
            }
            MaskPairing::Independent => Augmentation::IndependentMasks { keep_probability, masked_fraction, rescaling },
        }
    }
}

impl Component for PixelMask {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        self.augmentation().check_values()?;
        Ok(self)
    }
}

impl Transform for PixelMask {
    fn draw(&self, batch: &DrawRequest<'_>) -> [Box<dyn Change>; 2] {
        let mask = require_checked(self);
        let (images, pixels) = (batch.images(), batch.size().iter().product());
        let ones = Matrix::from_values(images, pixels, vec![1.0; images * pixels]);
        let factors = mask.augmentation().apply_with(ones, [0, 1].map(|index| batch.rng(index)));
        [factors.x_plus, factors.x_plus_plus].map(|factors| -> Box<dyn Change> { Box::new(PixelFactors(factors)) })
    }

    fn on_normalized(&self) -> bool {
        true
    }
}

/// What all channels of each pixel are multiplied by, `[B, h·w]`.
#[derive(Debug)]
struct PixelFactors(Matrix);

impl Change for PixelFactors {
    fn apply(&self, views: Tensor<4>, range: Range<usize>) -> Tensor<4> {
        let [count, _, height, width] = views.dims();
        let values = self.0.values[range.start * self.0.cols..range.end * self.0.cols].to_vec();
        views.clone() * Tensor::from_data(TensorData::new(values, [count, 1, height, width]), &views.device())
    }
}

#[cfg(test)]
mod tests {
    use super::super::ViewPipeline;
    use super::super::testing::{STATISTICS, assert_files_hold, images, message, stream, values};
    use super::*;

    fn masked(keep_probability: f64, pairing: MaskPairing) -> ViewPipeline {
        ViewPipeline::none().with(PixelMask::NAME, PixelMask { keep_probability, pairing }).unwrap()
    }

    #[test]
    fn complementary_masks_partition_the_pixels_of_all_channels() {
        for p in [0.25, 0.5] {
            let mask = masked(p, MaskPairing::Complementary);
            let views = mask.views(&images(20), &STATISTICS, stream(), 0);
            let plain = values(&ViewPipeline::none().views(&images(20), &STATISTICS, stream(), 0).first);
            let (first, second) = (values(&views.first), values(&views.second));
            let kept = |k: usize| first[k] != 0.0;
            for k in 0..plain.len() {
                let expected = if kept(k) { [plain[k] / p as f32, 0.0] } else { [0.0, plain[k] / (1.0 - p) as f32] };
                assert!((first[k] - expected[0]).abs() < 1e-5 && (second[k] - expected[1]).abs() < 1e-5, "value {k}");
                // The same fate in all channels.
                let red = k / 288 * 288 + k % 96;
                assert_eq!(kept(k), kept(red), "value {k}");
            }
        }
    }

    /// 1,920 pixels at p = 0.3, kept twice with probability 0.09: 4.9 standard deviations (1e-6).
    #[test]
    fn independent_masks_keep_a_pixel_twice_with_probability_p_squared() {
        let views = masked(0.3, MaskPairing::Independent).views(&images(20), &STATISTICS, stream(), 0);
        let (first, second) = (values(&views.first), values(&views.second));
        let red = (0..first.len()).filter(|k| k / 96 % 3 == 0);
        let twice = red.filter(|&k| first[k] != 0.0 && second[k] != 0.0).count() as f64;
        let (n, p) = (1920.0, 0.09);
        assert!((twice - n * p).abs() < 4.9 * f64::sqrt(n * p * (1.0 - p)), "{twice} of {n}");
    }

    #[test]
    fn a_file_gives_back_what_was_written() {
        for pairing in [MaskPairing::Complementary, MaskPairing::Independent] {
            let wrong =
                ["keep_probability = 0.5", "keep_probability = 0.5\npairing = 'independent'\nmasked_fraction = 1.0"];
            assert_files_hold(PixelMask { keep_probability: 0.5, pairing }, &wrong);
        }
    }

    #[test]
    fn parameters_out_of_range_are_named() {
        for (keep_probability, pairing, expected) in [
            (
                1.0,
                MaskPairing::Complementary,
                "keep_probability = 1 is out of range; it has to be larger than 0 and smaller than 1",
            ),
            (
                0.0,
                MaskPairing::Independent,
                "keep_probability = 0 is out of range; it has to be larger than 0 and at most 1",
            ),
        ] {
            assert_eq!(message(PixelMask { keep_probability, pairing }), expected);
        }
        assert!(PixelMask { keep_probability: 1.0, pairing: MaskPairing::Independent }.checked().is_ok());
    }
}
