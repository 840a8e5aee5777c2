//! Observations `x = M z + ξ`.

use crate::normal::scaled_normal;
use crate::{Dictionary, Matrix, Part, SparseCodeDistribution, Stream};
use cl_config::{ConfigError, not_negative};
use pulp::Arch;

/// The sparse coding model `x = M z + ξ` with `ξ ~ N(0, σ_ξ² I)`.
///
/// Wen & Li 2021, set-up: sparse features `Mz` are wanted, dense features `ξ` are not, although
/// `‖ξ‖² ≫ ‖Mz‖²`.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseCodingModel {
    dictionary: Dictionary,
    sparse_code: SparseCodeDistribution,
    noise_std: f32,
}

/// A batch of observations and what they are made of.
///
/// # Shapes
/// `n` rows each: `z` is `[n, d]`, `xi` and `x` are `[n, d1]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Observations {
    /// Sparse codes.
    pub z: Matrix,
    /// Dense features `ξ`.
    pub xi: Matrix,
    /// Observations `M z + ξ`.
    pub x: Matrix,
}

impl SparseCodingModel {
    /// Builds a data model; `noise_std = σ_ξ` is a standard deviation, finite and ≥ 0.
    ///
    /// # Errors
    /// [`ConfigError`] with a key below `sparse_code`, or `noise_std`.
    pub fn new(
        dictionary: Dictionary,
        sparse_code: SparseCodeDistribution,
        noise_std: f64,
    ) -> Result<Self, ConfigError> {
        let sparse_code = sparse_code.checked(dictionary.code_dim()).map_err(|error| error.below("sparse_code"))?;
        not_negative("noise_std", noise_std)?;
        Ok(Self { dictionary, sparse_code, noise_std: noise_std as f32 })
    }

    /// The dictionary `M`.
    pub fn dictionary(&self) -> &Dictionary {
        &self.dictionary
    }

    /// How codes are drawn.
    pub fn sparse_code(&self) -> SparseCodeDistribution {
        self.sparse_code
    }

    /// `σ_ξ`.
    pub fn noise_std(&self) -> f64 {
        f64::from(self.noise_std)
    }

    /// `E z_j²` of every feature.
    pub fn code_moments(&self) -> Vec<f64> {
        self.sparse_code.second_moments(self.dictionary.code_dim())
    }

    /// Draws `count` observations with all their parts.
    pub fn sample(&self, count: usize, stream: Stream, step: u64) -> Observations {
        let z = self.sample_codes(count, stream, step);
        let xi = self.sample_noise(count, stream, step);
        let mut x = xi.clone();
        self.add_sparse_features(&z, &mut x);
        Observations { z, xi, x }
    }

    /// Draws only `x` of `count` observations, `[count, d1]`: the same values as [`sample`](Self::sample).
    pub fn sample_inputs(&self, count: usize, stream: Stream, step: u64) -> Matrix {
        let z = self.sample_codes(count, stream, step);
        let mut x = self.sample_noise(count, stream, step);
        self.add_sparse_features(&z, &mut x);
        x
    }

    /// `M z` for each row of `z`, `[n, d]` to `[n, d1]`.
    pub fn sparse_features(&self, z: &Matrix) -> Matrix {
        let mut mz = Matrix::zeros(z.rows, self.dictionary.input_dim());
        self.add_sparse_features(z, &mut mz);
        mz
    }

    fn sample_codes(&self, count: usize, stream: Stream, step: u64) -> Matrix {
        let mut z = Matrix::zeros(count, self.dictionary.code_dim());
        let mut rng = stream.rng(Part::SparseCode, step);
        for i in 0..count {
            self.sparse_code.draw(&mut rng, z.row_mut(i));
        }
        z
    }

    fn sample_noise(&self, count: usize, stream: Stream, step: u64) -> Matrix {
        let d1 = self.dictionary.input_dim();
        let mut rng = stream.rng(Part::DenseNoise, step);
        Matrix::from_values(count, d1, scaled_normal(&mut rng, count * d1, self.noise_std))
    }

    fn add_sparse_features(&self, z: &Matrix, x: &mut Matrix) {
        for i in 0..z.rows {
            let row = x.row_mut(i);
            for (j, &sign) in z.row(i).iter().enumerate().filter(|(_, sign)| **sign != 0.0) {
                add_scaled(row, sign, self.dictionary.feature(j));
            }
        }
    }
}

