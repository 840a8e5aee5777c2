//! Moving tensors to host memory for measures that are taken in double precision.

use burn::tensor::Tensor;

/// The values of a matrix, row by row, in double precision.
pub(crate) fn to_f64<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// The rows of a matrix in double precision.
pub(crate) fn rows_f64(tensor: Tensor<2>) -> Vec<Vec<f64>> {
    let [_, cols] = tensor.dims();
    to_f64(tensor).chunks_exact(cols.max(1)).map(<[f64]>::to_vec).collect()
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

pub(crate) fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}
