//! Losses and their gradients stay finite and right over 60 orders of magnitude, against the same formulas in double precision.

use burn::tensor::{Device, Tensor, TensorData};
use cl_model::closed_form::HostObjective;
use cl_model::{InfoNce, LossScale, NtXent, Similarity, nt_xent};
use proptest::prelude::*;

const UNIT_ROUNDOFF: f64 = 1.0 / (1u64 << 24) as f64;

/// Embeddings of B queries, B keys and N negatives, and the loss of them.
#[derive(Debug, Clone)]
struct Case {
    loss: InfoNce,
    columns: usize,
    batch_size: usize,
    embeddings: Vec<f32>,
}

/// What double precision says, and how far 32-bit floats may be off.
struct Reference {
    loss: f64,
    loss_tolerance: f64,
    /// In the queries.
    gradient: Vec<f64>,
    gradient_tolerance: Vec<f64>,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

impl Case {
    fn tensor(&self, from: usize, rows: usize, device: &Device) -> Tensor<2> {
        let values = self.embeddings[from * self.columns..(from + rows) * self.columns].to_vec();
        Tensor::from_data(TensorData::new(values, [rows, self.columns]), device)
    }

    fn negatives(&self) -> usize {
        self.embeddings.len() / self.columns - 2 * self.batch_size
    }

    /// Loss and gradient in the queries with stopped keys, in double precision.
    ///
    /// An inner product of m terms is off by at most `m · 2⁻²⁴` of the product of the norms, a logit by that over τ and, with `exp` and
    /// the shift by the largest one, a few units more: `e`. A softmax weight is then off by at most `e^{2e} − 1` of itself, or, where one
    /// logit leads by a gap, by `2N e^{2e − gap}`, whatever is less, and by 1 at most. Sums over N weights are off by about `√N` units.
    fn reference(&self) -> Reference {
        let (m, b, tau) = (self.columns, self.batch_size, self.loss.temperature);
        let factor = match self.loss.scale {
            LossScale::Temperature => tau,
            LossScale::One => 1.0,
        };
        let rows: Vec<Vec<f64>> =
            self.embeddings.chunks_exact(m).map(|row| row.iter().map(|v| f64::from(*v)).collect()).collect();
        let norm = |row: &[f64]| dot(row, row).sqrt();
        let is_cosine = self.loss.similarity == Similarity::Cosine;
        let unit = |row: &Vec<f64>| -> Vec<f64> {
            let n = norm(row);
            if is_cosine && n > 0.0 { row.iter().map(|v| v / n).collect() } else { row.clone() }
        };
        let units: Vec<Vec<f64>> = rows.iter().map(unit).collect();
        let (mut loss, mut loss_tolerance) = (0.0, 0.0);
        let (mut gradient, mut gradient_tolerance) = (Vec::new(), Vec::new());
        for i in 0..b {
            let query = &units[i];
            let keys: Vec<&Vec<f64>> = match self.negatives() {
                0 => units[b..2 * b].iter().collect(),
                _ => std::iter::once(&units[b + i]).chain(&units[2 * b..]).collect(),
            };
            let positive = if self.negatives() == 0 { i } else { 0 };
            let logits: Vec<f64> = keys.iter().map(|k| dot(query, k) / tau).collect();
            let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = logits.iter().map(|l| (l - largest).exp()).collect();
            let sum: f64 = weights.iter().sum();
            loss += factor * (sum.ln() + largest - logits[positive]) / b as f64;
            let size = keys.iter().map(|k| norm(query) * norm(k) / tau).fold(0.0, f64::max);
            let e = (m as f64 + 8.0) * UNIT_ROUNDOFF * size + 8.0 * UNIT_ROUNDOFF;
            let of_sum = (64.0 + 4.0 * (keys.len() as f64).sqrt()) * UNIT_ROUNDOFF;
            loss_tolerance += factor * (2.0 * e + of_sum + 8.0 * UNIT_ROUNDOFF * sum.ln()) / b as f64;
            let second = logits.iter().filter(|l| **l < largest).copied().fold(f64::NEG_INFINITY, f64::max);
            let ties = logits.iter().filter(|l| **l == largest).count();
            let by_gap = 2.0 * keys.len() as f64 * (2.0 * e - (largest - second)).exp();
            let by_gap = if ties == 1 { by_gap } else { f64::INFINITY };
            let weight_error = (2.0 * e).exp_m1().min(by_gap).min(1.0) + of_sum;
            let longest = keys.iter().map(|k| norm(k)).fold(0.0, f64::max);
            let mut g: Vec<f64> = (0..m)
                .map(|c| {
                    let mean: f64 = keys.iter().zip(&weights).map(|(k, w)| w / sum * k[c]).sum();
                    factor / (tau * b as f64) * (mean - keys[positive][c])
                })
                .collect();
            let mut tolerance = factor / (tau * b as f64) * 2.0 * weight_error * longest;
            if is_cosine {
                let n = norm(&rows[i]);
                let along = dot(&g, query);
                g.iter_mut().zip(query).for_each(|(g, u)| *g = if n > 0.0 { (*g - along * u) / n } else { 0.0 });
                tolerance = if n > 0.0 { 4.0 * tolerance / n } else { 0.0 };
            }
            gradient.extend(g);
            gradient_tolerance.extend(vec![tolerance + f64::from(f32::MIN_POSITIVE); m]);
        }
        Reference { loss, loss_tolerance: loss_tolerance + f64::from(f32::MIN_POSITIVE), gradient, gradient_tolerance }
    }

