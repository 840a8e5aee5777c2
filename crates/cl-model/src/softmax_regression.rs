//! Multi-class logistic regression, fitted to its minimum by Newton's method with conjugate gradients.
//!
//! The loss is convex, so a short enough step along a descent direction always lowers it; conjugate gradients only need
//! Hessian products, which cost two products with the features. (Libraries use L-BFGS, whose line search gave up far
//! from the minimum on two fifths of the standardised, long-tailed features of convolutional encoders.)

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};

/// Conjugate-gradient iterations within a Newton step.
const MAX_ITERATIONS: usize = 500;

/// When a fit ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stopping {
    /// The norm of the gradient that counts as converged.
    pub gradient: f64,
    /// Maximum number of Newton steps.
    pub max_steps: usize,
}

impl Stopping {
    /// Stops at this norm of the gradient.
    pub fn at_gradient(gradient: f64) -> Self {
        Self { gradient, max_steps: 200 }
    }
}

/// Weights and intercepts: the last row of `[k + 1, classes]` holds the intercepts.
pub(crate) struct SoftmaxRegression {
    parameters: Mat<f64>,
}

/// Why a fit has no result: the norm of the gradient that was left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct GradientLeft(pub f64);

/// `−Σ log softmax(W x + b)_y + penalty ‖W‖²/2` over rows `x`.
struct Loss<'a> {
    /// Rows with a one appended, `[n, k + 1]`.
    rows: Mat<f64>,
    labels: &'a [usize],
    penalty: f64,
}

/// Loss, gradient and the softmax behind them.
struct Evaluated {
    value: f64,
    gradient: Mat<f64>,
    probabilities: Mat<f64>,
}

impl SoftmaxRegression {
    /// Fits, starting from 0, until one of the two criteria to stop is met.
    pub fn fit(
        rows: &[Vec<f64>],
        labels: &[usize],
        classes: usize,
        penalty: f64,
        stopping: Stopping,
    ) -> Result<Self, GradientLeft> {
        let loss = Loss { rows: with_ones(rows), labels, penalty };
        let mut parameters = Mat::<f64>::zeros(loss.rows.ncols(), classes);
        let mut now = loss.at(&parameters);
        let first_norm = now.gradient.norm_l2();
        for _ in 0..stopping.max_steps {
            let norm = now.gradient.norm_l2();
            if norm <= stopping.gradient {
                return Ok(Self { parameters });
            }
            // Solved the more accurately the nearer the minimum is, which makes the last steps converge superlinearly.
            let direction = loss.newton_direction(&now, norm * (norm / first_norm).sqrt().min(0.5));
            let slope = inner(&now.gradient, &direction);
            let mut length = 1.0;
            (parameters, now) = loop {
                let tried = &parameters + faer::Scale(length) * &direction;
                let there = loss.at(&tried);
                // Near the minimum, differences of losses are no more than their rounding.
                if there.value <= now.value + 1e-4 * length * slope + 1e-12 * now.value.abs() {
                    break (tried, there);
                }
                length /= 2.0;
                if length < 1e-12 {
                    return Err(GradientLeft(norm));
                }
            };
        }
        let norm = now.gradient.norm_l2();
        if norm <= stopping.gradient { Ok(Self { parameters }) } else { Err(GradientLeft(norm)) }
    }

    /// The most likely class of each row.
    pub fn predict(&self, rows: &[Vec<f64>]) -> Vec<usize> {
        let scores = product(&with_ones(rows), &self.parameters);
        let largest = |r: usize| (0..scores.ncols()).max_by(|a, b| scores[(r, *a)].total_cmp(&scores[(r, *b)]));
        (0..rows.len()).map(|r| largest(r).unwrap_or(0)).collect()
    }
}

