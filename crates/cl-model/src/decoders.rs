//! What can be read off features whatever their axes: kernel ridge regression, linear and not.
//!
//! Features are centred and divided by one number, so that a rotation of them changes nothing. (The probes of [`crate::probe`] standardise each
//! column, which makes a unit that is hardly ever active as loud as any other: where it is active once more, they can be far off.)

use crate::host::dot;
use crate::probe::{ProbeError, finite_rows, training_rows};
use burn::tensor::Tensor;
use faer::{Mat, Side, prelude::Solve};

/// Ridge penalties tried, per training row; features have a mean square of 1.
pub const PENALTIES: [f64; 4] = [1e-5, 1e-4, 1e-3, 1e-2];

/// Squared widths of the Gaussian kernel tried, in units of the mean squared distance of two rows.
pub const SQUARED_WIDTHS: [f64; 3] = [0.1, 0.3, 1.0];

/// Fraction of the training rows that is used to choose penalty and width.
const VALIDATION_FRACTION: f64 = 0.25;

/// A family of functions of features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoder {
    /// Linear functions: the kernel `⟨s(x), s(x′)⟩`.
    Linear,
    /// Smooth functions: the kernel `exp(−‖s(x) − s(x′)‖²/2ℓ²)`.
    Gaussian,
}

/// `R²` on test rows of a decoder fitted on training rows, for targets with one or more coordinates: `1 − Σ‖y − ŷ‖²/Σ‖y − ȳ‖²`. `None` where the
/// test targets do not vary.
///
/// Penalty and, for a Gaussian, ℓ² are chosen from [`PENALTIES`] and [`SQUARED_WIDTHS`] on the last quarter of the training rows, which must be in
/// no particular order. Can be negative. Takes the third power of the number of training rows.
///
/// # Shapes
/// Features `[n, k]` and `[t, k]`; targets of n and t rows of equal length.
///
/// # Errors
/// [`ProbeError`] on features that are not finite or too few training rows.
pub fn decoded_r_squared(
    decoder: Decoder,
    train: Tensor<2>,
    y_train: &[Vec<f64>],
    test: Tensor<2>,
    y_test: &[Vec<f64>],
) -> Result<Option<f64>, ProbeError> {
    let (train, test) = (training_rows(train)?, finite_rows(test)?);
    let fitted = train.len() - (train.len() as f64 * VALIDATION_FRACTION) as usize;
    let kernels: Vec<Kernel> = match decoder {
        Decoder::Linear => vec![Kernel::Linear],
        Decoder::Gaussian => SQUARED_WIDTHS.map(|squared_width| Kernel::Gaussian { squared_width }).into(),
    };
    let mut best = (f64::NEG_INFINITY, kernels[0], PENALTIES[0]);
    for kernel in kernels {
        let centres = Centres::of(&train[..fitted], kernel);
        let [own, other] = [centres.with(&train[..fitted]), centres.with(&train[fitted..])];
        for penalty in PENALTIES {
            let predicted = fit_and_predict(&own, &y_train[..fitted], penalty, &other);
            let score = pooled_r_squared(&predicted, &y_train[fitted..]).unwrap_or(f64::NEG_INFINITY);
            if score > best.0 {
                best = (score, kernel, penalty);
            }
        }
    }
    let (_, kernel, penalty) = best;
    let centres = Centres::of(&train, kernel);
    Ok(pooled_r_squared(&fit_and_predict(&centres.with(&train), y_train, penalty, &centres.with(&test)), y_test))
}

/// `1 − Σ‖y − ŷ‖²/Σ‖y − ȳ‖²` over rows of targets; `None` where they do not vary.
pub fn pooled_r_squared(predicted: &[Vec<f64>], y: &[Vec<f64>]) -> Option<f64> {
    let mean = mean_row(y);
    let squares = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    let rest: f64 = predicted.iter().zip(y).map(|(p, y)| squares(p, y)).sum();
    let total: f64 = y.iter().map(|y| squares(y, &mean)).sum();
    let size: f64 = mean.iter().map(|m| m * m).sum();
    ((total / y.len() as f64).sqrt() > 1e-12 * size.sqrt()).then(|| 1.0 - rest / total)
}

fn mean_row(rows: &[Vec<f64>]) -> Vec<f64> {
    let n = rows.len() as f64;
    (0..rows.first().map_or(0, Vec::len)).map(|c| rows.iter().map(|row| row[c]).sum::<f64>() / n).collect()
}

#[derive(Debug, Clone, Copy)]
enum Kernel {
    Linear,
    Gaussian { squared_width: f64 },
}

/// Training rows, centred and divided by the root of their mean square.
struct Centres {
    kernel: Kernel,
    mean: Vec<f64>,
    scale: f64,
    rows: Vec<Vec<f64>>,
}

impl Centres {
    fn of(rows: &[Vec<f64>], kernel: Kernel) -> Self {
        let mut centres = Self { kernel, mean: mean_row(rows), scale: 1.0, rows: Vec::new() };
        let square: f64 = centres.scaled(rows).iter().map(|row| dot(row, row)).sum();
        let size = (square / rows.len() as f64).sqrt();
        centres.scale = if size > 0.0 { 1.0 / size } else { 0.0 };
        centres.rows = centres.scaled(rows);
        centres
    }

    fn scaled(&self, rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let row = |row: &Vec<f64>| row.iter().zip(&self.mean).map(|(v, m)| (v - m) * self.scale).collect();
        rows.iter().map(row).collect()
    }

