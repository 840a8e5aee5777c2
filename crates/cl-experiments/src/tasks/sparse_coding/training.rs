//! A vector encoder on the sparse coding model: [`Task`] for the paper's setting.
//!
//! Snapshots and evaluations are pure functions of `(specification, seed, weights, step)`, so that a resumed run writes what an
//! uninterrupted one would.

use super::batches::{BatchSource, Samples};
use super::evaluation::{Baselines, DownstreamTask, Evaluation};
use super::gradient::{GradientSource, SWEEP_EVERY, in_closed_form, outputs, supervised_loss, sweep_graph};
use super::snapshot::Snapshot;
use super::spec::TrainingSpec;
use crate::io::error::UserError;
use crate::io::files::{pretty, safetensors_bytes};
use crate::io::undefined::or_nan;
use crate::spec::Schedule;
use crate::tasks::initial_model::{self, Behind};
use crate::tasks::spread::{ViewDistances, is_finite, output_measures};
use crate::tasks::task::{Evaluated, Picture, Place, Task, through_autodiff};
use crate::tasks::two_view_loss;
use burn::module::ParamGroup;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use burn::train::TrainOutput;
use cl_data::{Matrix, Observations, Part, Purpose, SparseCodingModel, Stream, standard_normal};
use cl_model::features::{Decomposition, EmbeddingMeasures, chance_corrected};
use cl_model::probe::{ProbeError, ridge_r_squared};
use cl_model::representation::{OutputMeasures, effective_rank};
use cl_model::{
    Encoder, EncoderConfig, GroupConfig, Objective, Predictor, PredictorConfig, Siamese, SymmetricReluConfig,
    SymmetricReluEncoder, VectorEncoder,
};

/// Observations on which a snapshot computes embeddings and its quick probe.
const SNAPSHOT_SAMPLES: usize = 512;

/// Thresholds of the oracle code that are tried; the entries of z are −1, 0 or 1.
const ORACLE_THRESHOLDS: [f64; 10] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/// Number of random weight draws that the coverage expected by chance is averaged over.
const CHANCE_DRAWS: u64 = 8;

/// Observations over which gradients replacing neuron weights are averaged, and half their finite-difference step.
const GRADIENT_SAMPLES: usize = 64;
const GRADIENT_HALF_STEP: f32 = 0.01;

/// A seed's data, held-out observations and targets, drawn once and measured on many times.
#[derive(Debug, Clone)]
pub struct SparseCoding<C = SymmetricReluConfig> {
    spec: TrainingSpec,
    config: C,
    seed: u64,
    batches: BatchSource,
    features: Tensor<2>,
    device: Device,
    snapshot_samples: [Observations; 2],
    target: Vec<f32>,
    gradient: GradientSource,
}

/// The model in training.
type ModelOf<C> = Siamese<<C as EncoderConfig>::Encoder>;

impl<C: EncoderConfig<Encoder: VectorEncoder>> SparseCoding<C> {
    /// The task of one specification and seed, measured on `device`.
    ///
    /// # Panics
    /// When the specification asks for another encoder.
    pub fn on(spec: &TrainingSpec, seed: u64, device: &Device) -> Self {
        let device = device.clone().inner();
        let batches = BatchSource::new(spec, seed);
        let data = batches.data();
        let sample = |step| data.sample(SNAPSHOT_SAMPLES, Stream::new(seed, Purpose::Evaluation), step);
        let mut rng = Stream::new(seed, Purpose::Targets).rng(Part::Whole, 0);
        let mut task = Self {
            spec: spec.clone(),
            config: spec.model.encoder.config::<C>().expect("the encoder that was registered by this name").clone(),
            seed,
            features: data.dictionary().features().to_tensor(&device),
            snapshot_samples: [sample(0), sample(1)],
            target: standard_normal(&mut rng, spec.data.code_dim),
            gradient: GradientSource::Autodiff,
            device,
            batches,
        };
        task.gradient = GradientSource::fastest(&task.untrained(), task.objective(), &task.device);
        task
    }

    /// The same with gradients from another source.
    #[must_use]
    pub fn with_gradient_from(self, gradient: GradientSource) -> Self {
        Self { gradient, ..self }
    }