impl Loss<'_> {
    fn at(&self, parameters: &Mat<f64>) -> Evaluated {
        let mut probabilities = product(&self.rows, parameters);
        let mut value = 0.0;
        for (r, label) in self.labels.iter().enumerate() {
            let classes = 0..probabilities.ncols();
            let max = classes.clone().map(|c| probabilities[(r, c)]).fold(f64::NEG_INFINITY, f64::max);
            let own = probabilities[(r, *label)];
            let sum: f64 = classes.clone().map(|c| (probabilities[(r, c)] - max).exp()).sum();
            value += sum.ln() + max - own;
            classes.for_each(|c| probabilities[(r, c)] = (probabilities[(r, c)] - max).exp() / sum);
        }
        let mut difference = probabilities.clone();
        self.labels.iter().enumerate().for_each(|(r, label)| difference[(r, *label)] -= 1.0);
        let mut gradient = transposed_product(&self.rows, &difference);
        value += self.add_penalty(&mut gradient, parameters) / 2.0;
        Evaluated { value, gradient, probabilities }
    }

    /// `H V` with the Hessian at the parameters that gave `probabilities`.
    fn hessian_times(&self, probabilities: &Mat<f64>, v: &Mat<f64>) -> Mat<f64> {
        let mut moved = product(&self.rows, v);
        for r in 0..moved.nrows() {
            let classes = 0..moved.ncols();
            let mean: f64 = classes.clone().map(|c| probabilities[(r, c)] * moved[(r, c)]).sum();
            classes.for_each(|c| moved[(r, c)] = probabilities[(r, c)] * (moved[(r, c)] - mean));
        }
        let mut result = transposed_product(&self.rows, &moved);
        self.add_penalty(&mut result, v);
        result
    }

    /// Solves `H direction = −gradient` until the residual has at most this norm.
    fn newton_direction(&self, now: &Evaluated, tolerance: f64) -> Mat<f64> {
        let mut direction = Mat::<f64>::zeros(now.gradient.nrows(), now.gradient.ncols());
        let mut left = -&now.gradient;
        let mut search = left.clone();
        let mut left_squared = inner(&left, &left);
        for _ in 0..MAX_ITERATIONS {
            let curved = self.hessian_times(&now.probabilities, &search);
            let curvature = inner(&search, &curved);
            // Shifting all intercepts together changes nothing: that direction has no curvature and no gradient.
            if curvature <= 0.0 {
                break;
            }
            let length = left_squared / curvature;
            direction += faer::Scale(length) * &search;
            left -= faer::Scale(length) * &curved;
            let squared = inner(&left, &left);
            if squared.sqrt() <= tolerance {
                break;
            }
            search = &left + faer::Scale(squared / left_squared) * &search;
            left_squared = squared;
        }
        direction
    }

    /// Adds the penalty on the weights, not on the intercepts, to a gradient; returns `penalty ‖W‖²`.
    fn add_penalty(&self, gradient: &mut Mat<f64>, parameters: &Mat<f64>) -> f64 {
        let mut squares = 0.0;
        for c in 0..parameters.ncols() {
            for k in 0..parameters.nrows() - 1 {
                gradient[(k, c)] += self.penalty * parameters[(k, c)];
                squares += parameters[(k, c)].powi(2);
            }
        }
        self.penalty * squares
    }
}

fn with_ones(rows: &[Vec<f64>]) -> Mat<f64> {
    let k = rows.first().map_or(0, Vec::len);
    Mat::from_fn(rows.len(), k + 1, |r, c| if c < k { rows[r][c] } else { 1.0 })
}

fn product(a: &Mat<f64>, b: &Mat<f64>) -> Mat<f64> {
    let mut out = Mat::zeros(a.nrows(), b.ncols());
    matmul(&mut out, Accum::Replace, a, b, 1.0, Par::Seq);
    out
}

fn transposed_product(a: &Mat<f64>, b: &Mat<f64>) -> Mat<f64> {
    let mut out = Mat::zeros(a.ncols(), b.ncols());
    matmul(&mut out, Accum::Replace, a.transpose(), b, 1.0, Par::Seq);
    out
}

