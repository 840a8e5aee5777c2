//! What a map does to views and to directions: how close it brings the views of a sample, and how much it stretches tangents.
//!
//! Cosentino et al. 2022, arXiv 2205.06926, ask which part of a model becomes invariant to augmentations, encoder or projector.

use crate::host::{dot, norm, rows_f64};
use burn::tensor::Tensor;

/// Half the step of a [`directional_derivative`], relative to the length of the point. In single precision the difference of outputs then has
/// a relative error of about 1e-5; a smaller step makes it larger, and with a larger one more ReLUs change sides.
const HALF_STEP: f64 = 1.0 / 256.0;

/// `E‖f(a) − f(b)‖² / E‖f(a) − f(b′)‖²` for two views a, b of the same sample and views a, b′ of two different ones, by outputs `[n, k]` for the
/// first and for the second views of n samples, averaged over all pairs. 0 for a map that is invariant, 1 where the views of a sample are no
/// closer than those of different samples; `None` where all outputs are alike.
///
/// # Panics
/// With fewer than two samples, or when shapes differ.
pub fn view_distance(first: Tensor<2>, second: Tensor<2>) -> Option<f64> {
    assert_eq!(first.dims(), second.dims(), "two views of the same samples");
    let [n, k] = first.dims();
    assert!(n > 1, "samples are compared with each other");
    let (first, second) = (rows_f64(first), rows_f64(second));
    let of_pairs: f64 = first.iter().zip(&second).map(|(a, b)| squared_distance(a, b)).sum();
    let sum = |rows: &[Vec<f64>]| (0..k).map(|c| rows.iter().map(|row| row[c]).sum()).collect::<Vec<f64>>();
    let squares = |rows: &[Vec<f64>]| rows.iter().map(|row| dot(row, row)).sum::<f64>();
    // Σ_ij ‖a_i − b_j‖² = n Σ‖a_i‖² + n Σ‖b_j‖² − 2⟨Σ a_i, Σ b_j⟩.
    let scale = squares(&first) + squares(&second);
    let all = n as f64 * scale - 2.0 * dot(&sum(&first), &sum(&second));
    let of_others = (all - of_pairs) / (n * (n - 1)) as f64;
    let is_spread = of_others > 1e-12 * scale / n as f64;
    is_spread.then(|| of_pairs / n as f64 / of_others)
}

/// `J(x) u` of a map for each row of points x and directions u, `[n, j]` to `[n, k]`, by central differences.
///
/// # Panics
/// When shapes differ.
pub fn directional_derivative(
    map: &dyn Fn(Tensor<2>) -> Tensor<2>,
    points: Tensor<2>,
    directions: Tensor<2>,
) -> Tensor<2> {
    assert_eq!(points.dims(), directions.dims(), "a direction for each point");
    let length = |rows: Tensor<2>| rows.square().sum_dim(1).sqrt();
    let steps = length(points.clone()).clamp_min(1e-6) / length(directions.clone()).clamp_min(1e-30) * HALF_STEP;
    let moved = directions * steps.clone();
    (map(points.clone() + moved.clone()) - map(points - moved)) / (steps * 2.0)
}

/// Mean of `‖J u‖²/‖u‖²` over rows of directions u and of what a map makes of them, `[n, j]` and `[n, k]`; rows with `u = 0` are left out. `None`
/// if all are.
pub fn mean_squared_gain(directions: Tensor<2>, derivatives: Tensor<2>) -> Option<f64> {
    let rows = rows_f64(directions).into_iter().zip(rows_f64(derivatives));
    let gains = rows.filter_map(|(u, ju)| (norm(&u) > 0.0).then(|| dot(&ju, &ju) / dot(&u, &u)));
    let (count, sum) = gains.fold((0, 0.0), |(count, sum), gain| (count + 1, sum + gain));
    (count > 0).then(|| sum / f64::from(count))
}

fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use burn::tensor::activation::relu;

    fn tensor<const R: usize, const C: usize>(rows: [[f32; C]; R]) -> Tensor<2> {
        Tensor::from_data(rows, &Device::flex())
    }

    #[test]
    fn view_distances_by_hand() {
        // Views of a sample are 1 and 3 apart, those of the two samples 7 and 9.
        let (first, second) = (tensor([[0.0], [10.0]]), tensor([[1.0], [7.0]]));
        let expected = (1.0 + 9.0) / (49.0 + 81.0);
        assert!((view_distance(first.clone(), second.clone()).unwrap() - expected).abs() < 1e-12);
        assert_eq!(view_distance(first.clone(), first.clone()), Some(0.0));
        // Neither a shift nor a scale changes it.
        let moved = |x: Tensor<2>| x * 3.0 + 5.0;
        assert!((view_distance(moved(first), moved(second)).unwrap() - expected).abs() < 1e-12);
        assert_eq!(view_distance(tensor([[2.0], [2.0]]), tensor([[2.0], [2.0]])), None);
    }

    #[test]
    fn derivatives_are_those_of_the_linear_piece() {
        let weights = tensor([[1.0, -2.0, 0.5], [3.0, 1.0, -1.0]]);
        let map = |x: Tensor<2>| relu(x.matmul(weights.clone()));
        let (points, directions) = (tensor([[1.0, 1.0], [2.0, -1.0]]), tensor([[0.0, 10.0], [0.3, 0.4]]));
        let found = directional_derivative(&map, points, directions).into_data().try_to_vec::<f32>().unwrap();
        // At (1, 1) x W = (4, −1, −0.5): the first output is alive; at (2, −1) it is (−1, −5, 2).
        for (found, expected) in found.iter().zip([30.0, 0.0, 0.0, 0.0, 0.0, -0.25]) {
            assert!((found - expected).abs() < 1e-3 * 30.0, "{found} {expected}");
        }
    }

    #[test]
    fn gains_are_averaged_over_directions_that_are_any() {
        let directions = tensor([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]]);
        let derivatives = tensor([[10.0], [7.0], [4.0]]);
        // (10/5)² and 4².
        assert!((mean_squared_gain(directions.clone(), derivatives.clone()).unwrap() - 10.0).abs() < 1e-12);
        assert_eq!(mean_squared_gain(directions.clone() * 0.0, derivatives), None);
    }
}
