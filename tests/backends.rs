//! Three steps on each backend of this build against Flex. CI builds once with `--features ndarray,wgpu`.

use crate::support::small_spec;
use burn::optim::lr_scheduler::LrScheduler;
use burn::tensor::Device;
use burn::train::TrainStep;
use cl_experiments::images::spec::NtXentSpec;
use cl_experiments::learner::{BatchSource, EncoderLearner, GradientSource, StepSizeScheduler};
use cl_experiments::spec::{Objective, TrainingSpec};
use cl_model::{Bias, KeyGradient, Normalization, Similarity};

/// Weights and thresholds after three steps around the one at which thresholds begin.
fn after_three_steps(device: &Device) -> Vec<f64> {
    three_steps(small_spec(), device, None)
}

fn three_steps(mut spec: TrainingSpec, device: &Device, gradient: Option<GradientSource>) -> Vec<f64> {
    if let cl_model::Bias::Scheduled(rule) = &mut spec.encoder.bias {
        rule.start_step = 1;
    }
    let device = device.clone().autodiff();
    let mut learner = EncoderLearner::new(&spec, 7, &device);
    if let Some(gradient) = gradient {
        learner = learner.with_gradient_from(gradient);
    }
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

/// The paper's loss and what public code makes of it, in closed form and through autodiff on the same backend.
#[test]
fn gradients_in_closed_form_and_through_autodiff_lead_to_the_same_weights() {
    let device = Device::flex();
    let variants: [fn(&mut TrainingSpec); 5] = [
        |_| {},
        |spec| {
            if let Objective::Contrastive(c) = &mut spec.objective {
                (c.similarity, c.key_gradient) = (Similarity::Cosine, KeyGradient::Flows);
            }
        },
        |spec| spec.encoder.bias = Bias::Trained { initial: 0.1 },
        |spec| spec.objective = Objective::NtXent(NtXentSpec { temperature: 0.5 }),
        |spec| {
            spec.objective = Objective::NtXent(NtXentSpec { temperature: 0.5 });
            (spec.encoder.normalization, spec.encoder.bias) = (Normalization::Batch, Bias::Trained { initial: 0.1 });
        },
    ];
    for (number, change) in variants.into_iter().enumerate() {
        let mut spec = small_spec();
        change(&mut spec);
        let is_normalised = spec.encoder.normalization == Normalization::Batch;
        match GradientSource::fastest(&spec, &device) {
            GradientSource::ClosedForm(_) => assert!(!is_normalised),
            GradientSource::LossInClosedForm(_) => assert!(is_normalised),
            GradientSource::Autodiff => panic!("variant {number} has a closed form"),
        }
        let closed = three_steps(spec.clone(), &device, None);
        let plain = three_steps(spec, &device, Some(GradientSource::Autodiff));
        let largest = plain.iter().fold(0.0f64, |a, v| a.max(v.abs()));
        for (closed, plain) in closed.iter().zip(&plain) {
            assert!((closed - plain).abs() < 2e-6 * largest, "variant {number}: {closed} instead of {plain}");
        }
    }
}