fn inner(a: &Mat<f64>, b: &Mat<f64>) -> f64 {
    (0..a.ncols()).map(|c| (0..a.nrows()).map(|r| a[(r, c)] * b[(r, c)]).sum::<f64>()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(i: usize) -> f64 {
        2.0 * ((i as f64 * 0.754_877_666).fract()) - 1.0
    }

    fn data(n: usize, tail: f64) -> (Vec<Vec<f64>>, Vec<usize>) {
        // Cubes and higher powers of evenly spread numbers: long tails, as standardised sparse features have.
        let rows: Vec<Vec<f64>> =
            (0..n).map(|r| (0..6).map(|c| 8.0 * value(17 * r + 101 * c + r * c).powf(tail)).collect()).collect();
        let labels = rows.iter().enumerate().map(|(r, x)| if x[0] + 0.3 * value(7 * r) > x[1] { 0 } else { 1 + r % 2 });
        (rows.clone(), labels.collect())
    }

    #[test]
    fn gradient_and_hessian_are_those_of_the_loss() {
        for (classes, penalty) in [(3, 1.0), (2, 2.0)] {
            let (rows, labels) = data(40, 1.0);
            let labels: Vec<usize> = labels.iter().map(|l| l % classes).collect();
            let loss = Loss { rows: with_ones(&rows), labels: &labels, penalty };
            let at = Mat::from_fn(7, classes, |k, c| 0.3 * value(5 * k + c));
            let v = Mat::from_fn(7, classes, |k, c| value(11 * k + 3 * c));
            let moved = |h: f64| loss.at(&(&at + faer::Scale(h) * &v));
            let (plus, minus, here) = (moved(1e-5), moved(-1e-5), loss.at(&at));
            let slope = (plus.value - minus.value) / 2e-5;
            assert!((slope - inner(&here.gradient, &v)).abs() < 1e-6 * slope.abs().max(1.0));
            let curved = loss.hessian_times(&here.probabilities, &v);
            for c in 0..classes {
                for k in 0..7 {
                    let difference = (plus.gradient[(k, c)] - minus.gradient[(k, c)]) / 2e-5;
                    assert!((difference - curved[(k, c)]).abs() < 1e-5, "{k} {c}: {difference} {}", curved[(k, c)]);
                }
            }
        }
    }

    /// With two classes and twice the penalty the difference of the columns is binary logistic regression under
    /// the unit penalty: the gradient of that loss vanishes at it.
    #[test]
    fn two_classes_are_binary_logistic_regression() {
        let (rows, labels) = data(200, 3.0);
        let labels: Vec<usize> = labels.iter().map(|l| (*l).min(1)).collect();
        let fitted = SoftmaxRegression::fit(&rows, &labels, 2, 2.0, Stopping::at_gradient(1e-8)).unwrap();
        let beta: Vec<f64> = (0..7).map(|k| fitted.parameters[(k, 1)] - fitted.parameters[(k, 0)]).collect();
        let mut gradient = beta.clone();
        gradient[6] = 0.0;
        for (row, label) in rows.iter().zip(&labels) {
            let score = beta[6] + row.iter().zip(&beta).map(|(x, b)| x * b).sum::<f64>();
            let residual = 1.0 / (1.0 + (-score).exp()) - *label as f64;
            row.iter().chain([&1.0]).zip(&mut gradient).for_each(|(x, g)| *g += residual * x);
        }
        assert!(beta.iter().any(|b| b.abs() > 0.05), "{beta:?}");
        assert!(gradient.iter().all(|g| g.abs() < 1e-6), "{gradient:?}");
    }

    #[test]
    fn fits_reach_the_minimum_on_rows_with_long_tails_and_a_fit_cut_short_is_told() {
        for tail in [1.0, 3.0, 9.0] {
            let (rows, labels) = data(500, tail);
            let stopping = Stopping::at_gradient(1e-6);
            let fitted = SoftmaxRegression::fit(&rows, &labels, 3, 1.0, stopping).unwrap();
            let loss = Loss { rows: with_ones(&rows), labels: &labels, penalty: 1.0 };
            let here = loss.at(&fitted.parameters);
            assert!(here.gradient.norm_l2() <= 1e-6);
            for h in [1e-3, -1e-3] {
                let beside = Mat::from_fn(7, 3, |k, c| fitted.parameters[(k, c)] + h * value(3 * k + c));
                assert!(loss.at(&beside).value > here.value);
            }
            let cut_short = Stopping { max_steps: 1, ..stopping };
            assert!(SoftmaxRegression::fit(&rows, &labels, 3, 1.0, cut_short).is_err());
        }
    }
}
