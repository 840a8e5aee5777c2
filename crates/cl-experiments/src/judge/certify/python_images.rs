//! What `tests/python/check_images.py` recomputes: a run on images, and the parts of one of its steps.

use super::taken_apart::{trained, write_tensors};
use crate::io::error::UserError;
use crate::io::files::{pretty, write_whole};
use crate::run::catalog::Catalog;
use crate::run::folder::RunFolder;
use crate::run::headless::Session;
use crate::spec::RunSpec;
use crate::tasks::images::dataset::Dataset;
use crate::tasks::images::evaluation::ImageEvaluation;
use crate::tasks::images::spec::ImageSpec;
use crate::tasks::images::training::{ImageSnapshot, ImageTraining};
use crate::tasks::images::{analysis, directions};
use crate::tasks::learner::{Learner, LearnerOf};
use crate::tasks::task::{Place, Task};
use crate::tasks::weights;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use burn::train::TrainStep;
use cl_data::images::{ImageSet, ShapeLatents};
use cl_model::conv::{ImageEncoder, ResNet18Config, SmallConvNetConfig, WideResNetConfig};
use cl_model::{EncoderConfig, OptimizerConfig, Siamese, independent_copy};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// The gradient of each update as a multiple of the step's: several updates with different gradients, so that the state
/// an optimizer carries from one to the next matters.
const GRADIENT_FACTORS: [f64; 2] = [1.0, -0.5];

/// Optimizers whose updates are written, with learning rates that move weights noticeably.
const OPTIMIZERS: [(&str, OptimizerConfig, f64); 3] = [
    ("sgd", OptimizerConfig::Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 }, 0.05),
    ("adamw", OptimizerConfig::AdamW { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 0.01 }, 0.003),
    ("lars", OptimizerConfig::Lars { momentum: 0.9, trust_coefficient: 0.001, weight_decay: 1e-4 }, 0.5),
];

type Tensors = Vec<(String, TensorData)>;

/// Rejects a run that the check does not recompute.
///
/// # Errors
/// [`UserError::Argument`] naming what the run has.
pub fn is_covered(spec: &ImageSpec) -> Result<(), UserError> {
    let encoder = spec.model.encoder.name();
    let projector = spec.model.projector.as_ref().filter(|projector| !projector.frozen);
    let depth = projector.map_or(0, |projector| projector.hidden_dims.len());
    let objective = spec.objective.name();
    let known = ["small_conv_net", "resnet18", "wide_resnet"].contains(&encoder)
        && spec.optimization.epochs.is_some()
        && spec.optimization.gradient_clip.is_none()
        && spec.model.queue.is_none()
        && (spec.is_supervised() || depth == 1 && ["nt_xent", "info_nce"].contains(&objective));
    if known {
        return Ok(());
    }
    Err(UserError::Argument(format!(
        "the check recomputes small_conv_net, resnet18 and wide_resnet for a number of epochs under nt_xent or info_nce with a trained \
         projector of one hidden layer, or under labels; this run has {encoder}, {objective} and {depth} trained hidden layers"
    )))
}

/// Executes the run below `output` and writes what is needed to recompute it.
///
/// # Errors
/// [`UserError`] when the images cannot be read, the run fails, or a file cannot be written.
pub fn write(
    spec: &ImageSpec,
    seed: u64,
    data_dir: Option<&Path>,
    output: &Path,
    catalog: &Catalog,
) -> Result<(), UserError> {
    let device = Device::flex();
    let session = Session {
        device_name: "flex",
        device: &device,
        data_dir,
        checkpoint_every: Duration::MAX,
        pictures: false,
        stop: &AtomicBool::new(false),
        progress: &mut |_, _| {},
        warn: &mut |text| crate::warn_line!("{text}"),
    };
    catalog.execute(&RunSpec::new(spec.clone()), seed, &RunFolder::at(output.join("run")), session)?;
    let place = Place { device_name: "flex", device: &device, data_dir };
    match spec.model.encoder.name() {
        "resnet18" => write_task::<ResNet18Config>(spec, seed, place, output),
        "wide_resnet" => write_task::<WideResNetConfig>(spec, seed, place, output),
        _ => write_task::<SmallConvNetConfig>(spec, seed, place, output),
    }
}

