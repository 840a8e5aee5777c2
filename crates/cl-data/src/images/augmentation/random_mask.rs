//! RandomMask on pixels.

use super::ranges::require;
use crate::{Augmentation, DataError, Matrix, PositivePair, Rescaling, Stream};
use serde::{Deserialize, Serialize};

/// Sets random pixels of the normalised views to zero and scales the others up.
///
/// The RandomMask of Wen & Li (2021) with one coordinate of `D` per pixel, shared by the channels. Zero is
/// the mean colour, since views are normalised before. The masks lie on the grid of each view: after a crop,
/// the same coordinate of two views shows different places of the image.
///
/// Not in the paper, whose images are cropped and recoloured only.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PixelMask {
    /// `p`: in (0, 1) for complementary masks, in (0, 1] for independent ones. The paper's RandomMask: ½.
    pub keep_probability: f64,
    /// How the masks of the two views belong together.
    pub pairing: MaskPairing,
}

/// How the masks of two views belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskPairing {
    /// `D / p` and `(I − D) / (1 − p)`: a coordinate of the grid is in one view or in the other.
    Complementary,
    /// `D / p` and `D' / p` with masks of their own.
    Independent,
}

impl PixelMask {
    /// Checks the range.
    ///
    /// # Errors
    /// [`DataError::OutOfRange`] naming the key.
    pub fn validate(&self) -> Result<(), DataError> {
        let p = self.keep_probability;
        let (inside, range) = match self.pairing {
            MaskPairing::Complementary => (p > 0.0 && p < 1.0, "(0, 1)"),
            MaskPairing::Independent => (p > 0.0 && p <= 1.0, "(0, 1]"),
        };
        require(inside, "random_mask.keep_probability", p, range)
    }

    /// What each pixel of the two views is multiplied by, `[images, pixels]` each.
    pub fn draw(&self, images: usize, pixels: usize, stream: Stream, step: u64) -> PositivePair {
        let (keep_probability, masked_share, rescaling) = (self.keep_probability, 1.0, Rescaling::Unbiased);
        let masks = match self.pairing {
            MaskPairing::Complementary => Augmentation::ComplementaryMask { keep_probability, masked_share, rescaling },
            MaskPairing::Independent => Augmentation::IndependentMasks { keep_probability, masked_share, rescaling },
        };
        masks.apply(Matrix::from_values(images, pixels, vec![1.0; images * pixels]), stream, step)
    }
}
