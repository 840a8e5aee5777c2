//! Alignment and uniformity with their gradient, a block of rows at a time.

use super::HostObjective;
use super::contrast::BLOCK_ENTRIES;
use super::elementwise::{add_scaled, dot, exponentials, scale};
use super::product::{Rows, times, times_transposed};
use super::two_views::TwoViews;
use super::unit_rows::{scale_all_to_unit, through_units};
use crate::objectives::AlignmentUniformity;

impl HostObjective for AlignmentUniformity {
    fn loss_and_gradient(&self, mut outputs: Vec<f32>, columns: usize, batch_size: usize) -> (f64, Vec<f32>) {
        let norms = scale_all_to_unit(&mut outputs, columns);
        let TwoViews { first, second, .. } = TwoViews::of(&outputs, columns, batch_size, 2);
        let mut gradient = vec![0.0; outputs.len()];
        let mut loss = 0.0;
        for (view, into) in [first, second].into_iter().zip(gradient.chunks_exact_mut(batch_size * columns)) {
            loss += uniformity(view, self.exponent, self.uniformity / 2.0, into);
        }
        // ∂‖F̂ − Ĝ‖²/∂F̂ = 2(F̂ − Ĝ); what goes along F̂ does not pass through its unit length.
        let weight = 1.0 / batch_size as f64;
        let (in_first, in_second) = gradient.split_at_mut(batch_size * columns);
        for i in 0..batch_size {
            let (f, g) = (first.row(i), second.row(i));
            let [f_square, g_square, product] = [dot(f, f), dot(g, g), dot(f, g)].map(f64::from);
            loss += weight * (f_square + g_square - 2.0 * product).max(0.0);
            add_scaled(&mut in_first[i * columns..][..columns], (-2.0 * weight) as f32, g);
            add_scaled(&mut in_second[i * columns..][..columns], (-2.0 * weight) as f32, f);
        }
        through_units(&mut gradient, &outputs, Some(norms), columns);
        (loss, gradient)
    }
}

/// `weight · log mean_{i≠j} e^{−t‖u_i − u_j‖²}` of rows of length 1 or 0, and into `gradient` its gradient up to multiples of each row:
///
/// ```text
/// ∂/∂u_i = weight · 4t Σ_j e_ij (u_j − u_i) / Σ_{k≠l} e_kl.
/// ```
fn uniformity(rows: Rows, exponent: f64, weight: f64, gradient: &mut [f32]) -> f64 {
    let (n, columns) = (rows.count(), rows.cols);
    let in_block = (BLOCK_ENTRIES / n).clamp(1, n);
    // t‖u‖²: t, or 0 for a row of zeros.
    let heights: Vec<f32> = (0..n).map(|i| exponent as f32 * dot(rows.row(i), rows.row(i))).collect();
    let mut sum = 0.0;
    for (block, gradient) in gradient.chunks_mut(in_block * columns).enumerate() {
        let (start, count) = (block * in_block, gradient.len() / columns);
        let own = Rows::new(&rows.values[start * columns..(start + count) * columns], columns);
        let mut pairs = vec![0.0; count * n];
        times_transposed(own, rows, 2.0 * exponent as f32, &mut pairs);
        for (i, row) in pairs.chunks_exact_mut(n).enumerate() {
            add_scaled(row, -1.0, &heights);
            row[start + i] = f32::NEG_INFINITY;
            // −t‖u_i − u_j‖² ≤ 0: relative to the height of row i, which rounding alone can exceed.
            let (relative_to, of_row) = exponentials(row, heights[start + i]);
            let excess = (relative_to - heights[start + i]).exp();
            scale(row, excess);
            sum += f64::from(of_row * excess);
        }
        times(Rows::new(&pairs, n), rows, gradient);
    }
    scale(gradient, (4.0 * exponent * weight / sum) as f32);
    weight * (sum / (n * (n - 1)) as f64).ln()
}
