//! Sparse codes `z`: which features an observation contains.

use cl_config::{ConfigError, check};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

/// How the sparse code `z ∈ {−1, 0, 1}^d` is drawn (with features of two amplitudes, some of its entries are shorter).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SparseCodeDistribution {
    /// Independent entries, non-zero with probability `q = nonzero_probability` in (0, 1], with a fair sign.
    ///
    /// Wen & Li 2021, set-up, with `q = Θ(log log d / d)`.
    Bernoulli {
        /// `q`.
        nonzero_probability: f64,
    },
    /// Exactly `nonzero_count` entries, uniformly chosen, with fair signs.
    ///
    /// Not in the paper: removes the variation of `‖z‖`.
    ExactK {
        /// Number of non-zero entries, in 1..=d.
        nonzero_count: usize,
    },
    /// Exactly `nonzero_count` entries, uniformly chosen: half of them (rounded up) are −1, the others +1.
    ///
    /// Not in the paper: the code of Pokle et al. (2022), whose entries add up to 0 or −1.
    BalancedK {
        /// Number of non-zero entries, in 1..=d.
        nonzero_count: usize,
    },
    /// Independent entries with fair signs, of which the first is non-zero most often: entry j with probability
    /// `q_0 (q_{d−1}/q_0)^{j/(d−1)}`.
    ///
    /// Not in the paper, whose features are equally frequent.
    GeometricFrequencies {
        /// `q_0` in (0, 1].
        first_probability: f64,
        /// `q_{d−1}`, larger than 0 and at most `q_0`.
        last_probability: f64,
    },
    /// Independent entries, non-zero with probability q and a fair sign: strong features with entries ±1 first, then weak ones with
    /// shorter entries.
    ///
    /// Wen & Li 2022, whose prediction head finds weak features that are not learned without it.
    TwoAmplitudes {
        /// `q` in (0, 1].
        nonzero_probability: f64,
        /// Number of strong features, in 1..d.
        strong_features: usize,
        /// Length of the entries of the others, in (0, 1).
        weak_amplitude: f64,
    },
    /// One entry is +1.
    ///
    /// Not in the paper: the simplest code, used by follow-up work.
    OneHot,
}

impl SparseCodeDistribution {
    /// Returns the distribution if every value is in its range, for codes of length `code_dim`.
    ///
    /// # Errors
    /// [`ConfigError`] with a key such as `bernoulli.nonzero_probability`.
    pub fn checked(self, code_dim: usize) -> Result<Self, ConfigError> {
        let count = |key: &str, k: usize| {
            check((1..=code_dim).contains(&k), key, k, format!("from 1 to {code_dim}, the number of features"))
        };
        match self {
            Self::Bernoulli { nonzero_probability: q } => {
                check(q > 0.0 && q <= 1.0, "bernoulli.nonzero_probability", q, "larger than 0 and at most 1")?;
            }
            Self::ExactK { nonzero_count } => count("exact_k.nonzero_count", nonzero_count)?,
            Self::BalancedK { nonzero_count } => count("balanced_k.nonzero_count", nonzero_count)?,
            Self::GeometricFrequencies { first_probability: first, last_probability: last } => {
                let key = "geometric_frequencies.first_probability";
                check(first > 0.0 && first <= 1.0, key, first, "larger than 0 and at most 1")?;
                let wanted = format!("larger than 0 and at most first_probability = {first}");
                check(last > 0.0 && last <= first, "geometric_frequencies.last_probability", last, wanted)?;
            }
            Self::TwoAmplitudes { nonzero_probability: q, strong_features, weak_amplitude } => {
                check(q > 0.0 && q <= 1.0, "two_amplitudes.nonzero_probability", q, "larger than 0 and at most 1")?;
                let wanted = format!("at least 1 and below {code_dim}, the number of features");
                let in_range = (1..code_dim).contains(&strong_features);
                check(in_range, "two_amplitudes.strong_features", strong_features, wanted)?;
                let in_range = weak_amplitude > 0.0 && weak_amplitude < 1.0;
                check(in_range, "two_amplitudes.weak_amplitude", weak_amplitude, "larger than 0 and below 1")?;
            }
            Self::OneHot => {}
        }
        Ok(self)
    }

    /// `E z_j²` of every entry.
    pub fn second_moments(&self, code_dim: usize) -> Vec<f64> {
        (0..code_dim).map(|j| self.probability(j, code_dim) * self.amplitude(j).powi(2)).collect()
    }

    /// Mean over the entries of the probability that one is not 0.
    pub fn nonzero_probability(&self, code_dim: usize) -> f64 {
        match *self {
            // As it was given, without roundings.
            Self::Bernoulli { nonzero_probability } | Self::TwoAmplitudes { nonzero_probability, .. } => {
                nonzero_probability
            }
            Self::GeometricFrequencies { .. } => {
                (0..code_dim).map(|j| self.probability(j, code_dim)).sum::<f64>() / code_dim as f64
            }
            _ => self.probability(0, code_dim),
        }
    }

