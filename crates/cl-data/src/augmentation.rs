//! Augmentations that decouple the dense features of a positive pair, and those that do not.

use crate::StreamRng;
use crate::normal::fill_words;
use crate::{Matrix, Part, Stream};
use cl_config::{Component, ConfigError, check, probability};
use pulp::Arch;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// Two views of the same observations.
///
/// # Shapes
/// Both `[n, d1]`; row `i` of one belongs to row `i` of the other.
#[derive(Debug, Clone, PartialEq)]
pub struct PositivePair {
    /// `x⁺`, the query view.
    pub x_plus: Matrix,
    /// `x⁺⁺`, the key view.
    pub x_plus_plus: Matrix,
}

/// How two views are made from one observation.
///
/// With `s = masked_fraction`, each coordinate of each observation is subject to the mask with
/// probability `s`, independently; the others go to both views as they are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Augmentation {
    /// RandomMask: `x⁺ = D x / p`, `x⁺⁺ = (I − D) x / (1 − p)` with `D_ii ~ Bernoulli(p)`.
    ///
    /// Wen & Li 2021, set-up (there p = ½, so that both factors are 2): a coordinate is in one view or in the other,
    /// never in both, which removes the correlation of the dense features.
    ComplementaryMask {
        /// `p`, in (0, 1).
        keep_probability: f64,
        /// `s`, in [0, 1].
        masked_fraction: f64,
        /// What surviving coordinates are multiplied by.
        rescaling: Rescaling,
    },
    /// Each view has a mask of its own: `x⁺ = D x / p`, `x⁺⁺ = D' x / p`.
    ///
    /// Not in the paper: masks as much as [`ComplementaryMask`](Self::ComplementaryMask) but decouples nothing, so it
    /// distinguishes decoupling from masking.
    IndependentMasks {
        /// `p`, in (0, 1].
        keep_probability: f64,
        /// `s`, in [0, 1].
        masked_fraction: f64,
        /// What surviving coordinates are multiplied by.
        rescaling: Rescaling,
    },
    /// Both views are the observation itself.
    None,
}

/// What the coordinates that survive a mask are multiplied by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rescaling {
    /// One over the survival probability, so that a view equals `x` on average. The paper's choice.
    #[default]
    Unbiased,
    /// Nothing: a departure found in public code.
    Off,
}

/// Three fates of a coordinate and their probabilities.
struct Fates {
    /// Upper bounds of the first two of three intervals of a 31-bit word.
    bounds: [u32; 2],
    /// What `x⁺` is multiplied by in each interval.
    first: [f32; 3],
    /// What `x⁺⁺` is multiplied by in each interval.
    second: [f32; 3],
}

impl Augmentation {
    /// The paper's RandomMask: complementary, p = ½, on all coordinates.
    pub const fn complementary() -> Self {
        Self::ComplementaryMask { keep_probability: 0.5, masked_fraction: 1.0, rescaling: Rescaling::Unbiased }
    }

    /// Independent masks, p = ½, on all coordinates.
    pub const fn independent() -> Self {
        Self::IndependentMasks { keep_probability: 0.5, masked_fraction: 1.0, rescaling: Rescaling::Unbiased }
    }

    /// Checks the values; keys in errors are below the name.
    pub(crate) fn check_values(&self) -> Result<(), ConfigError> {
        match *self {
            Self::ComplementaryMask { keep_probability: p, masked_fraction, .. } => {
                check(p > 0.0 && p < 1.0, "keep_probability", p, "larger than 0 and smaller than 1")?;
                probability("masked_fraction", masked_fraction)
            }
            Self::IndependentMasks { keep_probability: p, masked_fraction, .. } => {
                check(p > 0.0 && p <= 1.0, "keep_probability", p, "larger than 0 and at most 1")?;
                probability("masked_fraction", masked_fraction)
            }
            Self::None => Ok(()),
        }
    }