    fn holds(&self, name: &str, loss: f64, gradient: &[f64]) -> Result<(), TestCaseError> {
        let expected = self.reference();
        prop_assert!(loss.is_finite() && gradient.iter().all(|g| g.is_finite()), "{name}: {loss} {gradient:?}");
        prop_assert!(
            (loss - expected.loss).abs() <= expected.loss_tolerance,
            "{name}: loss {loss} instead of {} ± {}",
            expected.loss,
            expected.loss_tolerance
        );
        prop_assert_eq!(gradient.len(), expected.gradient.len());
        for ((found, wanted), tolerance) in gradient.iter().zip(&expected.gradient).zip(&expected.gradient_tolerance) {
            prop_assert!(
                (found - wanted).abs() <= *tolerance,
                "{name}: gradient {found} instead of {wanted} ± {tolerance}"
            );
        }
        Ok(())
    }

    /// Both ways to compute it: the closed form and Burn's graph.
    fn holds_both_ways(&self) -> Result<(), TestCaseError> {
        let b = self.batch_size;
        let (loss, gradient) = self.loss.loss_and_gradient(self.embeddings.clone(), self.columns, b);
        let gradient: Vec<f64> = gradient.iter().map(|g| f64::from(*g)).collect();
        self.holds("closed form", loss, &gradient)?;

        let device = Device::flex().autodiff();
        let queries = self.tensor(0, b, &device).require_grad();
        let negatives = (self.negatives() > 0).then(|| self.tensor(2 * b, self.negatives(), &device));
        let out = self.loss.forward(queries.clone(), self.tensor(b, b, &device), negatives);
        let gradients = out.loss.backward();
        let gradient = queries.grad(&gradients).expect("the loss depends on the queries").into_data();
        let gradient: Vec<f64> = gradient.iter::<f64>().collect();
        self.holds("graph", out.loss.into_scalar(), &gradient)
    }
}

/// Embeddings of all kinds: ordinary, zero, with dead neurons, and keys that are the queries.
fn cases(similarity: Similarity) -> impl Strategy<Value = Case> {
    let sizes = (1usize..6, 2usize..6, 0usize..12);
    // An inner product of rows of length s is at most s²: 1e-30 to 1e30.
    let scale = if similarity == Similarity::Cosine { -6.0..6.0f64 } else { -15.0..15.0f64 };
    (sizes, scale, -4.0..4.0f64, any::<[bool; 3]>(), any::<bool>()).prop_flat_map(
        move |((columns, batch_size, negatives), scale, temperature, kinds, in_front)| {
            let rows = 2 * batch_size + negatives;
            let size = 10f64.powf(scale) / (columns as f64).sqrt();
            proptest::collection::vec(-1.0f64..1.0, rows * columns).prop_map(move |values| {
                let mut embeddings: Vec<f32> = values.iter().map(|v| (v * size) as f32).collect();
                let [identical_views, dead_neuron, zero_row] = kinds;
                let b = batch_size * columns;
                if identical_views {
                    embeddings.copy_within(0..b, b);
                }
                if dead_neuron {
                    embeddings.chunks_exact_mut(columns).for_each(|row| row[0] = 0.0);
                }
                if zero_row {
                    embeddings[..columns].fill(0.0);
                }
                let scale = if in_front { LossScale::Temperature } else { LossScale::One };
                let temperature = 10f64.powf(temperature);
                let loss = InfoNce { similarity, scale, ..InfoNce::paper(temperature) };
                Case { loss, columns, batch_size, embeddings }
            })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn inner_products_from_1e_minus_30_to_1e30(case in cases(Similarity::InnerProduct)) {
        case.holds_both_ways()?;
    }

    #[test]
    fn cosines_of_short_and_long_embeddings(case in cases(Similarity::Cosine)) {
        case.holds_both_ways()?;
    }

    #[test]
    fn nt_xent_is_finite_at_every_temperature(
        values in proptest::collection::vec(-1e6f32..1e6, 24), temperature in -4.0..4.0f64, zero in any::<bool>(),
    ) {
        let mut values = values;
        if zero {
            values[..4].fill(0.0);
        }
        let temperature = 10f64.powf(temperature);
        let (loss, gradient) = NtXent { temperature }.loss_and_gradient(values.clone(), 4, 3);
        prop_assert!(loss.is_finite() && gradient.iter().all(|g| g.is_finite()), "{loss} {gradient:?}");
        let tensor = |part: &[f32]| Tensor::<2>::from_data(TensorData::new(part.to_vec(), [3, 4]), &Device::flex());
        let plain: f64 = nt_xent(tensor(&values[..12]), tensor(&values[12..]), temperature).into_scalar();
        // Cosines are off by a few units, and logits by that over τ.
        prop_assert!((loss - plain).abs() <= 64.0 * UNIT_ROUNDOFF / temperature + 1e-5, "{loss} {plain}");
    }
}

#[test]
fn embeddings_that_are_all_zero_have_the_loss_of_chance_and_no_gradient() {
    for (similarity, negatives) in [(Similarity::InnerProduct, 7), (Similarity::Cosine, 7), (Similarity::Cosine, 0)] {
        let loss = InfoNce { similarity, ..InfoNce::paper(0.5) };
        let case = Case { loss, columns: 3, batch_size: 4, embeddings: vec![0.0; (8 + negatives) * 3] };
        case.holds_both_ways().unwrap();
        let (value, gradient) = loss.loss_and_gradient(case.embeddings.clone(), 3, 4);
        let others = if negatives == 0 { 3.0f64 } else { 7.0 };
        assert!((value - 0.5 * others.ln_1p()).abs() < 1e-6, "{value}");
        assert!(gradient.iter().all(|g| *g == 0.0));
    }
}

#[test]
fn from_one_negative_to_a_hundred_thousand() {
    for negatives in [1, 10, 1_000, 100_000] {
        let values = (0..(6 + negatives) * 4).map(|i: usize| (i * 7919 % 10_007) as f32 / 5003.5 - 1.0).collect();
        let case = Case { loss: InfoNce::paper(0.7), columns: 4, batch_size: 3, embeddings: values };
        case.holds_both_ways().unwrap();
    }
}
