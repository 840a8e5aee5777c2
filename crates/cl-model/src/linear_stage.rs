//! The linear stage in closed form: how neurons grow while thresholds are 0 and the softmax is uniform.

use crate::host::dot;
use faer::{Mat, Side};

/// What determines growth in the linear stage. Matrices are `[d1, d1]`, row by row.
#[derive(Debug, Clone, Copy)]
pub struct LinearStage<'a> {
    /// `C = E[x⁺ x⁺⁺ᵀ]`, symmetric.
    pub cross_view: &'a [f64],
    /// `G⁺ = E[x⁺ x⁺ᵀ]`.
    pub plus: &'a [f64],
    /// `G⁺⁺ = E[x⁺⁺ x⁺⁺ᵀ]`.
    pub plus_plus: &'a [f64],
    /// `κ = N / (N + 1)` for N negatives.
    pub kappa: f64,
    /// `η`, constant.
    pub eta: f64,
    /// `λ`.
    pub weight_decay: f64,
    /// `B`.
    pub batch_size: f64,
}

/// Predicted `√Σ‖·‖²` over all neurons, inside span(M) and in its complement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PredictedNorms {
    /// Inside span(M).
    pub in_span: f64,
    /// In the complement.
    pub complement: f64,
}

/// Both predictions at each step from 0 on.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Of the mean weights `E W_t`, without gradient noise.
    pub mean: Vec<PredictedNorms>,
    /// Of the second moment of the weights, with gradient noise.
    pub with_noise: Vec<PredictedNorms>,
}

impl LinearStage<'_> {
    /// Predicts steps 0..=`steps` from initial weights `[m, d1]` and features `[d, d1]` with orthonormal rows.
    ///
    /// With `A = (1 − ηλ) I + ηκC`, the mean follows `E w_t = Aᵗ w_0` and the second moment `S = E[Wᵀ W]`
    /// follows `S ← A S A + (η²κ²/B) G⁺ tr(G⁺⁺ S)`: the gradient of one pair is about `κ x⁺⟨w, x⁺⁺⟩`, whose
    /// second moment is `G⁺ · wᵀ G⁺⁺ w`. Not in the paper; derived here. No parameter is fitted.
    ///
    /// # Panics
    /// When shapes do not match, or the eigenvalues of `C` cannot be found (it holds non-finite numbers).
    pub fn predict(&self, weights: &[Vec<f64>], features: &[Vec<f64>], steps: usize) -> Prediction {
        let d1 = weights[0].len();
        assert_eq!(self.cross_view.len(), d1 * d1, "the moments must be [d1, d1]");
        let matrix = |values: &[f64]| Mat::from_fn(d1, d1, |r, c| values[r * d1 + c]);
        let eigen = matrix(self.cross_view).self_adjoint_eigen(Side::Lower).expect("C is finite and symmetric");
        let basis = eigen.U();
        let growth: Vec<f64> = eigen
            .S()
            .column_vector()
            .iter()
            .map(|c| 1.0 - self.eta * self.weight_decay + self.eta * self.kappa * c)
            .collect();

        // Everything in the eigenbasis of C, where A is diagonal.
        let rotated = |values: &[f64]| flat(&(basis.transpose() * matrix(values) * basis));
        let (plus, plus_plus) = (rotated(self.plus), rotated(self.plus_plus));
        let features = Mat::from_fn(features.len(), d1, |j, c| features[j][c]) * basis;
        let span = flat(&(features.transpose() * &features));
        let start = Mat::from_fn(weights.len(), d1, |i, c| weights[i][c]) * basis;
        let mut mean = flat(&(start.transpose() * &start));
        let mut second = mean.clone();

        let noise = (self.eta * self.kappa).powi(2) / self.batch_size;
        let norms = |s: &[f64]| {
            let inside = dot(s, &span).max(0.0);
            let total: f64 = s.iter().step_by(d1 + 1).sum();
            PredictedNorms { in_span: inside.sqrt(), complement: (total - inside).max(0.0).sqrt() }
        };
        let mut prediction = Prediction { mean: vec![norms(&mean)], with_noise: vec![norms(&second)] };
        for _ in 0..steps {
            let noise = noise * dot(&second, &plus_plus);
            for r in 0..d1 {
                for c in 0..d1 {
                    let k = r * d1 + c;
                    let factor = growth[r] * growth[c];
                    mean[k] *= factor;
                    second[k] = factor * second[k] + noise * plus[k];
                }
            }
            prediction.mean.push(norms(&mean));
            prediction.with_noise.push(norms(&second));
        }
        prediction
    }
}

fn flat(matrix: &Mat<f64>) -> Vec<f64> {
    (0..matrix.nrows()).flat_map(|r| (0..matrix.ncols()).map(move |c| matrix[(r, c)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In two dimensions with everything diagonal the recursion can be followed by hand.
    #[test]
    fn diagonal_moments_give_the_recursion_worked_by_hand() {
        let (cross, plus, plus_plus) = ([0.5, 0.0, 0.0, 0.1], [1.0, 0.0, 0.0, 2.0], [3.0, 0.0, 0.0, 1.0]);
        let stage = LinearStage {
            cross_view: &cross,
            plus: &plus,
            plus_plus: &plus_plus,
            kappa: 0.5,
            eta: 0.4,
            weight_decay: 0.1,
            batch_size: 4.0,
        };
        let prediction = stage.predict(&[vec![1.0, 2.0]], &[vec![1.0, 0.0]], 2);
        // A = diag(0.96 + 0.2·0.5, 0.96 + 0.2·0.1) = diag(1.06, 0.98).
        assert!((prediction.mean[2].in_span - 1.06f64.powi(2)).abs() < 1e-12);
        assert!((prediction.mean[2].complement - 2.0 * 0.98f64.powi(2)).abs() < 1e-12);
        // S0 = diag(1, 4) on the diagonal; noise factor 0.04/4 = 0.01, tr(G⁺⁺S0) = 7.
        let (first, second) = (1.06f64.powi(2) + 0.01 * 7.0, 4.0 * 0.98f64.powi(2) + 0.01 * 2.0 * 7.0);
        assert!((prediction.with_noise[1].in_span - first.sqrt()).abs() < 1e-12);
        assert!((prediction.with_noise[1].complement - second.sqrt()).abs() < 1e-12);
    }
}
