//! What `tests/python/check_run.py` and `check_objective.py` recompute: one run's data, masks, weights, gradient and measures.

use super::python_images;
use super::taken_apart::{trained, write_tensors};
use crate::io::error::UserError;
use crate::io::files::{pretty, write_whole};
use crate::run::catalog::Catalog;
use crate::tasks::choice::{Choice, choose};
use crate::tasks::images::spec::ImageSpec;
use crate::tasks::learner::{Learner, LearnerOf};
use crate::tasks::sparse_coding::spec::TrainingSpec;
use crate::tasks::sparse_coding::training::SparseCoding;
use crate::tasks::task::Task;
use burn::module::Module;
use burn::tensor::{Device, TensorData};
use burn::train::TrainStep;
use cl_data::{Augmentation, Matrix, Negatives, Purpose, Stream};
use cl_model::replicas::ReplicaSettings;
use cl_model::{
    Bias, InfoNce, Normalization, OptimizerConfig, Predictor, PredictorConfig, PredictorNetwork, independent_copy,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What to write.
#[derive(Debug, Clone)]
pub struct Request {
    /// Folder of an experiment.
    pub experiment: PathBuf,
    /// The point; the first one when `None`.
    pub point: Option<String>,
    /// The image folder, if given.
    pub data_dir: Option<PathBuf>,
    /// The folder to write, which must not exist.
    pub output: PathBuf,
}

/// What was written.
#[derive(Debug, Clone)]
pub struct Written {
    /// The claim of the experiment.
    pub claim: String,
    /// The point.
    pub point: String,
    /// The seed.
    pub seed: u64,
    /// The check in `tests/python` that recomputes it.
    pub check: &'static str,
}

/// Trains a point of the experiment under its first seed on Flex and writes what is needed to recompute it.
///
/// # Errors
/// [`UserError`] when the checks do not cover this kind of run, the folder exists, or a file cannot be written.
pub fn export(request: &Request, catalog: &Catalog) -> Result<Written, UserError> {
    let output = &request.output;
    if output.exists() {
        return Err(UserError::file(output, "the folder exists and is not overwritten; give another --output"));
    }
    let Choice { claim, point, seed } =
        choose(&request.experiment, request.point.as_deref(), None, request.data_dir.as_deref(), catalog.parts())?;
    let make_folder = || {
        std::fs::create_dir_all(output).map_err(|e| UserError::file(output, format!("the folder cannot be made: {e}")))
    };
    let check = if let Some(spec) = point.spec.get::<TrainingSpec>() {
        let (check, negatives) = check_of(spec).ok_or_else(|| {
            UserError::Argument(format!(
                "{claim}: {} is not what the checks recompute, which is the paper's encoder without normalization and projector, fresh \
                 observations at each step and plain gradient descent, under the paper's loss (inner products, no gradient through keys, \
                 fresh negatives) or under {} with matrices as predictors, or under info_nce with a queue",
                point.name,
                OBJECTIVES.join(", ")
            ))
        })?;
        make_folder()?;
        write(spec, seed, negatives, output)?;
        check
    } else if let Some(spec) = point.spec.get::<ImageSpec>() {
        python_images::is_covered(spec)?;
        make_folder()?;
        python_images::write(spec, seed, request.data_dir.as_deref(), output, catalog)?;
        "check_images.py"
    } else {
        return Err(UserError::Argument(format!("{claim}: {} is of a kind that no check recomputes", point.name)));
    };
    Ok(Written { claim, point: point.name, seed, check })
}

/// What `check_objective.py` recomputes.
const OBJECTIVES: [&str; 9] = [
    "nt_xent",
    "decoupled_nt_xent",
    "balanced_nt_xent",
    "spectral",
    "barlow_twins",
    "vicreg",
    "negative_cosine",
    "alignment_uniformity",
    "masked_reconstruction",
];

/// The check that can recompute a run, and the number of fresh negatives if there are any.
fn check_of(spec: &TrainingSpec) -> Option<(&'static str, Option<usize>)> {
    let encoder = spec.symmetric_relu()?;
    let is_matrix = |predictor: &PredictorConfig| !matches!(predictor.network, PredictorNetwork::Mlp { .. });
    let is_scheduled = !matches!(encoder.bias, Bias::Trained { .. });
    let is_plain = encoder.normalization == Normalization::None
        && spec.model.projector.is_none()
        && spec.model.predictor.as_ref().is_none_or(is_matrix)
        && spec.data.training_set_size.is_none()
        && matches!(spec.optimization.optimizer, OptimizerConfig::Sgd { momentum: 0.0, .. });
    let is_papers = spec.objective.config::<InfoNce>().is_some_and(ReplicaSettings::supports);
    let is_covered = OBJECTIVES.contains(&spec.objective.name()) || spec.model.queue.is_some();
    match spec.data.negatives {
        Negatives::Fresh { count } if is_plain && is_papers && spec.optimization.gradient_clip.is_none() => {
            Some(("check_run.py", Some(count)))
        }
        Negatives::OtherKeys if is_plain && is_scheduled && is_covered => Some(("check_objective.py", None)),
        _ => None,
    }
}

fn write(spec: &TrainingSpec, seed: u64, negatives: Option<usize>, output: &Path) -> Result<(), UserError> {
    let training: Arc<SparseCoding> = Arc::new(SparseCoding::on(spec, seed, &Device::flex()));
    let initial = Learner::start(&training);
    let schedule = training.schedule();
    // In the middle, where thresholds grow and neurons have begun to differ.
    let before = trained(Learner::start(&training), schedule.steps / 2);
    let step = before.steps_done();
    let eta = schedule.learning_rate.at(step);
    let output_of_step = TrainStep::step(&before, training.batch(step));
    let loss: f64 = output_of_step.item.loss.into_scalar();
    let weights = before.model.encoder.weights.id;
    let gradient = output_of_step.grads.get::<2>(weights).map(|g| g.into_data());
    let gradient = gradient.ok_or_else(|| UserError::Run("the step has no gradient of the weights".into()))?;
    let copy = |learner: &LearnerOf<SparseCoding>| {
        independent_copy(learner, Learner::start(&training)).at_step(learner.steps_done())
    };
    let after = trained(copy(&before), step + 1);
    let last = trained(copy(&after), schedule.steps);

    let mut tensors = batch(spec, seed, step, negatives);
    tensors.push(named(("snapshot_x", training.snapshot_observations().x.clone())));
    let held_out = spec.sampler(seed).held_out_batch(step).pair;
    tensors.extend([("held_out_x_plus", held_out.x_plus), ("held_out_x_plus_plus", held_out.x_plus_plus)].map(named));
    tensors.extend(state("before", &before));
    tensors.extend(state("after", &after));
    tensors.push(("gradient".into(), gradient));
    if let Some(matrix) = before.model.predictor.as_ref().and_then(Predictor::matrix) {
        let gradient = output_of_step.grads.get::<2>(matrix.id);
        tensors.extend(gradient.map(|g| ("predictor_gradient".into(), g.into_data())));
    }
    tensors.push(("dictionary".into(), training.features().transpose().into_data()));
    write_tensors(&output.join("step.safetensors"), tensors)?;

    let mut tensors = vec![
        ("dictionary".to_string(), training.features().transpose().into_data()),
        ("weights".to_string(), last.model.encoder.weights.val().into_data()),
        ("biases".to_string(), last.model.encoder.biases.val().into_data()),
        ("initial_weights".to_string(), initial.model.encoder.weights.val().into_data()),
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

    let evaluation = training.score(&last.model.valid()).map_err(|e| UserError::Run(e.to_string()))?;
    let run = serde_json::json!({
        "spec": spec, "seed": seed, "step": step, "loss": loss, "eta": eta, "snapshot_before": before.snapshot(),
        "snapshot": last.snapshot(), "evaluation": evaluation,
    });
    write_whole(&output.join("run.json"), pretty(&run).as_bytes())
}

/// Observations, masks, views and negatives of a step.
fn batch(spec: &TrainingSpec, seed: u64, step: u64, negatives: Option<usize>) -> Vec<(String, TensorData)> {
    let model = spec.data.model(seed);
    let pairs = Stream::new(seed, Purpose::TrainingPairs);
    let observations = model.sample(spec.optimization.batch_size, pairs, step);
    let negatives = negatives.map(|n| model.sample(n, Stream::new(seed, Purpose::TrainingNegatives), step));
    let trained_on = spec.sampler(seed).batch(step);
    let mut tensors: Vec<(String, TensorData)> = [
        ("z", observations.z),
        ("xi", observations.xi),
        ("x", observations.x.clone()),
        ("x_plus", trained_on.pair.x_plus),
        ("x_plus_plus", trained_on.pair.x_plus_plus),
    ]
    .map(named)
    .into();
    tensors.extend(negatives.into_iter().flat_map(|n| [("negative_z", n.z), ("negative_xi", n.xi)]).map(named));
    tensors.extend(trained_on.negatives.map(|x| named(("negatives", x))));
    let augmentation = spec.views.augmentation();
    if augmentation != Augmentation::None {
        // What a mask leaves of ones.
        let ones =
            Matrix::from_values(observations.x.rows, observations.x.cols, vec![1.0; observations.x.values.len()]);
        let mask = augmentation.apply(ones, pairs, step);
        for (name, mut mask) in [("mask_plus", mask.x_plus), ("mask_plus_plus", mask.x_plus_plus)] {
            mask.values.iter_mut().for_each(|v| *v = f32::from(*v != 0.0));
            tensors.push(named((name, mask)));
        }
    }
    tensors
}

/// Weights and thresholds, those of a momentum copy, the matrix of a predictor, and the keys of a queue.
fn state(when: &str, learner: &LearnerOf<SparseCoding>) -> Vec<(String, TensorData)> {
    let model = &learner.model;
    let copy = model.momentum_copy.as_ref().map(|copy| ("copy_", &copy.encoder));
    let encoders = [("", &model.encoder)].into_iter().chain(copy);
    let mut tensors: Vec<(String, TensorData)> = encoders
        .flat_map(|(whose, encoder)| {
            [
                (format!("{whose}weights_{when}"), encoder.weights.val().into_data()),
                (format!("{whose}biases_{when}"), encoder.biases.val().into_data()),
            ]
        })
        .collect();
    let matrix = model.predictor.as_ref().and_then(Predictor::matrix);
    tensors.extend(matrix.map(|matrix| (format!("predictor_{when}"), matrix.val().into_data())));
    tensors.extend(model.queue.as_ref().map(|queue| (format!("queue_{when}"), queue.keys.val().into_data())));
    tensors
}

fn data(matrix: Matrix) -> TensorData {
    let shape = [matrix.rows, matrix.cols];
    TensorData::new(matrix.values, shape)
}

fn named((name, matrix): (&str, Matrix)) -> (String, TensorData) {
    (name.to_string(), data(matrix))
}
