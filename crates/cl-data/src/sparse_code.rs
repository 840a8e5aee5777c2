//! Sparse codes `z`: which features an observation contains.

use cl_config::{ConfigError, check};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

/// How the sparse code `z ∈ {−1, 0, 1}^d` is drawn.
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
            Self::OneHot => {}
        }
        Ok(self)
    }

    /// `E z_j²`, the probability that a given feature is present.
    pub fn nonzero_probability(&self, code_dim: usize) -> f64 {
        match *self {
            Self::Bernoulli { nonzero_probability } => nonzero_probability,
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
                // Even, so that both signs have exactly the same number of words.
                let half = (nonzero_probability * 2f64.powi(31)).round() as u64;
                for entry in z.iter_mut() {
                    let word = u64::from(rng.next_u32());
                    *entry = if word < half {
                        1.0
                    } else if word < 2 * half {
                        -1.0
                    } else {
                        0.0
                    };
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
        ] {
            assert_eq!(code.checked(4).unwrap_err().to_string(), expected);
        }
        assert!(SparseCodeDistribution::ExactK { nonzero_count: 4 }.checked(4).is_ok());
    }
}
