//! Contrast with samples beside contrast with prototypes of classes.
//!
//! Lee 2025, arXiv 2510.10572 (abstract): contrastive learning approximates a supervised objective whose targets are prototypes of classes,
//! `μ_y = E_{x|y, t} f(t(x))`; without labels, the prototype of a sample, `μ̂_x = E_t f(t(x))`, stands in for it. With outputs of length 1, a
//! temperature τ and the keys of n samples,
//!
//! * `L_NCE = E_t [ −⟨q, f(t(x))⟩/τ + log Σ_j e^{⟨q, f(t(x_j))⟩/τ} ]`, InfoNCE,
//! * `L_surr = −⟨q, μ̂_x⟩/τ + log Σ_j e^{⟨q, μ̂_j⟩/τ}`, the same with prototypes of samples,
//! * `L_sup = −⟨q, μ_y⟩/τ + log Σ_j e^{⟨q, μ_{y(j)}⟩/τ}`, the same with prototypes of the samples' classes.
//!
//! **`L_surr ≤ L_NCE`.** The first term is linear in the keys, so that its mean is that of the mean key; `log Σ exp` is convex, so that by Jensen's
//! inequality its mean is at least its value at the mean keys. It holds for a mean over any draws, if both sides use the same ones.
//!
//! **`|L_sup − L_surr| ≤ (‖μ_y − μ̂_x‖ + max_j ‖μ_{y(j)} − μ̂_j‖)/τ`.** The first terms differ by `⟨q, μ̂_x − μ_y⟩/τ`, at most `‖μ_y − μ̂_x‖/τ` for
//! ‖q‖ ≤ 1 (Cauchy–Schwarz). `log Σ exp` changes by no more than the largest change of an exponent, which is at most `max_j ‖μ_{y(j)} − μ̂_j‖/τ`.
//!
//! Both are averaged over queries here; the second keeps its maximum.

use crate::host::{dot, norm, rows_f64};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Losses and prototypes of some samples under a model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PrototypeMeasures {
    /// `L_NCE`, averaged over the draws of the keys.
    pub contrastive_loss: f64,
    /// `L_surr`.
    pub surrogate_loss: f64,
    /// `L_sup`.
    pub supervised_loss: f64,
    /// `L_NCE − L_surr`, at least 0.
    pub jensen_gap: f64,
    /// The same difference with the query as its own key in InfoNCE, for which nothing is promised.
    pub jensen_gap_of_own_queries: f64,
    /// `|L_sup − L_surr|`.
    pub supervised_difference: f64,
    /// `(mean ‖μ_y − μ̂_x‖ + max_j ‖μ_{y(j)} − μ̂_j‖)/τ`, at least that.
    pub supervised_bound: f64,
    /// `mean ‖μ_y − μ̂_x‖`: the prototype bias.
    pub bias: f64,
    /// The same over the mean distance of two classes' prototypes; `None` where all are alike or there is one class.
    pub relative_bias: Option<f64>,
}

impl PrototypeMeasures {
    /// From the outputs of one view of each sample (`queries`), of one or more further draws of its views (`keys`), and of views of other samples by
    /// class, whose means are the prototypes `μ_y`; rows are scaled to length 1. (Prototypes of few samples would be as far apart as chance makes them.)
    ///
    /// # Shapes
    /// `[n, k]` and `[l, k]`; classes `[n]` and `[l]`.
    ///
    /// # Panics
    /// Without keys or samples, for a class without prototype, and when shapes differ.
    pub fn new(
        (queries, keys, classes): (Tensor<2>, Vec<Tensor<2>>, &[usize]),
        (of_others, their_classes): (Tensor<2>, &[usize]),
        temperature: f64,
    ) -> Self {
        let shape = queries.dims();
        assert!(!keys.is_empty() && shape[0] > 0, "there are samples, and keys of them");
        assert!(keys.iter().all(|k| k.dims() == shape) && classes.len() == shape[0], "one key and class per query");
        assert_eq!(of_others.dims()[0], their_classes.len(), "one class per sample");
        let units = |x: Tensor<2>| rows_f64(x).into_iter().map(unit).collect::<Vec<_>>();
        let (queries, keys) = (units(queries), keys.into_iter().map(units).collect::<Vec<_>>());
        let others = units(of_others);
        let n = shape[0];
        let of_samples: Vec<Vec<f64>> = (0..n).map(|i| mean(keys.iter().map(|draw| &draw[i]))).collect();
        let of_class =
            |class: usize| mean(others.iter().zip(their_classes).filter(|(_, c)| **c == class).map(|(m, _)| m));
        let present: BTreeSet<usize> = their_classes.iter().copied().collect();
        let prototypes: BTreeMap<usize, Vec<f64>> = present.iter().map(|c| (*c, of_class(*c))).collect();
        let prototype = |class| prototypes.get(class).expect("every class has a prototype").clone();
        let of_classes: Vec<Vec<f64>> = classes.iter().map(prototype).collect();

        let loss = |keys: &[Vec<f64>], own: &[Vec<f64>]| contrast(&queries, keys, own, temperature);
        let over_draws = |own: &dyn Fn(usize) -> f64| (0..keys.len()).map(own).sum::<f64>() / keys.len() as f64;
        let contrastive_loss = over_draws(&|d| loss(&keys[d], &keys[d]));
        let of_own_queries = over_draws(&|d| loss(&keys[d], &queries));
        let (surrogate_loss, supervised_loss) = (loss(&of_samples, &of_samples), loss(&of_classes, &of_classes));
        let biases: Vec<f64> = of_samples.iter().zip(&of_classes).map(|(a, b)| distance(a, b)).collect();
        let bias = biases.iter().sum::<f64>() / n as f64;
        let largest = biases.iter().copied().fold(0.0, f64::max);
        Self {
            contrastive_loss,
            surrogate_loss,
            supervised_loss,
            jensen_gap: contrastive_loss - surrogate_loss,
            jensen_gap_of_own_queries: of_own_queries - surrogate_loss,
            supervised_difference: (supervised_loss - surrogate_loss).abs(),
            supervised_bound: (bias + largest) / temperature,
            bias,
            relative_bias: mean_distance(&prototypes.into_values().collect::<Vec<_>>()).map(|apart| bias / apart),
        }
    }
}

