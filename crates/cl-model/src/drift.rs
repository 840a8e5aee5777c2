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

use crate::objectives::{BarlowTwins, InfoNce, KeyGradient, LossScale, Similarity, VicReg};
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
    fn with_cross_view(&self) -> Mat<f64> {
        &self.weights * &self.cross_view
    }

    /// `W G`.
    fn with_view(&self) -> Mat<f64> {
        &self.weights * &self.view
    }

    /// `W S Wᵀ`, `[m, m]`.
    fn of_outputs(&self, second_moment: &Mat<f64>) -> Mat<f64> {
        &self.weights * second_moment * self.weights.transpose()
    }

    fn num_outputs(&self) -> f64 {
        self.weights.nrows() as f64
    }

    /// `n² = tr(AG)` and `ρ̄ = tr(AC)/n²`.
    fn length_and_cosine(&self) -> (f64, f64) {
        let squared_length = trace(&self.of_outputs(&self.view));
        (squared_length, trace(&self.of_outputs(&self.cross_view)) / squared_length)
    }

    /// `2W(C − ρ̄G)/n²`, the gradient of the mean cosine of two views.
    pub(crate) fn cosine(&self) -> Mat<f64> {
        let (squared_length, cosine) = self.length_and_cosine();
        Scale(2.0 / squared_length) * (self.with_cross_view() - Scale(cosine) * self.with_view())
    }

    /// `4 (WGAG/n⁴ − tr(AGAG) WG/n⁶)`, the gradient of the mean squared cosine of independent views.
    pub(crate) fn squared_cosine(&self) -> Mat<f64> {
        let (squared_length, _) = self.length_and_cosine();
        let of_outputs = self.of_outputs(&self.view);
        let total = trace(&(&of_outputs * &of_outputs));
        let with_view = self.with_view();
        Scale(4.0 / squared_length.powi(2)) * (&of_outputs * &with_view - Scale(total / squared_length) * with_view)
    }

    /// `(2κ/τ) W(C − ρ̄G)/n² − (2/τ²) [WGAG/n⁴ − tr(AGAG) WG/n⁶]`: cosines in a softmax, of which the positive has lost κ of its weight.
    pub(crate) fn softmax_of_cosines(&self, temperature: f64, kappa: f64) -> Mat<f64> {
        Scale(kappa / temperature) * self.cosine() - Scale(0.5 / temperature.powi(2)) * self.squared_cosine()
    }

    /// `4(WC − WGAG)`: twice the product of two views, less the squared products of independent ones.
    pub(crate) fn spectral(&self) -> Mat<f64> {
        Scale(4.0) * (self.with_cross_view() - self.of_outputs(&self.view) * self.with_view())
    }

    /// `κ (WC − W Σ A G/τ)` for inner products, `Σ` the second moment of the negatives.
    pub(crate) fn info_nce(&self, loss: &InfoNce) -> Option<Mat<f64>> {
        let negatives = self.negatives.as_ref()?;
        // With cosines, and where gradients flow through keys, there are further terms.
        let is_plain = loss.similarity == Similarity::InnerProduct && loss.key_gradient == KeyGradient::Stopped;
        let factor = match loss.scale {
            LossScale::Temperature => 1.0,
            LossScale::One => 1.0 / loss.temperature,
        };
        let kappa = self.num_negatives as f64 / (self.num_negatives as f64 + 1.0);
        let second = self.of_outputs(negatives) * self.with_view();
        is_plain.then(|| Scale(factor * kappa) * (self.with_cross_view() - Scale(1.0 / loss.temperature) * second))
    }

    /// Row i is `(4/m) [(1 − ρ_i)(C − ρ_i G) w_i/s_i² − a Σ_{j≠i} K_ij (C w_j/(s_i s_j) − K_ij G w_i/s_i²)]` with `s_i² = w_iᵀGw_i`,
    /// `K = S⁻¹WCWᵀS⁻¹` and `ρ_i = K_ii`.
    pub(crate) fn barlow_twins(&self, loss: &BarlowTwins) -> Mat<f64> {
        let m = self.weights.nrows();
        let deviations = self.deviations(loss.epsilon);
        let products = self.of_outputs(&self.cross_view);
        let correlation = Mat::from_fn(m, m, |i, j| products[(i, j)] / (deviations[i] * deviations[j]));
        // Every row of the drift is a sum of rows of WC and WG.
        let of_cross_view = Mat::from_fn(m, m, |i, j| {
            let scale = deviations[i] * deviations[j];
            match i == j {
                true => (1.0 - correlation[(i, i)]) / scale,
                false => -loss.off_diagonal * correlation[(i, j)] / scale,
            }
        });
        let of_view = Mat::from_fn(m, m, |i, j| {
            let own = correlation[(i, i)];
            let others: f64 = (0..m).filter(|k| *k != i).map(|k| correlation[(i, k)].powi(2)).sum();
            let weight = -(1.0 - own) * own + loss.off_diagonal * others;
            if i == j { weight / deviations[i].powi(2) } else { 0.0 }
        });
        Scale(4.0 / m as f64) * (of_cross_view * self.with_cross_view() + of_view * self.with_view())
    }

    /// `−(4 inv/m) W(G − C) + (var/m) [s_i < 1] G w_i/s_i − (4 cov/m) off(V) W G − (4 cov/m)[(tr V − V_ii) W G + off(V) W G]/(B − 1)`
    /// with `V = WGWᵀ`; the last term is what a covariance over B samples has beside that over all.
    pub(crate) fn vicreg(&self, loss: &VicReg) -> Mat<f64> {
        let m = self.weights.nrows();
        let deviations = self.deviations(loss.epsilon);
        let covariance = self.of_outputs(&self.view);
        let total = trace(&covariance);
        let finite = 1.0 / (self.batch_size as f64 - 1.0);
        let of_view = Mat::from_fn(m, m, |i, j| {
            if i != j {
                return -4.0 * loss.covariance * covariance[(i, j)] * (1.0 + finite);
            }
            let hinge = if deviations[i] < 1.0 { loss.variance / deviations[i] } else { 0.0 };
            -4.0 * loss.invariance + hinge - 4.0 * loss.covariance * (total - covariance[(i, i)]) * finite
        });
        let drift = Scale(4.0 * loss.invariance) * self.with_cross_view() + of_view * self.with_view();
        Scale(1.0 / self.num_outputs()) * drift
    }

    /// `√(w_iᵀGw_i + ε)` of every output.
    fn deviations(&self, epsilon: f64) -> Vec<f64> {
        let covariance = self.of_outputs(&self.view);
        (0..self.weights.nrows()).map(|i| (covariance[(i, i)] + epsilon).sqrt()).collect()
    }
}

fn trace(matrix: &Mat<f64>) -> f64 {
    (0..matrix.nrows()).map(|i| matrix[(i, i)]).sum()
}
