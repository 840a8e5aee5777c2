//! How outputs are spread, whatever is known about the data: the signals of a collapsing representation.

use crate::host::{dot, norm, rows_f64};
use burn::tensor::Tensor;
use faer::{Mat, Side};
use serde::{Deserialize, Serialize};

/// Below this [`OutputMeasures::spread`] all outputs point the same way. Random directions have 1.
pub const COLLAPSED_SPREAD: f64 = 0.1;

/// Exponent of the uniformity that is measured, `t`.
const EXPONENT: f64 = 2.0;

/// How the outputs for two views of some samples are spread.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OutputMeasures {
    /// [Effective rank](effective_rank) of the outputs for the first views, from 1 to k; 0 where all are 0.
    pub effective_rank: f64,
    /// Standard deviation of outputs of unit length, root mean square over the k coordinates, times √k: 1 where directions are spread evenly, 0
    /// where all are alike (Chen & He 2021).
    pub spread: f64,
    /// `mean_i ‖F̂_i − Ĝ_i‖²` of outputs of unit length (Wang & Isola 2020).
    pub alignment: f64,
    /// `½ Σ_views log mean_{i≠j} e^{−2‖F̂_i − F̂_j‖²}` of the same; 0 where all are alike.
    pub uniformity: f64,
}

impl OutputMeasures {
    /// Measures outputs `[n, k]` for the first and for the second view of n samples. Outputs of length 0 stay 0.
    ///
    /// # Panics
    /// With fewer than two samples, or when shapes differ or a value is not finite.
    pub fn new(first: Tensor<2>, second: Tensor<2>) -> Self {
        assert_eq!(first.dims(), second.dims(), "two views of the same samples");
        assert!(first.dims()[0] > 1, "samples are compared with each other");
        let effective_rank = effective_rank(first.clone());
        let [first, second] = [first, second].map(|view| rows_f64(view).into_iter().map(unit).collect::<Vec<_>>());
        let distances = first.iter().zip(&second).map(|(f, g)| squared_distance(f, g));
        Self {
            effective_rank,
            spread: spread(&first),
            alignment: distances.sum::<f64>() / first.len() as f64,
            uniformity: (uniformity(&first) + uniformity(&second)) / 2.0,
        }
    }

    /// What is wrong with these outputs of k coordinates, in words, if they have collapsed.
    pub fn collapse(&self) -> Option<&'static str> {
        if self.effective_rank == 0.0 {
            Some("the representation has collapsed: every output is 0")
        } else if self.spread < COLLAPSED_SPREAD {
            Some("the representation has collapsed: outputs for different samples point the same way")
        } else {
            None
        }
    }
}

/// `exp(−Σ_k p_k log p_k)` with `p_k = σ_k/Σσ`, the singular values of a matrix `[n, k]`: the number of dimensions that its rows
/// use (Roy & Vetterli 2007; RankMe, Garrido et al. 2023). 0 for a matrix of zeros.
///
/// # Panics
/// When a value is not finite.
pub fn effective_rank(rows: Tensor<2>) -> f64 {
    let singular = singular_values(rows);
    // From the smallest on, which rounds least.
    let total: f64 = singular.iter().rev().sum();
    if total == 0.0 {
        return 0.0;
    }
    let entropy = |s: &f64| if *s > 0.0 { -(s / total) * (s / total).ln() } else { 0.0 };
    singular.iter().rev().map(entropy).sum::<f64>().exp()
}

/// Singular values of a matrix `[n, k]`, from the largest on, min(n, k) of them.
///
/// # Panics
/// When a value is not finite.
pub fn singular_values(rows: Tensor<2>) -> Vec<f64> {
    let [n, k] = rows.dims();
    // The Gram matrix of the shorter side has the same singular values, squared.
    let short = rows_f64(if n < k { rows } else { rows.transpose() });
    let gram = Mat::from_fn(short.len(), short.len(), |r, c| dot(&short[r], &short[c]));
    let values = gram.self_adjoint_eigenvalues(Side::Lower).expect("a matrix of finite numbers has eigenvalues");
    values.into_iter().rev().map(|v| v.max(0.0).sqrt()).collect()
}

