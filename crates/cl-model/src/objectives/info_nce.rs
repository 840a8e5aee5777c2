//! InfoNCE: similarity, stop-gradient, temperature.

use super::{Objective, Outputs, log_partition, normalized};
use crate::closed_form::HostObjective;
use crate::drift::LinearModel;
use burn::tensor::Tensor;
use cl_config::{Component, ConfigError, not_negative, positive};
use faer::{Mat, Scale};
use serde::{Deserialize, Serialize};

/// How the similarity of two embeddings is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Similarity {
    /// `⟨f(x), f(x')⟩`, as in the paper.
    InnerProduct,
    /// `⟨f(x), f(x')⟩ / (‖f(x)‖ ‖f(x')‖)`, as in SimCLR and public follow-up code; 0 where a norm is 0.
    Cosine,
}

/// Whether gradients flow through the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyGradient {
    /// `Sim(x, x') = ⟨f(x), StopGrad(f(x'))⟩`, as in the paper.
    Stopped,
    /// Gradients flow through both arguments, as in SimCLR.
    Flows,
}

/// The factor in front of the logarithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossScale {
    /// `τ`, as in the paper: the gradient does not grow as τ falls.
    Temperature,
    /// 1, as is usual elsewhere.
    One,
}

/// `L = −τ log( e^{Sim(x⁺,x⁺⁺)/τ} / Σ_{x∈B} e^{Sim(x⁺,x)/τ} )`, `B = {x⁺⁺} ∪ negatives`; without the `τ` in front where
/// [`scale`](Self::scale) is [`One`](LossScale::One).
///
/// Wen & Li 2021, set-up. Safe for similarities of any finite size: each row is shifted by its maximum.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InfoNce {
    /// Similarity of two embeddings.
    pub similarity: Similarity,
    /// Whether gradients flow through keys and negatives.
    pub key_gradient: KeyGradient,
    /// `τ` > 0.
    pub temperature: f64,
    /// The factor in front of the logarithm.
    pub scale: LossScale,
    /// `r` ≥ 0, what the logarithm of the sum over keys, which repels, counts beside the similarity with the own key, which attracts. Not in the
    /// paper; 1 by default.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub repulsion: f64,
}

fn one() -> f64 {
    1.0
}

fn is_one(value: &f64) -> bool {
    *value == 1.0
}

/// The loss and its components.
#[derive(Debug, Clone)]
pub struct InfoNceOutput {
    /// Mean loss over the batch, `[1]`.
    pub loss: Tensor<1>,
    /// `Sim(x⁺, x⁺⁺)/τ`, `[B, 1]`, outside the gradient.
    pub positives: Tensor<2>,
    /// `Sim(x⁺, x)/τ` for every other key, `[B, N]`, outside the gradient. With the other keys of the batch as
    /// negatives it is `[B, B]` and its diagonal holds the positives.
    pub negatives: Tensor<2>,
}

impl InfoNceOutput {
    /// `max |Sim|/τ` over positives and negatives, `[1]`: small as long as the softmax is uniform.
    pub fn largest_similarity(&self) -> Tensor<1> {
        self.positives.clone().abs().max().max_pair(self.negatives.clone().abs().max())
    }
}

impl InfoNce {
    /// The paper's loss: inner products, stop-gradient on keys, `τ` in front.
    pub const fn paper(temperature: f64) -> Self {
        Self {
            similarity: Similarity::InnerProduct,
            key_gradient: KeyGradient::Stopped,
            temperature,
            scale: LossScale::Temperature,
            repulsion: 1.0,
        }
    }

