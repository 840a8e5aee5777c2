//! Colour taken away.

use super::color::Planes;
use super::draws::happens;
use super::ranges::require_probability;
use super::rows::map_marked;
use crate::DataError;
use burn::tensor::Tensor;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// Makes an image grey with a probability, as torchvision's `RandomGrayscale`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grayscale {
    /// Probability per view, in [0, 1]. SimCLR: 0.2.
    pub probability: f64,
}

impl Grayscale {
    /// Checks the range.
    ///
    /// # Errors
    /// [`DataError::OutOfRange`] naming the key.
    pub fn validate(&self) -> Result<(), DataError> {
        require_probability("grayscale.probability", self.probability)
    }

    /// Whether one image becomes grey; one word of the generator.
    pub fn draw(&self, rng: &mut impl Rng) -> bool {
        happens(rng, self.probability)
    }
}

/// Replaces all three channels of the marked images by `0.2989 r + 0.587 g + 0.114 b`.
///
/// The weights are those of torchvision's `rgb_to_grayscale`.
///
/// # Shapes
/// `[n, 3, h, w]` and `n` marks to `[n, 3, h, w]`.
///
/// # Panics
/// When there is not one mark per image, or not three channels.
pub fn grayscale(images: Tensor<4>, marks: &[bool]) -> Tensor<4> {
    map_marked(images, marks.iter().copied(), |images, _| {
        let grey = Planes::of(images).grey();
        Tensor::cat(vec![grey; 3], 1)
    })
}
