//! Rows of unit length with a number below the root, as losses of cosines use them.

use burn::tensor::Tensor;

/// `f / √(‖f‖² + ε)` row by row: a row that is short beside √ε is scaled up by no more than 1/√ε, so that gradients of samples on which
/// hardly any unit is active stay bounded.
pub(crate) fn unit_rows(f: Tensor<2>, epsilon: f64) -> Tensor<2> {
    let lengths = (f.clone().square().sum_dim(1) + epsilon).sqrt();
    f / lengths
}
