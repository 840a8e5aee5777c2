//! What a layer of neurons has learned, measured against a known dictionary.
//!
//! Each neuron is split as `w_i = Σ_j α_ij M_j + w_i^⊥` with `w_i^⊥` in the complement of span(M)
//! (Wen & Li 2021, main theorem). All measures are taken in double precision on the host.

use crate::host::{dot, norm, rows_f64};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// `j ∈ N_i` when `|α_ij|` is at least this fraction of `‖w_i‖`.
pub const MEMBERSHIP_FRACTION: f64 = 0.25;

/// A neuron is a singleton when `|N_i| = 1` and its best cosine reaches this.
pub const SINGLETON_COSINE: f64 = 0.9;

/// The coefficients of neurons in a dictionary.
#[derive(Debug, Clone, PartialEq)]
pub struct Decomposition {
    /// `α_ij = ⟨w_i, M_j⟩`, one row per neuron.
    pub alpha: Vec<Vec<f64>>,
    /// `‖w_i‖`.
    pub norms: Vec<f64>,
}

/// Measures of learned features at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureMeasures {
    /// Mean over neurons of `‖M Mᵀ w_i‖² / ‖w_i‖²`, in [0, 1]; d/d1 for random weights.
    pub energy_in_span: f64,
    /// Mean over features of `max_i |cos(w_i, M_j)|`, in [0, 1].
    pub coverage_mean: f64,
    /// Minimum over features of the same.
    pub coverage_min: f64,
    /// Median over features of `max_i |cos(w_i, M_j)|`.
    pub coverage_median: f64,
    /// Largest over features of `max_i |cos(w_i, M_j)|`.
    pub coverage_max: f64,
    /// Features `j` with a neuron whose `N_i = {j}` and `|cos(w_i, M_j)| ≥` [`SINGLETON_COSINE`].
    pub features_with_singleton: usize,
    /// Fraction of neurons that are singletons.
    pub singleton_fraction: f64,
    /// `histogram[k]` = number of neurons with `|N_i| = k`, for k from 0 to d.
    pub membership_histogram: Vec<usize>,
    /// Number of neurons with `j ∈ N_i`, per feature.
    pub neurons_per_feature: Vec<usize>,
}

impl Decomposition {
    /// Decomposes neurons `[m, d1]` in features `[d, d1]` (row `j` is `M_j`, orthonormal).
    ///
    /// # Panics
    /// When the number of columns differs.
    pub fn new(weights: Tensor<2>, features: Tensor<2>) -> Self {
        assert_eq!(weights.dims()[1], features.dims()[1], "neurons and features must have the same length");
        let features = rows_f64(features);
        let weights = rows_f64(weights);
        let alpha = weights.iter().map(|w| features.iter().map(|f| dot(w, f)).collect()).collect();
        Self { alpha, norms: weights.iter().map(|w| norm(w)).collect() }
    }

    /// Per neuron, `‖M Mᵀ w_i‖ / ‖w_i‖` squared; 0 for a neuron without weights.
    pub fn energies(&self) -> Vec<f64> {
        self.alpha.iter().zip(&self.norms).map(|(a, n)| if *n > 0.0 { dot(a, a) / (n * n) } else { 0.0 }).collect()
    }

    /// `|cos(w_i, M_j)|`; 0 for a neuron without weights.
    pub fn cosine(&self, i: usize, j: usize) -> f64 {
        if self.norms[i] > 0.0 { self.alpha[i][j].abs() / self.norms[i] } else { 0.0 }
    }

    /// `max_i |cos(w_i, M_j)|` per feature.
    pub fn coverage(&self) -> Vec<f64> {
        let d = self.alpha.first().map_or(0, Vec::len);
        (0..d).map(|j| (0..self.alpha.len()).map(|i| self.cosine(i, j)).fold(0.0, f64::max)).collect()
    }

    /// `N_i`, the features that neuron `i` uses.
    pub fn members(&self, i: usize) -> Vec<usize> {
        (0..self.alpha[i].len()).filter(|&j| self.cosine(i, j) >= MEMBERSHIP_FRACTION).collect()
    }

    /// The feature of neuron `i` if it is a singleton.
    pub fn singleton(&self, i: usize) -> Option<usize> {
        match self.members(i)[..] {
            [j] if self.cosine(i, j) >= SINGLETON_COSINE => Some(j),
            _ => None,
        }
    }

