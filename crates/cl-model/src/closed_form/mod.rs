//! The contrastive step of the paper's encoder on the host: loss and gradient in closed form.
//!
//! [`SymmetricReluEncoder`](crate::SymmetricReluEncoder) and [`InfoNce`](crate::InfoNce) define what is computed, on
//! any backend; this module computes the same numbers without a graph, several times faster on a CPU:
//!
//! * the products run over row-major slices, in blocks that stay in the cache;
//! * similarities, softmax and the weights of the gradient share one block of memory, so that the `B × N` matrix never
//!   exists as a whole and N can be arbitrarily large;
//! * keys and negatives take part in no backward pass unless gradients flow through them;
//! * once few outputs differ from 0, similarities and the gradients of queries and weights skip the others.
//!
//! A [`HostObjective`] works with any encoder: it takes outputs and returns the gradient with respect to them.
//!
//! With `h = W x`, `f = relu(h − b) − relu(−h − b)` and `π_ij` the softmax weight of key `j` for query `i`, the
//! gradient of InfoNCE with a factor `c` in front of the logarithm is
//!
//! ```text
//! ∂L/∂f(x_i⁺) = c/(τB) (Σ_j π_ij f(x_j) − f(x_i⁺⁺)),   ∂L/∂w = (∂L/∂f ⊙ f'(h))ᵀ x⁺.
//! ```
//!
//! Derived from the definitions of Wen & Li 2021; tested against Burn's autodiff.

mod alignment_uniformity;
mod barlow_twins;
mod contrast;
mod elementwise;
mod negative_cosine;
pub(crate) mod product;
mod softmax_losses;
mod sparse;
mod spectral;
mod two_views;
mod unit_rows;
mod vicreg;

pub use product::Rows;

use product::{add_some_transposed_times, for_each, times_transposed};
use sparse::SparseRows;

/// Rows that are embedded together at most: weights are laid out for products once for all of them.
const ROWS_PER_TASK: usize = 256;

/// Tasks that an embedding is split into if there are enough rows, for threads to share.
const TASKS: usize = 6;

/// Maximum number of neurons whose gradient is computed together.
const NEURONS_PER_TASK: usize = 128;

/// An objective whose gradient with respect to the outputs is known in closed form.
pub trait HostObjective: Send + Sync {
    /// The mean loss of outputs, and its gradient with respect to them.
    ///
    /// # Shapes
    /// `outputs` holds rows of `columns` numbers one after another: B first views, B second views, the targets of
    /// either and N negatives if there are any. The gradient has as many of these rows as gradients flow through.
    ///
    /// # Panics
    /// When there are fewer than 2B rows, or negatives that the objective does not take.
    fn loss_and_gradient(&self, outputs: Vec<f32>, columns: usize, batch_size: usize) -> (f64, Vec<f32>);
}

/// Weights and thresholds in host memory.
#[derive(Debug, Clone, Copy)]
pub struct HostEncoder<'a> {
    /// `W`, `[m, d1]`.
    pub weights: Rows<'a>,
    /// `b`, `[m]`.
    pub biases: &'a [f32],
}

/// Samples of a step in host memory, `d1` columns each.
#[derive(Debug, Clone, Copy)]
pub struct HostBatch<'a> {
    /// `x⁺`, B rows.
    pub x_plus: Rows<'a>,
    /// `x⁺⁺`, B rows.
    pub x_plus_plus: Rows<'a>,
    /// N rows; `None` if the other keys serve.
    pub negatives: Option<Rows<'a>>,
}

/// A loss and its gradient.
#[derive(Debug, Clone, PartialEq)]
pub struct LossAndGradient {
    /// Mean over the queries.
    pub loss: f64,
    /// `∂L/∂W`, `[m, d1]`.
    pub weights: Vec<f32>,
    /// `∂L/∂b`, `[m]`.
    pub biases: Vec<f32>,
}

/// `W x` and `f(x)` of all samples of a step.
#[derive(Debug, Clone)]
struct Embedded {
    /// `W x`, rows of x⁺, x⁺⁺ and negatives one after another.
    inner: Vec<f32>,
    /// `f(x)` in the same order.
    outer: Vec<f32>,
}

