//! An encoder trained on two views by an objective that compares them, for any source of views: [`Task`] for a [`World`].

use super::initial_model::{self, Behind};
use super::spread::{ViewDistances, is_finite, output_measures};
use super::task::{Evaluated, Measured, Place, Shown, Task};
use super::two_view_loss;
use crate::io::error::{SpecError, UserError};
use crate::spec::{ChosenPart, EncoderInfo, ModelSpec, Optimization, Part, Parts, Registry, Schedule, Specification};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use burn::train::TrainOutput;
use cl_config::{at_least, check};
use cl_data::Purpose;
use cl_model::prototypes::PrototypeMeasures;
use cl_model::representation::{OutputMeasures, effective_rank};
use cl_model::{Encoder, EncoderConfig, Objective, Outputs, PredictorConfig, Siamese};
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// Samples on which a snapshot is measured.
const SNAPSHOT_SAMPLES: usize = 512;

/// Where views come from, and what is measured of an encoder of them.
pub trait World: Debug + Send + Sync + Sized + 'static {
    /// The specification of a run.
    type Spec: TwoViewSpec;
    /// What an encoder sees of a batch.
    type Input: Clone + Send + 'static;

    /// The world of one seed, of a specification that has been checked.
    ///
    /// # Errors
    /// [`UserError`] when its data cannot be read.
    fn new(spec: &Self::Spec, seed: u64, place: Place) -> Result<Self, UserError>;

    /// Two views of `count` samples: a pure function of seed, purpose and step.
    fn views(&self, count: usize, purpose: Purpose, step: u64, device: &Device) -> [Self::Input; 2];

    /// What an objective that reconstructs compares: what the model decodes from the features of first views, and what that should be, by the
    /// second views. A specification of data that cannot say so refuses such objectives.
    fn reconstruction<E: Encoder<Input = Self::Input>>(
        &self,
        _model: &Siamese<E>,
        _features: Tensor<2>,
        _second: Self::Input,
    ) -> Option<[Tensor<2>; 2]> {
        None
    }

    /// Contrast with samples beside contrast with classes, where samples have one.
    fn prototypes<E: Encoder<Input = Self::Input>>(
        &self,
        _model: &Siamese<E>,
        _device: &Device,
    ) -> Option<PrototypeMeasures> {
        None
    }

    /// Scores a model at the end of its run beside the same before training, both outside autodiff.
    ///
    /// # Errors
    /// A message, when a probe fails.
    fn evaluate<E: Encoder<Input = Self::Input>>(
        &self,
        model: &Siamese<E>,
        untrained: impl FnOnce() -> Siamese<E>,
        device: &Device,
    ) -> Result<Evaluated, String>;
}

/// A specification with a model and an objective of two views.
pub trait TwoViewSpec: Specification {
    /// What an encoder has to know about samples.
    type Shape: Copy + Send + Sync + 'static;

    /// What learns.
    fn model(&self) -> &ModelSpec<Self::Shape>;
    /// What it is trained for.
    fn objective(&self) -> &Part<dyn Objective>;
    /// How it is optimised.
    fn optimization(&self) -> &Optimization;
    /// What an encoder has to know about a sample.
    fn shape(&self) -> Self::Shape;
    /// Random numbers behind one view, roughly.
    fn numbers_per_view(&self) -> usize;

    /// What follows the encoder.
    fn behind(&self) -> Behind<'_, Self::Shape> {
        Behind::Outputs(self.model())
    }

    /// The name of what executes it, for a kind of data.
    fn runner_of(&self, kind: &str) -> String {
        format!("{kind}, {}", self.model().encoder.name())
    }

    /// Multiply-adds of all steps, roughly: six passes over two views at the speed of small products, and the noise.
    fn cost_of_steps(&self) -> f64 {
        let b = self.optimization().batch_size as f64;
        let passes = 20.0 * b * self.model().encoder.get().multiply_adds(self.shape());
        self.schedule().steps as f64 * (passes + 60.0 * b * self.numbers_per_view() as f64)
    }

    /// Parts chosen by name.
    fn chosen_parts(&self) -> Vec<ChosenPart> {
        vec![ChosenPart::new("model.encoder", &self.model().encoder), ChosenPart::new("objective", self.objective())]
    }

    /// Length and learning rate.
    fn schedule(&self) -> Schedule {
        self.optimization().schedule(1)
    }
}

