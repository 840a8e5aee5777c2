//! InfoNCE, NT-Xent and its decoupled form with their gradients.

use super::HostObjective;
use super::contrast::{Contrast, Contrasted, Positives};
use super::elementwise;
use super::product::Rows;
use super::unit_rows::{scale_all_to_unit, through_units};
use crate::objectives::{BalancedNtXent, DecoupledNtXent, InfoNce, KeyGradient, NtXent, Similarity};

impl HostObjective for InfoNce {
    fn loss_and_gradient(&self, mut outputs: Vec<f32>, columns: usize, batch_size: usize) -> (f64, Vec<f32>) {
        let norms = (self.similarity == Similarity::Cosine).then(|| scale_all_to_unit(&mut outputs, columns));
        let b = require_two_views(&outputs, columns, batch_size);
        let rows = |values| Rows::new(values, columns);
        let (queries, keys, negatives) = (&outputs[..b], &outputs[b..2 * b], &outputs[2 * b..]);
        let (positives, others) = match negatives.is_empty() {
            false => (Positives::Apart(rows(keys)), rows(negatives)),
            true => (Positives::AmongOthers, rows(keys)),
        };
        let (temperature, factor, repulsion) = (self.temperature, self.factor(), self.repulsion);
        let contrast = Contrast { queries: rows(queries), others, positives, temperature, factor, repulsion };
        let Contrasted { loss, queries: mut gradient, keys_and_others } =
            contrast.evaluate(self.key_gradient == KeyGradient::Flows);
        if let Some((keys, others)) = keys_and_others {
            gradient.extend(keys.into_iter().chain(others));
        }
        through_units(&mut gradient, &outputs, norms, columns);
        (loss, gradient)
    }
}

impl HostObjective for NtXent {
    fn loss_and_gradient(&self, outputs: Vec<f32>, columns: usize, batch_size: usize) -> (f64, Vec<f32>) {
        among_other_views(
            outputs,
            columns,
            batch_size,
            AmongViews { temperature: self.temperature, is_counted: true, repulsion: 1.0 },
        )
    }
}

impl HostObjective for DecoupledNtXent {
    fn loss_and_gradient(&self, outputs: Vec<f32>, columns: usize, batch_size: usize) -> (f64, Vec<f32>) {
        assert!(batch_size > 1, "the negatives are the views of other samples: a batch has two pairs or more");
        among_other_views(
            outputs,
            columns,
            batch_size,
            AmongViews { temperature: self.temperature, is_counted: false, repulsion: 1.0 },
        )
    }
}

impl HostObjective for BalancedNtXent {
    fn loss_and_gradient(&self, outputs: Vec<f32>, columns: usize, batch_size: usize) -> (f64, Vec<f32>) {
        let (temperature, repulsion) = (self.temperature, self.repulsion);
        among_other_views(outputs, columns, batch_size, AmongViews { temperature, is_counted: true, repulsion })
    }
}

/// How a view is compared with the others of the batch.
struct AmongViews {
    temperature: f64,
    /// Whether the other view of its sample is in the sum.
    is_counted: bool,
    /// Weight of the logarithm of the sum.
    repulsion: f64,
}

/// Cosines of each view with all others of the batch.
fn among_other_views(
    mut outputs: Vec<f32>,
    columns: usize,
    batch_size: usize,
    AmongViews { temperature, is_counted, repulsion }: AmongViews,
) -> (f64, Vec<f32>) {
    let norms = scale_all_to_unit(&mut outputs, columns);
    let b = require_two_views(&outputs, columns, batch_size);
    assert!(outputs.len() == 2 * b, "the other views of the batch are the negatives, and there are no more");
    let views = Rows::new(&outputs, columns);
    let positives = Positives::OtherView { is_counted };
    let contrast = Contrast { queries: views, others: views, positives, temperature, factor: 1.0, repulsion };
    let Contrasted { loss, queries: mut gradient, keys_and_others } = contrast.evaluate(true);
    if let Some((_, others)) = keys_and_others {
        elementwise::add_scaled(&mut gradient, 1.0, &others);
    }
    through_units(&mut gradient, &outputs, Some(norms), columns);
    (loss, gradient)
}

/// Checks that there are two views; returns the count of numbers in the outputs of one.
fn require_two_views(outputs: &[f32], columns: usize, batch_size: usize) -> usize {
    let b = batch_size * columns;
    assert!(b > 0 && outputs.len() >= 2 * b, "there must be {batch_size} queries and as many keys");
    b
}