    /// The loss of queries `f(x⁺)` against keys `f(x⁺⁺)`.
    ///
    /// # Shapes
    /// `queries` and `keys` are `[B, m]`, `negatives` is `[N, m]` with N ≥ 1 and shared by all queries.
    /// Without `negatives` the other keys of the batch serve as such, N = B − 1.
    ///
    /// # Panics
    /// When shapes do not match.
    pub fn forward(&self, queries: Tensor<2>, keys: Tensor<2>, negatives: Option<Tensor<2>>) -> InfoNceOutput {
        assert_eq!(queries.dims(), keys.dims(), "queries and keys must have the same shape");
        let queries = self.unit_of_similarity(queries) / self.temperature;
        let keys = self.unit_of_similarity(self.as_key(keys));
        let positives = (queries.clone() * keys.clone()).sum_dim(1);
        // With the other keys as negatives, the positive is already a column of the product.
        let (others, positive_is_apart) = match negatives {
            Some(negatives) => (self.unit_of_similarity(self.as_key(negatives)), true),
            None => (keys, false),
        };
        let negatives = queries.matmul(others.transpose());
        let apart = positive_is_apart.then(|| positives.clone());
        let repelled = log_partition(negatives.clone(), apart) * self.repulsion;
        let loss = (repelled - positives.clone()).mean() * self.factor();
        InfoNceOutput { loss, positives: positives.detach(), negatives: negatives.detach() }
    }

    fn as_key(&self, embedding: Tensor<2>) -> Tensor<2> {
        match self.key_gradient {
            KeyGradient::Stopped => embedding.detach(),
            KeyGradient::Flows => embedding,
        }
    }

    fn unit_of_similarity(&self, embedding: Tensor<2>) -> Tensor<2> {
        match self.similarity {
            Similarity::InnerProduct => embedding,
            Similarity::Cosine => normalized(embedding),
        }
    }

    /// The factor in front of the logarithm.
    pub(crate) fn factor(&self) -> f64 {
        match self.scale {
            LossScale::Temperature => self.temperature,
            LossScale::One => 1.0,
        }
    }
}

impl Component for InfoNce {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        positive("temperature", self.temperature)?;
        not_negative("repulsion", self.repulsion)?;
        Ok(self)
    }
}

impl Objective for InfoNce {
    fn loss(&self, outputs: Outputs) -> Tensor<1> {
        self.forward(outputs.first, outputs.second, outputs.negatives).loss
    }

    fn has_key_gradient(&self) -> bool {
        self.key_gradient == KeyGradient::Flows
    }

    fn takes_negatives(&self) -> bool {
        true
    }

    fn at_chance(&self, batch_size: usize, negatives: Option<usize>) -> Option<f64> {
        (self.repulsion == 1.0).then(|| self.factor() * (negatives.unwrap_or(batch_size - 1) as f64).ln_1p())
    }

    fn largest_similarity(&self, outputs: Outputs) -> Option<Tensor<1>> {
        Some(self.forward(outputs.first, outputs.second, outputs.negatives).largest_similarity())
    }

    /// `κ (WC − W Σ A G/τ)`, `Σ` the second moment of the negatives; known for inner products, stopped keys and r = 1.
    fn drift(&self, model: &LinearModel) -> Option<Mat<f64>> {
        let negatives = model.negatives.as_ref()?;
        let is_known = self.similarity == Similarity::InnerProduct
            && self.key_gradient == KeyGradient::Stopped
            && self.repulsion == 1.0;
        let kappa = model.num_negatives as f64 / (model.num_negatives as f64 + 1.0);
        let factor = kappa * self.factor() / self.temperature;
        let second = model.of_outputs(negatives) * model.with_view();
        is_known.then(|| Scale(factor) * (model.with_cross_view() - Scale(1.0 / self.temperature) * second))
    }

    fn in_host_memory(&self) -> Option<&dyn HostObjective> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    fn tensor(rows: &[Vec<f64>], device: &Device) -> Tensor<2> {
        let values: Vec<f32> = rows.iter().flatten().map(|v| *v as f32).collect();
        Tensor::from_data(TensorData::new(values, [rows.len(), rows[0].len()]), device)
    }

