//! Shared by losses based on a softmax.

use burn::tensor::Tensor;

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
