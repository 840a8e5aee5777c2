//! Linear heads on frozen features.
//!
//! Features are standardised with the mean and the standard deviation of the training rows; a column
//! that does not vary is left at 0.

use crate::host::{dot, rows_f64};
use crate::softmax_regression::{SoftmaxRegression, Stopping};
use burn::tensor::Tensor;
use faer::{Mat, Side, prelude::Solve};

/// Ridge penalties tried, per training row, on standardised features.
pub const RIDGE_PENALTIES: [f64; 5] = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1];

/// Training rows that a probe needs; it is scored on any number of rows.
pub const MIN_TRAINING_ROWS: usize = 8;

/// Fraction of the training rows that is used to choose the ridge penalty.
const VALIDATION_FRACTION: f64 = 0.25;

/// How far, per training row, the loss of a converged logistic fit may lie above its minimum. The penalty makes
/// the summed loss strongly convex in the weights with modulus 1 or more, so that it lies at most `‖∇‖²/2` above.
const MAX_EXCESS: f64 = 1e-6;

/// Why a probe cannot be fitted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// Features hold a NaN or an infinity.
    #[error("the features hold a number that is not finite")]
    NotFinite,
    /// Fewer training rows than a fit needs.
    #[error("{rows} rows are too few to fit and validate a probe on; at least {MIN_TRAINING_ROWS} are needed")]
    TooFewRows {
        /// Rows given.
        rows: usize,
    },
    /// The optimiser gave up.
    #[error("logistic regression did not converge: {0}")]
    NoConvergence(String),
}

/// Standardised rows.
struct Standardizer {
    mean: Vec<f64>,
    scale: Vec<f64>,
}

impl Standardizer {
    fn fit(rows: &[Vec<f64>]) -> Self {
        let (n, k) = (rows.len() as f64, rows[0].len());
        let mean: Vec<f64> = (0..k).map(|c| rows.iter().map(|r| r[c]).sum::<f64>() / n).collect();
        let scale = (0..k)
            .map(|c| {
                let std = (rows.iter().map(|r| (r[c] - mean[c]).powi(2)).sum::<f64>() / n).sqrt();
                if std > 1e-12 * mean[c].abs() { 1.0 / std } else { 0.0 }
            })
            .collect();
        Self { mean, scale }
    }

    fn apply(&self, rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let row = |r: &Vec<f64>| r.iter().zip(&self.mean).zip(&self.scale).map(|((v, m), s)| (v - m) * s).collect();
        rows.iter().map(row).collect()
    }
}

/// `R²` on test rows of ridge regression fitted on training rows; `None` where the test targets do not vary.
///
/// The penalty is chosen from [`RIDGE_PENALTIES`] on the last quarter of the training rows, which must be in no
/// particular order. Can be negative.
///
/// # Shapes
/// Features `[n, k]`, targets of length n.
///
/// # Errors
/// [`ProbeError`] on features that are not finite or too few training rows.
pub fn ridge_r_squared(
    train: Tensor<2>,
    y_train: &[f64],
    test: Tensor<2>,
    y_test: &[f64],
) -> Result<Option<f64>, ProbeError> {
    let (train, test) = (training_rows(train)?, finite_rows(test)?);
    let fitted = train.len() - (train.len() as f64 * VALIDATION_FRACTION) as usize;
    let score = |fit_rows: usize, penalty: f64, rows: &[Vec<f64>], y: &[f64]| {
        let (predict, offset) = fit_ridge(&train[..fit_rows], &y_train[..fit_rows], penalty);
        r_squared(&rows.iter().map(|r| predict(r) + offset).collect::<Vec<_>>(), y)
    };
    // If targets do not vary, all penalties are equally good, and the largest is taken.
    let best = RIDGE_PENALTIES
        .into_iter()
        .map(|penalty| (penalty, score(fitted, penalty, &train[fitted..], &y_train[fitted..])))
        .max_by(|a, b| a.1.unwrap_or(f64::NEG_INFINITY).total_cmp(&b.1.unwrap_or(f64::NEG_INFINITY)))
        .map_or(RIDGE_PENALTIES[0], |(penalty, _)| penalty);
    Ok(score(train.len(), best, &test, y_test))
}

