//! Brightness, contrast, saturation and hue, changed in random order.

use super::color::{Blend, BlendTarget, Planes};
use super::draws::{happens, index, uniform};
use super::rows::{map_groups, require_one_each};
use super::transform::require_checked;
use super::{Change, DrawRequest, Transform};
use burn::tensor::Tensor;
use cl_config::{Component, ConfigError, check, not_negative, probability};
use rand::Rng;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Random changes of colour, applied with a probability.
///
/// As torchvision's `ColorJitter` inside `RandomApply`: each strength `v` below gives a factor that is uniform in
/// `[max(0, 1 − v), 1 + v]`, the hue is rotated by a uniform fraction of the circle in `[−v, v]`, and the order of the
/// four is random for each view. A strength of 0 leaves its property unchanged.
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
    /// The hue rotated by this fraction of the circle, in [−½, ½].
    Hue(f32),
}

impl ColorJitter {
    /// Its name in files.
    pub const NAME: &'static str = "color_jitter";

    /// SimCLR's on CIFAR-10, colour distortion of strength ½ (Chen et al. 2020, appendices A and B.9).
    pub const fn simclr_cifar() -> Self {
        Self { probability: 0.8, brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 }
    }

    /// The changes of one image in order, if any; always uses six words of the generator.
    pub fn draw_one(&self, rng: &mut impl Rng) -> Option<[ColorChange; 4]> {
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

impl Component for ColorJitter {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        probability("probability", self.probability)?;
        not_negative("brightness", self.brightness)?;
        not_negative("contrast", self.contrast)?;
        not_negative("saturation", self.saturation)?;
        check((0.0..=0.5).contains(&self.hue), "hue", self.hue, "a number from 0 to 0.5")?;
        Ok(self)
    }
}

impl Transform for ColorJitter {
    fn draw(&self, batch: &DrawRequest<'_>) -> [Box<dyn Change>; 2] {
        let jitter = require_checked(self);
        batch.for_each_view(|rng| jitter.draw_one(rng), ColorChanges)
    }
}

/// How the colours of each image change, in order.
#[derive(Debug)]
struct ColorChanges(Vec<Option<[ColorChange; 4]>>);

impl Change for ColorChanges {
    fn apply(&self, views: Tensor<4>, range: Range<usize>) -> Tensor<4> {
        color_changes(views, &self.0[range])
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
/// `L` changes per image, at most one of them a hue. Images are grouped by the position of that hue, so that one pass
/// over a group makes the same kind of change to all its images, each with its own factors.
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

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_files_hold, assert_fraction, assert_uniform, message, stream, values};
    use super::*;
    use crate::Part;
    use burn::tensor::{Device, TensorData};
    use std::collections::BTreeMap;

    /// A probability over 20,000 draws and 24 orders of about 16,000, each at 4.9 standard deviations (1e-6).
    #[test]
    fn jitters_and_their_orders_have_their_probabilities() {
        let mut rng = stream().rng(Part::ImageColorJitter, 0);
        let jitters: Vec<_> = (0..20_000).filter_map(|_| ColorJitter::simclr_cifar().draw_one(&mut rng)).collect();
        assert_fraction(jitters.len(), 20_000, 0.8, "jitters");
        let mut orders = BTreeMap::<_, usize>::new();
        for changes in &jitters {
            let order = changes.map(|change| match change {
                ColorChange::Brightness(_) => 'b',
                ColorChange::Contrast(_) => 'c',
                ColorChange::Saturation(_) => 's',
                ColorChange::Hue(_) => 'h',
            });
            *orders.entry(order).or_default() += 1;
        }
        assert_eq!(orders.len(), 24);
        orders
            .iter()
            .for_each(|(order, count)| assert_fraction(*count, jitters.len(), 1.0 / 24.0, &format!("{order:?}")));
    }

    #[test]
    fn strengths_are_uniform_in_their_ranges() {
        let mut rng = stream().rng(Part::ImageColorJitter, 0);
        let jitter = ColorJitter { probability: 1.0, contrast: 1.5, ..ColorJitter::simclr_cifar() };
        let mut samples = vec![Vec::new(); 4];
        for _ in 0..20_000 {
            for change in jitter.draw_one(&mut rng).unwrap() {
                let (kind, value, [low, high]) = match change {
                    ColorChange::Brightness(value) => (0, value, [0.6, 1.4]),
                    ColorChange::Contrast(value) => (1, value, [0.0, 2.5]),
                    ColorChange::Saturation(value) => (2, value, [0.6, 1.4]),
                    ColorChange::Hue(value) => (3, value, [-0.1, 0.1]),
                };
                samples[kind].push((f64::from(value) - low) / (high - low));
            }
        }
        let names = ["brightness", "contrast", "saturation", "hue"];
        samples.into_iter().zip(names).for_each(|(sample, name)| assert_uniform(sample, name));
    }

    /// A third of the circle brings red to green, green to blue, blue to red.
    #[test]
    fn a_third_of_a_turn_exchanges_the_channels() {
        let pixel =
            |rgb: [f32; 3]| Tensor::<4>::from_data(TensorData::new(rgb.to_vec(), [1, 3, 1, 1]), &Device::flex());
        let third = 1.0 / 3.0;
        for (turn, expected) in [(third, [0.4, 0.7, 0.2]), (-third, [0.2, 0.4, 0.7]), (0.5, [0.2, 0.7, 0.5])] {
            let turned = color_changes(pixel([0.7, 0.2, 0.4]), &[Some([ColorChange::Hue(turn)])]);
            for (found, expected) in values(&turned).iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "turn {turn}: {found} instead of {expected}");
            }
        }
        for grey in [0.0, 0.3, 1.0] {
            let turned = color_changes(pixel([grey; 3]), &[Some([ColorChange::Hue(0.2)])]);
            assert_eq!(values(&turned), [grey; 3]);
        }
    }

    #[test]
    fn a_file_gives_back_what_was_written() {
        let text = toml::to_string(&ColorJitter::simclr_cifar()).unwrap();
        assert_files_hold(ColorJitter::simclr_cifar(), &[&format!("{text}gamma = 0.5"), "probability = 0.5"]);
    }

    #[test]
    fn parameters_out_of_range_are_named() {
        let jitter = ColorJitter::simclr_cifar();
        for (wrong, expected) in [
            (
                ColorJitter { probability: -0.1, ..jitter },
                "probability = -0.1 is out of range; it has to be a probability, from 0 to 1",
            ),
            (
                ColorJitter { brightness: -0.1, ..jitter },
                "brightness = -0.1 is out of range; it has to be a finite number, 0 or larger",
            ),
            (
                ColorJitter { contrast: f64::NAN, ..jitter },
                "contrast = NaN is out of range; it has to be a finite number, 0 or larger",
            ),
            (
                ColorJitter { saturation: f64::INFINITY, ..jitter },
                "saturation = inf is out of range; it has to be a finite number, 0 or larger",
            ),
            (ColorJitter { hue: 0.6, ..jitter }, "hue = 0.6 is out of range; it has to be a number from 0 to 0.5"),
        ] {
            assert_eq!(message(wrong), expected);
        }
    }
}