/// Mean over queries of `−⟨q_i, own_i⟩/τ + log Σ_j e^{⟨q_i, key_j⟩/τ}`.
fn contrast(queries: &[Vec<f64>], keys: &[Vec<f64>], own: &[Vec<f64>], temperature: f64) -> f64 {
    let of_query = |(q, own): (&Vec<f64>, &Vec<f64>)| {
        let logits: Vec<f64> = keys.iter().map(|key| dot(q, key) / temperature).collect();
        let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        most + logits.iter().map(|l| (l - most).exp()).sum::<f64>().ln() - dot(q, own) / temperature
    };
    queries.iter().zip(own).map(of_query).sum::<f64>() / queries.len() as f64
}

fn unit(row: Vec<f64>) -> Vec<f64> {
    let length = norm(&row);
    if length > 0.0 { row.into_iter().map(|v| v / length).collect() } else { row }
}

fn mean<'a>(rows: impl Iterator<Item = &'a Vec<f64>>) -> Vec<f64> {
    let (mut sum, mut count) = (Vec::new(), 0.0);
    for row in rows {
        sum.resize(row.len(), 0.0);
        sum.iter_mut().zip(row).for_each(|(s, v)| *s += v);
        count += 1.0;
    }
    sum.into_iter().map(|s| s / count).collect()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

/// Over all pairs of different rows.
fn mean_distance(rows: &[Vec<f64>]) -> Option<f64> {
    let distances =
        (0..rows.len()).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| distance(&rows[i], &rows[j]));
    let (count, sum) = distances.fold((0, 0.0), |(count, sum), d| (count + 1, sum + d));
    (sum > 0.0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};
    use proptest::prelude::*;

    fn tensor(values: Vec<f32>, columns: usize) -> Tensor<2> {
        let rows = values.len() / columns;
        Tensor::from_data(TensorData::new(values, [rows, columns]), &Device::flex())
    }

    #[test]
    fn losses_and_prototypes_by_hand() {
        // Two samples of two classes; keys of the first are (1, 0) and (0, 1), those of the second always (−1, 0).
        let queries = tensor(vec![2.0, 0.0, -3.0, 0.0], 2);
        let keys = vec![tensor(vec![1.0, 0.0, -1.0, 0.0], 2), tensor(vec![0.0, 5.0, -1.0, 0.0], 2)];
        // The means of both keys, once more.
        let others = || tensor(vec![1.0, 0.0, 0.0, 1.0, -1.0, 0.0, -2.0, 0.0], 2);
        let found = PrototypeMeasures::new((queries.clone(), keys.clone(), &[0, 1]), (others(), &[0, 0, 1, 1]), 1.0);
        let log_sum = |a: f64, b: f64| (a.exp() + b.exp()).ln();
        let first = ((log_sum(1.0, -1.0) - 1.0) + (log_sum(-1.0, 1.0) - 1.0)) / 2.0;
        let second = (log_sum(0.0, -1.0) + (log_sum(0.0, 1.0) - 1.0)) / 2.0;
        assert!((found.contrastive_loss - (first + second) / 2.0).abs() < 1e-9);
        let surrogate = ((log_sum(0.5, -1.0) - 0.5) + (log_sum(-0.5, 1.0) - 1.0)) / 2.0;
        assert!((found.surrogate_loss - surrogate).abs() < 1e-9);
        // Prototypes of samples are those of their classes: no bias, and both losses are the same.
        assert_eq!((found.bias, found.supervised_difference, found.relative_bias), (0.0, 0.0, Some(0.0)));
        // In one class, the prototype is (−¼, ¼), √(¾² + ¼²) from (½, ½) and from (−1, 0).
        let found = PrototypeMeasures::new((queries, keys, &[0, 0]), (others(), &[0, 0, 0, 0]), 0.5);
        let bias = (0.75f64.powi(2) + 0.0625).sqrt();
        assert!((found.bias - bias).abs() < 1e-9 && found.relative_bias.is_none());
        assert!((found.supervised_bound - 2.0 * bias / 0.5).abs() < 1e-9);
    }

    proptest! {
        /// The two bounds, over random outputs, classes and temperatures.
        #[test]
        fn no_outputs_break_the_bounds(
            values in proptest::collection::vec(-1.0f32..1.0, 6 * 6 * 3),
            classes in proptest::collection::vec(0usize..3, 6),
            log_temperature in -3.0f64..2.0,
            spread in 0.0f32..1.0,
        ) {
            let mut draws = values.chunks_exact(18).map(|draw| tensor(draw.to_vec(), 3));
            let queries = draws.next().unwrap();
            let others = draws.next().unwrap();
            // From views that are all alike to views that have nothing in common.
            let keys: Vec<Tensor<2>> = draws.map(|key| queries.clone() * (1.0 - spread) + key * spread).collect();
            let prototypes = (others, &[0, 1, 2, 0, 1, 2][..]);
            let found = PrototypeMeasures::new((queries, keys, &classes), prototypes, log_temperature.exp());
            prop_assert!(found.jensen_gap > -1e-9, "{found:?}");
            prop_assert!(found.supervised_difference < found.supervised_bound + 1e-9, "{found:?}");
        }
    }
}
