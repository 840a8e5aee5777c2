//! Many encoders trained side by side as one tensor program: the leading axis is the replica.
//!
//! A small network leaves a GPU idle: each operation is over before the next is launched. Here one operation serves all
//! replicas, each with its own data, learning rate, temperature, weight decay and bias rule. The gradient is the closed
//! form of [`crate::closed_form`], in tensor operations, so that it runs on any backend without a graph.

use crate::{BiasRule, InfoNce, KeyGradient, Similarity};
use burn::tensor::{Device, Tensor, TensorData};

/// Memory that the similarities of a step may take at once, over all replicas; at least one row is always held.
pub const SIMILARITIES_BYTE: usize = 256 << 20;

/// What one replica is trained with, apart from its learning rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReplicaSettings {
    /// The loss: inner products, no gradient through keys.
    pub loss: InfoNce,
    /// `λ`.
    pub weight_decay: f64,
    /// The paper's rule, or thresholds fixed at 0.
    pub bias: Option<BiasRule>,
}

impl ReplicaSettings {
    /// Whether replicas can be trained with this loss.
    pub fn supports(loss: &InfoNce) -> bool {
        loss.similarity == Similarity::InnerProduct
            && loss.key_gradient == KeyGradient::Stopped
            && loss.repulsion == 1.0
    }
}

/// R encoders on one device.
#[derive(Debug, Clone)]
pub struct Replicas {
    /// `W` of each, `[R, m, d1]`.
    pub weights: Tensor<3>,
    /// `b` of each, `[R, m]`.
    pub biases: Tensor<2>,
    /// `1/τ`, `[R, 1, 1]`.
    inverse_temperatures: Tensor<3>,
    /// `c/τ` with `c` in front of the logarithm, `[R, 1, 1]`.
    gradient_factors: Tensor<3>,
    loss_factors: Vec<f64>,
    weight_decays: Vec<f64>,
    rules: Vec<Option<BiasRule>>,
    code_dim: usize,
}

/// Samples of one step of all replicas.
#[derive(Debug, Clone)]
pub struct ReplicaBatch {
    /// `x⁺`, `[R, B, d1]`.
    pub x_plus: Tensor<3>,
    /// `x⁺⁺`, `[R, B, d1]`.
    pub x_plus_plus: Tensor<3>,
    /// `[R, N, d1]`; without them the other keys serve.
    pub negatives: Option<Tensor<3>>,
}

impl Replicas {
    /// Encoders with the given weights, `[m, d1]` each, and thresholds at 0.
    ///
    /// # Panics
    /// When there is no replica, when there are not as many settings as weights, or when a loss is not
    /// [supported](ReplicaSettings::supports).
    pub fn new(weights: Vec<Tensor<2>>, settings: &[ReplicaSettings], code_dim: usize) -> Self {
        assert_eq!(weights.len(), settings.len(), "each replica has its settings");
        assert!(settings.iter().all(|s| ReplicaSettings::supports(&s.loss)), "replicas take the paper's loss");
        let weights: Tensor<3> = Tensor::stack(weights, 0);
        let ([r, m, _], device) = (weights.dims(), weights.device());
        let per_replica = |value: &dyn Fn(&ReplicaSettings) -> f64| column(settings.iter().map(value), &device);
        Self {
            biases: Tensor::zeros([r, m], &device),
            inverse_temperatures: per_replica(&|s| 1.0 / s.loss.temperature),
            gradient_factors: per_replica(&|s| s.loss.factor() / s.loss.temperature),
            loss_factors: settings.iter().map(|s| s.loss.factor()).collect(),
            weight_decays: settings.iter().map(|s| s.weight_decay).collect(),
            rules: settings.iter().map(|s| s.bias).collect(),
            code_dim,
            weights,
        }
    }

    /// Number of replicas.
    pub fn count(&self) -> usize {
        self.rules.len()
    }

    /// One step of all replicas with `step_sizes` (`η` of each) at `step`; returns mean losses, `[R]`.
    ///
    /// # Panics
    /// When shapes do not match.
    pub fn step(&mut self, batch: ReplicaBatch, step_sizes: &[f64], step: u64) -> Tensor<1> {
        let (loss, gradient) = self.loss_and_gradient(batch);
        let device = self.weights.device();
        let before = self.norms();
        let shrink =
            column(step_sizes.iter().zip(&self.weight_decays).map(|(eta, lambda)| 1.0 - eta * lambda), &device);
        let etas = column(step_sizes.iter().copied(), &device);
        self.weights = self.weights.clone() * shrink - gradient * etas;
        self.follow(before, step);
        loss
    }