/// Minimises `Σ (y − ȳ − ⟨β, s(x)⟩)²/n + penalty ‖β‖²`; returns the predictor and `ȳ`.
fn fit_ridge(rows: &[Vec<f64>], y: &[f64], penalty: f64) -> (impl Fn(&[f64]) -> f64 + use<>, f64) {
    let (n, k) = (rows.len(), rows[0].len());
    let standardizer = Standardizer::fit(rows);
    let standardized = standardizer.apply(rows);
    let x = Mat::from_fn(n, k, |r, c| standardized[r][c]);
    let offset = y.iter().sum::<f64>() / n as f64;
    let target = Mat::from_fn(n, 1, |r, _| y[r] - offset);
    let mut gram = x.transpose() * &x;
    for c in 0..k {
        gram[(c, c)] += penalty * n as f64;
    }
    let right = x.transpose() * target;
    let solution =
        gram.llt(Side::Lower).expect("a Gram matrix plus a positive diagonal is positive definite").solve(right);
    let beta: Vec<f64> = (0..k).map(|c| solution[(c, 0)] * standardizer.scale[c]).collect();
    let shift = dot(&beta, &standardizer.mean);
    (move |row: &[f64]| dot(&beta, row) - shift, offset)
}

/// `1 − Σ(y − ŷ)² / Σ(y − ȳ)²`; `None` where `y` does not vary beyond rounding.
pub fn r_squared(predicted: &[f64], y: &[f64]) -> Option<f64> {
    let n = y.len() as f64;
    let mean = y.iter().sum::<f64>() / n;
    let rest: f64 = y.iter().zip(predicted).map(|(y, p)| (y - p).powi(2)).sum();
    let total: f64 = y.iter().map(|y| (y - mean).powi(2)).sum();
    ((total / n).sqrt() > 1e-12 * mean.abs()).then(|| 1.0 - rest / total)
}

/// Fraction of correct predictions.
///
/// # Panics
/// When lengths differ.
pub fn accuracy(predicted: &[usize], truth: &[usize]) -> f64 {
    assert_eq!(predicted.len(), truth.len(), "one prediction per true class");
    predicted.iter().zip(truth).filter(|(p, t)| p == t).count() as f64 / truth.len() as f64
}

/// Accuracy on test rows of logistic regression fitted on training rows.
///
/// Minimises `Σ log(1 + exp(−±(⟨β, s(x)⟩ + b))) + ‖β‖²/2` over the training rows, starting from 0; `s` standardises.
///
/// # Shapes
/// Features `[n, k]` and `[t, k]`, labels of length n and t, t ≥ 1.
///
/// # Errors
/// [`ProbeError`] on features that are not finite, too few training rows or no convergence.
///
/// # Panics
/// When numbers of rows or columns differ.
pub fn logistic_accuracy(
    train: Tensor<2>,
    y_train: &[bool],
    test: Tensor<2>,
    y_test: &[bool],
) -> Result<f64, ProbeError> {
    let classes = |y: &[bool]| y.iter().map(|y| usize::from(*y)).collect::<Vec<_>>();
    // β is the difference of two columns ∓β/2, whose squares add up to half of its own.
    let predicted = predicted_classes(train, &classes(y_train), test, 2, 2.0)?;
    assert_eq!(predicted.len(), y_test.len(), "one label per test row");
    Ok(accuracy(&predicted, &classes(y_test)))
}

/// Predicted classes of test rows under multi-class logistic regression fitted on training rows.
///
/// Minimises `−Σ log softmax(W s(x) + b)_y + ‖W‖²/2` over the training rows, starting from 0; `s` standardises.
/// A class that no training row has is never predicted.
///
/// # Shapes
/// Features `[n, k]` and `[t, k]`, labels of length n in 0..`num_classes`; the result has length t.
///
/// # Errors
/// [`ProbeError`] on features that are not finite, too few training rows or no convergence.
///
/// # Panics
/// When a label is too large, or numbers of rows or columns differ.
pub fn logistic_classes(
    train: Tensor<2>,
    labels: &[usize],
    test: Tensor<2>,
    num_classes: usize,
) -> Result<Vec<usize>, ProbeError> {
    predicted_classes(train, labels, test, num_classes, 1.0)
}