fn unit(row: Vec<f64>) -> Vec<f64> {
    let length = norm(&row);
    if length > 0.0 { row.into_iter().map(|v| v / length).collect() } else { row }
}

fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

fn spread(rows: &[Vec<f64>]) -> f64 {
    let n = rows.len() as f64;
    let k = rows[0].len();
    let mean: Vec<f64> = (0..k).map(|c| rows.iter().map(|row| row[c]).sum::<f64>() / n).collect();
    (rows.iter().map(|row| squared_distance(row, &mean)).sum::<f64>() / n).sqrt()
}

fn uniformity(rows: &[Vec<f64>]) -> f64 {
    let n = rows.len();
    let pairs = (0..n).flat_map(|i| (0..i).map(move |j| (i, j)));
    let sum: f64 = pairs.map(|(i, j)| (-EXPONENT * squared_distance(&rows[i], &rows[j])).exp()).sum();
    (2.0 * sum / (n * (n - 1)) as f64).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn tensor<const R: usize, const C: usize>(rows: [[f32; C]; R]) -> Tensor<2> {
        Tensor::from_data(rows, &Device::flex())
    }

    #[test]
    fn effective_ranks_by_hand() {
        // Equal singular values count fully, whichever side is shorter.
        assert!((effective_rank(tensor([[2.0, 0.0], [0.0, 2.0]])) - 2.0).abs() < 1e-9);
        assert!((effective_rank(tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])) - 2.0).abs() < 1e-9);
        // σ = 3 and 1: p = ¾ and ¼.
        let expected = (-(0.75f64 * 0.75f64.ln() + 0.25 * 0.25f64.ln())).exp();
        assert!((effective_rank(tensor([[3.0, 0.0], [0.0, 1.0], [0.0, 0.0]])) - expected).abs() < 1e-9);
        assert!((effective_rank(tensor([[1.0, 2.0], [2.0, 4.0]])) - 1.0).abs() < 1e-3);
        assert_eq!(effective_rank(tensor([[0.0, 0.0], [0.0, 0.0]])), 0.0);
    }

    #[test]
    fn spread_alignment_and_uniformity_by_hand() {
        let first = [[3.0, 0.0], [0.0, 0.5]];
        let found = OutputMeasures::new(tensor(first), tensor(first));
        // Unit rows (1, 0) and (0, 1) are at squared distance ½ from their mean and 2 from each other.
        assert!((found.spread - 0.5f64.sqrt()).abs() < 1e-9);
        assert!(found.alignment.abs() < 1e-9);
        assert!((found.uniformity + 4.0).abs() < 1e-9);
        assert_eq!(found.collapse(), None);
        let exchanged = OutputMeasures::new(tensor(first), tensor([[0.0, 1.0], [1.0, 0.0]]));
        assert!((exchanged.alignment - 2.0).abs() < 1e-9);
    }

    #[test]
    fn directions_spread_evenly_have_a_spread_of_one() {
        let axes = tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]);
        assert!((OutputMeasures::new(axes.clone(), axes).spread - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_collapse_is_said_in_words() {
        let alike = tensor([[1.0, 2.0], [1.01, 2.0], [1.0, 2.01]]);
        let words = OutputMeasures::new(alike.clone(), alike).collapse().unwrap();
        assert!(words.contains("point the same way"));
        let silent = tensor([[0.0, 0.0], [0.0, 0.0]]);
        let found = OutputMeasures::new(silent.clone(), silent);
        assert!(found.collapse().unwrap().contains("every output is 0"));
        assert_eq!((found.uniformity, found.alignment), (0.0, 0.0));
    }
}