    /// Mean losses `[R]` and their gradients with respect to the weights, `[R, m, d1]`.
    ///
    /// The similarities of as many queries with all keys are held at once as fit into [`SIMILARITIES_BYTE`].
    ///
    /// # Panics
    /// When shapes do not match.
    pub fn loss_and_gradient(&self, batch: ReplicaBatch) -> (Tensor<1>, Tensor<3>) {
        let [r, b, _] = batch.x_plus.dims();
        let n = batch.negatives.as_ref().map_or(b, |x| x.dims()[1]);
        self.in_blocks(batch, SIMILARITIES_BYTE / (4 * r * n))
    }

    /// The same with similarities of at most `rows` queries at a time.
    fn in_blocks(&self, batch: ReplicaBatch, rows: usize) -> (Tensor<1>, Tensor<3>) {
        let [r, b, _] = batch.x_plus.dims();
        let thresholds: Tensor<3> = self.biases.clone().unsqueeze_dim(1);
        let inner = |x: Tensor<3>| x.matmul(self.weights.clone().transpose());
        let outer = |h: Tensor<3>| crate::encoders::symmetric_relu(h, thresholds.clone());
        let h = inner(batch.x_plus.clone());
        // Both arms are shut or one is open, since thresholds are not negative: the slope is 0 or 1.
        let slope = h.clone().abs().greater(thresholds.clone().expand(h.dims())).float();
        let (queries, keys) = (outer(h), outer(inner(batch.x_plus_plus)));
        let negatives = batch.negatives.map(|x| outer(inner(x)));
        let rows = rows.clamp(1, b);
        let blocks = (0..b).step_by(rows).map(|from| {
            let block = |t: &Tensor<3>| t.clone().narrow(1, from, rows.min(b - from));
            self.contrast(block(&queries), block(&keys), negatives.clone(), &keys)
        });
        let (losses, mean_keys): (Vec<_>, Vec<_>) = blocks.unzip();
        let losses = Tensor::cat(losses, 1).mean_dim(1).reshape([r]);
        let gradient = (Tensor::cat(mean_keys, 1) - keys) * (self.gradient_factors.clone() / b as f64) * slope;
        let factors = Tensor::from_data(data(self.loss_factors.iter().copied(), [r]), &losses.device());
        (losses * factors, gradient.transpose().matmul(batch.x_plus))
    }

    /// Losses of queries `[R, B', 1]` and the mean of what each is compared with, `[R, B', m]`, weighted by the softmax
    /// over similarities. `keys` are the queries' own; `all_keys` are used if there are no negatives.
    fn contrast(
        &self,
        queries: Tensor<3>,
        keys: Tensor<3>,
        negatives: Option<Tensor<3>>,
        all_keys: &Tensor<3>,
    ) -> (Tensor<3>, Tensor<3>) {
        let positives = (queries.clone() * keys.clone()).sum_dim(2) * self.inverse_temperatures.clone();
        let apart = negatives.is_some();
        let others = negatives.unwrap_or_else(|| all_keys.clone());
        let logits = queries.matmul(others.clone().transpose()) * self.inverse_temperatures.clone();
        let largest = logits.clone().max_dim(2);
        let largest = if apart { largest.max_pair(positives.clone()) } else { largest };
        let weights = (logits - largest.clone()).exp();
        let sum = weights.clone().sum_dim(2);
        let positive_weight = (positives.clone() - largest.clone()).exp();
        let sum = if apart { sum + positive_weight.clone() } else { sum };
        let losses = sum.clone().log() + largest - positives;
        let mean_keys = (weights / sum.clone()).matmul(others);
        let mean_keys = if apart { mean_keys + keys * (positive_weight / sum) } else { mean_keys };
        (losses, mean_keys)
    }

