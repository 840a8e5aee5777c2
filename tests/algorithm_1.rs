//! What runs is Algorithm 1, as written out in `crates/cl-model/examples/algorithm_1.rs`.

#[path = "../crates/cl-model/examples/algorithm_1.rs"]
mod as_in_the_box;

use crate::support::small_spec;
use as_in_the_box::{Setting, algorithm_1};
use burn::tensor::{Device, Tensor};
use burn::train::TrainStep;
use cl_experiments::tasks::learner::Learner;
use cl_experiments::tasks::sparse_coding::batches::Samples;
use cl_experiments::tasks::sparse_coding::training::SparseCoding;
use cl_experiments::tasks::task::Task;
use std::sync::Arc;

/// 60 steps, thresholds from step 20: as close as single precision and another order of sums allow.
#[test]
fn sixty_steps_are_those_of_the_papers_box() {
    let spec = small_spec();
    let task: Arc<SparseCoding> = Arc::new(SparseCoding::on(&spec, 7, &Device::flex()));
    let mut learner = Learner::start(&task);
    let initial = learner.model.encoder.weights.val().inner();
    let mut optimizer = task.optimizer();
    for t in 0..60 {
        let output = TrainStep::step(&learner, task.batch(t));
        learner = learner.optimize(&mut optimizer, task.schedule().learning_rate.at(t).into(), output.grads);
    }

    let draw = |t| match task.batches().training(t, &Device::flex()) {
        Samples::Pairs { x_plus, x_plus_plus, negatives: Some(negatives) } => [x_plus, x_plus_plus, negatives],
        _ => panic!("pairs with negatives of their own"),
    };
    let eta = |t: u64| 0.5 * 0.2f64.powf((t.max(30) - 30) as f64 / 30.0);
    let setting = Setting { steps: 60, t1: 20, eta, lambda: 0.01, tau: 1.0, d: 6.0, c: 0.3, g: 0.1, cap: 0.6 };
    let (w, b) = algorithm_1(initial, draw, &setting);

    let close = |found: Vec<f64>, expected: Vec<f64>, what: &str| {
        let largest = expected.iter().fold(0.0f64, |a, v| a.max(v.abs()));
        assert!(largest > 0.0);
        for (f, e) in found.iter().zip(&expected) {
            assert!((f - e).abs() < 1e-4 * largest, "{what}: {f} instead of {e}");
        }
    };
    let encoder = &learner.model.encoder;
    let numbers = |t: Tensor<2>| t.into_data().iter::<f64>().collect::<Vec<_>>();
    close(numbers(encoder.weights.val().inner()), numbers(w), "weights");
    close(numbers(encoder.biases.val().inner().unsqueeze()), numbers(b.unsqueeze()), "thresholds");
}
