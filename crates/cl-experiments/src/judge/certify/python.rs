//! What `tests/python/check_run.py` recomputes: one run's data, masks, weights, gradient and measures.

use crate::cli::Certify;
use crate::error::UserError;
use crate::export::{Choice, choose};
use crate::learner::{EncoderLearner, StepSizeScheduler};
use crate::measure::Monitor;
use crate::record::{pretty, safetensors_bytes, write_whole};
use crate::shell;
use crate::spec::{Objective, RunSpec, TrainingSpec};
use crate::training::{Learning, Training};
use burn::module::Module;
use burn::optim::lr_scheduler::LrScheduler;
use burn::tensor::{Device, TensorData};
use burn::train::TrainStep;
use cl_data::{Augmentation, Matrix, Negatives, Purpose, Stream};
use cl_model::replicas::ReplicaSettings;
use cl_model::{Normalization, independent_copy};
use std::path::Path;

/// Trains a point of the experiment under its first seed on Flex and writes what there is to recompute.
///
/// # Errors
/// [`UserError`] when the run is of a kind that the checks do not cover, the folder is there, or a file cannot be written.
pub fn export(arguments: &Certify) -> Result<(), UserError> {
    let output = &arguments.output;
    if output.exists() {
        return Err(UserError::file(output, "the folder exists and is not overwritten; give another --output"));
    }
    let Choice { claim, point, seed } =
        choose(&arguments.experiment, arguments.point.as_deref(), None, arguments.data_dir.as_deref())?;
    let make_folder = || {
        std::fs::create_dir_all(output).map_err(|e| UserError::file(output, format!("the folder cannot be made: {e}")))
    };
    let check = match &point.spec {
        RunSpec::Training(spec) => {
            let negatives = fresh_negatives(spec).ok_or_else(|| {
                UserError::Argument(format!(
                    "{claim}: {} is not what the check recomputes, which is the paper's loss: inner products, no gradient through \
                     keys, fresh negatives, no normalization, fresh observations at each step",
                    point.name
                ))
            })?;
            make_folder()?;
            write(spec, seed, negatives, output)?;
            "check_run.py"
        }
        RunSpec::Images(spec) => {
            make_folder()?;
            super::python_images::write(spec, seed, arguments.data_dir.as_deref(), output)?;
            "check_images.py"
        }
        RunSpec::Moments(_) => {
            return Err(UserError::Argument(format!("{claim}: {} estimates moments and trains nothing", point.name)));
        }
    };
    crate::say_line!(
        "{}: {} of {claim}, seed {seed}. To recompute it without this program:\n  pip install --require-hashes -r tests/python/requirements.txt\n  \
         python3 tests/python/{check} {}",
        output.display(),
        point.name,
        shell::join([output])
    );
    Ok(())
}

/// The number of negatives of a run that the check can recompute.
fn fresh_negatives(spec: &TrainingSpec) -> Option<usize> {
    match spec.objective {
        Objective::Contrastive(c) => {
            let is_plain = ReplicaSettings::supports(&c.info_nce())
                && spec.encoder.normalization == Normalization::None
                && spec.training.training_set_size.is_none();
            match c.negatives {
                Negatives::Fresh { count } if is_plain => Some(count),
                _ => None,
            }
        }
        _ => None,
    }
}