    /// Length of entry j where it is not 0.
    fn amplitude(&self, j: usize) -> f64 {
        match *self {
            Self::TwoAmplitudes { strong_features, weak_amplitude, .. } if j >= strong_features => weak_amplitude,
            _ => 1.0,
        }
    }

    /// Probability that entry j is not 0.
    fn probability(&self, j: usize, code_dim: usize) -> f64 {
        match *self {
            Self::Bernoulli { nonzero_probability } | Self::TwoAmplitudes { nonzero_probability, .. } => {
                nonzero_probability
            }
            Self::GeometricFrequencies { first_probability: first, last_probability: last } => {
                first * (last / first).powf(j as f64 / (code_dim as f64 - 1.0).max(1.0))
            }
            Self::ExactK { nonzero_count } | Self::BalancedK { nonzero_count } => {
                nonzero_count as f64 / code_dim as f64
            }
            Self::OneHot => 1.0 / code_dim as f64,
        }
    }

    /// Draws one code into `z`.
    pub(crate) fn draw(&self, rng: &mut impl Rng, z: &mut [f32]) {
        match *self {
            Self::Bernoulli { nonzero_probability } => {
                let half = half_of_words(nonzero_probability);
                z.iter_mut().for_each(|entry| *entry = signed_bernoulli(rng, half));
            }
            Self::TwoAmplitudes { .. } | Self::GeometricFrequencies { .. } => {
                let d = z.len();
                for (j, entry) in z.iter_mut().enumerate() {
                    let half = half_of_words(self.probability(j, d));
                    *entry = self.amplitude(j) as f32 * signed_bernoulli(rng, half);
                }
            }
            Self::ExactK { nonzero_count } => {
                z.fill(0.0);
                let mut order: Vec<usize> = (0..z.len()).collect();
                for k in 0..nonzero_count {
                    order.swap(k, rng.random_range(k..z.len()));
                    z[order[k]] = if rng.random() { 1.0 } else { -1.0 };
                }
            }
            Self::BalancedK { nonzero_count } => {
                z.fill(0.0);
                for (k, j) in rand::seq::index::sample(rng, z.len(), nonzero_count).into_iter().enumerate() {
                    z[j] = if k < nonzero_count.div_ceil(2) { -1.0 } else { 1.0 };
                }
            }
            Self::OneHot => {
                z.fill(0.0);
                z[rng.random_range(0..z.len())] = 1.0;
            }
        }
    }
}

/// Half of the 32-bit words that stand for an event of probability q. Rounded, so that both signs have exactly the same number of words.
fn half_of_words(q: f64) -> u64 {
    (q * 2f64.powi(31)).round() as u64
}

/// 1 or −1 for as many words each, else 0.
fn signed_bernoulli(rng: &mut impl Rng, half: u64) -> f32 {
    match u64::from(rng.next_u32()) {
        word if word < half => 1.0,
        word if word < 2 * half => -1.0,
        _ => 0.0,
    }
}