/// Checks what all such specifications have.
///
/// # Errors
/// [`SpecError`] naming key, value and what would be right.
pub fn check_parts<S: 'static>(
    (model, encoders): (&mut ModelSpec<S>, &Registry<dyn EncoderInfo<S>>),
    objective: &mut Part<dyn Objective>,
    optimization: &mut Optimization,
    parts: &Parts,
) -> Result<(), SpecError> {
    model.check(encoders)?;
    optimization.check()?;
    objective.check("objective", &parts.objectives)?;
    at_least("optimization.batch_size", optimization.batch_size as u64, 2)?;
    model.check_targets(objective.name(), Some(objective.get().as_ref()), optimization.batch_size)
}

/// Checks that an objective compares outputs alone.
///
/// # Errors
/// [`SpecError`] naming the objective.
pub fn check_outputs(objective: &Part<dyn Objective>) -> Result<(), SpecError> {
    let wanted =
        "an objective of outputs: what it decodes can only be said of data.sparse_coding, and of tokens of data.text";
    Ok(check(objective.get().reconstructs().is_none(), "objective", objective.name(), wanted)?)
}

/// One line of `metrics.jsonl`: the state after `step` steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TwoViewSnapshot {
    /// Steps done.
    pub step: u64,
    /// `η` of the last step (of the first, at step 0).
    pub learning_rate: f64,
    /// Loss on a held-out batch.
    pub loss: f64,
    /// How far the views of 512 samples are apart; `None` where all are alike.
    pub view_distances: Option<ViewDistances>,
    /// Effective rank of the features of the same; `None` where one is not finite.
    pub feature_rank: Option<f64>,
    /// Of the outputs for the held-out batch, before any predictor.
    pub outputs: Option<OutputMeasures>,
    /// Norm of the gradient of all parameters together for the next training batch, before any bound; `None` where it is not finite.
    pub gradient_norm: Option<f64>,
    /// Contrast with samples and with classes, where samples have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prototypes: Option<PrototypeMeasures>,
}

impl Measured for TwoViewSnapshot {
    fn step(&self) -> u64 {
        self.step
    }

    fn loss(&self) -> f64 {
        self.loss
    }

    fn shown() -> Vec<Shown<Self>> {
        let features = |s: &Self| s.view_distances.map_or(0.0, |d| d.features);
        let outputs = |s: &Self| s.view_distances.map_or(0.0, |d| d.outputs);
        vec![
            Shown { name: "Held-out loss", read: |s| s.loss, higher_is_better: false },
            Shown { name: "View distance, features", read: features, higher_is_better: false },
            Shown { name: "View distance, outputs", read: outputs, higher_is_better: false },
            Shown { name: "Effective rank", read: |s| s.feature_rank.unwrap_or(0.0), higher_is_better: true },
            Shown { name: "Gradient norm", read: |s| s.gradient_norm.unwrap_or(0.0), higher_is_better: false },
        ]
    }

    fn warning(&self) -> Option<String> {
        self.outputs?.collapse().map(String::from)
    }
}

/// The training of one encoder in a world.
#[derive(Debug, Clone)]
pub struct TwoViews<W: World, C> {
    spec: W::Spec,
    world: W,
    config: C,
    seed: u64,
    device: Device,
}

type ModelOf<C> = Siamese<<C as EncoderConfig>::Encoder>;

impl<W: World, C: EncoderConfig<Encoder: Encoder<Input = W::Input>>> TwoViews<W, C> {
    fn views(&self, count: usize, purpose: Purpose, step: u64, device: &Device) -> [W::Input; 2] {
        self.world.views(count, purpose, step, device)
    }

    fn objective(&self) -> &dyn Objective {
        self.spec.objective().get().as_ref()
    }