    /// Where its gradients come from.
    pub fn gradient_source(&self) -> GradientSource {
        self.gradient
    }

    /// The specification.
    pub fn spec(&self) -> &TrainingSpec {
        &self.spec
    }

    fn objective(&self) -> Option<&dyn Objective> {
        self.spec.objective().map(AsRef::as_ref)
    }

    /// Training batches of the same seed.
    pub fn batches(&self) -> &BatchSource {
        &self.batches
    }

    /// The dictionary's features on the task's device, `[d, d1]`.
    pub fn features(&self) -> Tensor<2> {
        self.features.clone()
    }

    /// The direction of the downstream task, `w*`, `[d]`.
    pub fn target(&self) -> &[f32] {
        &self.target
    }

    /// Observations on which snapshots compute embeddings.
    pub fn snapshot_observations(&self) -> &Observations {
        &self.snapshot_samples[0]
    }

    /// Observations on which [`score`](Self::score) computes embeddings.
    pub fn evaluation_observations(&self) -> Observations {
        self.sample(self.spec.evaluation.samples, Purpose::Evaluation, 2)
    }

    /// Observations that [`score`](Self::score) fits its probe on, and those that it scores the probe on.
    pub fn probe_observations(&self) -> [Observations; 2] {
        [Purpose::ProbeTraining, Purpose::ProbeTest]
            .map(|purpose| self.sample(self.spec.evaluation.probe_samples, purpose, 0))
    }

    /// Measures a model at the end of its run, outside autodiff.
    ///
    /// # Errors
    /// [`ProbeError`] when features are not finite.
    pub fn score(&self, model: &ModelOf<C>) -> Result<Evaluation, ProbeError> {
        let encoder = &model.encoder;
        let evaluation = self.evaluation_observations();
        let features = Decomposition::new(self.neuron_weights(encoder), self.features()).measures();
        let chance_coverage = self.chance_coverage(encoder.feature_dim());
        let task = DownstreamTask::new(self.probe_observations(), &|z| self.task_targets(z), &self.device);
        Ok(Evaluation {
            embeddings: self.embedding_measures(encoder, &evaluation),
            incoherence: self.data().dictionary().incoherence(),
            chance_coverage,
            coverage_corrected: chance_corrected(features.coverage_mean, chance_coverage),
            features,
            probe: task.score(&|x| encoder.forward(x))?,
            baselines: if self.spec.evaluation.baselines { Some(self.baselines(&task)?) } else { None },
        })
    }

    /// The weights of each neuron, `[m, d1]`, or, if an encoder has no such weights, the mean gradient of each output
    /// over held-out observations: for the paper's encoder both point the same way.
    pub fn neuron_weights(&self, encoder: &C::Encoder) -> Tensor<2> {
        if let Some(weights) = encoder.neuron_weights() {
            return weights;
        }
        let x = self.snapshot_samples[0].x.to_tensor(&self.device).narrow(0, 0, GRADIENT_SAMPLES);
        let moved_along = |coordinate: usize| {
            let mut step = vec![0.0; self.spec.data.input_dim];
            step[coordinate] = GRADIENT_HALF_STEP;
            let step = Tensor::<1>::from_data(step.as_slice(), &self.device).unsqueeze::<2>();
            let difference = encoder.forward(x.clone() + step.clone()) - encoder.forward(x.clone() - step);
            difference.mean_dim(0) / (2.0 * GRADIENT_HALF_STEP)
        };
        let columns = (0..self.spec.data.input_dim).map(moved_along);
        Tensor::cat(columns.collect(), 0).transpose()
    }

