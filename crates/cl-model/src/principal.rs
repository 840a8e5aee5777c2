//! Principal directions of data.

use crate::host::rows_f64;
use burn::tensor::{Tensor, TensorData};
use faer::{Mat, Side};

/// Orthonormal directions of largest variance, with their fractions of the total variance.
#[derive(Debug, Clone)]
pub struct PrincipalDirections {
    /// Row k is the k-th direction, `[count, dim]`, on the device of the data.
    pub directions: Tensor<2>,
    /// Fraction of the variance along each, in decreasing order.
    pub fractions: Vec<f64>,
}

/// The leading principal directions of rows; fewer than requested if the rows do not span as many.
///
/// Taken from the n × n matrix of inner products of centred rows, which suits few rows of many coordinates. The sign of a
/// direction is such that its largest coordinate is positive.
///
/// # Shapes
/// `[n, dim]`, with n up to a few thousand.
///
/// # Panics
/// When a value is not finite.
pub fn principal_directions(rows: Tensor<2>, count: usize) -> PrincipalDirections {
    let device = rows.device();
    let [n, dim] = rows.dims();
    let centred = rows.clone() - rows.mean_dim(0);
    let gram = rows_f64(centred.clone().matmul(centred.clone().transpose()));
    let gram = Mat::from_fn(n, n, |r, c| gram[r][c]);
    let eigen = gram.self_adjoint_eigen(Side::Lower).expect("a matrix of finite numbers has eigenvalues");
    let (values, vectors) = (eigen.S().column_vector(), eigen.U());
    let total: f64 = (0..n).map(|k| values[k].max(0.0)).sum();
    // Eigenvalues are in ascending order; those that are rounding errors have no direction.
    let kept: Vec<usize> = (0..n).rev().take(count).filter(|k| values[*k] > 1e-9 * total).collect();
    let weights: Vec<f32> =
        kept.iter().flat_map(|&k| (0..n).map(move |r| (vectors[(r, k)] / values[k].sqrt()) as f32)).collect();
    let weights = Tensor::<2>::from_data(TensorData::new(weights, [kept.len(), n]), &device);
    let directions = weights.matmul(centred);
    let (largest, smallest) = (directions.clone().max_dim(1), directions.clone().min_dim(1));
    let sign = (largest + smallest).sign();
    // A direction with equally large coordinates of either sign keeps its sign.
    let sign = sign.clone() + sign.equal_scalar(0.0).float();
    debug_assert_eq!(directions.dims(), [kept.len(), dim]);
    PrincipalDirections { directions: directions * sign, fractions: kept.iter().map(|k| values[*k] / total).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn directions_of_a_cross_are_its_arms() {
        // Variances 9, 1 and 0 along the axes, around a mean that is not 0.
        let rows = [[5.0, 2.0, 7.0], [-1.0, 2.0, 7.0], [2.0, 3.0, 7.0], [2.0, 1.0, 7.0]];
        let found = principal_directions(Tensor::from_data(rows, &Device::flex()), 3);
        assert_eq!(found.directions.dims(), [2, 3]);
        let values = found.directions.into_data().try_to_vec::<f32>().unwrap();
        for (value, expected) in values.iter().zip([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]) {
            assert!((value - expected).abs() < 1e-5, "{values:?}");
        }
        assert!(
            (found.fractions[0] - 0.9).abs() < 1e-6 && (found.fractions[1] - 0.1).abs() < 1e-6,
            "{:?}",
            found.fractions
        );
    }
}