/// Loss and gradient of one step of the paper's encoder.
///
/// # Panics
/// When shapes do not match, or when there are negatives that the objective does not take.
pub fn loss_and_gradient(objective: &dyn HostObjective, encoder: HostEncoder, batch: HostBatch) -> LossAndGradient {
    let Embedded { inner, outer } = embed(encoder, batch);
    let (m, d1) = (encoder.biases.len(), encoder.weights.cols);
    let (loss, mut gradient) = objective.loss_and_gradient(outer, m, batch.x_plus.count());
    let (mut weights, mut biases) = (vec![0.0; m * d1], vec![0.0; m]);
    elementwise::symmetric_relu_backward(&inner, encoder.biases, &mut gradient, &mut biases);
    let mut rest = &gradient[..];
    for x in [Some(batch.x_plus), Some(batch.x_plus_plus), batch.negatives].into_iter().flatten() {
        if rest.is_empty() {
            // No gradient flows through keys.
            break;
        }
        let part;
        (part, rest) = rest.split_at(x.count() * m);
        let part = Rows::new(part, m);
        let sparse = SparseRows::transposed(part);
        // At least two tasks, so that a second thread has something to do.
        let neurons = NEURONS_PER_TASK.min(m.div_ceil(2));
        let tasks: Vec<_> = weights.chunks_mut(neurons * d1).enumerate().collect();
        for_each(tasks, |(i, w)| match &sparse {
            Some(sparse) => sparse.add_times(i * neurons, x, w),
            None => add_some_transposed_times(part, i * neurons, x, w),
        });
    }
    LossAndGradient { loss, weights, biases }
}

fn embed(encoder: HostEncoder, batch: HostBatch) -> Embedded {
    let (m, d1) = (encoder.biases.len(), encoder.weights.cols);
    assert_eq!(encoder.weights.count(), m, "there must be as many thresholds as neurons");
    assert_eq!(batch.x_plus.values.len(), batch.x_plus_plus.values.len(), "both views must have the same shape");
    let parts = [Some(batch.x_plus), Some(batch.x_plus_plus), batch.negatives];
    let parts: Vec<Rows> = parts.into_iter().flatten().collect();
    assert!(parts.iter().all(|x| x.cols == d1), "samples must have d1 = {d1} coordinates");
    let count: usize = parts.iter().map(Rows::count).sum();
    let (mut inner, mut outer) = (vec![0.0; count * m], vec![0.0; count * m]);
    let mut tasks = Vec::new();
    let (mut inner_rest, mut outer_rest) = (&mut inner[..], &mut outer[..]);
    let rows = (count / TASKS).next_multiple_of(32).clamp(32, ROWS_PER_TASK);
    for x in parts.iter().flat_map(|x| x.values.chunks(rows * d1)) {
        let (inner, outer);
        (inner, inner_rest) = inner_rest.split_at_mut(x.len() / d1 * m);
        (outer, outer_rest) = outer_rest.split_at_mut(x.len() / d1 * m);
        tasks.push((x, inner, outer));
    }
    for_each(tasks, |(x, inner, outer)| {
        times_transposed(Rows::new(x, d1), encoder.weights, 1.0, inner);
        elementwise::symmetric_relu(inner, encoder.biases, outer);
    });
    Embedded { inner, outer }
}

#[cfg(test)]
mod tests {
    use super::unit_rows::scale_to_unit;
    use super::*;
    use crate::{Encoder, InfoNce, KeyGradient, LossScale, NtXent, Similarity, SymmetricReluEncoder, nt_xent};
    use burn::tensor::{Device, Tensor, TensorData};

    const D1: usize = 24;
    const M: usize = 40;

