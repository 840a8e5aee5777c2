//! Three steps on each backend of this build against Flex. CI builds once with `--features ndarray,wgpu`.

use crate::support::small_spec;
use burn::optim::lr_scheduler::LrScheduler;
use burn::tensor::Device;
use burn::train::TrainStep;
use cl_experiments::learner::{BatchSource, EncoderLearner, StepSizeScheduler};

/// Weights and thresholds after three steps around the one at which thresholds begin.
fn after_three_steps(device: &Device) -> Vec<f64> {
    let mut spec = small_spec();
    if let cl_model::Bias::Scheduled(rule) = &mut spec.encoder.bias {
        rule.start_step = 1;
    }
    let device = device.clone().autodiff();
    let mut learner = EncoderLearner::new(&spec, 7, &device);
    let source = BatchSource::new(&spec, 7);
    let mut optimizer = EncoderLearner::optimizer(&spec);
    let mut schedule = StepSizeScheduler::new(spec.training.step_size, 0);
    for t in 0..3 {
        let output = TrainStep::step(&learner, source.training(t, &device));
        learner = learner.optimize(&mut optimizer, schedule.step().into(), output.grads);
    }
    let weights = learner.encoder.weights.val().into_data();
    let biases = learner.encoder.biases.val().into_data();
    weights.iter::<f64>().chain(biases.iter::<f64>()).collect()
}

/// Sums of at most 32 terms in another order, three times: a few units of 2⁻²⁴ of the largest value each.
#[test]
fn three_steps_agree_on_every_backend_of_this_build() {
    let expected = after_three_steps(&cl_experiments::device::open("flex").unwrap());
    let largest = expected.iter().fold(0.0f64, |a, v| a.max(v.abs()));
    let mut compared = vec!["flex"];
    for name in ["ndarray", "wgpu"] {
        if !cl_experiments::device::is_compiled(name) {
            continue;
        }
        let device = cl_experiments::device::open(name).unwrap_or_else(|e| panic!("{e}"));
        for (found, expected) in after_three_steps(&device).iter().zip(&expected) {
            assert!((found - expected).abs() < 2e-6 * largest, "{name}: {found} instead of {expected}");
        }
        compared.push(name);
    }
    println!("compared: {}", compared.join(", "));
}