    fn baselines(&self, task: &DownstreamTask) -> Result<Baselines, ProbeError> {
        let untrained = self.untrained().encoder;
        let tuning = self.sample(self.spec.evaluation.probe_samples, Purpose::Tuning, 0);
        let half = tuning.z.rows / 2;
        let x = tuning.x.to_tensor(&self.device);
        let y = self.task_targets(&tuning.z);
        let mut oracle_threshold = (0.0, f64::NEG_INFINITY);
        for threshold in ORACLE_THRESHOLDS {
            let code = self.oracle(threshold).forward(x.clone());
            let (fit, score) = (code.clone().narrow(0, 0, half), code.narrow(0, half, half));
            let r_squared = ridge_r_squared(fit, &y[..half], score, &y[half..2 * half])?;
            if let Some(r_squared) = r_squared.filter(|r| *r > oracle_threshold.1) {
                oracle_threshold = (threshold, r_squared);
            }
        }
        let oracle = self.oracle(oracle_threshold.0);
        Ok(Baselines {
            input: task.score(&|x| x)?,
            oracle: task.score(&|x| oracle.forward(x))?,
            oracle_threshold: oracle_threshold.0,
            untrained: task.score(&|x| untrained.forward(x))?,
        })
    }

    /// Soft-thresholded `Mᵀx`: the encoder whose neurons are the features themselves.
    fn oracle(&self, threshold: f64) -> SymmetricReluEncoder {
        SymmetricReluEncoder::new(self.features()).with_trained_bias(threshold)
    }

    fn quick_probe(&self, encoder: &C::Encoder) -> Result<Option<f64>, ProbeError> {
        let [train, test] = &self.snapshot_samples;
        let embed = |o: &Observations| encoder.forward(o.x.to_tensor(&self.device));
        let y = |o: &Observations| self.task_targets(&o.z);
        ridge_r_squared(embed(train), &y(train), embed(test), &y(test))
    }

    /// How the outputs for two views are spread, and how far they and the features are apart.
    fn of_views(model: &ModelOf<C>, samples: Samples) -> (Option<OutputMeasures>, Option<ViewDistances>) {
        let Samples::Pairs { x_plus, x_plus_plus, .. } = samples else { return (None, None) };
        let features = [x_plus, x_plus_plus].map(|x| model.encoder.forward(x));
        let outputs = features.clone().map(|h| model.project(h));
        (output_measures(outputs.clone()), ViewDistances::measure(features, outputs))
    }

    fn feature_rank(&self, encoder: &C::Encoder) -> Option<f64> {
        let features = encoder.forward(self.snapshot_samples[0].x.to_tensor(&self.device));
        is_finite(&features).then(|| effective_rank(features))
    }

    fn embedding_measures(&self, encoder: &C::Encoder, observations: &Observations) -> EmbeddingMeasures {
        let embed = |x: Matrix| encoder.forward(x.into_tensor(&self.device));
        let has_feature: Vec<bool> = observations.z.iter_rows().map(|z| z.iter().any(|v| *v != 0.0)).collect();
        EmbeddingMeasures::new(
            embed(observations.x.clone()),
            embed(self.data().sparse_features(&observations.z)),
            embed(observations.xi.clone()),
            &has_feature,
        )
    }

    /// `⟨w*, z⟩` of each row, or of another one where targets are shuffled.
    fn task_targets(&self, z: &Matrix) -> Vec<f64> {
        let product = |z: &[f32]| z.iter().zip(&self.target).map(|(z, w)| f64::from(z * w)).sum();
        let mut targets: Vec<f64> = z.iter_rows().map(product).collect();
        if self.spec.evaluation.shuffled_targets {
            // Observations are independent, so the target of the next one is as good as any.
            let by = 1.min(targets.len());
            targets.rotate_left(by);
        }
        targets
    }

    fn chance_coverage(&self, m: usize) -> f64 {
        let d1 = self.spec.data.input_dim;
        let draw = |step| {
            let mut rng = Stream::new(self.seed, Purpose::Tuning).rng(Part::Whole, step);
            let weights = Matrix::from_values(m, d1, standard_normal(&mut rng, m * d1)).into_tensor(&self.device);
            Decomposition::new(weights, self.features()).measures().coverage_mean
        };
        (0..CHANCE_DRAWS).map(draw).sum::<f64>() / CHANCE_DRAWS as f64
    }