    fn numbers(count: usize, offset: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|i| scale * (((i + offset) * 7919 % 10_007) as f32 / 5003.5 - 1.0)).collect()
    }

    fn tensor(values: &[f32], columns: usize, device: &Device) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len() / columns, columns]), device)
    }

    /// Objectives with a closed form.
    #[derive(Debug, Clone, Copy)]
    enum Loss {
        InfoNce(InfoNce),
        NtXent(NtXent),
    }

    impl Loss {
        fn objective(&self) -> &dyn HostObjective {
            match self {
                Self::InfoNce(loss) => loss,
                Self::NtXent(loss) => loss,
            }
        }

        fn is_cosine(&self) -> bool {
            matches!(self, Self::NtXent(_) | Self::InfoNce(InfoNce { similarity: Similarity::Cosine, .. }))
        }
    }

    /// A loss, its gradients with respect to weights and thresholds, and the size of the terms that these are sums of.
    type Found = (f64, Vec<f32>, Vec<f32>, f32);

    /// Both ways with the same numbers.
    fn both(loss: Loss, b: usize, n: Option<usize>, bias: f32, scale: f32) -> [Found; 2] {
        let device = Device::flex().autodiff();
        let w = numbers(M * D1, 1, scale);
        let (x_plus, x_plus_plus) = (numbers(b * D1, 50_000, 1.0), numbers(b * D1, 90_001, 1.0));
        let negatives = n.map(|n| numbers(n * D1, 70_003, 1.0));
        let biases = vec![bias; M];
        let encoder = HostEncoder { weights: Rows::new(&w, D1), biases: &biases };
        let batch = HostBatch {
            x_plus: Rows::new(&x_plus, D1),
            x_plus_plus: Rows::new(&x_plus_plus, D1),
            negatives: negatives.as_deref().map(|x| Rows::new(x, D1)),
        };
        let closed = loss_and_gradient(loss.objective(), encoder, batch);
        // A sample's coordinates are at most 1; what multiplies them is a weight of the softmax times an entry of an
        // embedding, over the temperature, and over a norm where embeddings are scaled.
        let mut f = embed(encoder, batch).outer;
        let mut terms = f.iter().fold(0f32, |a, v| a.max(v.abs()));
        if loss.is_cosine() {
            let norms = f.chunks_exact_mut(M).map(scale_to_unit);
            terms = 1.0 / norms.filter(|n| *n > 0.0).fold(f32::INFINITY, f32::min);
        }
        let terms = match loss {
            Loss::InfoNce(l) => terms * (l.factor() / l.temperature) as f32,
            Loss::NtXent(NtXent { temperature }) => terms / temperature as f32,
        };
        let encoder = SymmetricReluEncoder::new(tensor(&w, D1, &device)).with_trained_bias(f64::from(bias));
        let f = |x: &[f32]| encoder.forward(tensor(x, D1, &device));
        let plain = match loss {
            Loss::InfoNce(l) => l.forward(f(&x_plus), f(&x_plus_plus), negatives.as_deref().map(f)).loss,
            Loss::NtXent(NtXent { temperature }) => nt_xent(f(&x_plus), f(&x_plus_plus), temperature),
        };
        let value = plain.clone().into_scalar::<f64>();
        let gradients = plain.backward();
        let read = |data: TensorData| data.try_to_vec::<f32>().unwrap();
        let weights = read(encoder.weights.grad(&gradients).unwrap().into_data());
        let biases = read(encoder.biases.grad(&gradients).unwrap().into_data());
        [(closed.loss, closed.weights, closed.biases, terms), (value, weights, biases, terms)]
    }

    fn assert_equal(loss: Loss, b: usize, n: Option<usize>, bias: f32, scale: f32) {
        let [closed, plain] = both(loss, b, n, bias, scale);
        let what = format!("{loss:?}, B = {b}, N = {n:?}, b = {bias}, scale {scale}");
        assert!((closed.0 - plain.0).abs() <= 2e-6 * (1.0 + plain.0.abs()), "{what}: {} {}", closed.0, plain.0);
        // Sums over B samples and N keys in another order, which may cancel: a few roundings of a term, plus what
        // errors of random sign add up to over that many additions.
        let roundings = 8.0 + ((b + n.unwrap_or(b)) as f32).sqrt();
        let tolerance = roundings * f32::EPSILON * closed.3;
        for (ours, plain) in [(&closed.1, &plain.1), (&closed.2, &plain.2)] {
            for (c, p) in ours.iter().zip(plain) {
                assert!((c - p).abs() <= tolerance, "{what}: {c} {p}, terms of {}", closed.3);
            }
        }
    }

    fn info_nce(similarity: Similarity, key_gradient: KeyGradient, temperature: f64, scale: LossScale) -> Loss {
        Loss::InfoNce(InfoNce { similarity, key_gradient, temperature, scale, repulsion: 1.0 })
    }

    #[test]
    fn info_nce_equals_autodiff_over_shapes_similarities_and_thresholds() {
        for similarity in [Similarity::InnerProduct, Similarity::Cosine] {
            for key_gradient in [KeyGradient::Stopped, KeyGradient::Flows] {
                for (b, n) in [(1, Some(1)), (5, Some(3)), (200, Some(700)), (2, None), (130, None)] {
                    for bias in [0.0, 0.3, -0.2] {
                        let loss = info_nce(similarity, key_gradient, 0.7, LossScale::Temperature);
                        assert_equal(loss, b, n, bias, 0.5);
                    }
                }
            }
        }
    }

    #[test]
    fn temperatures_and_factors_are_those_of_the_definition() {
        for scale in [LossScale::One, LossScale::Temperature] {
            for temperature in [0.05, 1.0, 20.0] {
                let loss = info_nce(Similarity::InnerProduct, KeyGradient::Stopped, temperature, scale);
                assert_equal(loss, 33, Some(65), 0.1, 0.3);
            }
        }
    }

    #[test]
    fn repulsion_is_that_of_the_definition() {
        for (repulsion, n) in [(0.0, Some(9)), (2.5, Some(9)), (2.5, None)] {
            let loss = InfoNce { repulsion, similarity: Similarity::Cosine, ..InfoNce::paper(0.7) };
            assert_equal(Loss::InfoNce(loss), 33, n, 0.1, 0.5);
        }
    }

    #[test]
    fn nt_xent_equals_autodiff() {
        for (b, bias) in [(2, 0.0), (5, 0.3), (150, 0.1)] {
            assert_equal(Loss::NtXent(NtXent { temperature: 0.5 }), b, None, bias, 0.5);
        }
    }

    #[test]
    fn outputs_that_are_mostly_0_give_the_gradients_of_autodiff() {
        // The threshold that one input in twenty passes.
        let scale = 0.5;
        let (w, x) = (numbers(M * D1, 1, scale), numbers(200 * D1, 50_000, 1.0));
        let embedded = |bias| {
            let encoder = HostEncoder { weights: Rows::new(&w, D1), biases: &[bias; M] };
            let x = Rows::new(&x, D1);
            embed(encoder, HostBatch { x_plus: x, x_plus_plus: x, negatives: None })
        };
        let mut sizes: Vec<f32> = embedded(0.0).inner.iter().map(|u| u.abs()).collect();
        sizes.sort_by(f32::total_cmp);
        let at = sizes.len() * 19 / 20;
        // Between two inputs: at one of them, rounding would decide whether the neuron is active.
        let bias = (sizes[at - 1] + sizes[at]) / 2.0;
        assert!(SparseRows::new(Rows::new(&embedded(bias).outer, M)).is_some());
        for similarity in [Similarity::InnerProduct, Similarity::Cosine] {
            for key_gradient in [KeyGradient::Stopped, KeyGradient::Flows] {
                for n in [Some(700), None] {
                    let loss = info_nce(similarity, key_gradient, 0.7, LossScale::Temperature);
                    assert_equal(loss, 200, n, bias, scale);
                }
            }
        }
        assert_equal(Loss::NtXent(NtXent { temperature: 0.5 }), 150, None, bias, scale);
    }

    #[test]
    fn silent_neurons_and_embeddings_of_zero_give_finite_numbers() {
        for loss in [
            info_nce(Similarity::InnerProduct, KeyGradient::Flows, 0.1, LossScale::One),
            info_nce(Similarity::Cosine, KeyGradient::Stopped, 0.1, LossScale::One),
            Loss::NtXent(NtXent { temperature: 0.1 }),
        ] {
            let [closed, _] = both(loss, 6, None, 1e9, 1.0);
            assert!(closed.0.is_finite() && closed.1.iter().chain(&closed.2).all(|g| *g == 0.0), "{loss:?}");
        }
    }

    #[test]
    fn blocks_of_queries_change_nothing_but_rounding() {
        // With N = 40,000 a block holds a single query, with N = 1 all of them.
        for n in [1, 40_000] {
            assert_equal(
                info_nce(Similarity::InnerProduct, KeyGradient::Stopped, 1.0, LossScale::One),
                7,
                Some(n),
                0.1,
                0.2,
            );
        }
    }
}