fn write(spec: &TrainingSpec, seed: u64, negatives: usize, output: &Path) -> Result<(), UserError> {
    let training = Monitor::new(spec, seed, &Device::flex());
    let initial = training.fresh();
    // In the middle, where thresholds grow and neurons have begun to differ.
    let before = trained(&training, independent_copy(&initial, training.fresh()), spec.training.steps / 2);
    let step = before.steps_done();
    let eta = spec.training.step_size.at(step);
    let output_of_step = TrainStep::step(&before, training.batch(step));
    let loss: f64 = output_of_step.item.loss.into_scalar();
    let weights = before.encoder.weights.id;
    let gradient = output_of_step.grads.get::<2>(weights).map(|g| g.into_data());
    let gradient = gradient.ok_or_else(|| UserError::Run("the step has no gradient of the weights".into()))?;
    let copy = |learner: &EncoderLearner| independent_copy(learner, training.fresh()).at_step(learner.steps_done());
    let after = trained(&training, copy(&before), step + 1);
    let last = trained(&training, copy(&after), spec.training.steps);
    let snapshot = training.snapshot(&last.valid());

    let mut tensors = batch(spec, seed, step, negatives);
    tensors.extend(state("before", &before));
    tensors.extend(state("after", &after));
    tensors.push(("gradient".into(), gradient));
    tensors.push(("dictionary".into(), training.features().transpose().into_data()));
    write_tensors(&output.join("step.safetensors"), tensors)?;

    let mut tensors = vec![
        ("dictionary".to_string(), training.features().transpose().into_data()),
        ("weights".to_string(), last.encoder.weights.val().into_data()),
        ("biases".to_string(), last.encoder.biases.val().into_data()),
        ("initial_weights".to_string(), initial.encoder.weights.val().into_data()),
        ("target".to_string(), TensorData::new(training.target().to_vec(), [training.target().len()])),
    ];
    let evaluation = training.evaluation_observations();
    tensors.extend([("evaluation_x", evaluation.x), ("evaluation_xi", evaluation.xi)].map(named));
    tensors.push(named(("evaluation_z", evaluation.z)));
    for (name, observations) in ["probe_train", "probe_test"].into_iter().zip(training.probe_observations()) {
        tensors.push((format!("{name}_x"), data(observations.x)));
        tensors.push((format!("{name}_z"), data(observations.z)));
    }
    write_tensors(&output.join("end.safetensors"), tensors)?;

    let evaluation = training.evaluate(&last.valid()).map_err(|e| UserError::Run(e.to_string()))?;
    let run = serde_json::json!({
        "spec": spec, "seed": seed, "step": step, "loss": loss, "eta": eta, "snapshot": snapshot, "evaluation": evaluation,
    });
    write_whole(&output.join("run.json"), pretty(&run).as_bytes())
}

/// The learner after so many steps in all, from a fresh state of the optimizer.
pub(super) fn trained<T: Training>(training: &T, mut learner: T::Learner, steps: u64) -> T::Learner {
    let mut optimizer = training.optimizer();
    let mut step_sizes = StepSizeScheduler::new(training.schedule().step_size, learner.steps_done());
    while learner.steps_done() < steps {
        let output = TrainStep::step(&learner, training.batch(learner.steps_done()));
        learner = learner.optimize(&mut optimizer, step_sizes.step().into(), output.grads);
    }
    learner
}

/// Observations, masks, views and negatives of a step.
fn batch(spec: &TrainingSpec, seed: u64, step: u64, negatives: usize) -> Vec<(String, TensorData)> {
    let model = spec.data.model(seed);
    let pairs = Stream::new(seed, Purpose::TrainingPairs);
    let observations = model.sample(spec.training.batch_size, pairs, step);
    let negatives = model.sample(negatives, Stream::new(seed, Purpose::TrainingNegatives), step);
    let trained_on = spec.sampler(seed).batch(step);
    let mut tensors: Vec<(String, TensorData)> = [
        ("z", observations.z),
        ("xi", observations.xi),
        ("x", observations.x.clone()),
        ("x_plus", trained_on.pair.x_plus),
        ("x_plus_plus", trained_on.pair.x_plus_plus),
        ("negative_z", negatives.z),
        ("negative_xi", negatives.xi),
    ]
    .map(named)
    .into();
    tensors.extend(trained_on.negatives.map(|x| named(("negatives", x))));
    if spec.data.augmentation != Augmentation::None {
        // What a mask lets through of ones.
        let ones =
            Matrix::from_values(observations.x.rows, observations.x.cols, vec![1.0; observations.x.values.len()]);
        let mask = spec.data.augmentation.apply(ones, pairs, step);
        for (name, mut mask) in [("mask_plus", mask.x_plus), ("mask_plus_plus", mask.x_plus_plus)] {
            mask.values.iter_mut().for_each(|v| *v = f32::from(*v != 0.0));
            tensors.push(named((name, mask)));
        }
    }
    tensors
}

fn state(when: &str, learner: &EncoderLearner) -> [(String, TensorData); 2] {
    let encoder = &learner.encoder;
    [
        (format!("weights_{when}"), encoder.weights.val().into_data()),
        (format!("biases_{when}"), encoder.biases.val().into_data()),
    ]
}

fn data(matrix: Matrix) -> TensorData {
    let shape = [matrix.rows, matrix.cols];
    TensorData::new(matrix.values, shape)
}

fn named((name, matrix): (&str, Matrix)) -> (String, TensorData) {
    (name.to_string(), data(matrix))
}

pub(super) fn write_tensors(path: &Path, tensors: Vec<(String, TensorData)>) -> Result<(), UserError> {
    write_whole(path, &safetensors_bytes(tensors.iter().map(|(name, data)| (name.as_str(), data.clone()))))
}
