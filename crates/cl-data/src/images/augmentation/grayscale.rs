//! Removal of colour.

use super::color::Planes;
use super::draws::happens;
use super::rows::map_marked;
use super::transform::require_checked;
use super::{Change, DrawRequest, Transform};
use burn::tensor::Tensor;
use cl_config::{Component, ConfigError, probability};
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Makes an image grey with a probability, as torchvision's `RandomGrayscale`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grayscale {
    /// Probability per view, in [0, 1]. SimCLR: 0.2.
    pub probability: f64,
}

impl Grayscale {
    /// Its name in files.
    pub const NAME: &'static str = "grayscale";

    /// Whether one image becomes grey; uses one word of the generator.
    pub fn draw_one(&self, rng: &mut impl Rng) -> bool {
        happens(rng, self.probability)
    }
}

impl Component for Grayscale {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        probability("probability", self.probability)?;
        Ok(self)
    }
}

impl Transform for Grayscale {
    fn draw(&self, batch: &DrawRequest<'_>) -> [Box<dyn Change>; 2] {
        let gray = require_checked(self);
        batch.for_each_view(|rng| gray.draw_one(rng), GreyMarks)
    }
}

/// Which images become grey.
#[derive(Debug)]
struct GreyMarks(Vec<bool>);

impl Change for GreyMarks {
    fn apply(&self, views: Tensor<4>, range: Range<usize>) -> Tensor<4> {
        grayscale(views, &self.0[range])
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

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_files_hold, assert_fraction, message, stream};
    use super::*;
    use crate::Part;

    /// At 4.9 standard deviations (1e-6).
    #[test]
    fn grey_has_its_probability() {
        let mut rng = stream().rng(Part::ImageGrayscale, 0);
        let grey = (0..20_000).filter(|_| Grayscale { probability: 0.2 }.draw_one(&mut rng)).count();
        assert_fraction(grey, 20_000, 0.2, "grey");
    }

    #[test]
    fn a_file_gives_back_what_was_written() {
        assert_files_hold(Grayscale { probability: 0.2 }, &["probability = 0.5\np = 0.5", ""]);
    }

    #[test]
    fn parameters_out_of_range_are_named() {
        let expected = "probability = NaN is out of range; it has to be a probability, from 0 to 1";
        assert_eq!(message(Grayscale { probability: f64::NAN }), expected);
    }
}