    /// Updates the thresholds after the weights, each by its replica's rule.
    fn follow(&mut self, before: Tensor<2>, step: u64) {
        let device = self.weights.device();
        let is_due = |rule: &Option<BiasRule>| rule.is_some_and(|rule| step >= rule.start_step);
        if !self.rules.iter().any(is_due) {
            return;
        }
        let d = self.code_dim as f64;
        let unit = (d.ln() / d).sqrt();
        let after = self.norms();
        let per_replica = |value: &dyn Fn(&BiasRule) -> f64| {
            let values = self.rules.iter().map(|rule| rule.as_ref().map_or(0.0, value));
            Tensor::<2>::from_data(data(values, [self.count(), 1]), &device)
        };
        let starting = per_replica(&|rule| if step == rule.start_step { 1.0 } else { 0.0 });
        let following = per_replica(&|rule| if step > rule.start_step { 1.0 } else { 0.0 });
        let set = after.clone() * per_replica(&|rule| rule.initial_ratio * unit);
        let cap = after.clone() * per_replica(&|rule| rule.cap_ratio * unit);
        let without_weights = before.clone().equal_scalar(0.0);
        let kept = self.biases.clone() * (after / before).mask_fill(without_weights, 1.0);
        let grown = self.biases.clone() * per_replica(&|rule| 1.0 + rule.growth / d);
        let grown = grown.max_pair(kept.clone()).min_pair(cap.clone());
        let below_cap = self.biases.clone().lower(cap);
        self.biases = set * starting + kept.mask_where(below_cap, grown) * following;
    }

    /// `‖w_i‖`, `[R, m]`.
    fn norms(&self) -> Tensor<2> {
        let [r, m, _] = self.weights.dims();
        self.weights.clone().square().sum_dim(2).sqrt().reshape([r, m])
    }
}

fn data<const D: usize>(values: impl Iterator<Item = f64>, shape: [usize; D]) -> TensorData {
    TensorData::new(values.map(|v| v as f32).collect::<Vec<_>>(), shape)
}