fn write_task<C: EncoderConfig<Encoder: ImageEncoder>>(
    spec: &ImageSpec,
    seed: u64,
    place: Place,
    output: &Path,
) -> Result<(), UserError> {
    let folder = RunFolder::at(output.join("run"));
    let training = Arc::new(ImageTraining::<C>::new(spec, seed, place)?);
    write_tensors(&output.join("images.safetensors"), images(&training))?;
    let (step, loss, gradient_norm, tensors) = step(&training);
    write_tensors(&output.join("step.safetensors"), tensors)?;
    let (snapshots, evaluation): (Vec<ImageSnapshot>, ImageEvaluation) = (folder.snapshots()?, folder.evaluation()?);
    write_tensors(&output.join("end.safetensors"), end(&training, &folder, &evaluation)?)?;

    let (e, schedule) = (&spec.evaluation, training.schedule());
    let sorted = |part: &[usize]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part
    };
    let statistics = training.data().statistics();
    let optimizers: Vec<_> = OPTIMIZERS
        .iter()
        .map(|(name, config, rate)| serde_json::json!({"name": name, "config": config, "learning_rate": rate}))
        .collect();
    let run = serde_json::json!({
        "kind": "images",
        "spec": training.data().spec(),
        "seed": seed,
        "step": step,
        "loss": loss,
        "gradient_norm": gradient_norm,
        "learning_rates": (0..schedule.steps).map(|step| schedule.learning_rate.at(step)).collect::<Vec<_>>(),
        "optimizers": optimizers,
        "snapshots": snapshots,
        "evaluation": evaluation,
        "channel_mean": statistics.mean,
        "channel_std": statistics.std,
        "parts": {
            "snapshot_train": sorted(training.data().part_of_train(e.snapshot_train)),
            "snapshot_test": sorted(training.data().part_of_test(e.snapshot_test)),
            "held_out": training.data().part_of_test(spec.optimization.batch_size),
            "looked_into": training.data().part_of_test(analysis::IMAGES),
            "directions_train": training.data().part_of_train(directions::IMAGES),
            "directions_test": training.data().part_of_test(directions::IMAGES),
        },
    });
    write_whole(&output.join("run.json"), pretty(&run).as_bytes())
}

fn images<C: EncoderConfig<Encoder: ImageEncoder>>(training: &ImageTraining<C>) -> Tensors {
    let set = |name: &str, images: &ImageSet| {
        let pixels: Vec<f32> = (0..images.len()).flat_map(|i| images.pixels(i)).map(|p| f32::from(*p)).collect();
        let labels: Vec<f32> = images.labels().iter().map(|label| *label as f32).collect();
        let n = images.len();
        [
            (format!("{name}_pixels"), TensorData::new(pixels, [n, 3, images.height(), images.width()])),
            (format!("{name}_labels"), TensorData::new(labels, [n])),
        ]
    };
    [set("train", &training.data().splits().train), set("test", &training.data().splits().test)].concat()
}

/// The step in the middle of the run with its loss and the norm of its gradient: views, network, gradient, running statistics after it, updates.
fn step<C: EncoderConfig<Encoder: ImageEncoder>>(training: &Arc<ImageTraining<C>>) -> (u64, f64, Option<f64>, Tensors) {
    let learner: LearnerOf<ImageTraining<C>> = trained(Learner::start(training), training.schedule().steps / 2);
    let step = learner.steps_done();
    let gradient_norm = training.gradient_norm(&learner.model.valid(), step);
    let copy = || independent_copy(&learner, Learner::start(training)).at_step(step);
    let mut tensors = named("before", &learner.model);
    let batch = training.batch(step);
    tensors.extend([
        ("views".to_string(), batch.views.clone().into_data()),
        ("classes".to_string(), batch.classes.clone().float().into_data()),
    ]);
    let stepped = copy();
    let output = TrainStep::step(&stepped, batch);
    let loss = output.item.loss.into_scalar();
    let gradient = by_name(&stepped.model, &|visited| visited.gradient(&output.grads));
    tensors.extend(gradient.iter().map(|(name, value)| (format!("gradient.{name}"), value.clone())));
    let is_running = |name: &str| name.ends_with(".running_mean") || name.ends_with(".running_var");
    tensors.extend(named("after_forward", &stepped.model).into_iter().filter(|(name, _)| is_running(name)));
    for (name, config, rate) in OPTIMIZERS {
        let (mut model, mut optimizer) = (copy().model, config.init());
        for (k, factor) in (1..).zip(GRADIENT_FACTORS) {
            let grads = registered(&model, &gradient, factor);
            model = optimizer.step(rate, model, grads);
            let updated = named(&format!("{name}.{k}"), &model);
            tensors.extend(updated.into_iter().filter(|(name, _)| !is_running(name)));
        }
    }
    (step, loss, gradient_norm, tensors)
}

