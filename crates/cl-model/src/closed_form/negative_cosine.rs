//! The negative cosine of two views with its gradient.

use super::HostObjective;
use super::elementwise::{add_scaled, dot};
use super::two_views::TwoViews;
use crate::objectives::NegativeCosine;

impl HostObjective for NegativeCosine {
    fn loss_and_gradient(&self, outputs: Vec<f32>, columns: usize, batch_size: usize) -> (f64, Vec<f32>) {
        let TwoViews { first, second, targets } = TwoViews::with_targets(&outputs, columns, batch_size);
        // Rows 0 to 2B are compared; rows 2B and up are targets, the views themselves if there are none.
        let moved = [first, second];
        let [of_first, of_second] = targets.unwrap_or(moved);
        let offset = if targets.is_some() { 2 * batch_size } else { 0 };
        let rows = if self.stop_gradient { 2 * batch_size } else { outputs.len() / columns };
        let mut gradient = vec![0.0; rows * columns];
        let weight = 0.5 / batch_size as f64;
        let mut loss = 0.0;
        for (view, (moved, target)) in moved.into_iter().zip([of_second, of_first]).enumerate() {
            for i in 0..batch_size {
                let (f, g) = (moved.row(i), target.row(i));
                let [f_length, g_length] = [f, g].map(|v| (f64::from(dot(v, v)) + self.epsilon).sqrt());
                let cosine = f64::from(dot(f, g)) / (f_length * g_length);
                loss -= weight * cosine;
                // ∂⟨F̂, Ĝ⟩/∂F = (Ĝ − ⟨F̂, Ĝ⟩ F̂)/√(‖F‖² + ε), and the same with F and G exchanged.
                let mut descend = |row: usize, own: &[f32], other: &[f32], own_length: f64, other_length: f64| {
                    let into = &mut gradient[row * columns..][..columns];
                    add_scaled(into, (-weight / (own_length * other_length)) as f32, other);
                    add_scaled(into, (weight * cosine / own_length.powi(2)) as f32, own);
                };
                descend(view * batch_size + i, f, g, f_length, g_length);
                if !self.stop_gradient {
                    descend(offset + (1 - view) * batch_size + i, g, f, g_length, f_length);
                }
            }
        }
        (loss, gradient)
    }
}
