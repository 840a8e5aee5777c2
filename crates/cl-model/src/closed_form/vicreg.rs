//! VICReg with its gradient.

use super::HostObjective;
use super::product::{Rows, add_transposed_times, times};
use super::two_views::{Columns, TwoViews};
use crate::objectives::VicReg;

impl HostObjective for VicReg {
    fn loss_and_gradient(&self, outputs: Vec<f32>, columns: usize, batch_size: usize) -> (f64, Vec<f32>) {
        let TwoViews { first, second, .. } = TwoViews::of(&outputs, columns, batch_size, 2);
        let mut gradient = vec![0.0; outputs.len()];
        let (in_first, in_second) = gradient.split_at_mut(batch_size * columns);
        let mut loss = self.of_view(first, in_first) + self.of_view(second, in_second);
        let factor = self.invariance / (batch_size * columns) as f64;
        let mut squares = 0.0;
        for ((f, g), (in_f, in_g)) in first.values.iter().zip(second.values).zip(in_first.iter_mut().zip(in_second)) {
            let difference = f64::from(*f) - f64::from(*g);
            squares += difference * difference;
            *in_f += (2.0 * factor * difference) as f32;
            *in_g -= (2.0 * factor * difference) as f32;
        }
        loss += factor * squares;
        (loss, gradient)
    }
}

impl VicReg {
    /// Variance and covariance of one view, half of each, and their gradient.
    fn of_view(&self, view: Rows, gradient: &mut [f32]) -> f64 {
        let (n, m) = (view.count(), view.cols);
        let Columns { centred, squares } = Columns::of(view);
        let centred = Rows::new(&centred, m);
        let freedom = (n - 1) as f64;
        let (variance, covariance) = (self.variance / (2.0 * m as f64), self.covariance / (2.0 * m as f64));
        let mut products = vec![0.0; m * m];
        add_transposed_times(centred, centred, &mut products);
        // ∂L/∂F = F centred times a symmetric matrix: the covariances off the diagonal, the hinge on it.
        let mut loss = 0.0;
        for (i, row) in products.chunks_exact_mut(m).enumerate() {
            for (j, product) in row.iter_mut().enumerate() {
                if i == j {
                    let deviation = (squares[i] / freedom + self.epsilon).sqrt();
                    loss += variance * (1.0 - deviation).max(0.0);
                    let slope = if deviation < 1.0 { -variance / (freedom * deviation) } else { 0.0 };
                    *product = slope as f32;
                } else {
                    let value = f64::from(*product) / freedom;
                    loss += covariance * value * value;
                    *product = (4.0 * covariance * value / freedom) as f32;
                }
            }
        }
        times(centred, Rows::new(&products, m), gradient);
        loss
    }
}
