//! Algorithm 1 of Wen & Li (2021) as the paper's box has it, in plain tensors: what everything else here computes, faster.
//!
//! `cargo run --release -p cl-model --example algorithm_1` trains 32 neurons on 16 features and says how well each feature is
//! found by its best neuron.

#![allow(clippy::disallowed_macros, reason = "an example prints what it finds")]

use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

/// The paper's letters; `u = √(log d / d)`.
#[allow(missing_docs)]
pub struct Setting {
    /// T: steps. T1: the step at which thresholds are set.
    pub steps: u64,
    pub t1: u64,
    /// η at each step, λ, τ.
    pub eta: fn(u64) -> f64,
    pub lambda: f64,
    pub tau: f64,
    /// d; thresholds begin at c u ‖w‖, grow by 1 + g/d a step, and end at C u ‖w‖.
    pub d: f64,
    pub c: f64,
    pub g: f64,
    pub cap: f64,
}

/// Trains weights `w`, `[m, d1]`, on `draw(t) = [x⁺, x⁺⁺, negatives]`; weights and thresholds at the end.
pub fn algorithm_1(mut w: Tensor<2>, draw: impl Fn(u64) -> [Tensor<2>; 3], s: &Setting) -> (Tensor<2>, Tensor<1>) {
    let norms = |w: &Tensor<2>| -> Tensor<1> { w.clone().square().sum_dim(1).sqrt().squeeze_dim(1) };
    let mut b = norms(&w) * 0.0;
    let u = (s.d.ln() / s.d).sqrt();
    for t in 0..s.steps {
        let [x_plus, x_plus_plus, negatives] = draw(t);
        // f_i(x) = relu(⟨w_i, x⟩ − b_i) − relu(−⟨w_i, x⟩ − b_i)
        let f = |w: &Tensor<2>, x: Tensor<2>| {
            let (h, b) = (x.matmul(w.clone().transpose()), b.clone().unsqueeze());
            relu(h.clone() - b.clone()) - relu(-h - b)
        };
        // L = −τ log( e^{Sim(x⁺,x⁺⁺)/τ} / Σ_{x ∈ {x⁺⁺} ∪ negatives} e^{Sim(x⁺,x)/τ} ), Sim(x, x') = ⟨f(x), StopGrad f(x')⟩
        let trained = w.clone().autodiff().require_grad();
        let query = f(&trained, x_plus);
        let positive = (query.clone() * f(&w, x_plus_plus)).sum_dim(1) / s.tau;
        let others = query.matmul(f(&w, negatives).transpose()) / s.tau;
        let all = Tensor::cat(vec![positive.clone(), others], 1);
        let loss = (all.exp().sum_dim(1).log() - positive).mean() * s.tau;
        let gradient = trained.grad(&loss.backward()).expect("the loss depends on the weights");
        // w ← w − η (∇L + λ w)
        let (eta, before) = ((s.eta)(t), norms(&w));
        w = w.clone() - (gradient + w * s.lambda) * eta;
        // Thresholds are 0 up to T1; then they grow, at least as the norms do, up to their cap.
        let after = norms(&w);
        if t == s.t1 {
            b = after * (s.c * u);
        } else if t > s.t1 {
            let (kept, cap) = (b.clone() * after.clone() / before, after * (s.cap * u));
            let grown = (b.clone() * (1.0 + s.g / s.d)).max_pair(kept.clone()).min_pair(cap.clone());
            b = kept.mask_where(b.lower(cap), grown);
        }
    }
    (w, b)
}

#[allow(dead_code, clippy::disallowed_macros, reason = "the tests take the function above; an example prints")]
fn main() {
    use cl_data::*;
    let dictionary = Dictionary::random(16, 96, Stream::new(1, Purpose::Dictionary)).expect("d ≤ d1");
    let code = SparseCodeDistribution::Bernoulli { nonzero_probability: 0.0637 };
    let data = SparseCodingModel::new(dictionary, code, 0.31).expect("values in their ranges");
    let (augmentation, negatives) = (Augmentation::complementary(), Negatives::Fresh { count: 192 });
    let features = data.dictionary().features().to_tensor(&Device::flex());
    let sampler = PairSampler { data, augmentation, batch_size: 192, negatives, training_set: None, seed: 1 };
    let draw = |t| {
        let batch = sampler.batch(t);
        let negatives = batch.negatives.expect("fresh negatives");
        [batch.pair.x_plus, batch.pair.x_plus_plus, negatives].map(|x| x.into_tensor(&Device::flex()))
    };
    let mut rng = Stream::new(1, Purpose::InitialWeights).rng(Part::Whole, 0);
    let w = Matrix::from_values(32, 96, standard_normal(&mut rng, 32 * 96)).into_tensor(&Device::flex()) * 0.01;
    let eta = |t: u64| if t < 600 { 1.0 } else { 0.1f64.powf((t - 600) as f64 / 400.0) };
    let setting = Setting { steps: 1000, t1: 100, eta, lambda: 0.001, tau: 1.0, d: 16.0, c: 0.6, g: 0.02, cap: 1.7 };
    let (w, _) = algorithm_1(w, draw, &setting);
    let cosines = w.clone().matmul(features.transpose()).abs() / w.square().sum_dim(1).sqrt();
    let coverage: f64 = cosines.max_dim(0).mean().into_scalar();
    println!("cosine of each feature with its best neuron, mean over features: {coverage:.3}");
}