    /// Loss on a held-out batch; largest similarity, if any, spread of the outputs in it, and distances of views.
    fn held_out(&self, model: &ModelOf<C>, step: u64) -> HeldOut {
        let samples = self.batches.held_out(step, &self.device);
        let Some(objective) = self.objective() else {
            let loss = supervised_loss(model, samples).into_scalar();
            return HeldOut { loss, largest_similarity: None, outputs: None, view_distances: None };
        };
        let outputs = outputs(model, objective, samples.clone());
        let largest_similarity = objective.largest_similarity(outputs.clone()).map(Tensor::into_scalar);
        let loss = objective.loss(outputs).into_scalar();
        let (outputs, view_distances) = Self::of_views(model, samples);
        HeldOut { loss, largest_similarity, outputs, view_distances }
    }

    fn data(&self) -> &SparseCodingModel {
        self.batches.data()
    }

    fn sample(&self, count: usize, purpose: Purpose, step: u64) -> Observations {
        self.data().sample(count, Stream::new(self.seed, purpose), step)
    }
}

/// What is measured on a held-out batch.
struct HeldOut {
    loss: f64,
    largest_similarity: Option<f64>,
    outputs: Option<OutputMeasures>,
    view_distances: Option<ViewDistances>,
}

impl<C: EncoderConfig<Encoder: VectorEncoder>> Task for SparseCoding<C> {
    type Spec = TrainingSpec;
    type Model = ModelOf<C>;
    type Batch = Samples;
    type Snapshot = Snapshot;

    fn new(spec: &TrainingSpec, seed: u64, place: Place) -> Result<Self, UserError> {
        Ok(Self::on(spec, seed, place.device))
    }

