//! Left and right exchanged.

use super::draws::happens;
use super::ranges::require_probability;
use super::rows::map_marked;
use crate::DataError;
use burn::tensor::Tensor;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// Mirrors an image with a probability, as torchvision's `RandomHorizontalFlip`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HorizontalFlip {
    /// Probability per view, in [0, 1]. SimCLR: ½.
    pub probability: f64,
}

impl HorizontalFlip {
    /// Checks the range.
    ///
    /// # Errors
    /// [`DataError::OutOfRange`] naming the key.
    pub fn validate(&self) -> Result<(), DataError> {
        require_probability("horizontal_flip.probability", self.probability)
    }

    /// Whether one image is mirrored; one word of the generator.
    pub fn draw(&self, rng: &mut impl Rng) -> bool {
        happens(rng, self.probability)
    }
}

/// Mirrors the images that are marked.
///
/// # Shapes
/// `[n, c, h, w]` and `n` marks to `[n, c, h, w]`.
///
/// # Panics
/// When there is not one mark per image.
pub fn horizontal_flip(images: Tensor<4>, flips: &[bool]) -> Tensor<4> {
    map_marked(images, flips.iter().copied(), |images, _| images.flip([3]))
}
