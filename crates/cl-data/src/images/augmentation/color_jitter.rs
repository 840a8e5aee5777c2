//! Brightness, contrast, saturation and hue, changed in random order.

use super::color::{Blend, BlendTarget, Planes};
use super::draws::{happens, index, uniform};
use super::ranges::{require, require_probability};
use super::rows::{map_groups, require_one_each};
use crate::DataError;
use burn::tensor::Tensor;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// Random changes of colour, applied with a probability.
///
/// As torchvision's `ColorJitter` inside `RandomApply`: each strength `v` below gives a factor that is
/// uniform in `[max(0, 1 − v), 1 + v]`, the hue turns by a uniform share of the circle in `[−v, v]`, and the
/// order of the four is random for each view. A strength of 0 leaves its property alone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColorJitter {
    /// Probability per view that colours change at all, in [0, 1]. SimCLR: 0.8.
    pub probability: f64,
    /// Strength for the brightness, from 0. SimCLR on CIFAR-10: 0.4.
    pub brightness: f64,
    /// Strength for the contrast, from 0. SimCLR on CIFAR-10: 0.4.
    pub contrast: f64,
    /// Strength for the saturation, from 0. SimCLR on CIFAR-10: 0.4.
    pub saturation: f64,
    /// Strength for the hue, in [0, ½]. SimCLR on CIFAR-10: 0.1.
    pub hue: f64,
}

/// One of the four changes of colour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ColorChange {
    /// `clamp(f x)`.
    Brightness(f32),
    /// `clamp(f x + (1 − f) m)` with the mean `m` of the image in grey.
    Contrast(f32),
    /// `clamp(f x + (1 − f) y)` with the image in grey `y`.
    Saturation(f32),
    /// The hue turned by this share of the circle, in [−½, ½].
    Hue(f32),
}

impl ColorJitter {
    /// SimCLR's on CIFAR-10, colour distortion of strength ½ (Chen et al. 2020, appendices A and B.9).
    pub const fn simclr_cifar() -> Self {
        Self { probability: 0.8, brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`DataError::OutOfRange`] naming the key.
    pub fn validate(&self) -> Result<(), DataError> {
        require_probability("color_jitter.probability", self.probability)?;
        for (name, value) in [
            ("color_jitter.brightness", self.brightness),
            ("color_jitter.contrast", self.contrast),
            ("color_jitter.saturation", self.saturation),
        ] {
            require(value >= 0.0 && value.is_finite(), name, value, "[0, ∞)")?;
        }
        require((0.0..=0.5).contains(&self.hue), "color_jitter.hue", self.hue, "[0, 0.5]")
    }

    /// The changes of one image in order, if any; always six words of the generator.
    pub fn draw(&self, rng: &mut impl Rng) -> Option<[ColorChange; 4]> {
        let applied = happens(rng, self.probability);
        let mut factor = |strength: f64| uniform(rng, [(1.0 - strength).max(0.0), 1.0 + strength]) as f32;
        let mut remaining = vec![
            ColorChange::Brightness(factor(self.brightness)),
            ColorChange::Contrast(factor(self.contrast)),
            ColorChange::Saturation(factor(self.saturation)),
        ];
        remaining.push(ColorChange::Hue(uniform(rng, [-self.hue, self.hue]) as f32));
        let mut order = index(rng, 24);
        let changes = [4, 3, 2, 1].map(|left| {
            let chosen = remaining.remove(order % left);
            order /= left;
            chosen
        });
        applied.then_some(changes)
    }
}

impl ColorChange {
    fn blend(self) -> Option<Blend> {
        let (factor, target) = match self {
            Self::Brightness(factor) => (factor, BlendTarget::Black),
            Self::Contrast(factor) => (factor, BlendTarget::MeanGrey),
            Self::Saturation(factor) => (factor, BlendTarget::Grey),
            Self::Hue(_) => return None,
        };
        Some(Blend { factor, target })
    }

    fn turn(self) -> Option<f32> {
        if let Self::Hue(turn) = self { Some(turn) } else { None }
    }
}

/// Changes the colours of each image in the order given; images without changes keep their values.
///
/// `L` changes per image, at most one of them a hue. Images are put together by the place of that hue, so
/// that one pass over a group makes the same kind of change to all its images, each with its own factors.
///
/// # Shapes
/// `[n, 3, h, w]` in [0, 1] and `n` entries to `[n, 3, h, w]` in [0, 1].
///
/// # Panics
/// When there is not one entry per image, not three channels, or more than one hue in an entry.
pub fn color_changes<const L: usize>(images: Tensor<4>, changes: &[Option<[ColorChange; L]>]) -> Tensor<4> {
    require_one_each(&images, changes.len());
    // Group L: no hue among the changes.
    let mut groups = vec![Vec::new(); L + 1];
    for (image, changes) in changes.iter().enumerate() {
        if let Some(changes) = changes {
            let turns = changes.iter().filter(|change| change.turn().is_some()).count();
            assert!(turns <= 1, "{turns} changes of hue for one image, but one is the most");
            groups[changes.iter().position(|change| change.turn().is_some()).unwrap_or(L)].push(image);
        }
    }
    map_groups(images, &groups, |images, group| {
        let changes: Vec<[ColorChange; L]> = groups[group].iter().filter_map(|&image| changes[image]).collect();
        let apply = |planes: Planes, place: usize| {
            if place == group {
                let turns: Vec<f32> = changes.iter().filter_map(|changes| changes[place].turn()).collect();
                if turns.iter().all(|turn| *turn == 0.0) { planes } else { planes.turned(&turns) }
            } else {
                let blends: Vec<Blend> = changes.iter().filter_map(|changes| changes[place].blend()).collect();
                if blends.iter().all(|blend| blend.factor == 1.0) { planes } else { planes.blended(&blends) }
            }
        };
        (0..L).fold(Planes::of(images), apply).into_images()
    })
}