    fn schedule(&self) -> Schedule {
        self.spec.schedule()
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn init(&self, device: &Device) -> ModelOf<C> {
        let behind = match (self.spec.is_supervised(), self.spec.data.classes) {
            (true, Some(classes)) => Behind::Head(classes.count),
            _ => Behind::Outputs(&self.spec.model),
        };
        initial_model::init(&self.config, self.spec.data.shape(), behind, self.seed, device)
    }

    /// Weight decay on the encoder, as in the paper, and on a projector, but not on the classification head.
    fn optimizer(&self) -> ModuleOptimizer {
        let head = GroupConfig {
            group: ParamGroup::from_path("head.weight"),
            weight_decay: Some(0.0),
            learning_rate_factor: 1.0,
        };
        let predictor = self.spec.model.predictor.as_ref().map(PredictorConfig::group);
        self.spec.optimization.optimizer.init_with_groups([Some(head), predictor].into_iter().flatten())
    }

    fn batch(&self, step: u64) -> Samples {
        self.batches.training(step, &self.device.clone().autodiff())
    }

    fn loss(&self, model: &ModelOf<C>, samples: Samples) -> Tensor<1> {
        match self.objective() {
            Some(objective) => objective.loss(outputs(model, objective, samples)),
            None => supervised_loss(model, samples),
        }
    }

    fn gradients(&self, model: &ModelOf<C>, samples: Samples) -> TrainOutput<Tensor<1>> {
        let Some(objective) = self.objective() else {
            return through_autodiff(model, supervised_loss(model, samples));
        };
        let on_host = objective.in_host_memory().filter(|_| self.gradient != GradientSource::Autodiff);
        match (self.gradient, on_host, model.encoder.as_symmetric_relu()) {
            (GradientSource::ClosedForm, Some(on_host), Some(encoder)) => in_closed_form(encoder, on_host, samples),
            _ => {
                let outputs = outputs(model, objective, samples);
                two_view_loss::gradients(model, (objective, on_host), outputs, |graph| {
                    GradientsParams::from_grads(graph, model)
                })
            }
        }
    }

    fn update(
        &self,
        model: ModelOf<C>,
        step: u64,
        gradients: GradientsParams,
        optimize: impl FnOnce(ModelOf<C>, GradientsParams) -> ModelOf<C>,
    ) -> ModelOf<C> {
        let model = model.updated(step, gradients, optimize);
        if self.gradient == GradientSource::ClosedForm && (step + 1).is_multiple_of(SWEEP_EVERY) {
            sweep_graph(&self.device.clone().autodiff());
        }
        model
    }

    fn may_draw_ahead(&self) -> bool {
        self.gradient == GradientSource::ClosedForm
    }

    fn snapshot(&self, model: &ModelOf<C>, step: u64) -> Snapshot {
        let encoder = &model.encoder;
        let HeldOut { loss, largest_similarity, outputs, view_distances } = self.held_out(model, step);
        let decomposition = Decomposition::new(self.neuron_weights(encoder), self.features());
        let measures = decomposition.measures();
        let (inside, outside) = decomposition.mass();
        let embeddings = self.embedding_measures(encoder, &self.snapshot_samples[0]);
        Snapshot {
            step,
            learning_rate: self.spec.schedule().learning_rate.at(step.saturating_sub(1)),
            loss,
            largest_similarity,
            energy_in_span: measures.energy_in_span,
            coverage_mean: measures.coverage_mean,
            coverage_min: measures.coverage_min,
            features_with_singleton: measures.features_with_singleton,
            singleton_fraction: measures.singleton_fraction,
            norm_in_span: inside.sqrt(),
            norm_complement: outside.sqrt(),
            threshold_ratio: threshold_ratio(encoder, &decomposition.norms),
            active_fraction: embeddings.active_fraction,
            correlation_sparse: embeddings.correlation_sparse,
            correlation_dense: embeddings.correlation_dense,
            probe_r_squared: self.quick_probe(encoder).ok().flatten(),
            feature_rank: self.feature_rank(encoder),
            outputs,
            view_distances,
            gradient_norm: self.gradient_norm(model, step),
            predictor_off_diagonal: model.predictor.as_ref().and_then(Predictor::off_diagonal_norm),
            neuron_energies: decomposition.energies().into_iter().map(|e| e as f32).collect(),
        }
    }

    fn picture(&self, model: &ModelOf<C>) -> Option<Picture> {
        let decomposition = Decomposition::new(self.neuron_weights(&model.encoder), self.features());
        let row = |i: usize| (0..self.spec.data.code_dim).map(|j| decomposition.cosine(i, j)).collect();
        Some(Picture {
            title: "|cos(w_i, M_j)|",
            sides: ["neuron i", "feature j"],
            values: (0..decomposition.norms.len()).map(row).collect(),
        })
    }

    fn evaluate(&self, last: &ModelOf<C>, _: Option<(&ModelOf<C>, u64)>) -> Result<Evaluated, String> {
        let evaluation = self.score(last).map_err(|e| e.to_string())?;
        let m = last.encoder.feature_dim();
        let biases = last.encoder.as_symmetric_relu().map(|encoder| encoder.biases.val().into_data());
        let tensors = [
            ("weights", self.neuron_weights(&last.encoder).into_data()),
            ("biases", biases.unwrap_or_else(|| TensorData::new(vec![0f32; m], [m]))),
            ("dictionary", self.features().transpose().into_data()),
        ];
        let mut files = vec![
            ("weights.safetensors", safetensors_bytes(tensors)),
            ("evaluation.json", pretty(&evaluation).into_bytes()),
        ];
        if last.encoder.as_symmetric_relu().is_none() || !last.is_encoder_alone() {
            files.push(("model.safetensors", crate::tasks::weights::to_safetensors(last)?));
        }
        let summary = format!(
            "energy in span(M) {:.3}, coverage {:.3} (least {:.3}), probe R² {:.3}",
            evaluation.features.energy_in_span,
            evaluation.features.coverage_mean,
            evaluation.features.coverage_min,
            or_nan(evaluation.probe.r_squared)
        );
        Ok(Evaluated { files, summary })
    }
}

/// Mean of `b_i / ‖w_i‖`; 0 for an encoder without thresholds.
fn threshold_ratio(encoder: &impl VectorEncoder, norms: &[f64]) -> f64 {
    let Some(encoder) = encoder.as_symmetric_relu() else { return 0.0 };
    let biases = encoder.biases.val().into_data();
    let ratios: Vec<f64> = biases.iter::<f64>().zip(norms).map(|(b, n)| if *n > 0.0 { b / n } else { 0.0 }).collect();
    ratios.iter().sum::<f64>() / ratios.len() as f64
}