    /// `(Σ_i ‖M Mᵀ w_i‖², Σ_i ‖w_i‖² − Σ_i ‖M Mᵀ w_i‖²)`: squared mass in span(M) and in its complement.
    pub fn mass(&self) -> (f64, f64) {
        let inside: f64 = self.alpha.iter().map(|a| dot(a, a)).sum();
        let total: f64 = self.norms.iter().map(|n| n * n).sum();
        (inside, (total - inside).max(0.0))
    }

    /// All measures.
    pub fn measures(&self) -> FeatureMeasures {
        let m = self.alpha.len();
        let coverage = self.coverage();
        let d = coverage.len();
        let (mut with_singleton, mut singletons) = (vec![false; d], 0);
        let (mut histogram, mut per_feature) = (vec![0; d + 1], vec![0; d]);
        for i in 0..m {
            let members = self.members(i);
            histogram[members.len()] += 1;
            members.iter().for_each(|&j| per_feature[j] += 1);
            if let Some(j) = self.singleton(i) {
                with_singleton[j] = true;
                singletons += 1;
            }
        }
        FeatureMeasures {
            energy_in_span: self.energies().iter().sum::<f64>() / m as f64,
            coverage_mean: coverage.iter().sum::<f64>() / d as f64,
            coverage_min: coverage.iter().copied().fold(f64::INFINITY, f64::min),
            coverage_max: coverage.iter().copied().fold(0.0, f64::max),
            coverage_median: median(coverage),
            features_with_singleton: with_singleton.iter().filter(|s| **s).count(),
            singleton_fraction: singletons as f64 / m as f64,
            membership_histogram: histogram,
            neurons_per_feature: per_feature,
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    if n == 0 { f64::NAN } else { (values[(n - 1) / 2] + values[n / 2]) / 2.0 }
}

/// Coverage corrected for chance: `(coverage − chance) / (1 − chance)`, 0 for random weights and 1 at best.
///
/// `chance` is the mean coverage of random weights of the same shape, which falls with d1.
pub fn chance_corrected(coverage: f64, chance: f64) -> f64 {
    (coverage - chance) / (1.0 - chance)
}

/// How embeddings of observations relate to those of their sparse and of their dense part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EmbeddingMeasures {
    /// `corr(f(x), f(Mz))`: mean cosine over rows with z ≠ 0. A row counts as 0 where either vector is 0.
    pub correlation_sparse: f64,
    /// Fraction of rows with z ≠ 0 in which both vectors are non-zero.
    pub correlation_sparse_defined: f64,
    /// `corr(f(x), f(ξ))`: pooled, `Σ⟨f(x), f(ξ)⟩ / √(Σ‖f(x)‖² Σ‖f(ξ)‖²)` over all rows; 0 when either sum is 0.
    pub correlation_dense: f64,
    /// Fraction of rows in which both `f(x)` and `f(ξ)` are non-zero.
    pub correlation_dense_defined: f64,
    /// Fraction of entries of `f(x)` that are not 0.
    pub active_fraction: f64,
}

impl EmbeddingMeasures {
    /// Compares `f(x)`, `f(Mz)` and `f(ξ)`, all `[n, m]`; `has_feature[i]` says whether z ≠ 0 in row `i`.
    ///
    /// # Panics
    /// When the numbers of rows differ.
    pub fn new(f_x: Tensor<2>, f_mz: Tensor<2>, f_xi: Tensor<2>, has_feature: &[bool]) -> Self {
        let (f_x, f_mz, f_xi) = (rows_f64(f_x), rows_f64(f_mz), rows_f64(f_xi));
        assert!(f_x.len() == f_mz.len() && f_x.len() == f_xi.len() && f_x.len() == has_feature.len());
        let n = f_x.len() as f64;
        let (mut cosines, mut defined, mut rows) = (0.0, 0.0, 0.0);
        for ((a, b), _) in f_x.iter().zip(&f_mz).zip(has_feature).filter(|(_, has)| **has) {
            rows += 1.0;
            let lengths = norm(a) * norm(b);
            if lengths > 0.0 {
                cosines += dot(a, b) / lengths;
                defined += 1.0;
            }
        }
        let (mut cross, mut x_squared, mut xi_squared, mut both) = (0.0, 0.0, 0.0, 0.0);
        for (a, b) in f_x.iter().zip(&f_xi) {
            cross += dot(a, b);
            x_squared += dot(a, a);
            xi_squared += dot(b, b);
            both += f64::from(u8::from(dot(a, a) > 0.0 && dot(b, b) > 0.0));
        }
        let lengths = (x_squared * xi_squared).sqrt();
        let entries = f_x.iter().flatten();
        let active = entries.clone().filter(|v| **v != 0.0).count() as f64;
        Self {
            correlation_sparse: if rows > 0.0 { cosines / rows } else { 0.0 },
            correlation_sparse_defined: if rows > 0.0 { defined / rows } else { 0.0 },
            correlation_dense: if lengths > 0.0 { cross / lengths } else { 0.0 },
            correlation_dense_defined: both / n,
            active_fraction: active / entries.count() as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn tensor<const R: usize, const C: usize>(rows: [[f32; C]; R]) -> Tensor<2> {
        Tensor::from_data(rows, &Device::flex())
    }

    /// Features e1, e2 in three dimensions; neurons: a singleton, a mixture, pure complement, zero.
    fn example() -> Decomposition {
        Decomposition::new(
            tensor([[2.0, 0.0, 0.5], [1.0, -1.0, 0.0], [0.0, 0.1, 3.0], [0.0, 0.0, 0.0]]),
            tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
        )
    }

    #[test]
    fn energies_are_squared_fractions_in_the_span() {
        let expected = [4.0 / 4.25, 1.0, 0.01 / 9.01, 0.0];
        for (found, expected) in example().energies().iter().zip(expected) {
            assert!((found - expected).abs() < 1e-7);
        }
    }

    #[test]
    fn members_and_singletons_follow_their_definitions() {
        let d = example();
        assert_eq!(d.members(0), [0]);
        assert_eq!(d.members(1), [0, 1]);
        assert_eq!(d.members(2), [0usize; 0]);
        assert_eq!([0, 1, 2, 3].map(|i| d.singleton(i)), [Some(0), None, None, None]);
    }

    #[test]
    fn one_member_alone_does_not_make_a_singleton() {
        // cos = 0.6: |N_i| = 1, and the rest of the neuron is dense.
        let d = Decomposition::new(tensor([[0.6, 0.0, 0.8]]), tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]));
        assert_eq!(d.members(0), [0]);
        assert_eq!(d.singleton(0), None);
    }

