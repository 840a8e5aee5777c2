//! The paper's result in small, within the time of a test.

use crate::support::{change_encoder, run, scratch, small_spec, with_labels};
use cl_data::Augmentation;
use cl_experiments::run::folder::RunFolder;
use cl_experiments::tasks::sparse_coding::batches::{BatchSource, Samples};
use cl_experiments::tasks::sparse_coding::evaluation::Evaluation;
use cl_experiments::tasks::sparse_coding::spec::ClassesSpec;
use cl_experiments::tasks::sparse_coding::training::SparseCoding;
use cl_experiments::tasks::task::Task;
use cl_model::{Bias, BiasRule, LearningRate, OptimizerConfig, SymmetricReluConfig};
use std::sync::atomic::AtomicBool;

fn trained(augmentation: Augmentation) -> Evaluation {
    let mut spec = small_spec();
    spec.data.code_dim = 16;
    spec.data.input_dim = 96;
    spec.data.sparse_code = Some(cl_data::SparseCodeDistribution::Bernoulli { nonzero_probability: 0.0637 });
    spec.data.noise_std = Some(0.31);
    spec.views = augmentation.into();
    change_encoder(&mut spec, |encoder| {
        encoder.num_neurons = 32;
        encoder.initial_scale = 0.1;
        encoder.bias = Bias::Scheduled(BiasRule { start_step: 100, initial_ratio: 0.6, growth: 0.02, cap_ratio: 1.7 });
    });
    spec.optimization.steps = Some(1000);
    spec.optimization.snapshot_every = 100;
    spec.optimization.batch_size = 192;
    spec.optimization.optimizer = OptimizerConfig::plain(0.001);
    spec.optimization.learning_rate =
        LearningRate::ExponentialDecay { first: 1.0, decay_from: 600.0, decay_to: 1000.0, last: 0.1 };
    spec.evaluation.probe_samples = 1024;
    let runs = scratch();
    let folder = RunFolder::at(runs.path().join("run"));
    run(&spec, 1, &folder, &AtomicBool::new(false), &mut |_| {}).unwrap();
    folder.evaluation().unwrap()
}

/// The controls behind `reproduce --broken`: with targets and classes of other observations there is nothing to find.
#[test]
fn shuffled_targets_and_labels_say_nothing_of_their_observation() {
    let device = cl_experiments::io::device::open("flex").unwrap();
    let oracle = |shuffled_targets: bool| {
        let mut spec = small_spec();
        (spec.evaluation.probe_samples, spec.evaluation.shuffled_targets) = (512, shuffled_targets);
        let task = SparseCoding::<SymmetricReluConfig>::on(&spec, 1, &device);
        task.score(&task.untrained()).unwrap().baselines.unwrap().oracle.r_squared.unwrap()
    };
    // In so small a model noise hides much of z from the oracle as well.
    assert!(oracle(false) > 0.3 && oracle(true) < 0.1, "{} {}", oracle(false), oracle(true));

    let classes = |shuffled_labels: bool| -> Vec<i64> {
        let mut spec = small_spec();
        with_labels(&mut spec, ClassesSpec { count: 3, shuffled: shuffled_labels });
        match BatchSource::new(&spec, 1).training(0, &device) {
            Samples::Labelled { classes, .. } => classes.into_data().iter::<i64>().collect(),
            Samples::Pairs { .. } => panic!("labels are asked for"),
        }
    };
    let (own, mut others) = (classes(false), classes(true));
    assert_ne!(own, others);
    others.rotate_right(1);
    assert_eq!(own, others, "each has the class of the next one");
}

#[test]
fn masks_recover_the_dictionary_and_their_absence_does_not() {
    let masked = trained(Augmentation::complementary());
    let plain = trained(Augmentation::None);
    assert!(masked.features.coverage_mean > 0.9, "{masked:?}");
    assert!(masked.coverage_corrected > plain.coverage_corrected + 0.4, "{plain:?}");
    assert!(plain.features.features_with_singleton < 4, "{plain:?}");
    let r_squared = |e: &Evaluation| e.probe.r_squared.unwrap() / e.baselines.unwrap().oracle.r_squared.unwrap();
    assert!(r_squared(&masked) > r_squared(&plain) + 0.3, "{} {}", r_squared(&masked), r_squared(&plain));
}
