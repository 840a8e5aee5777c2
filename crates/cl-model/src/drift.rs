//! The drift of the weights while thresholds are 0: minus the mean gradient of an objective, from second moments alone.
//!
//! At b = 0 outputs are `W x`. With `C = E[x⁺ x⁺⁺ᵀ]`, `G = E[x⁺ x⁺ᵀ] = E[x⁺⁺ x⁺⁺ᵀ]`, `A = WᵀW`, `n² = tr(AG)` and `ρ̄ = tr(AC)/n²`:
//!
//! * **Products of outputs.** `E⟨W x⁺, W x⁺⁺⟩ = tr(AC)` has the gradient `2WC`, and independent samples x, y have `E⟨W x, W y⟩² = tr(AGAG)`
//!   with the gradient `4WGAG`.
//! * **Cosines.** Lengths concentrate around n where many directions contribute, so that a mean cosine is about `tr(AC)/tr(AG)`, with the
//!   gradient `2W(C − ρ̄G)/n²`; squared cosines of independent samples are about `tr(AGAG)/n⁴`. The error grows as lengths differ: about
//!   25 % at an effective rank of 25 to 50.
//! * **Softmax.** Weights are uniform but for `s_j − s̄`: the logarithm adds half a variance of the similarities in units of τ.
//! * **Columns.** Standard deviations and correlations of outputs are those of `V = WGWᵀ` and `WCWᵀ`.
//!
//! Not in a paper in this form; derived here and held to averaged gradients in `tests/drift.rs`.

use faer::{Mat, Scale};

/// A linear encoder and the second moments of what it sees.
#[derive(Debug, Clone)]
pub struct LinearModel {
    /// `W`, `[m, d1]`.
    pub weights: Mat<f64>,
    /// `C`, symmetric, `[d1, d1]`.
    pub cross_view: Mat<f64>,
    /// `G`, of either view, `[d1, d1]`.
    pub view: Mat<f64>,
    /// Second moment of negatives that belong to no pair, `[d1, d1]`.
    pub negatives: Option<Mat<f64>>,
    /// `B`.
    pub batch_size: usize,
    /// `N`, for objectives with negatives.
    pub num_negatives: usize,
}

impl LinearModel {
    /// `W C`.
    pub fn with_cross_view(&self) -> Mat<f64> {
        &self.weights * &self.cross_view
    }

    /// `W G`.
    pub fn with_view(&self) -> Mat<f64> {
        &self.weights * &self.view
    }

    /// `W S Wᵀ`, `[m, m]`.
    pub fn of_outputs(&self, second_moment: &Mat<f64>) -> Mat<f64> {
        &self.weights * second_moment * self.weights.transpose()
    }

    /// `n² = tr(AG)` and `ρ̄ = tr(AC)/n²`.
    fn length_and_cosine(&self) -> (f64, f64) {
        let squared_length = trace(&self.of_outputs(&self.view));
        (squared_length, trace(&self.of_outputs(&self.cross_view)) / squared_length)
    }

    /// `2W(C − ρ̄G)/n²`, the gradient of the mean cosine of two views.
    pub fn cosine(&self) -> Mat<f64> {
        let (squared_length, cosine) = self.length_and_cosine();
        Scale(2.0 / squared_length) * (self.with_cross_view() - Scale(cosine) * self.with_view())
    }

    /// `4 (WGAG/n⁴ − tr(AGAG) WG/n⁶)`, the gradient of the mean squared cosine of independent views.
    pub fn squared_cosine(&self) -> Mat<f64> {
        let (squared_length, _) = self.length_and_cosine();
        let of_outputs = self.of_outputs(&self.view);
        let total = trace(&(&of_outputs * &of_outputs));
        let with_view = self.with_view();
        Scale(4.0 / squared_length.powi(2)) * (&of_outputs * &with_view - Scale(total / squared_length) * with_view)
    }

    /// `√(w_iᵀGw_i + ε)` of every output.
    pub fn deviations(&self, epsilon: f64) -> Vec<f64> {
        let covariance = self.of_outputs(&self.view);
        (0..self.weights.nrows()).map(|i| (covariance[(i, i)] + epsilon).sqrt()).collect()
    }
}

/// `tr`.
pub(crate) fn trace(matrix: &Mat<f64>) -> f64 {
    (0..matrix.nrows()).map(|i| matrix[(i, i)]).sum()
}