    /// The name in files.
    fn name(&self) -> &'static str {
        match self {
            Self::ComplementaryMask { .. } => "complementary_mask",
            Self::IndependentMasks { .. } => "independent_masks",
            Self::None => "none",
        }
    }

    /// Makes both views of each row of `x`.
    ///
    /// # Panics
    /// When the parameters are out of range, see [`checked`](Component::checked).
    pub fn apply(&self, x: Matrix, stream: Stream, step: u64) -> PositivePair {
        self.apply_with(x, [Part::Mask, Part::SecondMask].map(|part| stream.rng(part, step)))
    }

    /// The same with given generators: one for the first view's mask or the shared mask, one for the second view's.
    pub(crate) fn apply_with(&self, x: Matrix, [mut rng, mut second_rng]: [StreamRng; 2]) -> PositivePair {
        self.checked().unwrap_or_else(|error| panic!("{error}"));
        let mut x_plus_plus = x.clone();
        let mut x_plus = x;
        match *self {
            Self::None => {}
            Self::ComplementaryMask { keep_probability: p, masked_fraction: s, rescaling } => {
                let (a, b) = (rescaling.factor(p), rescaling.factor(1.0 - p));
                let fates = Fates::new([s * p, s * (1.0 - p)], [a, 0.0, 1.0], [0.0, b, 1.0]);
                fates.apply(&mut rng, &mut x_plus.values, &mut x_plus_plus.values);
            }
            Self::IndependentMasks { keep_probability: p, masked_fraction: s, rescaling } => {
                let factors = [rescaling.factor(p), 0.0, 1.0];
                let fates = Fates::new([s * p, s * (1.0 - p)], factors, factors);
                fates.apply_to_one(&mut rng, &mut x_plus.values);
                fates.apply_to_one(&mut second_rng, &mut x_plus_plus.values);
            }
        }
        PositivePair { x_plus, x_plus_plus }
    }
}

impl Component for Augmentation {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        self.check_values().map_err(|error| error.below(self.name()))?;
        Ok(self)
    }
}

impl Rescaling {
    /// What kept coordinates are multiplied by, for a probability in (0, 1] of keeping one.
    pub fn factor(self, keep_probability: f64) -> f32 {
        match self {
            Self::Unbiased => (1.0 / keep_probability) as f32,
            Self::Off => 1.0,
        }
    }
}

/// Coordinates whose fates are drawn together.
const BLOCK: usize = 512;

impl Fates {
    fn new(probabilities: [f64; 2], first: [f32; 3], second: [f32; 3]) -> Self {
        let scaled = |p: f64| (p * 2f64.powi(31)).round() as u32;
        Self { bounds: [scaled(probabilities[0]), scaled(probabilities[0] + probabilities[1])], first, second }
    }

    /// Decides each coordinate's fate in both views.
    fn apply(&self, rng: &mut impl Rng, first: &mut [f32], second: &mut [f32]) {
        let mut words = [0u32; BLOCK];
        for (first, second) in first.chunks_mut(BLOCK).zip(second.chunks_mut(BLOCK)) {
            self.fill_words(rng, &mut words);
            multiply(first, &words, self.bounds, self.first);
            multiply(second, &words, self.bounds, self.second);
        }
    }

    /// Decides each coordinate's fate in one view.
    fn apply_to_one(&self, rng: &mut impl Rng, view: &mut [f32]) {
        let mut words = [0u32; BLOCK];
        for view in view.chunks_mut(BLOCK) {
            self.fill_words(rng, &mut words);
            multiply(view, &words, self.bounds, self.first);
        }
    }

    /// A 31-bit word per coordinate; a single random bit where two fates are equally likely.
    fn fill_words(&self, rng: &mut impl Rng, words: &mut [u32; BLOCK]) {
        if self.bounds == [1 << 30, 1 << 31] {
            let mut bits = [0u32; BLOCK / 32];
            fill_words(rng, &mut bits);
            for (words, bits) in words.chunks_exact_mut(32).zip(bits) {
                for (b, word) in words.iter_mut().enumerate() {
                    *word = (bits >> b & 1) << 30;
                }
            }
        } else {
            fill_words(rng, words);
            words.iter_mut().for_each(|word| *word >>= 1);
        }
    }
}

