//! Mirroring of left and right.

use super::draws::happens;
use super::rows::map_marked;
use super::transform::require_checked;
use super::{Change, DrawRequest, Transform};
use burn::tensor::Tensor;
use cl_config::{Component, ConfigError, probability};
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Mirrors an image with a probability, as torchvision's `RandomHorizontalFlip`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HorizontalFlip {
    /// Probability per view, in [0, 1]. SimCLR: ½.
    pub probability: f64,
}

impl HorizontalFlip {
    /// Its name in files.
    pub const NAME: &'static str = "horizontal_flip";

    /// Whether one image is mirrored; uses one word of the generator.
    pub fn draw_one(&self, rng: &mut impl Rng) -> bool {
        happens(rng, self.probability)
    }
}

impl Component for HorizontalFlip {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        probability("probability", self.probability)?;
        Ok(self)
    }
}

impl Transform for HorizontalFlip {
    fn draw(&self, batch: &DrawRequest<'_>) -> [Box<dyn Change>; 2] {
        let flip = require_checked(self);
        batch.for_each_view(|rng| flip.draw_one(rng), Flips)
    }
}

/// Which images are mirrored.
#[derive(Debug)]
pub(super) struct Flips(pub(super) Vec<bool>);

impl Change for Flips {
    fn apply(&self, views: Tensor<4>, range: Range<usize>) -> Tensor<4> {
        horizontal_flip(views, &self.0[range])
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

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_files_hold, assert_fraction, message, stream};
    use super::*;
    use crate::Part;

    /// At 4.9 standard deviations (1e-6).
    #[test]
    fn flips_have_their_probability() {
        let mut rng = stream().rng(Part::ImageFlip, 0);
        let flips = (0..20_000).filter(|_| HorizontalFlip { probability: 0.5 }.draw_one(&mut rng)).count();
        assert_fraction(flips, 20_000, 0.5, "flips");
    }

    #[test]
    fn a_file_gives_back_what_was_written() {
        assert_files_hold(HorizontalFlip { probability: 0.3 }, &["probability = 0.5\np = 0.5", ""]);
    }

    #[test]
    fn parameters_out_of_range_are_named() {
        let expected = "probability = 1.5 is out of range; it has to be a probability, from 0 to 1";
        assert_eq!(message(HorizontalFlip { probability: 1.5 }), expected);
    }

    #[test]
    #[should_panic(expected = "probability = -0.5 is out of range")]
    fn a_draw_with_parameters_out_of_range_is_refused() {
        super::super::testing::draw(HorizontalFlip::NAME, HorizontalFlip { probability: -0.5 });
    }
}