/// As [`logistic_classes`], with `penalty · ‖W‖²/2`.
fn predicted_classes(
    train: Tensor<2>,
    labels: &[usize],
    test: Tensor<2>,
    num_classes: usize,
    penalty: f64,
) -> Result<Vec<usize>, ProbeError> {
    assert_eq!(train.dims()[0], labels.len(), "one label per training row");
    assert_eq!(train.dims()[1], test.dims()[1], "training and test rows must have the same length");
    assert!(labels.iter().all(|l| *l < num_classes), "labels must be below {num_classes}");
    let (train, test) = (training_rows(train)?, finite_rows(test)?);
    // One class only: nothing to fit.
    if labels.iter().all(|l| *l == labels[0]) {
        return Ok(vec![labels[0]; test.len()]);
    }
    let standardizer = Standardizer::fit(&train);
    let stopping = Stopping::at_gradient((2.0 * MAX_EXCESS * train.len() as f64).sqrt());
    SoftmaxRegression::fit(&standardizer.apply(&train), labels, num_classes, penalty, stopping)
        .map(|model| model.predict(&standardizer.apply(&test)))
        .map_err(|left| ProbeError::NoConvergence(format!("a gradient of norm {:.1e} is left", left.0)))
}

pub(crate) fn training_rows(features: Tensor<2>) -> Result<Vec<Vec<f64>>, ProbeError> {
    let rows = finite_rows(features)?;
    if rows.len() < MIN_TRAINING_ROWS {
        return Err(ProbeError::TooFewRows { rows: rows.len() });
    }
    Ok(rows)
}

