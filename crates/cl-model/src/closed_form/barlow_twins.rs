//! Barlow Twins with its gradient.

use super::HostObjective;
use super::product::{Rows, add_transposed_times, times, times_transposed};
use super::two_views::{Columns, TwoViews};
use crate::objectives::BarlowTwins;

/// A view standardised over the batch, `F̃`, and what its columns were divided by.
struct Standardised {
    values: Vec<f32>,
    scales: Vec<f32>,
}

impl Standardised {
    fn of(view: Rows, epsilon: f64) -> Self {
        let Columns { mut centred, squares } = Columns::of(view);
        let n = view.count() as f64;
        let scales: Vec<f32> = squares.iter().map(|square| (square / n + epsilon).sqrt() as f32).collect();
        for row in centred.chunks_exact_mut(view.cols) {
            row.iter_mut().zip(&scales).for_each(|(v, scale)| *v /= scale);
        }
        Self { values: centred, scales }
    }

    /// From the gradient in `F̃` to that in F: `(g − mean g − F̃ mean(g ⊙ F̃))/s` column by column.
    fn backward(&self, gradient: &mut [f32]) {
        let m = self.scales.len();
        let n = (gradient.len() / m) as f64;
        let (mut means, mut along) = (vec![0.0f64; m], vec![0.0f64; m]);
        for (g, f) in gradient.chunks_exact(m).zip(self.values.chunks_exact(m)) {
            for (c, (g, f)) in g.iter().zip(f).enumerate() {
                means[c] += f64::from(*g) / n;
                along[c] += f64::from(*g) * f64::from(*f) / n;
            }
        }
        for (g, f) in gradient.chunks_exact_mut(m).zip(self.values.chunks_exact(m)) {
            for (c, (g, f)) in g.iter_mut().zip(f).enumerate() {
                *g = (*g - means[c] as f32 - f * along[c] as f32) / self.scales[c];
            }
        }
    }
}

impl HostObjective for BarlowTwins {
    fn loss_and_gradient(&self, outputs: Vec<f32>, columns: usize, batch_size: usize) -> (f64, Vec<f32>) {
        let TwoViews { first, second, .. } = TwoViews::of(&outputs, columns, batch_size, 2);
        let (n, m) = (batch_size as f64, columns as f64);
        let [first, second] = [first, second].map(|view| Standardised::of(view, self.epsilon));
        let (f, g) = (Rows::new(&first.values, columns), Rows::new(&second.values, columns));
        let mut correlation = vec![0.0; columns * columns];
        add_transposed_times(f, g, &mut correlation);
        // C, and in its place ∂L/∂C/B.
        let mut loss = 0.0;
        for (i, row) in correlation.chunks_exact_mut(columns).enumerate() {
            for (j, c) in row.iter_mut().enumerate() {
                let value = f64::from(*c) / n;
                let (weight, difference) = if i == j { (1.0, value - 1.0) } else { (self.off_diagonal, value) };
                loss += weight * difference * difference / m;
                *c = (2.0 * weight * difference / (m * n)) as f32;
            }
        }
        let correlation = Rows::new(&correlation, columns);
        let mut gradient = vec![0.0; outputs.len()];
        let (in_first, in_second) = gradient.split_at_mut(batch_size * columns);
        times_transposed(g, correlation, 1.0, in_first);
        times(f, correlation, in_second);
        first.backward(in_first);
        second.backward(in_second);
        (loss, gradient)
    }
}