    fn rows(n: usize, m: usize, scale: f64, offset: usize) -> Vec<Vec<f64>> {
        let value = |i: usize| ((i * 7919 + 13) % 1009) as f64 / 1009.0 - 0.5;
        (0..n).map(|r| (0..m).map(|c| scale * value(offset + r * m + c)).collect()).collect()
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(x, y)| x * y).sum()
    }

    /// Loss and gradient with respect to the queries in double precision, straight from the definition
    /// with stopped keys.
    fn reference(q: &[Vec<f64>], k: &[Vec<f64>], negatives: &[Vec<f64>], tau: f64) -> (f64, Vec<f64>) {
        let (mut loss, mut gradient) = (0.0, Vec::new());
        for (q_i, k_i) in q.iter().zip(k) {
            let keys: Vec<&Vec<f64>> = std::iter::once(k_i).chain(negatives).collect();
            let logits: Vec<f64> = keys.iter().map(|key| dot(q_i, key) / tau).collect();
            let shift = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = logits.iter().map(|l| (l - shift).exp()).collect();
            let partition: f64 = weights.iter().sum();
            loss += tau * (partition.ln() + shift - logits[0]) / q.len() as f64;
            for c in 0..q_i.len() {
                let mean: f64 = keys.iter().zip(&weights).map(|(key, w)| w / partition * key[c]).sum();
                gradient.push((mean - k_i[c]) / q.len() as f64);
            }
        }
        (loss, gradient)
    }

    /// Without repulsion only the own key counts, with twice as much the sum counts twice.
    #[test]
    fn repulsion_weighs_the_sum_over_keys() {
        let device = Device::flex();
        let (q, k, n) =
            (tensor(&rows(5, 3, 1.0, 0), &device), tensor(&rows(5, 3, 1.0, 50), &device), rows(7, 3, 1.0, 90));
        let loss = |repulsion: f64| {
            let loss = InfoNce { repulsion, ..InfoNce::paper(0.5) };
            loss.forward(q.clone(), k.clone(), Some(tensor(&n, &device))).loss.into_scalar::<f64>()
        };
        let attraction: f64 = -(q.clone() * k.clone()).sum_dim(1).mean().into_scalar::<f64>();
        assert!((loss(0.0) - attraction).abs() < 1e-6);
        assert!((loss(2.0) + loss(0.0) - 2.0 * loss(1.0)).abs() < 1e-6);
        assert!(InfoNce { repulsion: -1.0, ..InfoNce::paper(0.5) }.checked().is_err());
        // What alike outputs cost then depends on how similar they are.
        assert_eq!(InfoNce { repulsion: 2.0, ..InfoNce::paper(0.5) }.at_chance(4, Some(3)), None);
    }

    #[test]
    fn loss_and_gradient_equal_the_definition_over_shapes_and_temperatures() {
        let device = Device::flex().autodiff();
        for (b, n, m) in [(1, 1, 1), (1, 5, 3), (4, 1, 2), (7, 12, 5), (16, 64, 8)] {
            for tau in [0.1, 1.0, 30.0] {
                for scale in [1e-3, 1.0, 20.0] {
                    let (q, k, neg) = (rows(b, m, scale, 0), rows(b, m, scale, 500), rows(n, m, scale, 900));
                    let (loss, gradient) = reference(&q, &k, &neg, tau);
                    let queries = tensor(&q, &device).require_grad();
                    let out =
                        InfoNce::paper(tau).forward(queries.clone(), tensor(&k, &device), Some(tensor(&neg, &device)));
                    // Logits and their log-sum, up to log(N + 1) above them, carry a few 2⁻²⁴ relative.
                    let size = tau * (1.0 + (n as f64).ln_1p() + scale * scale * m as f64 / tau);
                    let found = out.loss.clone().into_scalar::<f64>();
                    assert!((found - loss).abs() < 4e-7 * size, "{b} {n} {m} {tau} {scale}: {found} {loss}");
                    let found = queries.grad(&out.loss.backward()).unwrap().into_data();
                    let condition = 1.0 + scale * scale * m as f64 / tau;
                    for (f, g) in found.iter::<f64>().zip(&gradient) {
                        assert!((f - g).abs() < 1e-6 * scale * condition, "{b} {n} {m} {tau} {scale}: {f} {g}");
                    }
                }
            }
        }
    }

    #[test]
    fn hand_derived_value_and_gradient() {
        // One query q = (1), key 2, negative 0, τ = 1: L = log(1 + e⁻²), dL/dq = −2 σ(−2).
        let device = Device::flex().autodiff();
        let q = tensor(&[vec![1.0]], &device).require_grad();
        let out =
            InfoNce::paper(1.0).forward(q.clone(), tensor(&[vec![2.0]], &device), Some(tensor(&[vec![0.0]], &device)));
        assert!((out.loss.clone().into_scalar::<f64>() - (-2f64).exp().ln_1p()).abs() < 1e-6);
        assert_eq!(out.largest_similarity().into_scalar::<f64>(), 2.0);
        let gradient = q.grad(&out.loss.backward()).unwrap().into_scalar::<f64>();
        assert!((gradient + 2.0 / (1.0 + 2f64.exp())).abs() < 1e-6);
    }

    #[test]
    fn keys_pass_a_gradient_only_where_asked() {
        let device = Device::flex().autodiff();
        for (key_gradient, expected) in [(KeyGradient::Stopped, false), (KeyGradient::Flows, true)] {
            let q = tensor(&rows(3, 2, 1.0, 0), &device).require_grad();
            let k = tensor(&rows(3, 2, 1.0, 9), &device).require_grad();
            let out = InfoNce { key_gradient, ..InfoNce::paper(1.0) }.forward(q.clone(), k.clone(), None);
            let grads = out.loss.backward();
            assert!(q.grad(&grads).is_some());
            assert_eq!(k.grad(&grads).is_some(), expected);
        }
    }

    #[test]
    fn the_other_keys_of_the_batch_are_negatives_of_each_query() {
        let device = Device::flex();
        let (q, k) = (rows(5, 3, 2.0, 0), rows(5, 3, 2.0, 40));
        let expected: f64 = (0..5)
            .map(|i| {
                let others: Vec<Vec<f64>> = (0..5).filter(|j| *j != i).map(|j| k[j].clone()).collect();
                reference(&q[i..=i], &k[i..=i], &others, 0.5).0 / 5.0
            })
            .sum();
        let out = InfoNce::paper(0.5).forward(tensor(&q, &device), tensor(&k, &device), None);
        assert!((out.loss.into_scalar::<f64>() - expected).abs() < 1e-6);
    }

    #[test]
    fn the_factor_in_front_scales_the_loss_by_the_temperature() {
        let device = Device::flex();
        let loss = |scale| {
            let (q, k) = (tensor(&rows(5, 3, 2.0, 0), &device), tensor(&rows(5, 3, 2.0, 40), &device));
            InfoNce { scale, ..InfoNce::paper(0.25) }.forward(q, k, None).loss.into_scalar::<f64>()
        };
        assert!((loss(LossScale::Temperature) - 0.25 * loss(LossScale::One)).abs() < 1e-6);
    }

    #[test]
    fn similarities_of_any_size_give_a_finite_loss() {
        let device = Device::flex().autodiff();
        for size in [1e-15, 1.0, 1e15] {
            for tau in [1e-4, 1.0, 1e4] {
                let q = tensor(&[vec![size], vec![-size]], &device).require_grad();
                let keys = tensor(&[vec![size], vec![size]], &device);
                let out = InfoNce::paper(tau).forward(q.clone(), keys.clone(), Some(-keys));
                let gradient = q.grad(&out.loss.clone().backward()).unwrap();
                let loss = out.loss.into_scalar::<f64>();
                assert!(loss.is_finite() && loss >= 0.0, "{size} {tau}: {loss}");
                assert!(gradient.is_finite().all().into_scalar::<bool>(), "{size} {tau}");
            }
        }
    }

    #[test]
    fn cosine_similarity_ignores_lengths_and_survives_zero_rows() {
        let device = Device::flex().autodiff();
        let cosine = InfoNce { similarity: Similarity::Cosine, ..InfoNce::paper(0.5) };
        let q = tensor(&[vec![3.0, 4.0], vec![0.0, 0.0]], &device).require_grad();
        let out = cosine.forward(q.clone(), tensor(&[vec![30.0, 40.0], vec![1.0, 0.0]], &device), None);
        // Row 1: positive 1/τ = 2, other key 0.6/τ = 1.2. Row 2: all similarities 0, so log 2.
        let expected = 0.5 * (0.5 * (-0.8f64).exp().ln_1p() + 0.5 * 2f64.ln());
        assert!((out.loss.clone().into_scalar::<f64>() - expected).abs() < 1e-6);
        let gradient = q.grad(&out.loss.backward()).unwrap();
        assert!(gradient.is_finite().all().into_scalar::<bool>());
    }
}