/// The final networks, and what they were measured on.
fn end<C: EncoderConfig<Encoder: ImageEncoder>>(
    training: &ImageTraining<C>,
    folder: &RunFolder,
    evaluation: &ImageEvaluation,
) -> Result<Tensors, UserError> {
    let last_step = training.schedule().steps;
    let mut tensors = named("untrained", &training.untrained());
    for (state, file, step) in
        [("last", "weights.safetensors", last_step), ("best", "weights-best.safetensors", evaluation.best_step)]
    {
        let path = folder.path().join(file);
        let bytes = std::fs::read(&path).map_err(|e| UserError::file(&path, format!("it cannot be read: {e}")))?;
        let model = weights::from_safetensors(training.untrained(), bytes).map_err(|e| UserError::file(&path, e))?;
        let test = &training.data().splits().test;
        let all: Vec<usize> = (0..test.len()).collect();
        tensors.extend(named(state, &model));
        tensors.push((format!("{state}.held_out_views"), training.data().held_out(step).views.into_data()));
        tensors.push((format!("{state}.test_features"), training.data().features(&model, test, &all).into_data()));
    }
    for pair in 0..directions::PAIRS {
        let views = directions::views(training.data(), training.data().part_of_train(directions::IMAGES), pair);
        tensors.push((format!("direction_views.{pair}"), views.into_data()));
    }
    if let Dataset::Shapes(spec) = training.data().spec().data.dataset {
        let latents = directions::latents_of(&spec).into_iter().zip(["latents_train", "latents_test"]);
        tensors.extend(latents.map(|(latents, name)| (name.to_string(), flat(&latents))));
    }
    Ok(tensors)
}

/// Colour of the shape, colour of the ground, position and size, `[n, 9]`.
fn flat(latents: &[ShapeLatents]) -> TensorData {
    let values: Vec<f32> =
        latents.iter().flat_map(|l| [&l.foreground[..], &l.ground, &l.centre, &[l.radius]].concat()).collect();
    TensorData::new(values, [latents.len(), 9])
}

/// All tensors of a network, by name with `prefix`.
fn named<E: ImageEncoder>(prefix: &str, model: &Siamese<E>) -> Tensors {
    let all = by_name(&model.valid(), &|visited| Some(visited.value()));
    all.into_iter().map(|(name, value)| (format!("{prefix}.{name}"), value)).collect()
}

/// What `read` returns for each tensor of a module, running statistics included.
fn by_name(module: &impl Module, read: &dyn Fn(&dyn AnyRank) -> Option<TensorData>) -> Tensors {
    let mut found = Vec::new();
    visit(module, &mut |name, parameter| found.extend(read(parameter).map(|value| (name, value))));
    found
}

/// Named gradients times a factor, registered for this module's parameters.
fn registered(module: &impl Module, gradients: &Tensors, factor: f64) -> GradientsParams {
    let mut registered = GradientsParams::new();
    visit(module, &mut |name, parameter| {
        if let Some((_, value)) = gradients.iter().find(|(of, _)| *of == name) {
            parameter.register(&mut registered, value.clone(), factor);
        }
    });
    registered
}

/// A parameter, whatever its rank.
trait AnyRank {
    fn value(&self) -> TensorData;
    fn gradient(&self, gradients: &GradientsParams) -> Option<TensorData>;
    fn register(&self, gradients: &mut GradientsParams, value: TensorData, factor: f64);
}

impl<const D: usize> AnyRank for Param<Tensor<D>> {
    fn value(&self) -> TensorData {
        self.val().into_data()
    }

    fn gradient(&self, gradients: &GradientsParams) -> Option<TensorData> {
        gradients.get::<D>(self.id).map(Tensor::into_data)
    }

    fn register(&self, gradients: &mut GradientsParams, value: TensorData, factor: f64) {
        gradients.register(self.id, Tensor::<D>::from_data(value, &Device::flex()) * factor);
    }
}

/// Calls `see` with each tensor of a module and its name.
fn visit(module: &impl Module, see: &mut dyn FnMut(String, &dyn AnyRank)) {
    struct Visitor<'a> {
        path: Vec<String>,
        see: &'a mut dyn FnMut(String, &dyn AnyRank),
    }
    impl ModuleVisitor for Visitor<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.into());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            (self.see)(self.path.join("."), parameter);
        }
    }
    module.visit(&mut Visitor { path: Vec::new(), see });
}
