//! What `tests/python/check_images.py` recomputes: a run on images, and one of its steps taken apart.

use super::taken_apart::{trained, write_tensors};
use crate::io::error::UserError;
use crate::io::files::{pretty, write_whole};
use crate::run::folder::RunFolder;
use crate::run::headless::{Session, execute};
use crate::spec::RunSpec;
use crate::spec::images::{Dataset, ImageSpec};
use crate::tasks::images::evaluation::ImageEvaluation;
use crate::tasks::images::learner::ImageLearner;
use crate::tasks::images::training::{ImageSnapshot, ImageTraining};
use crate::tasks::images::{anatomy, directions, weights};
use crate::tasks::task::{Learning, Training};
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use burn::train::TrainStep;
use cl_data::images::{ImageSet, ShapeLatents};
use cl_model::{ImageOptimizer, independent_copy};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// The gradient of each update in units of that of the step: several of them, and not the same, so that what an optimizer carries
/// from one to the next is seen.
const GRADIENT_FACTORS: [f64; 2] = [1.0, -0.5];

/// Optimizers whose updates are written, with step sizes that move weights visibly.
const OPTIMIZERS: [(&str, ImageOptimizer, f64); 3] = [
    ("sgd", ImageOptimizer::Sgd { momentum: 0.9, nesterov: true, weight_decay: 5e-4 }, 0.05),
    ("adamw", ImageOptimizer::AdamW { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 0.01 }, 0.003),
    ("lars", ImageOptimizer::Lars { momentum: 0.9, trust_coefficient: 0.001, weight_decay: 1e-4 }, 0.5),
];

type Tensors = Vec<(String, TensorData)>;

/// Makes the run below `output` and writes what there is to recompute of it.
///
/// # Errors
/// [`UserError`] when the images cannot be read, the run fails, or a file cannot be written.
pub fn write(spec: &ImageSpec, seed: u64, data_dir: Option<&Path>, output: &Path) -> Result<(), UserError> {
    let device = Device::flex();
    let folder = RunFolder::at(output.join("run"));
    let session = Session {
        device_name: "flex",
        device: &device,
        data_dir,
        checkpoint_every: Duration::MAX,
        stop: &AtomicBool::new(false),
        progress: &mut |_, _| {},
        warn: &mut |text| crate::warn_line!("{text}"),
    };
    execute(&RunSpec::Images(Box::new(spec.clone())), seed, &folder, session)?;
    let training = ImageTraining::new(spec, seed, data_dir, "flex", &device)?;
    write_tensors(&output.join("images.safetensors"), images(&training))?;
    let (step, loss, tensors) = step(&training);
    write_tensors(&output.join("step.safetensors"), tensors)?;
    let (snapshots, evaluation): (Vec<ImageSnapshot>, ImageEvaluation) = (folder.snapshots()?, folder.evaluation()?);
    write_tensors(&output.join("end.safetensors"), end(&training, &folder, &evaluation)?)?;

    let e = &spec.evaluation;
    let sorted = |part: &[usize]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part
    };
    let statistics = training.data().statistics();
    let optimizers: Vec<_> = OPTIMIZERS
        .iter()
        .map(|(name, config, step_size)| serde_json::json!({"name": name, "config": config, "step_size": step_size}))
        .collect();
    let run = serde_json::json!({
        "kind": "images",
        "spec": training.data().spec(),
        "seed": seed,
        "step": step,
        "loss": loss,
        "step_sizes": (0..spec.steps()).map(|step| spec.step_size().at(step)).collect::<Vec<_>>(),
        "optimizers": optimizers,
        "snapshots": snapshots,
        "evaluation": evaluation,
        "channel_mean": statistics.mean,
        "channel_std": statistics.std,
        "parts": {
            "snapshot_train": sorted(training.data().part_of_train(e.snapshot_train)),
            "snapshot_test": sorted(training.data().part_of_test(e.snapshot_test)),
            "held_out": training.data().part_of_test(spec.optimization.batch_size),
            "looked_into": training.data().part_of_test(anatomy::IMAGES),
            "directions_train": training.data().part_of_train(directions::IMAGES),
            "directions_test": training.data().part_of_test(directions::IMAGES),
        },
    });
    write_whole(&output.join("run.json"), pretty(&run).as_bytes())
}

