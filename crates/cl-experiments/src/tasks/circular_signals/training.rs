//! A vector encoder on signals on a circle: [`Task`] for their geometry.

use super::evaluation::evaluate;
use super::snapshot::SignalSnapshot;
use super::spec::SignalSpec;
use crate::io::error::UserError;
use crate::io::files::{pretty, safetensors_bytes};
use crate::io::undefined::or_nan;
use crate::spec::Schedule;
use crate::tasks::initial_model::{self, Behind};
use crate::tasks::spread::{ViewDistances, is_finite, output_measures};
use crate::tasks::task::{Evaluated, Place, Task};
use crate::tasks::{two_view_loss, weights};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use burn::train::TrainOutput;
use cl_data::{CircularSignals, Purpose, Stream};
use cl_model::representation::effective_rank;
use cl_model::{Encoder, EncoderConfig, PredictorConfig, Siamese, VectorEncoder};

/// Signals on which a snapshot is measured.
const SNAPSHOT_SAMPLES: usize = 512;

/// A seed's signals.
#[derive(Debug, Clone)]
pub struct Signals<C> {
    spec: SignalSpec,
    config: C,
    seed: u64,
    signals: CircularSignals,
    device: Device,
}

type ModelOf<C> = Siamese<<C as EncoderConfig>::Encoder>;

impl<C: EncoderConfig<Encoder: VectorEncoder>> Signals<C> {
    fn views(&self, count: usize, purpose: Purpose, step: u64, device: &Device) -> [Tensor<2>; 2] {
        let pair = self.signals.sample(count, self.spec.views.shift, Stream::new(self.seed, purpose), step);
        pair.views.map(|view| view.into_tensor(device))
    }
}

impl<C: EncoderConfig<Encoder: VectorEncoder>> Task for Signals<C> {
    type Spec = SignalSpec;
    type Model = ModelOf<C>;
    type Batch = [Tensor<2>; 2];
    type Snapshot = SignalSnapshot;

    fn new(spec: &SignalSpec, seed: u64, place: Place) -> Result<Self, UserError> {
        let signals = CircularSignals::random(spec.data, Stream::new(seed, Purpose::Dictionary));
        Ok(Self {
            spec: spec.clone(),
            config: spec.model.encoder.config::<C>().expect("the encoder that was registered by this name").clone(),
            seed,
            signals: signals.expect("the specification has been checked"),
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
        let behind = Behind::Outputs(&self.spec.model);
        initial_model::init(&self.config, self.spec.shape(), behind, self.seed, device)
    }

    fn optimizer(&self) -> ModuleOptimizer {
        let predictor = self.spec.model.predictor.as_ref().map(PredictorConfig::group);
        self.spec.optimization.optimizer.init_with_groups(predictor)
    }

    fn batch(&self, step: u64) -> [Tensor<2>; 2] {
        self.views(self.spec.optimization.batch_size, Purpose::TrainingPairs, step, &self.device.clone().autodiff())
    }

    fn loss(&self, model: &ModelOf<C>, views: [Tensor<2>; 2]) -> Tensor<1> {
        let objective = self.spec.objective.get().as_ref();
        objective.loss(two_view_loss::outputs(model, objective, views, None))
    }

    fn gradients(&self, model: &ModelOf<C>, views: [Tensor<2>; 2]) -> TrainOutput<Tensor<1>> {
        let objective = self.spec.objective.get().as_ref();
        let on_host = objective.in_host_memory().filter(|_| self.device == Device::flex());
        let outputs = two_view_loss::outputs(model, objective, views, None);
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

    fn snapshot(&self, model: &ModelOf<C>, step: u64) -> SignalSnapshot {
        let held_out = || self.views(self.spec.optimization.batch_size, Purpose::HeldOutPairs, step, &self.device);
        let features =
            self.views(SNAPSHOT_SAMPLES, Purpose::Evaluation, 1, &self.device).map(|x| model.encoder.forward(x));
        let outputs = features.clone().map(|h| model.project(h));
        SignalSnapshot {
            step,
            learning_rate: self.spec.schedule().learning_rate.at(step.saturating_sub(1)),
            loss: self.loss(model, held_out()).into_scalar(),
            feature_rank: is_finite(&features[0]).then(|| effective_rank(features[0].clone())),
            view_distances: ViewDistances::measure(features, outputs),
            outputs: output_measures(held_out().map(|x| model.output(x))),
            gradient_norm: self.gradient_norm(model, step),
        }
    }

    fn evaluate(&self, last: &ModelOf<C>, _: Option<(&ModelOf<C>, u64)>) -> Result<Evaluated, String> {
        let (evaluation, tensors) =
            evaluate((&self.signals, &self.spec, self.seed), last, &self.device).map_err(|e| e.to_string())?;
        let summary = format!(
            "view distance of outputs over features {:.3}, rank ratio {:.3}, phase R² of features {:.3}",
            or_nan(evaluation.outputs_over_features),
            or_nan(evaluation.rank_ratio),
            or_nan(evaluation.features.phase_r_squared)
        );
        let files = vec![
            ("evaluation.json", pretty(&evaluation).into_bytes()),
            ("geometry.safetensors", safetensors_bytes(tensors)),
            ("model.safetensors", weights::to_safetensors(last)?),
        ];
        Ok(Evaluated { files, summary })
    }
}
