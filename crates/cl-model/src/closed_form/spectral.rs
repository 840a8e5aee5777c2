//! The spectral contrastive loss with its gradient, a block of first views at a time.

use super::HostObjective;
use super::contrast::BLOCK_ENTRIES;
use super::product::{Rows, add_transposed_times, times, times_transposed};
use super::two_views::TwoViews;
use crate::objectives::Spectral;

impl HostObjective for Spectral {
    fn loss_and_gradient(&self, outputs: Vec<f32>, columns: usize, batch_size: usize) -> (f64, Vec<f32>) {
        let TwoViews { first, second, .. } = TwoViews::of(&outputs, columns, batch_size, 2);
        let n = batch_size;
        // ∂L/∂⟨F_i, G_j⟩ = 2⟨F_i, G_j⟩/(B(B − 1)) for i ≠ j, and −2/B for i = j.
        let (pairs, own) = ((n * (n - 1)) as f64, -2.0 / n as f64);
        let mut gradient = vec![0.0; outputs.len()];
        let (in_first, in_second) = gradient.split_at_mut(n * columns);
        let rows = (BLOCK_ENTRIES / n).clamp(1, n);
        let mut loss = 0.0;
        for (block, in_first) in in_first.chunks_mut(rows * columns).enumerate() {
            let (start, count) = (block * rows, in_first.len() / columns);
            let queries = Rows::new(&first.values[start * columns..(start + count) * columns], columns);
            let mut weights = vec![0.0; count * n];
            times_transposed(queries, second, 1.0, &mut weights);
            for (i, row) in weights.chunks_exact_mut(n).enumerate() {
                let product = f64::from(std::mem::take(&mut row[start + i]));
                loss += own * product + row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / pairs;
                row.iter_mut().for_each(|v| *v *= (2.0 / pairs) as f32);
                row[start + i] = own as f32;
            }
            let weights = Rows::new(&weights, n);
            times(weights, second, in_first);
            add_transposed_times(weights, queries, in_second);
        }
        (loss, gradient)
    }
}