fn images(training: &ImageTraining) -> Tensors {
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

/// The step in the middle of the run with its loss: views, network, gradient, running statistics behind it, updates.
fn step(training: &ImageTraining) -> (u64, f64, Tensors) {
    let learner = trained(training, training.fresh(), training.schedule().steps / 2);
    let step = learner.steps_done();
    let copy = || independent_copy(&learner, training.fresh()).at_step(step);
    let mut tensors = named("before", &learner);
    let batch = training.batch(step);
    tensors.extend([
        ("views".to_string(), batch.views.clone().into_data()),
        ("classes".to_string(), batch.classes.clone().float().into_data()),
    ]);
    let stepped = copy();
    let output = TrainStep::step(&stepped, batch);
    let loss = output.item.loss.into_scalar();
    let gradient = by_name(&stepped, &|visited| visited.gradient(&output.grads));
    tensors.extend(gradient.iter().map(|(name, value)| (format!("gradient.{name}"), value.clone())));
    let is_running = |name: &str| name.ends_with(".running_mean") || name.ends_with(".running_var");
    tensors.extend(named("after_forward", &stepped.valid()).into_iter().filter(|(name, _)| is_running(name)));
    for (name, config, step_size) in OPTIMIZERS {
        let (mut learner, mut optimizer) = (copy(), config.init());
        for (k, factor) in (1..).zip(GRADIENT_FACTORS) {
            let grads = registered(&learner, &gradient, factor);
            learner = optimizer.step(step_size, learner, grads);
            let updated = named(&format!("{name}.{k}"), &learner);
            tensors.extend(updated.into_iter().filter(|(name, _)| !is_running(name)));
        }
    }
    (step, loss, tensors)
}

/// Networks at the end, and what they were measured on.
fn end(training: &ImageTraining, folder: &RunFolder, evaluation: &ImageEvaluation) -> Result<Tensors, UserError> {
    let last_step = training.schedule().steps;
    let mut tensors = named("untrained", &training.untrained());
    for (state, file, step) in
        [("last", "weights.safetensors", last_step), ("best", "weights-best.safetensors", evaluation.best_step)]
    {
        let path = folder.path().join(file);
        let bytes = std::fs::read(&path).map_err(|e| UserError::file(&path, format!("it cannot be read: {e}")))?;
        let learner = weights::from_safetensors(training.untrained(), bytes).map_err(|e| UserError::file(&path, e))?;
        let test = &training.data().splits().test;
        let all: Vec<usize> = (0..test.len()).collect();
        tensors.extend(named(state, &learner));
        tensors.push((format!("{state}.held_out_views"), training.data().held_out(step).views.into_data()));
        tensors.push((format!("{state}.test_features"), training.data().features(&learner, test, &all).into_data()));
    }
    for pair in 0..directions::PAIRS {
        let views = directions::views(training.data(), training.data().part_of_train(directions::IMAGES), pair);
        tensors.push((format!("direction_views.{pair}"), views.into_data()));
    }
    if let Dataset::Shapes(spec) = training.data().spec().images.dataset {
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

/// Everything a network holds, by name behind `prefix`.
fn named(prefix: &str, learner: &ImageLearner) -> Tensors {
    let all = by_name(&learner.valid(), &|visited| Some(visited.value()));
    all.into_iter().map(|(name, value)| (format!("{prefix}.{name}"), value)).collect()
}

/// What `read` takes from each tensor of a module, running statistics included.
fn by_name(module: &impl Module, read: &dyn Fn(&dyn AnyRank) -> Option<TensorData>) -> Tensors {
    let mut found = Vec::new();
    visit(module, &mut |name, parameter| found.extend(read(parameter).map(|value| (name, value))));
    found
}

/// Gradients by name, times a factor, as those of this module's parameters.
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

/// Shows each tensor of a module with its name to `see`.
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