/// `q = max(log log d, 1) / d`, the default probability that a feature is present.
///
/// Wen & Li 2021 have `Θ(log log d / d)`, which degenerates at laboratory size (`log log d < 1` up to
/// d = 15); the maximum keeps one feature per observation on average.
pub fn default_nonzero_probability(code_dim: usize) -> f64 {
    let d = code_dim as f64;
    (d.ln().ln().max(1.0) / d).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Part, Purpose, Stream};

    fn draw(distribution: SparseCodeDistribution, d: usize, n: usize) -> Vec<Vec<f32>> {
        let mut rng = Stream::new(1, Purpose::Moments).rng(Part::SparseCode, 0);
        (0..n)
            .map(|_| {
                let mut z = vec![9.0; d];
                distribution.draw(&mut rng, &mut z);
                z
            })
            .collect()
    }

    /// 400,000 entries; both counts within 4.9 standard deviations (false alarm 2e-6).
    #[test]
    fn balanced_codes_have_as_many_of_either_sign_as_there_can_be() {
        for (k, sum) in [(2, 0.0), (3, -1.0)] {
            let codes = draw(SparseCodeDistribution::BalancedK { nonzero_count: k }, 10, 2000);
            for code in &codes {
                assert_eq!(code.iter().filter(|v| **v != 0.0).count(), k);
                assert_eq!(code.iter().sum::<f32>(), sum);
            }
            // Each place is −1 with probability ⌈k/2⌉/10; 4.9 standard deviations.
            for j in 0..10 {
                let taken = codes.iter().filter(|c| c[j] == -1.0).count() as f64;
                let p = (k as f64 / 2.0).ceil() / 10.0;
                assert!((taken - 2000.0 * p).abs() < 4.9 * (2000.0 * p * (1.0 - p)).sqrt(), "{j}: {taken}");
            }
        }
    }

    #[test]
    fn bernoulli_entries_have_probability_q_and_fair_signs() {
        let q = 0.07;
        let codes = draw(SparseCodeDistribution::Bernoulli { nonzero_probability: q }, 20, 20_000);
        let entries = codes.iter().flatten();
        let positive = entries.clone().filter(|v| **v == 1.0).count() as f64;
        let negative = entries.clone().filter(|v| **v == -1.0).count() as f64;
        let n = entries.count() as f64;
        assert!(((positive + negative - n * q) / (n * q * (1.0 - q)).sqrt()).abs() < 4.9);
        assert!(((positive - negative) / (n * q).sqrt()).abs() < 4.9);
    }

    #[test]
    fn probability_one_leaves_no_zero() {
        let codes = draw(SparseCodeDistribution::Bernoulli { nonzero_probability: 1.0 }, 20, 1000);
        assert!(codes.iter().flatten().all(|v| v.abs() == 1.0));
    }

    #[test]
    fn exact_k_has_k_entries_and_uses_every_place() {
        let codes = draw(SparseCodeDistribution::ExactK { nonzero_count: 3 }, 10, 2000);
        assert!(codes.iter().all(|z| z.iter().filter(|v| v.abs() == 1.0).count() == 3));
        for j in 0..10 {
            let used = codes.iter().filter(|z| z[j] != 0.0).count() as f64;
            assert!(((used - 600.0) / (2000.0f64 * 0.3 * 0.7).sqrt()).abs() < 4.9);
        }
    }

    #[test]
    fn one_hot_has_a_single_one() {
        for z in draw(SparseCodeDistribution::OneHot, 10, 100) {
            assert_eq!(z.iter().sum::<f32>(), 1.0);
            assert_eq!(z.iter().filter(|v| **v != 0.0).count(), 1);
        }
    }

    /// Counts within 4.9 standard deviations.
    #[test]
    fn frequencies_fall_geometrically_and_weak_entries_are_short() {
        let (d, n) = (5, 40_000);
        let code = SparseCodeDistribution::GeometricFrequencies { first_probability: 0.4, last_probability: 0.025 };
        let expected = [0.4, 0.2, 0.1, 0.05, 0.025];
        let codes = draw(code, d, n);
        for (j, p) in expected.into_iter().enumerate() {
            let used = codes.iter().filter(|z| z[j] != 0.0).count() as f64;
            assert!(((used - n as f64 * p) / (n as f64 * p * (1.0 - p)).sqrt()).abs() < 4.9, "{j}: {used}");
            assert!((code.second_moments(d)[j] - p).abs() < 1e-12);
        }
        assert!((code.nonzero_probability(d) - 0.155).abs() < 1e-12);
        let code = SparseCodeDistribution::TwoAmplitudes {
            nonzero_probability: 0.5,
            strong_features: 2,
            weak_amplitude: 0.25,
        };
        assert_eq!(code.second_moments(4), [0.5, 0.5, 0.03125, 0.03125]);
        let lengths = |j: usize| draw(code, 4, 1000).into_iter().map(move |z| z[j].abs()).fold(0.0, f32::max);
        assert_eq!([0, 1, 2, 3].map(lengths), [1.0, 1.0, 0.25, 0.25]);
    }

    #[test]
    fn default_probability_keeps_one_feature_on_average_in_small_dictionaries() {
        assert_eq!(default_nonzero_probability(10), 0.1);
        assert!((default_nonzero_probability(64) - 64f64.ln().ln() / 64.0).abs() < 1e-15);
        assert_eq!(default_nonzero_probability(1), 1.0);
    }

    #[test]
    fn parameters_out_of_range_are_named() {
        for (code, expected) in [
            (
                SparseCodeDistribution::Bernoulli { nonzero_probability: f64::NAN },
                "bernoulli.nonzero_probability = NaN is out of range; it has to be larger than 0 and at most 1",
            ),
            (
                SparseCodeDistribution::ExactK { nonzero_count: 5 },
                "exact_k.nonzero_count = 5 is out of range; it has to be from 1 to 4, the number of features",
            ),
            (
                SparseCodeDistribution::BalancedK { nonzero_count: 0 },
                "balanced_k.nonzero_count = 0 is out of range; it has to be from 1 to 4, the number of features",
            ),
            (
                SparseCodeDistribution::GeometricFrequencies { first_probability: 0.1, last_probability: 0.2 },
                "geometric_frequencies.last_probability = 0.2 is out of range; it has to be larger than 0 and at most \
                 first_probability = 0.1",
            ),
            (
                SparseCodeDistribution::TwoAmplitudes {
                    nonzero_probability: 0.1,
                    strong_features: 4,
                    weak_amplitude: 0.5,
                },
                "two_amplitudes.strong_features = 4 is out of range; it has to be at least 1 and below 4, the number of features",
            ),
        ] {
            assert_eq!(code.checked(4).unwrap_err().to_string(), expected);
        }
        assert!(SparseCodeDistribution::ExactK { nonzero_count: 4 }.checked(4).is_ok());
    }
}
