//! Three steps on each backend of this build against Flex. CI builds once with `--features ndarray,wgpu`.

use crate::support::{catalog, change_encoder, change_loss, small_spec};
use burn::optim::lr_scheduler::LrScheduler;
use burn::tensor::Device;
use burn::train::TrainStep;
use cl_data::images::ShapesModel;
use cl_data::images::augmentation::{GaussianBlur, ViewPipeline};
use cl_data::{Purpose, Stream};
use cl_experiments::run::learning_rates::LearningRateScheduler;
use cl_experiments::run::replicas::Replication;
use cl_experiments::tasks::learner::{Learner, LearnerOf};
use cl_experiments::tasks::sparse_coding::gradient::GradientSource;
use cl_experiments::tasks::sparse_coding::spec::TrainingSpec;
use cl_experiments::tasks::sparse_coding::training::SparseCoding;
use cl_experiments::tasks::task::Task;
use cl_model::{Bias, KeyGradient, LearningRate, Normalization, NtXent, OptimizerConfig, Similarity};
use std::sync::Arc;

/// Weights and thresholds after three steps around the one at which thresholds begin.
fn after_three_steps(device: &Device) -> Vec<f64> {
    three_steps(small_spec(), device, None)
}

fn three_steps(mut spec: TrainingSpec, device: &Device, gradient: Option<GradientSource>) -> Vec<f64> {
    change_encoder(&mut spec, |encoder| {
        if let Bias::Scheduled(rule) = &mut encoder.bias {
            rule.start_step = 1;
        }
    });
    let task = SparseCoding::on(&spec, 7, device);
    let task = match gradient {
        Some(gradient) => task.with_gradient_from(gradient),
        None => task,
    };
    state(&three_steps_of(task))
}

/// Three steps from the first one on.
fn three_steps_of(task: SparseCoding) -> LearnerOf<SparseCoding> {
    let task = Arc::new(task);
    let mut learner = Learner::start(&task);
    let mut optimizer = task.optimizer();
    let mut rates = LearningRateScheduler::new(task.schedule().learning_rate, 0);
    for t in 0..3 {
        let output = TrainStep::step(&learner, task.batch(t));
        learner = learner.optimize(&mut optimizer, rates.step().into(), output.grads);
    }
    learner
}

/// Weights and thresholds, one after another.
fn state(learner: &LearnerOf<SparseCoding>) -> Vec<f64> {
    let weights = learner.model.encoder.weights.val().into_data();
    let biases = learner.model.encoder.biases.val().into_data();
    weights.iter::<f64>().chain(biases.iter::<f64>()).collect()
}

/// Every backend of this build that has a device here, except the reference.
fn others() -> Vec<(&'static str, Device)> {
    let compiled =
        cl_experiments::io::device::names().filter(|n| *n != "flex" && cl_experiments::io::device::is_compiled(n));
    compiled.map(|name| (name, cl_experiments::io::device::open(name).unwrap_or_else(|e| panic!("{e}")))).collect()
}

/// Sums of at most 32 terms in a different order, three times: a few units of 2⁻²⁴ of the largest value each.
#[test]
#[cfg_attr(not(any(feature = "ndarray", feature = "wgpu")), ignore = "Flex alone is compiled in: nothing to compare")]
fn three_steps_agree_on_every_backend_of_this_build() {
    let expected = after_three_steps(&cl_experiments::io::device::open("flex").unwrap());
    let largest = expected.iter().fold(0.0f64, |a, v| a.max(v.abs()));
    let mut compared = 0;
    for (name, device) in others() {
        for (found, expected) in after_three_steps(&device).iter().zip(&expected) {
            assert!((found - expected).abs() < 2e-6 * largest, "{name}: {found} instead of {expected}");
        }
        compared += 1;
    }
    assert!(compared > 0, "a backend beside Flex is compiled in");
}

/// Replicas with different seeds, temperatures, learning rates, decay and thresholds, trained as one tensor program,
/// compared with each alone on Flex.
#[test]
fn replicas_agree_with_single_runs_on_every_backend_of_this_build() {
    let group: Vec<(TrainingSpec, u64)> = [(3, 0.5), (4, 1.0), (5, 2.0)]
        .into_iter()
        .map(|(seed, number)| {
            let mut spec = small_spec();
            change_loss(&mut spec, |loss| loss.temperature = number);
            spec.optimization.optimizer = OptimizerConfig::plain(0.01 * number);
            spec.optimization.learning_rate = LearningRate::Constant { rate: 0.2 * number };
            let bias = match seed {
                3 => Bias::Zero,
                _ => Bias::Scheduled(cl_model::BiasRule {
                    start_step: 1,
                    initial_ratio: 0.3,
                    growth: 0.1,
                    cap_ratio: 0.6,
                }),
            };
            change_encoder(&mut spec, |encoder| encoder.bias = bias);
            (spec, seed)
        })
        .collect();
    let alone =
        |(spec, seed): &(TrainingSpec, u64)| state(&three_steps_of(SparseCoding::on(spec, *seed, &Device::flex())));
    let alone: Vec<Vec<f64>> = group.iter().map(alone).collect();
    for (name, device) in [("flex", Device::flex())].into_iter().chain(others()) {
        let mut replication = Replication::new(&group, &device).unwrap();
        for _ in 0..3 {
            let _ = replication.step(replication.batch());
        }
        for (replica, alone) in alone.iter().enumerate() {
            let found = state(&replication.learner(replica));
            let largest = alone.iter().fold(0.0f64, |a, v| a.max(v.abs()));
            for (found, alone) in found.iter().zip(alone) {
                assert!(
                    (found - alone).abs() < 4e-6 * largest,
                    "{name}, replica {replica}: {found} instead of {alone}"
                );
            }
        }
        println!("{name}: {} replicas", replication.count());
    }
}

