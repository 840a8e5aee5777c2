//! The sentences that are nearest to some, before and after training.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Sentences whose neighbours are shown.
const SHOWN: usize = 6;

/// A sentence and its nearest ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbors {
    /// The sentence.
    pub sentence: String,
    /// The name of its class.
    pub class: String,
    /// The nearest other sentence before training, and its class.
    pub before: [String; 2],
    /// The same after training.
    pub after: [String; 2],
}

/// The nearest sentences, by the cosine of features, to the first ones of some classes.
pub fn nearest(
    [before, after]: [Tensor<2>; 2],
    classes: &[usize],
    class_name: impl Fn(usize) -> String,
    text: impl Fn(usize) -> String,
) -> Vec<Neighbors> {
    let mut shown: Vec<usize> = Vec::new();
    for (i, class) in classes.iter().enumerate() {
        if shown.len() < SHOWN && !shown.iter().any(|s| classes[*s] == *class) {
            shown.push(i);
        }
    }
    let nearest = |features: Tensor<2>| -> Vec<usize> {
        let unit = cl_model::objectives::normalized(features);
        let rows = Tensor::cat(shown.iter().map(|i| unit.clone().narrow(0, *i, 1)).collect(), 0);
        let cosines = rows.matmul(unit.transpose());
        let [_, n] = cosines.dims();
        let values = cosines.into_data().try_to_vec::<f32>().unwrap_or_default();
        let best = |(row, own): (&[f32], &usize)| {
            let others = row.iter().enumerate().filter(|(i, _)| i != own);
            others.max_by(|a, b| a.1.total_cmp(b.1)).map_or(*own, |(i, _)| i)
        };
        values.chunks(n).zip(&shown).map(best).collect()
    };
    let (before, after) = (nearest(before), nearest(after));
    let named = |i: usize| [text(i), class_name(classes[i])];
    let row = |(i, (before, after)): (&usize, (usize, usize))| Neighbors {
        sentence: text(*i),
        class: class_name(classes[*i]),
        before: named(before),
        after: named(after),
    };
    shown.iter().zip(before.into_iter().zip(after)).map(row).collect()
}