    /// The kernel of each of these rows with each of the centres, `[rows, centres]`.
    fn with(&self, rows: &[Vec<f64>]) -> Mat<f64> {
        let rows = self.scaled(rows);
        let matrix = |rows: &[Vec<f64>]| Mat::from_fn(rows.len(), self.mean.len(), |r, c| rows[r][c]);
        let products = matrix(&rows) * matrix(&self.rows).transpose();
        let Kernel::Gaussian { squared_width } = self.kernel else { return products };
        let squares = |rows: &[Vec<f64>]| rows.iter().map(|r| dot(r, r)).collect::<Vec<f64>>();
        let (of_rows, of_centres) = (squares(&rows), squares(&self.rows));
        // Rows have a mean square of 1, so that two of them are √2 apart.
        let twice_width = 2.0 * 2.0 * squared_width;
        Mat::from_fn(rows.len(), self.rows.len(), |r, c| {
            (-(of_rows[r] + of_centres[c] - 2.0 * products[(r, c)]).max(0.0) / twice_width).exp()
        })
    }
}

/// Solves `(K + penalty · n) α = y − ȳ` and predicts `ȳ + K′ α`.
fn fit_and_predict(own: &Mat<f64>, y: &[Vec<f64>], penalty: f64, other: &Mat<f64>) -> Vec<Vec<f64>> {
    let (n, mean) = (y.len(), mean_row(y));
    let mut system = own.clone();
    (0..n).for_each(|i| system[(i, i)] += penalty * n as f64);
    let right = Mat::from_fn(n, mean.len(), |r, c| y[r][c] - mean[c]);
    let cholesky = system.llt(Side::Lower).expect("a kernel plus a positive diagonal is positive definite");
    let predicted = other * cholesky.solve(right);
    (0..other.nrows()).map(|r| mean.iter().enumerate().map(|(c, m)| m + predicted[(r, c)]).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    /// Spread over [−1, 1), no generator needed.
    fn value(i: usize) -> f64 {
        2.0 * ((i as f64 + 1.0) * 0.618_033_988_749_894_9).fract() - 1.0
    }

    fn features(rows: std::ops::Range<usize>) -> Tensor<2> {
        let values: Vec<f32> =
            rows.clone().flat_map(|i| [value(i), value(7919 * i + 13), 1.0]).map(|v| v as f32).collect();
        Tensor::from_data(TensorData::new(values, [rows.len(), 3]), &Device::flex())
    }

    fn targets(rows: std::ops::Range<usize>, of: impl Fn(f64, f64) -> Vec<f64>) -> Vec<Vec<f64>> {
        rows.map(|i| of(value(i), value(7919 * i + 13))).collect()
    }

    #[test]
    fn what_is_not_linear_is_read_off_and_noise_is_not() {
        let read = |decoder: Decoder, of: fn(f64, f64) -> Vec<f64>| {
            let (fitted, scored) = (targets(0..200, of), targets(200..300, of));
            decoded_r_squared(decoder, features(0..200), &fitted, features(200..300), &scored).unwrap().unwrap()
        };
        let found = read(Decoder::Gaussian, |x, y| vec![x * y, (2.0 * x).sin()]);
        assert!(found > 0.98, "{found}");
        let found = read(Decoder::Linear, |x, y| vec![x * y]);
        assert!(found < 0.1, "{found}");
        let found = read(Decoder::Linear, |x, y| vec![x - 2.0 * y, 3.0 - y]);
        assert!(found > 0.999, "{found}");
        let noise = |rows: std::ops::Range<usize>| rows.map(|i| vec![value(104_729 * i + 5)]).collect::<Vec<_>>();
        for decoder in [Decoder::Linear, Decoder::Gaussian] {
            let (train, test) = (features(0..200), features(200..300));
            let found = decoded_r_squared(decoder, train, &noise(0..200), test, &noise(200..300)).unwrap().unwrap();
            assert!(found < 0.1, "{decoder:?}: {found}");
        }
    }

    #[test]
    fn a_rotation_of_the_features_changes_nothing() {
        let turned = |rows: std::ops::Range<usize>| {
            let rotation =
                Tensor::<2>::from_data([[0.6, 0.8, 0.0], [-0.8, 0.6, 0.0], [0.0, 0.0, 1.0]], &Device::flex());
            features(rows).matmul(rotation) * 7.0
        };
        let y = |rows: std::ops::Range<usize>| targets(rows, |x, y| vec![x * y + x]);
        for decoder in [Decoder::Linear, Decoder::Gaussian] {
            let found = [
                decoded_r_squared(decoder, features(0..80), &y(0..80), features(80..120), &y(80..120)),
                decoded_r_squared(decoder, turned(0..80), &y(0..80), turned(80..120), &y(80..120)),
            ]
            .map(|found| found.unwrap().unwrap());
            assert!((found[0] - found[1]).abs() < 1e-4, "{decoder:?}: {found:?}");
        }
    }

    #[test]
    fn pooled_scores_weigh_coordinates_by_their_variance() {
        let y = [vec![0.0, 5.0], vec![2.0, 5.0]];
        assert_eq!(pooled_r_squared(&[vec![0.0, 5.0], vec![1.0, 5.0]], &y), Some(0.5));
        assert_eq!(pooled_r_squared(&[vec![5.0], vec![5.0]], &[vec![5.0], vec![5.0]]), None);
    }

    #[test]
    fn too_few_rows_and_infinite_features_are_refused() {
        let y = |n: usize| vec![vec![0.0]; n];
        let few = decoded_r_squared(Decoder::Gaussian, features(0..4), &y(4), features(0..4), &y(4));
        assert_eq!(few, Err(ProbeError::TooFewRows { rows: 4 }));
        let infinite = decoded_r_squared(Decoder::Gaussian, features(0..8) / 0.0, &y(8), features(0..8), &y(8));
        assert_eq!(infinite, Err(ProbeError::NotFinite));
    }
}