/// Numbers drawn on a device have the distribution of those drawn on the host, and masks of pairs are complementary.
#[test]
fn devices_draw_what_they_should() {
    let spec = small_spec();
    let models: Vec<_> = [1, 2].map(|seed| spec.data.model(seed)).into();
    for (name, device) in [("flex", Device::flex())].into_iter().chain(others()) {
        let sampler = cl_data::DeviceSampler::new(&models, spec.views.augmentation(), &device).unwrap();
        let count = 4096;
        let [plus, plus_plus] = sampler.pairs(count).map(|x| x.into_data().iter::<f64>().collect::<Vec<_>>());
        assert!(plus.iter().zip(&plus_plus).all(|(a, b)| *a == 0.0 || *b == 0.0), "{name}: masks overlap");
        let observations: Vec<f64> = sampler.observations(count).into_data().iter::<f64>().collect();
        let square = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64;
        let (d, d1) = (spec.data.code_dim as f64, spec.data.input_dim as f64);
        let q = spec.data.sparse_code.unwrap().nonzero_probability(spec.data.code_dim);
        let expected = q * d / d1 + spec.data.noise_std.unwrap().powi(2);
        // Views are twice as large half of the time.
        for (what, values, expected) in [
            ("observations", &observations, expected),
            ("x+", &plus, 2.0 * expected),
            ("x++", &plus_plus, 2.0 * expected),
        ] {
            let found = square(values);
            // 200,000 numbers: 1 % is four standard errors or more.
            assert!((found - expected).abs() < 0.03 * expected, "{name}, {what}: {found} instead of {expected}");
        }
    }
}

/// Both views of 1,024 images at once, as a GPU gets them, against Flex with a few images at a time.
#[test]
#[cfg_attr(not(any(feature = "ndarray", feature = "wgpu")), ignore = "Flex alone is compiled in: nothing to compare")]
fn views_of_a_large_batch_agree_on_every_backend_of_this_build() {
    const IMAGES: usize = 1024;
    let images = ShapesModel::default().splits(IMAGES, 1, 5).train;
    let blur = GaussianBlur { probability: 0.5, kernel_size: 3, sigma: [0.1, 2.0] };
    let pipeline = ViewPipeline::simclr_cifar().with(GaussianBlur::NAME, blur).unwrap();
    let views = |device: &Device, at_once: usize| -> Vec<f32> {
        let tensor = images.tensor(&(0..IMAGES).collect::<Vec<_>>(), device);
        let stream = Stream::new(7, Purpose::ImageViews);
        let stacked = pipeline.stacked_views_in_chunks(&tensor, &images.channel_statistics(), stream, 3, at_once);
        stacked.into_data().iter::<f32>().collect()
    };
    let reference = views(&Device::flex(), 32);
    assert_eq!(reference.len(), 2 * IMAGES * 3 * images.height() * images.width());
    for (name, device) in others() {
        let found = views(&device, IMAGES);
        let furthest = found.iter().zip(&reference).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("{name}: views of {IMAGES} images differ by {furthest:.1e} at most");
        assert!(found.len() == reference.len() && furthest < 2e-3, "{name}: {furthest}");
    }
}

/// SimCLR's loss, with the other views of the batch as negatives.
fn nt_xent(spec: &mut TrainingSpec) {
    spec.objective = catalog().parts().objectives.part("nt_xent", &NtXent { temperature: 0.5 });
    spec.data.negatives = cl_data::Negatives::OtherKeys;
}

/// The paper's loss and what public code makes of it, in closed form and through autodiff on the same backend.
#[test]
fn gradients_in_closed_form_and_through_autodiff_lead_to_the_same_weights() {
    let device = Device::flex();
    let variants: [fn(&mut TrainingSpec); 5] = [
        |_| {},
        |spec| {
            change_loss(spec, |loss| {
                (loss.similarity, loss.key_gradient) = (Similarity::Cosine, KeyGradient::Flows);
            });
        },
        |spec| change_encoder(spec, |encoder| encoder.bias = Bias::Trained { initial: 0.1 }),
        nt_xent,
        |spec| {
            nt_xent(spec);
            change_encoder(spec, |encoder| {
                (encoder.normalization, encoder.bias) = (Normalization::Batch, Bias::Trained { initial: 0.1 });
            });
        },
    ];
    for (number, change) in variants.into_iter().enumerate() {
        let mut spec = small_spec();
        change(&mut spec);
        let is_normalised = spec.symmetric_relu().unwrap().normalization == Normalization::Batch;
        let task: SparseCoding = SparseCoding::on(&spec, 7, &device);
        match task.gradient_source() {
            GradientSource::ClosedForm => assert!(!is_normalised),
            GradientSource::LossInClosedForm => assert!(is_normalised),
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
