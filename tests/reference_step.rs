//! The training step written out once more, with loops, in double precision.

use crate::support::small_spec;
use burn::optim::lr_scheduler::LrScheduler;
use burn::tensor::Tensor;
use burn::train::TrainStep;
use cl_data::{Augmentation, Matrix};
use cl_experiments::run::learning_rates::LearningRateScheduler;
use cl_experiments::tasks::learner::Learner;
use cl_experiments::tasks::sparse_coding::spec::TrainingSpec;
use cl_experiments::tasks::sparse_coding::training::SparseCoding;
use cl_experiments::tasks::task::Task;
use cl_model::{Bias, OptimizerConfig};
use std::sync::Arc;

struct Reference {
    w: Vec<Vec<f64>>,
    b: Vec<f64>,
}

fn rows(matrix: &Matrix) -> Vec<Vec<f64>> {
    matrix.iter_rows().map(|r| r.iter().map(|v| f64::from(*v)).collect()).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

impl Reference {
    fn embed(&self, x: &[f64]) -> Vec<f64> {
        let arm = |u: f64, b: f64| (u - b).max(0.0) - (-u - b).max(0.0);
        self.w.iter().zip(&self.b).map(|(w, b)| arm(dot(w, x), *b)).collect()
    }

    /// Loss and gradient of the paper's objective with stopped keys.
    fn step(&mut self, spec: &TrainingSpec, batch: &cl_data::ContrastiveBatch, t: u64) -> f64 {
        let (x_plus, x_plus_plus) = (rows(&batch.pair.x_plus), rows(&batch.pair.x_plus_plus));
        let negatives: Vec<Vec<f64>> = rows(batch.negatives.as_ref().unwrap()).iter().map(|x| self.embed(x)).collect();
        let n = x_plus.len() as f64;
        let (mut loss, mut gradient) = (0.0, vec![vec![0.0; x_plus[0].len()]; self.w.len()]);
        for (x, x_key) in x_plus.iter().zip(&x_plus_plus) {
            let (query, key) = (self.embed(x), self.embed(x_key));
            let keys: Vec<&Vec<f64>> = std::iter::once(&key).chain(&negatives).collect();
            let weights: Vec<f64> = keys.iter().map(|k| dot(&query, k).exp()).collect();
            let partition: f64 = weights.iter().sum();
            loss += (partition.ln() - dot(&query, &key)) / n;
            for i in 0..self.w.len() {
                if query[i] == 0.0 {
                    continue;
                }
                let mean: f64 = keys.iter().zip(&weights).map(|(k, weight)| weight / partition * k[i]).sum();
                for (g, v) in gradient[i].iter_mut().zip(x) {
                    *g += (mean - key[i]) * v / n;
                }
            }
        }
        let eta = spec.schedule().learning_rate.at(t);
        let Bias::Scheduled(rule) = spec.symmetric_relu().unwrap().bias else { panic!("the paper's rule") };
        let d = spec.data.code_dim as f64;
        let unit = (d.ln() / d).sqrt();
        for ((w, g), b) in self.w.iter_mut().zip(&gradient).zip(&mut self.b) {
            let before = dot(w, w).sqrt();
            w.iter_mut().zip(g).for_each(|(w, g)| *w -= eta * (g + spec.weight_decay() * *w));
            let after = dot(w, w).sqrt();
            let cap = rule.cap_ratio * unit * after;
            if t == rule.start_step {
                *b = rule.initial_ratio * unit * after;
            } else if t > rule.start_step {
                let kept = *b * after / before;
                *b = if *b < cap { (*b * (1.0 + rule.growth / d)).max(kept).min(cap) } else { kept };
            }
        }
        loss
    }
}

fn values(tensor: Tensor<2>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// 60 steps, thresholds from step 20. Rounding differs by about 6e-8 per step, and neurons near their threshold can
/// amplify it: 1e-4 relative after 60 steps leaves a wide margin and is far below any mistake in a formula.
#[test]
fn sixty_steps_agree_with_a_loop_in_double_precision() {
    let spec = small_spec();
    assert_eq!(spec.views.augmentation(), Augmentation::complementary());
    let device = cl_experiments::io::device::open("flex").unwrap();
    let task: Arc<SparseCoding> = Arc::new(SparseCoding::on(&spec, 7, &device));
    let mut learner = Learner::start(&task);
    let initial = values(learner.model.encoder.weights.val());
    let mut reference = Reference {
        w: initial.chunks_exact(spec.data.input_dim).map(<[f64]>::to_vec).collect(),
        b: vec![0.0; spec.symmetric_relu().unwrap().num_neurons],
    };
    let sampler = spec.sampler(7);
    let mut optimizer = task.optimizer();
    let mut rates = LearningRateScheduler::new(spec.schedule().learning_rate, 0);
    for t in 0..spec.schedule().steps {
        let output = TrainStep::step(&learner, task.batch(t));
        let loss: f64 = output.item.loss.into_scalar();
        let expected = reference.step(&spec, &sampler.batch(t), t);
        assert!((loss - expected).abs() < 1e-4 * expected.abs().max(1.0), "step {t}: loss {loss}, expected {expected}");
        learner = learner.optimize(&mut optimizer, rates.step().into(), output.grads);
        let largest = reference.w.iter().flatten().fold(0.0f64, |a, v| a.max(v.abs()));
        for (found, expected) in values(learner.model.encoder.weights.val()).iter().zip(reference.w.iter().flatten()) {
            assert!((found - expected).abs() < 1e-4 * largest, "step {t}: weight {found}, expected {expected}");
        }
        let biases: Vec<f64> = learner.model.encoder.biases.val().into_data().iter::<f64>().collect();
        for (found, expected) in biases.iter().zip(&reference.b) {
            assert!(
                (found - expected).abs() < 1e-4 * expected.max(1e-3),
                "step {t}: bias {found}, expected {expected}"
            );
        }
    }
    assert!(reference.b.iter().all(|b| *b > 0.0), "the bias rule has been at work");
}

/// Without decay a step of gradient descent is as long as η times the bound, and in the direction that it had.
#[test]
fn a_clipped_gradient_moves_weights_by_the_bound() {
    let bound = 1e-3;
    let step = |gradient_clip: Option<f64>| {
        let mut spec = small_spec();
        spec.optimization.gradient_clip = gradient_clip;
        spec.optimization.optimizer = OptimizerConfig::plain(0.0);
        let task: Arc<SparseCoding> = Arc::new(SparseCoding::on(&spec, 7, &burn::tensor::Device::flex()));
        let learner = Learner::start(&task);
        let before = learner.model.encoder.weights.val().inner();
        let mut rates = LearningRateScheduler::new(task.schedule().learning_rate, 0);
        let output = TrainStep::step(&learner, task.batch(0));
        let learner = learner.optimize(&mut task.optimizer(), rates.step().into(), output.grads);
        learner.model.encoder.weights.val().inner() - before
    };
    let length = |x: &Tensor<2>| x.clone().square().sum().sqrt().into_scalar::<f64>();
    let (clipped, whole, loose) = (step(Some(bound)), step(None), step(Some(1e6)));
    let eta = 0.5;
    // Differences of weights of about 0.1 in single precision.
    assert!((length(&clipped) - eta * bound).abs() < 2e-6, "{}", length(&clipped));
    let cosine = (clipped.clone() * whole.clone()).sum().into_scalar::<f64>() / length(&clipped) / length(&whole);
    assert!(cosine > 0.999 && length(&whole) > 2.0 * eta * bound, "{cosine} {}", length(&whole));
    assert_eq!(loose.into_data(), whole.into_data());
}