    /// What the objective sees of two views.
    fn outputs(&self, model: &ModelOf<C>, views: [W::Input; 2]) -> Outputs {
        let outputs = two_view_loss::outputs(model, self.objective(), views.clone(), None);
        if self.objective().reconstructs().is_none() {
            return outputs;
        }
        let [_, second] = views;
        let reconstruction = self.world.reconstruction(model, outputs.first.clone(), second);
        Outputs { reconstruction, ..outputs }
    }
}

impl<W: World, C> Task for TwoViews<W, C>
where
    C: EncoderConfig<Encoder: Encoder<Input = W::Input, Shape = <W::Spec as TwoViewSpec>::Shape>>,
{
    type Spec = W::Spec;
    type Model = ModelOf<C>;
    type Batch = [W::Input; 2];
    type Snapshot = TwoViewSnapshot;

    fn new(spec: &W::Spec, seed: u64, place: Place) -> Result<Self, UserError> {
        Ok(Self {
            spec: spec.clone(),
            world: W::new(spec, seed, place)?,
            config: spec.model().encoder.config::<C>().expect("the encoder that was registered by this name").clone(),
            seed,
            device: place.device.clone().inner(),
        })
    }

    fn schedule(&self) -> Schedule {
        self.spec.schedule()
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn init(&self, device: &Device) -> ModelOf<C> {
        initial_model::init(&self.config, self.spec.shape(), self.spec.behind(), self.seed, device)
    }

    fn optimizer(&self) -> ModuleOptimizer {
        let predictor = self.spec.model().predictor.as_ref().map(PredictorConfig::group);
        self.spec.optimization().optimizer.init_with_groups(predictor)
    }

    fn batch(&self, step: u64) -> [W::Input; 2] {
        let batch_size = self.spec.optimization().batch_size;
        self.views(batch_size, Purpose::TrainingPairs, step, &self.device.clone().autodiff())
    }

    fn loss(&self, model: &ModelOf<C>, views: [W::Input; 2]) -> Tensor<1> {
        self.objective().loss(self.outputs(model, views))
    }

    fn gradients(&self, model: &ModelOf<C>, views: [W::Input; 2]) -> TrainOutput<Tensor<1>> {
        let objective = self.objective();
        let on_host = objective.in_host_memory().filter(|_| self.device == Device::flex());
        let outputs = self.outputs(model, views);
        two_view_loss::gradients(model, (objective, on_host), outputs, |graph| {
            GradientsParams::from_grads(graph, model)
        })
    }

    fn update(
        &self,
        model: ModelOf<C>,
        step: u64,
        gradients: GradientsParams,
        optimize: impl FnOnce(ModelOf<C>, GradientsParams) -> ModelOf<C>,
    ) -> ModelOf<C> {
        model.updated(step, gradients, optimize)
    }

    fn snapshot(&self, model: &ModelOf<C>, step: u64) -> TwoViewSnapshot {
        let batch_size = self.spec.optimization().batch_size;
        let held_out = || self.views(batch_size, Purpose::HeldOutPairs, step, &self.device);
        let measured = self.views(SNAPSHOT_SAMPLES, Purpose::Evaluation, 1, &self.device);
        let features = measured.map(|x| model.encoder.forward(x));
        let outputs = features.clone().map(|h| model.project(h));
        TwoViewSnapshot {
            step,
            learning_rate: self.spec.schedule().learning_rate.at(step.saturating_sub(1)),
            loss: self.loss(model, held_out()).into_scalar(),
            feature_rank: is_finite(&features[0]).then(|| effective_rank(features[0].clone())),
            view_distances: ViewDistances::measure(features, outputs),
            outputs: output_measures(held_out().map(|x| model.output(x))),
            gradient_norm: self.gradient_norm(model, step),
            prototypes: self.world.prototypes(model, &self.device),
        }
    }

    fn evaluate(&self, last: &ModelOf<C>, _: Option<(&ModelOf<C>, u64)>) -> Result<Evaluated, String> {
        self.world.evaluate(last, || self.untrained(), &self.device)
    }
}
