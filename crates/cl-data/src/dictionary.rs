//! The dictionary `M`, whose columns are the sparse features.

use crate::{DataError, Matrix, Part, Stream, standard_normal};
use cl_config::at_least;

/// `M ∈ R^{d1×d}` with orthonormal columns `M_j`, the sparse features.
///
/// Wen & Li 2021, set-up: the columns are orthonormal and incoherent, `‖M_j‖_∞ = Õ(1/√d1)`.
///
/// # Shapes
/// Kept feature by feature: [`feature`](Self::feature) `j` is `M_j`, of length `d1 = input_dim`.
#[derive(Debug, Clone, PartialEq)]
pub struct Dictionary {
    /// `[d, d1]`: row `j` is `M_j`.
    features: Matrix,
}

impl Dictionary {
    /// The Q factor of a Gaussian `d1×d` matrix, with the sign that makes R's diagonal positive.
    ///
    /// Computed by Gram–Schmidt, applied twice and in double precision, in a fixed order: the columns are orthonormal
    /// to f32 rounding and have the same bits on every machine, which a blocked, vectorised QR does not guarantee.
    ///
    /// # Errors
    /// [`DataError::Config`] without features, [`DataError::MoreFeaturesThanCoordinates`] when
    /// `code_dim > input_dim`.
    pub fn random(code_dim: usize, input_dim: usize, stream: Stream) -> Result<Self, DataError> {
        at_least("code_dim", code_dim as u64, 1)?;
        if code_dim > input_dim {
            return Err(DataError::MoreFeaturesThanCoordinates { code_dim, input_dim });
        }
        let gaussian = standard_normal(&mut stream.rng(Part::Whole, 0), code_dim * input_dim);
        let mut columns: Vec<Vec<f64>> =
            gaussian.chunks_exact(input_dim).map(|column| column.iter().map(|v| f64::from(*v)).collect()).collect();
        for j in 0..code_dim {
            let (done, rest) = columns.split_at_mut(j);
            let column = &mut rest[0];
            for _ in 0..2 {
                for other in done.iter() {
                    let along = dot(other, column);
                    column.iter_mut().zip(other).for_each(|(c, o)| *c -= along * o);
                }
            }
            let norm = dot(column, column).sqrt();
            column.iter_mut().for_each(|c| *c /= norm);
        }
        let values = columns.iter().flatten().map(|v| *v as f32).collect();
        Ok(Self { features: Matrix::from_values(code_dim, input_dim, values) })
    }

    /// `d`, the number of sparse features.
    pub fn code_dim(&self) -> usize {
        self.features.rows
    }

    /// `d1`, the number of coordinates of an observation.
    pub fn input_dim(&self) -> usize {
        self.features.cols
    }

    /// `M_j`, of length `d1`.
    ///
    /// # Panics
    /// When `j >= code_dim`.
    pub fn feature(&self, j: usize) -> &[f32] {
        self.features.row(j)
    }

    /// All features, `[d, d1]`: the transpose of the paper's `M`.
    pub fn features(&self) -> &Matrix {
        &self.features
    }

    /// `√d1 · max_{r,j} |M_rj|`: between 1 (perfectly spread) and `√d1` (a coordinate axis).
    pub fn incoherence(&self) -> f64 {
        let largest = self.features.values.iter().fold(0f32, |a, v| a.max(v.abs()));
        (self.input_dim() as f64).sqrt() * f64::from(largest)
    }

    /// `h_r = (M Mᵀ)_rr`, the fraction of coordinate `r` that lies in span(M); sums to `d`.
    pub fn leverages(&self) -> Vec<f64> {
        let mut leverages = vec![0.0; self.input_dim()];
        for feature in self.features.iter_rows() {
            leverages.iter_mut().zip(feature).for_each(|(h, v)| *h += f64::from(*v).powi(2));
        }
        leverages
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Purpose;

    fn stream() -> Stream {
        Stream::new(1, Purpose::Dictionary)
    }

    #[test]
    fn columns_are_orthonormal_to_single_precision() {
        let m = Dictionary::random(32, 256, stream()).unwrap();
        for j in 0..32 {
            for k in 0..32 {
                let product: f64 =
                    m.feature(j).iter().zip(m.feature(k)).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                let expected = if j == k { 1.0 } else { 0.0 };
                // 256 products of entries rounded to 2⁻²⁴ relative.
                assert!((product - expected).abs() < 1e-6, "⟨M_{j}, M_{k}⟩ = {product}");
            }
        }
    }

    #[test]
    fn square_dictionaries_are_allowed_and_wider_ones_are_not() {
        assert!(Dictionary::random(16, 16, stream()).is_ok());
        assert_eq!(
            Dictionary::random(17, 16, stream()).unwrap_err(),
            DataError::MoreFeaturesThanCoordinates { code_dim: 17, input_dim: 16 }
        );
        let message = Dictionary::random(0, 16, stream()).unwrap_err().to_string();
        assert_eq!(message, "code_dim = 0 is out of range; it has to be at least 1");
    }

    #[test]
    fn leverages_sum_to_the_number_of_features() {
        let m = Dictionary::random(32, 256, stream()).unwrap();
        assert!((m.leverages().iter().sum::<f64>() - 32.0).abs() < 1e-4);
    }

    /// max of 32·256 nearly Gaussian entries: √(2 ln 8192) ≈ 4.2; between 3 and 6 with probability
    /// beyond 1 − 1e-4.
    #[test]
    fn random_features_are_incoherent() {
        let incoherence = Dictionary::random(32, 256, stream()).unwrap().incoherence();
        assert!((3.0..6.0).contains(&incoherence), "{incoherence}");
    }
}
