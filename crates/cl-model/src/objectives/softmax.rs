//! Shared by losses based on a softmax.

use crate::drift::LinearModel;
use burn::tensor::Tensor;
use faer::{Mat, Scale};

/// `(2κ/τ) W(C − ρ̄G)/n² − (2/τ²) [WGAG/n⁴ − tr(AGAG) WG/n⁶]`: the drift under cosines in a softmax, of which the positive has lost κ of
/// its weight.
pub(crate) fn drift_of_cosines(model: &LinearModel, temperature: f64, kappa: f64) -> Mat<f64> {
    Scale(kappa / temperature) * model.cosine() - Scale(0.5 / temperature.powi(2)) * model.squared_cosine()
}

/// `log( [e^{apart}] + Σ_k e^{logits_k} )` per row, `[n, k]` to `[n, 1]`, shifted by the row's maximum.
pub(crate) fn log_partition(logits: Tensor<2>, apart: Option<Tensor<2>>) -> Tensor<2> {
    let shift = logits.clone().detach().max_dim(1);
    let shift = match &apart {
        Some(apart) => shift.max_pair(apart.clone().detach()),
        None => shift,
    };
    let sum = (logits - shift.clone()).exp().sum_dim(1);
    let sum = match apart {
        Some(apart) => sum + (apart - shift.clone()).exp(),
        None => sum,
    };
    sum.log() + shift
}

/// Rows scaled to length 1; a row of zeros stays zero, and so does its gradient.
pub fn normalized(f: Tensor<2>) -> Tensor<2> {
    // Scaled by the largest entry first, so that squares neither overflow nor underflow.
    let largest = f.clone().detach().abs().max_dim(1);
    let largest = largest.clone().mask_fill(largest.equal_scalar(0.0), 1.0);
    let f = f / largest;
    let squares = f.clone().square().sum_dim(1);
    let zero = squares.clone().detach().equal_scalar(0.0);
    let f = f.clone().mask_fill(zero.clone().expand(f.dims()), 0.0);
    f / squares.mask_fill(zero, 1.0).sqrt()
}