/// `row ← row + factor · other`.
fn add_scaled(row: &mut [f32], factor: f32, other: &[f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        move || {
            let row = row;
            row.iter_mut().zip(other).for_each(|(x, m)| *x += factor * m);
        },
    );
}

/// `σ_ξ² = max(√log d / d, 1.5 q)`, the default noise variance.
///
/// Wen & Li 2021 have `Θ(√log d / d)`. At laboratory size that can fall below `q`, where the noise
/// no longer dominates the signal; the maximum keeps it above.
pub fn default_noise_variance(code_dim: usize, nonzero_probability: f64) -> f64 {
    let d = code_dim as f64;
    (d.ln().max(0.0).sqrt() / d).max(1.5 * nonzero_probability)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Purpose;

    fn model(noise_std: f64) -> SparseCodingModel {
        let dictionary = Dictionary::random(8, 64, Stream::new(1, Purpose::Dictionary)).unwrap();
        SparseCodingModel::new(dictionary, SparseCodeDistribution::Bernoulli { nonzero_probability: 0.2 }, noise_std)
            .unwrap()
    }

    #[test]
    fn observations_are_sparse_features_plus_dense_features() {
        let model = model(0.3);
        let stream = Stream::new(5, Purpose::Evaluation);
        let o = model.sample(50, stream, 3);
        let mz = model.sparse_features(&o.z);
        for ((x, s), xi) in o.x.values.iter().zip(&mz.values).zip(&o.xi.values) {
            // Two features at most overlap in most rows; one rounding of x each.
            assert!((x - (s + xi)).abs() < 1e-6);
        }
        assert_eq!(o.x, model.sample_inputs(50, stream, 3));
    }

    #[test]
    fn without_noise_the_code_is_read_back_by_the_dictionary() {
        let model = model(0.0);
        let o = model.sample(20, Stream::new(5, Purpose::Evaluation), 0);
        for i in 0..20 {
            for j in 0..8 {
                let along: f32 = o.x.row(i).iter().zip(model.dictionary().feature(j)).map(|(a, b)| a * b).sum();
                assert!((along - o.z.row(i)[j]).abs() < 1e-5);
            }
        }
    }

    /// 64,000 numbers: variance within 4.9 standard errors σ²√(2/n).
    #[test]
    fn noise_has_the_standard_deviation_asked_for() {
        let o = model(0.3).sample(1000, Stream::new(5, Purpose::Evaluation), 0);
        let n = o.xi.values.len() as f64;
        let variance = o.xi.values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / n;
        assert!(((variance / 0.09 - 1.0) / (2.0 / n).sqrt()).abs() < 4.9);
    }

    #[test]
    fn steps_and_purposes_give_fresh_observations() {
        let model = model(0.3);
        let at = |purpose, step| model.sample_inputs(4, Stream::new(5, purpose), step);
        assert_eq!(at(Purpose::TrainingPairs, 1), at(Purpose::TrainingPairs, 1));
        assert_ne!(at(Purpose::TrainingPairs, 1), at(Purpose::TrainingPairs, 2));
        assert_ne!(at(Purpose::TrainingPairs, 1), at(Purpose::TrainingNegatives, 1));
    }

    #[test]
    fn default_noise_dominates_the_signal() {
        let q = crate::default_nonzero_probability(32);
        assert!((default_noise_variance(32, q) - 0.0582).abs() < 1e-4);
        assert!((default_noise_variance(64, crate::default_nonzero_probability(64)) - 0.0334).abs() < 1e-4);
    }

    #[test]
    fn parameters_out_of_range_are_named() {
        let dictionary = || Dictionary::random(8, 64, Stream::new(1, Purpose::Dictionary)).unwrap();
        let message = |code, noise_std| SparseCodingModel::new(dictionary(), code, noise_std).unwrap_err().to_string();
        assert_eq!(
            message(SparseCodeDistribution::OneHot, f64::NAN),
            "noise_std = NaN is out of range; it has to be a finite number, 0 or larger"
        );
        assert_eq!(
            message(SparseCodeDistribution::BalancedK { nonzero_count: 9 }, 0.1),
            "sparse_code.balanced_k.nonzero_count = 9 is out of range; it has to be from 1 to 8, the number of features"
        );
    }
}