fn multiply(values: &mut [f32], words: &[u32; BLOCK], bounds: [u32; 2], factors: [f32; 3]) {
    Arch::new().dispatch(
        #[inline(always)]
        move || {
            // Taken by value, as in the normal numbers.
            let values = values;
            for (value, &word) in values.iter_mut().zip(words) {
                let rest = if word < bounds[1] { factors[1] } else { factors[2] };
                *value *= if word < bounds[0] { factors[0] } else { rest };
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Purpose, standard_normal};

    fn stream() -> Stream {
        Stream::new(1, Purpose::TrainingPairs)
    }

    fn ones() -> Matrix {
        Matrix::from_values(100, 700, vec![1.0; 70_000])
    }

    /// Fraction of coordinates with the given factors, against a binomial at 4.9 standard deviations.
    fn assert_fraction(pair: &PositivePair, factors: (f32, f32), probability: f64) {
        let both = pair.x_plus.values.iter().zip(&pair.x_plus_plus.values);
        let n = both.len() as f64;
        let count = both.filter(|(a, b)| (**a - factors.0).abs() < 1e-6 && (**b - factors.1).abs() < 1e-6).count();
        let z = (count as f64 - n * probability) / (n * probability * (1.0 - probability)).sqrt().max(1e-9);
        assert!(z.abs() < 4.9, "{factors:?}: {count} of {n}, expected fraction {probability}");
    }

    #[test]
    fn mask_and_complement_partition_the_coordinates() {
        for p in [0.3, 0.5, 0.7] {
            let augmentation = Augmentation::ComplementaryMask {
                keep_probability: p,
                masked_fraction: 1.0,
                rescaling: Rescaling::Unbiased,
            };
            let pair = augmentation.apply(ones(), stream(), 0);
            assert_fraction(&pair, ((1.0 / p) as f32, 0.0), p);
            assert_fraction(&pair, (0.0, (1.0 / (1.0 - p)) as f32), 1.0 - p);
        }
    }

    #[test]
    fn coordinates_outside_the_masked_fraction_go_to_both_views() {
        let augmentation = Augmentation::ComplementaryMask {
            keep_probability: 0.3,
            masked_fraction: 0.6,
            rescaling: Rescaling::Unbiased,
        };
        let pair = augmentation.apply(ones(), stream(), 0);
        assert_fraction(&pair, (1.0, 1.0), 0.4);
        assert_fraction(&pair, ((1.0 / 0.3) as f32, 0.0), 0.18);
        assert_fraction(&pair, (0.0, (1.0 / 0.7) as f32), 0.42);
    }

    #[test]
    fn independent_masks_keep_a_coordinate_twice_with_probability_p_squared() {
        let pair = Augmentation::independent().apply(ones(), stream(), 0);
        for factors in [(2.0, 2.0), (2.0, 0.0), (0.0, 2.0), (0.0, 0.0)] {
            assert_fraction(&pair, factors, 0.25);
        }
    }

    #[test]
    fn without_rescaling_survivors_keep_their_value() {
        let augmentation =
            Augmentation::ComplementaryMask { keep_probability: 0.5, masked_fraction: 1.0, rescaling: Rescaling::Off };
        let pair = augmentation.apply(ones(), stream(), 0);
        assert_fraction(&pair, (1.0, 0.0), 0.5);
        assert_fraction(&pair, (0.0, 1.0), 0.5);
    }

    #[test]
    fn no_augmentation_returns_the_observation_twice() {
        let x = Matrix::from_values(3, 5, standard_normal(&mut stream().rng(Part::Whole, 0), 15));
        let pair = Augmentation::None.apply(x.clone(), stream(), 0);
        assert_eq!(pair.x_plus, x);
        assert_eq!(pair.x_plus_plus, x);
    }

    #[test]
    fn a_fraction_of_zero_masks_nothing() {
        let x = ones();
        let augmentation = Augmentation::ComplementaryMask {
            keep_probability: 0.5,
            masked_fraction: 0.0,
            rescaling: Rescaling::Unbiased,
        };
        assert_eq!(augmentation.apply(x.clone(), stream(), 0), Augmentation::None.apply(x, stream(), 0));
    }

    #[test]
    fn parameters_out_of_range_are_named() {
        let rescaling = Rescaling::Unbiased;
        for (keep_probability, masked_fraction, expected) in [
            (1.0, 1.0, "keep_probability = 1 is out of range; it has to be larger than 0 and smaller than 1"),
            (0.5, 1.5, "masked_fraction = 1.5 is out of range; it has to be a probability, from 0 to 1"),
        ] {
            let masks = Augmentation::ComplementaryMask { keep_probability, masked_fraction, rescaling };
            assert_eq!(masks.checked().unwrap_err().to_string(), format!("complementary_mask.{expected}"));
        }
        let independent = |keep_probability, masked_fraction| {
            Augmentation::IndependentMasks { keep_probability, masked_fraction, rescaling }.checked()
        };
        assert!(independent(1.0, 1.0).is_ok());
        assert_eq!(
            independent(0.0, 1.0).unwrap_err().to_string(),
            "independent_masks.keep_probability = 0 is out of range; it has to be larger than 0 and at most 1"
        );
        assert_eq!(independent(0.5, -0.5).unwrap_err().key, "independent_masks.masked_fraction");
    }

    #[test]
    fn keys_in_errors_are_those_of_files() {
        for augmentation in [Augmentation::complementary(), Augmentation::independent()] {
            let text = toml::Value::try_from(augmentation).unwrap();
            assert!(
                text.get(augmentation.name()).and_then(|values| values.get("keep_probability")).is_some(),
                "{text}"
            );
        }
        assert_eq!(toml::Value::try_from(Augmentation::None).unwrap().as_str(), Some(Augmentation::None.name()));
    }
}