/// One number per replica, `[R, 1, 1]`.
fn column(values: impl ExactSizeIterator<Item = f64>, device: &Device) -> Tensor<3> {
    let shape = [values.len(), 1, 1];
    Tensor::from_data(data(values, shape), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LossScale;
    use crate::closed_form::{HostBatch, HostEncoder, Rows, loss_and_gradient};

    const R: usize = 3;

    fn numbers(count: usize, offset: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|i| scale * (((i + offset) * 7919 % 10_007) as f32 / 5003.5 - 1.0)).collect()
    }

    /// Replicas differ in weights, thresholds, samples and temperature; each has the loss and gradient it has alone.
    #[test]
    fn every_replica_has_the_gradient_that_it_has_alone() {
        let device = Device::flex();
        let (b, n, m, d1) = (6, 9, 5, 12);
        for with_negatives in [true, false] {
            let settings = [0.5, 1.0, 3.0].map(|temperature| ReplicaSettings {
                loss: InfoNce { scale: LossScale::One, ..InfoNce::paper(temperature) },
                weight_decay: 0.0,
                bias: None,
            });
            let weights: Vec<Vec<f32>> = (0..R).map(|r| numbers(m * d1, r * 1000, 0.5)).collect();
            let tensor = |values: &[f32]| {
                Tensor::<2>::from_data(TensorData::new(values.to_vec(), [values.len() / d1, d1]), &device)
            };
            let mut replicas = Replicas::new(weights.iter().map(|w| tensor(w)).collect(), &settings, 4);
            let thresholds = [0.0, 0.2, 0.4];
            replicas.biases = Tensor::<2>::from_data([[0.0], [0.2], [0.4]], &device).expand([R, m]);
            let samples = |count: usize, part: usize| -> Vec<Vec<f32>> {
                (0..R).map(|r| numbers(count * d1, 5000 * part + 777 * r, 1.0)).collect()
            };
            let (plus, plus_plus, negatives) = (samples(b, 1), samples(b, 2), samples(n, 3));
            let stacked = |parts: &[Vec<f32>]| Tensor::stack(parts.iter().map(|x| tensor(x)).collect(), 0);
            let (losses, gradients) = replicas.loss_and_gradient(ReplicaBatch {
                x_plus: stacked(&plus),
                x_plus_plus: stacked(&plus_plus),
                negatives: with_negatives.then(|| stacked(&negatives)),
            });
            let (losses, gradients) = (losses.into_data(), gradients.into_data());
            let losses: Vec<f64> = losses.iter::<f64>().collect();
            let gradients: Vec<f32> = gradients.iter::<f32>().collect();
            for r in 0..R {
                let alone = loss_and_gradient(
                    &settings[r].loss,
                    HostEncoder { weights: Rows::new(&weights[r], d1), biases: &[thresholds[r]; 5] },
                    HostBatch {
                        x_plus: Rows::new(&plus[r], d1),
                        x_plus_plus: Rows::new(&plus_plus[r], d1),
                        negatives: with_negatives.then(|| Rows::new(&negatives[r], d1)),
                    },
                );
                assert!((losses[r] - alone.loss).abs() < 1e-5 * (1.0 + alone.loss), "{} {}", losses[r], alone.loss);
                // A dozen products of numbers of size 1, in another order.
                for (found, alone) in gradients[r * m * d1..].iter().zip(&alone.weights) {
                    assert!((found - alone).abs() < 2e-5, "replica {r}: {found} {alone}");
                }
            }
        }
    }

    #[test]
    fn blocks_of_queries_come_to_the_same_loss_and_gradient() {
        let device = Device::flex();
        let (b, n, m, d1) = (7, 9, 5, 12);
        let settings = [0.5, 2.0].map(|temperature| ReplicaSettings {
            loss: InfoNce::paper(temperature),
            weight_decay: 0.0,
            bias: None,
        });
        let tensor = |rows: usize, offset: usize| {
            let values = numbers(2 * rows * d1, offset, 0.8);
            Tensor::<3>::from_data(TensorData::new(values, [2, rows, d1]), &device)
        };
        let weights = (0..2).map(|r| tensor(m, 40 * r).narrow(0, r, 1).reshape([m, d1])).collect();
        let replicas = Replicas::new(weights, &settings, 4);
        for with_negatives in [true, false] {
            let batch = || ReplicaBatch {
                x_plus: tensor(b, 100),
                x_plus_plus: tensor(b, 200),
                negatives: with_negatives.then(|| tensor(n, 300)),
            };
            let numbers = |rows: usize| {
                let (losses, gradients) = replicas.in_blocks(batch(), rows);
                let (losses, gradients) = (losses.into_data(), gradients.into_data());
                losses.iter::<f32>().chain(gradients.iter::<f32>()).collect::<Vec<_>>()
            };
            let whole = numbers(b);
            assert!(whole.iter().any(|v| v.abs() > 0.1));
            for rows in [1, 3, 5] {
                for (found, whole) in numbers(rows).iter().zip(&whole) {
                    assert!((found - whole).abs() < 1e-5, "{rows} rows: {found} {whole}");
                }
            }
        }
    }

    #[test]
    fn thresholds_follow_the_rule_of_their_replica() {
        let device = Device::flex();
        let rule = |start_step| BiasRule { start_step, initial_ratio: 0.5, growth: 0.4, cap_ratio: 1.0 };
        let settings = [None, Some(rule(1)), Some(rule(2))].map(|bias| ReplicaSettings {
            loss: InfoNce::paper(1.0),
            weight_decay: 0.1,
            bias,
        });
        let weights = Tensor::<2>::from_data([[3.0, 4.0]], &device);
        let mut replicas = Replicas::new(vec![weights; R], &settings, 4);
        let mut alone = vec![Tensor::<1>::zeros([1], &device); R];
        for step in 0..5 {
            let x = Tensor::<3>::zeros([R, 1, 2], &device);
            let before = replicas.norms();
            let batch = ReplicaBatch { x_plus: x.clone(), x_plus_plus: x.clone(), negatives: Some(x) };
            let _ = replicas.step(batch, &[0.5; R], step);
            let after = replicas.norms();
            for (r, setting) in settings.iter().enumerate() {
                let norm = |norms: &Tensor<2>| norms.clone().narrow(0, r, 1).reshape([1]);
                if let Some(rule) = setting.bias {
                    alone[r] = rule.apply(alone[r].clone(), norm(&before), norm(&after), step, 4);
                }
                let found = replicas.biases.clone().narrow(0, r, 1).into_scalar::<f64>();
                let expected = alone[r].clone().into_scalar::<f64>();
                assert!((found - expected).abs() < 1e-6, "step {step}, replica {r}: {found} {expected}");
            }
        }
        // Weight decay alone moves weights whose samples are 0.
        let norm = replicas.norms().narrow(0, 0, 1).into_scalar::<f64>();
        assert!((norm - 5.0 * 0.95f64.powi(5)).abs() < 1e-5, "{norm}");
    }
}
