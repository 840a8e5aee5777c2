//! What a kind of training has to provide to be executed. It knows neither folders nor dashboards.

use crate::io::error::UserError;
use crate::spec::{Schedule, Specification};
use burn::module::{Module, ModuleDisplay, ModuleVisitor, Param};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, ExecutionError, Tensor};
use burn::train::{ItemLazy, TrainOutput};
use cl_model::gradient_norm;
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;
use std::path::Path;

/// Where a task is executed.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Name of the device.
    pub device_name: &'a str,
    /// The device.
    pub device: &'a Device,
    /// The data folder, if given.
    pub data_dir: Option<&'a Path>,
}

/// A kind of training under one specification and seed: what is trained, on what, and how it is measured.
pub trait Task: Debug + Send + Sync + Sized + 'static {
    /// Its specification.
    type Spec: Specification;
    /// The module in training. It contains whatever training changes, so that checkpoints include it.
    type Model: Module + ModuleDisplay + Sync + 'static;
    /// What one step trains on.
    type Batch: Send + 'static;
    /// What is measured at the end of an epoch.
    type Snapshot: Measured;

    /// The task of one specification and seed.
    ///
    /// # Errors
    /// [`UserError`] when its data cannot be read.
    fn new(spec: &Self::Spec, seed: u64, place: Place) -> Result<Self, UserError>;

    /// Length and learning rate.
    fn schedule(&self) -> Schedule;

    /// The device on which models are measured, outside autodiff.
    fn device(&self) -> &Device;

    /// The model before training; `device` decides whether it can take gradients.
    fn init(&self, device: &Device) -> Self::Model;

    /// The model before training, outside autodiff.
    fn untrained(&self) -> Self::Model {
        self.init(self.device())
    }

    /// How parameters are updated.
    fn optimizer(&self) -> ModuleOptimizer;

    /// The batch of a step: a pure function of the step.
    fn batch(&self, step: u64) -> Self::Batch;

    /// Mean loss of a batch, `[1]`.
    fn loss(&self, model: &Self::Model, batch: Self::Batch) -> Tensor<1>;

    /// Loss outside the graph and gradients of a batch; through autodiff unless a task knows a faster way.
    fn gradients(&self, model: &Self::Model, batch: Self::Batch) -> TrainOutput<Tensor<1>> {
        through_autodiff(model, self.loss(model, batch))
    }

    /// Norm of the gradient of all parameters together that the batch of a step gives to a model outside autodiff, before any bound;
    /// `None` where it is not finite.
    fn gradient_norm(&self, model: &Self::Model, step: u64) -> Option<f64> {
        let model = model.clone().train();
        let norm = gradient_norm(&self.gradients(&model, self.batch(step)).grads, &model)?.into_scalar::<f64>();
        norm.is_finite().then_some(norm)
    }

    /// The model after the update of a step: `optimize` moves its parameters along the gradients, and what depends on them follows.
    fn update(
        &self,
        model: Self::Model,
        _step: u64,
        gradients: GradientsParams,
        optimize: impl FnOnce(Self::Model, GradientsParams) -> Self::Model,
    ) -> Self::Model {
        optimize(model, gradients)
    }

    /// Whether gradients are the same bit by bit whatever else the threads do, so that the next batch may be drawn
    /// meanwhile. (Burn's reductions on Flex are split according to which threads are free.)
    fn may_draw_ahead(&self) -> bool {
        false
    }

    /// Measures a model outside autodiff after `step` steps.
    fn snapshot(&self, model: &Self::Model, step: u64) -> Self::Snapshot;

    /// What can be seen in a model outside autodiff while it learns; `None` where there is no picture.
    fn picture(&self, _model: &Self::Model) -> Option<Picture> {
        None
    }

    /// How good a snapshot is, where the best model is scored as well as the last one: larger is better, and among
    /// equals the first is the best. `None` if no other model is kept.
    fn quality(_snapshot: &Self::Snapshot) -> Option<f64> {
        None
    }

    /// Scores the final model, and the best one with its step if one is kept, outside autodiff.
    ///
    /// # Errors
    /// A message, when a probe fails.
    fn evaluate(&self, last: &Self::Model, best: Option<(&Self::Model, u64)>) -> Result<Evaluated, String>;
}

/// A matrix of values in [0, 1].
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// What a value is.
    pub title: &'static str,
    /// What a row and what a column stands for.
    pub sides: [&'static str; 2],
    /// Row by row; all rows have the same length.
    pub values: Vec<Vec<f64>>,
}

/// What a finished training leaves behind.
#[derive(Debug, Clone)]
pub struct Evaluated {
    /// File names and contents.
    pub files: Vec<(&'static str, Vec<u8>)>,
    /// The result in one line.
    pub summary: String,
}

/// A loss, `[1]`, and the gradients of a model's parameters.
pub fn through_autodiff<M: Module>(model: &M, loss: Tensor<1>) -> TrainOutput<Tensor<1>> {
    TrainOutput { grads: GradientsParams::from_grads(loss.backward(), model), item: loss.detach() }
}

/// A snapshot: a line of `metrics.jsonl`, numbers of the dashboard.
pub trait Measured: Serialize + DeserializeOwned + Clone + std::fmt::Debug + Send + Sync + 'static {
    /// Steps done.
    fn step(&self) -> u64;

    /// The loss shown; a run stops once it is not finite.
    fn loss(&self) -> f64;

    /// What the dashboard and the printed lines show.
    fn shown() -> Vec<Shown<Self>>;

    /// What is wrong with the model, in words, if something is.
    fn warning(&self) -> Option<String> {
        None
    }

    /// The shown numbers in one line.
    fn line(&self) -> String {
        Self::shown().iter().map(|s| format!("{} {:.3}", s.name, (s.read)(self))).collect::<Vec<_>>().join("  ")
    }
}

/// One number of a snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Shown<S> {
    /// Its name.
    pub name: &'static str,
    /// How it is read.
    pub read: fn(&S) -> f64,
    /// Whether more is better.
    pub higher_is_better: bool,
}

/// What a step leaves behind.
#[derive(Debug, Clone)]
pub struct StepOutput {
    /// The step, counted from 0.
    pub step: u64,
    /// Mean loss, `[1]`, outside the gradient.
    pub loss: Tensor<1>,
}

impl ItemLazy for StepOutput {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(Self { loss: Tensor::from_data(self.loss.try_into_data()?, &Device::flex()), ..self })
    }
}

/// Whether every parameter of a module is a finite number.
pub fn is_finite<M: Module>(module: &M) -> bool {
    struct Finite(bool);
    impl ModuleVisitor for Finite {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            self.0 = self.0 && parameter.val().detach().is_finite().all().into_scalar::<bool>();
        }
    }
    let mut finite = Finite(true);
    module.visit(&mut finite);
    finite.0
}

/// Shapes of a module's parameters, in order. Reading them initialises parameters that wait for their first use.
pub fn shapes<M: Module>(module: &M) -> Vec<Vec<usize>> {
    struct Shapes(Vec<Vec<usize>>);
    impl ModuleVisitor for Shapes {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            self.0.push(parameter.val().shape().to_vec());
        }
    }
    let mut shapes = Shapes(Vec::new());
    module.visit(&mut shapes);
    shapes.0
}
