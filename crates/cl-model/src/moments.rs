//! Cross-view second moments, estimated from samples.

use crate::host::rows_f64;
use burn::tensor::Tensor;

/// Estimates of `uᵀ E[x⁺ x⁺⁺ᵀ] u` for several unit directions `u`, with their standard errors.
///
/// Wen & Li 2021: a proper augmentation makes this small along dense directions and keeps it along
/// sparse ones. Samples are added chunk by chunk.
#[derive(Debug, Clone, PartialEq)]
pub struct DirectionalMoments {
    count: f64,
    sums: Vec<f64>,
    squares: Vec<f64>,
}

impl DirectionalMoments {
    /// No samples yet, for `directions` directions.
    pub fn new(directions: usize) -> Self {
        Self { count: 0.0, sums: vec![0.0; directions], squares: vec![0.0; directions] }
    }

    /// Adds the pairs `(x_plus, x_plus_plus)`, each `[n, d1]`, along `directions`, `[k, d1]`.
    ///
    /// # Panics
    /// When shapes do not match.
    pub fn add(&mut self, x_plus: Tensor<2>, x_plus_plus: Tensor<2>, directions: Tensor<2>) {
        assert_eq!(directions.dims()[0], self.sums.len(), "number of directions");
        let along = directions.transpose();
        let products = x_plus.matmul(along.clone()) * x_plus_plus.matmul(along);
        for row in rows_f64(products) {
            self.count += 1.0;
            for ((product, sum), square) in row.iter().zip(&mut self.sums).zip(&mut self.squares) {
                *sum += product;
                *square += product * product;
            }
        }
    }

    /// Per direction the mean and its standard error.
    pub fn estimates(&self) -> Vec<(f64, f64)> {
        let n = self.count;
        self.sums
            .iter()
            .zip(&self.squares)
            .map(|(sum, square)| {
                let mean = sum / n;
                let variance = (square / n - mean * mean).max(0.0) * n / (n - 1.0);
                (mean, (variance / n).sqrt())
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn means_and_standard_errors_are_those_of_the_products() {
        let device = Device::flex();
        let mut moments = DirectionalMoments::new(2);
        let directions = || Tensor::from_data([[1.0, 0.0], [0.0, 1.0]], &device);
        moments.add(Tensor::from_data([[1.0, 2.0]], &device), Tensor::from_data([[3.0, 1.0]], &device), directions());
        moments.add(Tensor::from_data([[1.0, 4.0]], &device), Tensor::from_data([[5.0, 1.0]], &device), directions());
        // Products 3, 5 and 2, 4: variance 2 with n − 1, standard error 1.
        assert_eq!(moments.estimates(), [(4.0, 1.0), (3.0, 1.0)]);
    }
}
