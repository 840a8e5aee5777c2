//! The negative cosine of two views with its gradient.

use super::HostObjective;
use super::elementwise::{add_scaled, dot, scale};
use super::two_views::TwoViews;
use crate::objectives::NegativeCosine;

impl HostObjective for NegativeCosine {
    fn loss_and_gradient(&self, outputs: Vec<f32>, columns: usize, batch_size: usize) -> (f64, Vec<f32>) {
        let TwoViews { first, second } = TwoViews::of(&outputs, columns, batch_size, 1);
        // Without a gradient through what is compared with, each view moves by its own half alone.
        let weight = if self.stop_gradient { 0.5 } else { 1.0 } / batch_size as f64;
        let mut gradient = vec![0.0; outputs.len()];
        let (in_first, in_second) = gradient.split_at_mut(batch_size * columns);
        let mut loss = 0.0;
        let rows = in_first.chunks_exact_mut(columns).zip(in_second.chunks_exact_mut(columns)).enumerate();
        for (i, (in_f, in_g)) in rows {
            let (f, g) = (first.row(i), second.row(i));
            let [f_length, g_length] = [f, g].map(|v| (f64::from(dot(v, v)) + self.epsilon).sqrt());
            let cosine = f64::from(dot(f, g)) / (f_length * g_length);
            loss -= cosine / batch_size as f64;
            // ∂(⟨F̂, Ĝ⟩)/∂F = (Ĝ − ⟨F̂, Ĝ⟩ F̂)/√(‖F‖² + ε), and the same with F and G exchanged.
            for (into, own, other, own_length, other_length) in
                [(in_f, f, g, f_length, g_length), (in_g, g, f, g_length, f_length)]
            {
                add_scaled(into, (1.0 / other_length) as f32, other);
                add_scaled(into, (-cosine / own_length) as f32, own);
                scale(into, (-weight / own_length) as f32);
            }
        }
        (loss, gradient)
    }
}