    #[test]
    fn measures_summarise_the_layer() {
        let measures = example().measures();
        let (first, second) = (2.0 / 4.25f64.sqrt(), 0.5f64.sqrt());
        assert!((measures.coverage_mean - (first + second) / 2.0).abs() < 1e-7);
        assert!((measures.coverage_min - second).abs() < 1e-7);
        assert_eq!(measures.features_with_singleton, 1);
        assert_eq!(measures.singleton_fraction, 0.25);
        assert_eq!(measures.membership_histogram, [2, 1, 1]);
        assert_eq!(measures.neurons_per_feature, [2, 1]);
    }

    #[test]
    fn mass_is_split_between_span_and_complement() {
        let (inside, outside) = example().mass();
        assert!((inside - (4.0 + 2.0 + 0.01)).abs() < 1e-6 && (outside - (0.25 + 9.0)).abs() < 1e-6);
    }

    #[test]
    fn correlations_count_zero_vectors_as_stated() {
        let f_x = tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [5.0, 5.0]]);
        let f_mz = tensor([[2.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 1.0]]);
        let f_xi = tensor([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]]);
        let m = EmbeddingMeasures::new(f_x, f_mz, f_xi, &[true, true, true, false]);
        // Cosines 1, 1/√2 and, with f(x) = 0, 0.
        assert!((m.correlation_sparse - (1.0 + 0.5f64.sqrt()) / 3.0).abs() < 1e-9);
        assert!((m.correlation_sparse_defined - 2.0 / 3.0).abs() < 1e-12);
        // Σ⟨⟩ = 2, Σ‖f(x)‖² = 53, Σ‖f(ξ)‖² = 4.
        assert!((m.correlation_dense - 2.0 / 212f64.sqrt()).abs() < 1e-9);
        assert_eq!(m.correlation_dense_defined, 0.5);
        assert_eq!(m.active_fraction, 5.0 / 8.0);
    }

    #[test]
    fn chance_correction_maps_chance_to_zero_and_one_to_one() {
        assert_eq!(chance_corrected(0.2, 0.2), 0.0);
        assert_eq!(chance_corrected(1.0, 0.2), 1.0);
    }
}