pub(crate) fn finite_rows(features: Tensor<2>) -> Result<Vec<Vec<f64>>, ProbeError> {
    let rows = rows_f64(features);
    if rows.iter().flatten().any(|v| !v.is_finite()) {
        return Err(ProbeError::NotFinite);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    fn value(i: usize) -> f64 {
        // Weyl sequence: spread over [−1, 1), no generator needed.
        2.0 * ((i as f64 * 0.754_877_666).fract()) - 1.0
    }

    fn features(n: usize, offset: usize) -> (Tensor<2>, Vec<Vec<f64>>) {
        let rows: Vec<Vec<f64>> =
            (0..n).map(|r| (0..3).map(|c| value(offset + 7 * r + 31 * c + r * c)).collect()).collect();
        let flat: Vec<f32> = rows.iter().flatten().map(|v| *v as f32).collect();
        (Tensor::from_data(TensorData::new(flat, [n, 3]), &Device::flex()), rows)
    }

    #[test]
    fn ridge_recovers_a_linear_map_and_not_an_unrelated_target() {
        let ((train, rows), (test, test_rows)) = (features(400, 0), features(200, 50_000));
        let y = |rows: &[Vec<f64>]| rows.iter().map(|r| 2.0 * r[0] - r[2] + 5.0).collect::<Vec<_>>();
        let r2 = ridge_r_squared(train.clone(), &y(&rows), test.clone(), &y(&test_rows)).unwrap().unwrap();
        assert!(r2 > 0.9999, "{r2}");
        let unrelated = |n: usize, offset| (0..n).map(|i| value(offset + 977 * i * i)).collect::<Vec<_>>();
        let r2 = ridge_r_squared(train, &unrelated(400, 3), test, &unrelated(200, 9)).unwrap().unwrap();
        assert!(r2 < 0.1, "{r2}");
    }

    #[test]
    fn ridge_survives_constant_and_repeated_columns() {
        let (train, rows) = features(100, 0);
        let repeated = Tensor::cat(vec![train.clone(), train.clone(), train * 0.0 + 3.0], 1);
        let y: Vec<f64> = rows.iter().map(|r| r[1]).collect();
        assert!(ridge_r_squared(repeated.clone(), &y, repeated, &y).unwrap().unwrap() > 0.999);
    }

    #[test]
    fn targets_that_do_not_vary_have_no_r_squared() {
        let (x, rows) = features(20, 0);
        let y: Vec<f64> = rows.iter().map(|r| r[0]).collect();
        assert_eq!(ridge_r_squared(x.clone(), &y, x.clone(), &[0.1; 20]), Ok(None));
        assert_eq!(ridge_r_squared(x.clone(), &[0.1; 20], x.clone(), &[0.1; 20]), Ok(None));
        // The mean does not predict targets that vary.
        assert!(ridge_r_squared(x.clone(), &[0.1; 20], x, &y).unwrap().unwrap() <= 0.0);
    }

    #[test]
    fn a_probe_is_scored_on_any_number_of_rows_and_fitted_on_eight() {
        let ((train, rows), (one, _)) = (features(9, 0), features(1, 50));
        let labels: Vec<usize> = (0..9).map(|i| i % 2).collect();
        assert_eq!(logistic_classes(train.clone(), &labels, one.clone(), 2).unwrap().len(), 1);
        let y: Vec<f64> = rows.iter().map(|r| r[0]).collect();
        assert_eq!(ridge_r_squared(train.clone(), &y, one.clone(), &[1.0]), Ok(None));
        let seven = train.narrow(0, 0, 7);
        let too_few = ProbeError::TooFewRows { rows: 7 };
        assert_eq!(logistic_classes(seven.clone(), &labels[..7], one.clone(), 2), Err(too_few.clone()));
        assert_eq!(ridge_r_squared(seven, &y[..7], one, &[1.0]), Err(too_few));
    }

    #[test]
    fn logistic_regression_separates_by_a_plane() {
        let ((train, rows), (test, test_rows)) = (features(400, 0), features(200, 50_000));
        let y = |rows: &[Vec<f64>]| rows.iter().map(|r| r[0] + r[1] > 0.1).collect::<Vec<_>>();
        assert!(logistic_accuracy(train, &y(&rows), test, &y(&test_rows)).unwrap() > 0.95);
    }

    #[test]
    fn one_class_is_predicted_everywhere() {
        let (x, _) = features(10, 0);
        assert_eq!(logistic_accuracy(x.clone(), &[true; 10], x, &[true; 10]).unwrap(), 1.0);
    }

    /// The class of the largest of three linear scores.
    fn three_classes(rows: &[Vec<f64>]) -> Vec<usize> {
        let scores = |r: &[f64]| [r[0] + 0.2, r[1] - 0.5 * r[0], -r[0] - r[1]];
        let largest = |s: [f64; 3]| (0..3).max_by(|a, b| s[*a].total_cmp(&s[*b])).unwrap();
        rows.iter().map(|r| largest(scores(r))).collect()
    }

    #[test]
    fn logistic_regression_separates_three_classes_by_planes() {
        let ((train, rows), (test, test_rows)) = (features(600, 0), features(300, 50_000));
        let predicted = logistic_classes(train, &three_classes(&rows), test, 3).unwrap();
        let truth = three_classes(&test_rows);
        assert!((0..3).all(|class| truth.iter().filter(|t| **t == class).count() > 30));
        assert!(accuracy(&predicted, &truth) > 0.95);
    }

    #[test]
    fn classes_need_not_all_occur() {
        let (train, rows) = features(200, 0);
        let labels: Vec<usize> = rows.iter().map(|r| if r[0] > 0.0 { 7 } else { 1 }).collect();
        let predicted = logistic_classes(train.clone(), &labels, train.clone(), 10).unwrap();
        assert!(accuracy(&predicted, &labels) > 0.97);
        assert_eq!(logistic_classes(train.clone(), &[4; 200], train, 10).unwrap(), [4; 200]);
    }

    #[test]
    fn features_that_are_not_finite_are_refused() {
        let x = Tensor::from_data([[f32::NAN]; 9], &Device::flex());
        assert_eq!(ridge_r_squared(x.clone(), &[0.0; 9], x, &[0.0; 9]).unwrap_err(), ProbeError::NotFinite);
    }
}
