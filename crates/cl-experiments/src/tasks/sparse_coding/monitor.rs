//! What is read off a learner: a snapshot at the end of each epoch, an evaluation at the end of a run.
//!
//! Both are pure functions of `(specification, seed, weights, step)`, so that a resumed run writes what an
//! uninterrupted one would.

use crate::io::files::{pretty, safetensors_bytes};
use crate::io::undefined::or_nan;
use crate::spec::TrainingSpec;
use crate::tasks::sparse_coding::learner::{BatchSource, EncoderLearner, GradientSource, TrainingBatch};
use crate::tasks::task::{Evaluated, Measured, Schedule, Shown, Training};
use burn::optim::ModuleOptimizer;
use burn::tensor::{Device, Tensor};
use cl_data::{Matrix, Observations, Part, Purpose, SparseCodingModel, Stream, standard_normal};
use cl_model::features::{Decomposition, EmbeddingMeasures, FeatureMeasures, chance_corrected};
use cl_model::probe::{MIN_TRAINING_ROWS, ProbeError, logistic_accuracy, ridge_r_squared};
use cl_model::{Bias, EncoderConfig, SymmetricReluEncoder};
use serde::{Deserialize, Serialize};

/// Observations on which a snapshot takes embeddings and its quick probe.
const SNAPSHOT_SAMPLES: usize = 512;

/// Thresholds of the oracle code that are tried, in units of one: z is −1, 0 or 1.
const ORACLE_THRESHOLDS: [f64; 10] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/// Draws of random weights that the coverage expected by chance is averaged over.
const CHANCE_DRAWS: u64 = 8;

/// One line of `metrics.jsonl`: the state after `step` steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Steps done.
    pub step: u64,
    /// `η` of the last step (of the first, at step 0).
    pub step_size: f64,
    /// Loss on a held-out batch.
    pub loss: f64,
    /// `max |Sim|/τ` on the same batch; `None` for the supervised objective.
    pub largest_similarity: Option<f64>,
    /// See [`FeatureMeasures`].
    pub energy_in_span: f64,
    /// See [`FeatureMeasures`].
    pub coverage_mean: f64,
    /// See [`FeatureMeasures`].
    pub coverage_min: f64,
    /// See [`FeatureMeasures`].
    pub features_with_singleton: usize,
    /// See [`FeatureMeasures`].
    pub singleton_share: f64,
    /// `√Σ_i ‖M Mᵀ w_i‖²`.
    pub norm_in_span: f64,
    /// `√Σ_i ‖w_i − M Mᵀ w_i‖²`.
    pub norm_complement: f64,
    /// Mean of `b_i / ‖w_i‖`.
    pub threshold_ratio: f64,
    /// See [`EmbeddingMeasures`]; on 512 observations.
    pub active_share: f64,
    /// See [`EmbeddingMeasures`]; on 512 observations.
    pub correlation_sparse: f64,
    /// See [`EmbeddingMeasures`]; on 512 observations.
    pub correlation_dense: f64,
    /// `R²` of a ridge probe fitted on 512 observations and scored on 512 others; `None` where their targets do not vary, or an
    /// embedding is not finite.
    pub probe_r_squared: Option<f64>,
    /// `‖M Mᵀ w_i‖² / ‖w_i‖²` per neuron.
    pub neuron_energies: Vec<f32>,
}

/// `evaluation.json`: what the encoder learned by the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Measures of the weights.
    pub features: FeatureMeasures,
    /// Measures of the embeddings.
    pub embeddings: EmbeddingMeasures,
    /// `√d1 ‖M‖_∞`.
    pub incoherence: f64,
    /// Mean coverage of random weights of the same shape.
    pub chance_coverage: f64,
    /// `coverage_mean` corrected for chance.
    pub coverage_corrected: f64,
    /// Probe on `f(x)`.
    pub probe: ProbeScore,
    /// The same probe on other representations, where the specification asks for it.
    pub baselines: Option<Baselines>,
}

/// How well a linear head does on frozen features.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ProbeScore {
    /// Ridge regression on `y = ⟨w*, z⟩`; `None` where the targets do not vary, as when all codes are 0.
    pub r_squared: Option<f64>,
    /// Logistic regression on `sign⟨w*, z⟩` over z ≠ 0; `None` where too few observations have z ≠ 0.
    pub accuracy: Option<f64>,
}

/// Probes that put the probe on `f(x)` into proportion.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Baselines {
    /// On `x` itself.
    pub input: ProbeScore,
    /// On the oracle code, soft-thresholded `Mᵀx`.
    pub oracle: ProbeScore,
    /// The oracle's threshold, chosen on observations of its own.
    pub oracle_threshold: f64,
    /// On the encoder before training.
    pub untrained: ProbeScore,
}

/// A seed's data, held-out observations and targets, drawn once and measured on many times.
#[derive(Debug, Clone)]
pub struct Monitor {
    spec: TrainingSpec,
    seed: u64,
    batches: BatchSource,
    features: Tensor<2>,
    device: Device,
    snapshot_samples: [Observations; 2],
    target: Vec<f32>,
}

impl Monitor {
    /// A monitor that measures on `device`.
    pub fn new(spec: &TrainingSpec, seed: u64, device: &Device) -> Self {
        let device = device.clone().inner();
        let batches = BatchSource::new(spec, seed);
        let data = batches.data();
        let sample = |step| data.sample(SNAPSHOT_SAMPLES, Stream::new(seed, Purpose::Evaluation), step);
        let mut rng = Stream::new(seed, Purpose::Targets).rng(Part::Whole, 0);
        Self {
            spec: spec.clone(),
            seed,
            features: data.dictionary().features().to_tensor(&device),
            snapshot_samples: [sample(0), sample(1)],
            target: standard_normal(&mut rng, spec.data.code_dim),
            device,
            batches,
        }
    }

    /// Training batches of the same seed.
    pub fn batches(&self) -> &BatchSource {
        &self.batches
    }

    /// The dictionary's features on the monitor's device, `[d, d1]`.
    pub fn features(&self) -> Tensor<2> {
        self.features.clone()
    }

    /// The direction of the downstream task, `w*`, `[d]`.
    pub fn target(&self) -> &[f32] {
        &self.target
    }

    /// Observations that [`score`](Self::score) takes embeddings of.
    pub fn evaluation_observations(&self) -> Observations {
        self.sample(self.spec.measurement.evaluation_samples, Purpose::Evaluation, 2)
    }

    /// Observations that [`score`](Self::score) fits its probe on, and those that it scores it on.
    pub fn probe_observations(&self) -> [Observations; 2] {
        [Purpose::ProbeTraining, Purpose::ProbeTest]
            .map(|purpose| self.sample(self.spec.measurement.probe_samples, purpose, 0))
    }

    /// Measures a learner whose modules are on this monitor's device, outside autodiff.
    fn measure(&self, learner: &EncoderLearner) -> Snapshot {
        let encoder = &learner.encoder;
        let held_out = learner.loss(self.batches.held_out(learner.step, &self.device));
        let decomposition = Decomposition::new(encoder.weights.val(), self.features());
        let measures = decomposition.measures();
        let (inside, outside) = decomposition.mass();
        let embeddings = self.embedding_measures(encoder, &self.snapshot_samples[0]);
        let biases = encoder.biases.val().into_data();
        let ratios: Vec<f64> =
            biases.iter::<f64>().zip(&decomposition.norms).map(|(b, n)| if *n > 0.0 { b / n } else { 0.0 }).collect();
        Snapshot {
            step: learner.step,
            step_size: self.spec.training.step_size.at(learner.step.saturating_sub(1)),
            loss: held_out.loss.into_scalar(),
            largest_similarity: held_out.contrastive.map(|c| c.largest_similarity().into_scalar()),
            energy_in_span: measures.energy_in_span,
            coverage_mean: measures.coverage_mean,
            coverage_min: measures.coverage_min,
            features_with_singleton: measures.features_with_singleton,
            singleton_share: measures.singleton_share,
            norm_in_span: inside.sqrt(),
            norm_complement: outside.sqrt(),
            threshold_ratio: ratios.iter().sum::<f64>() / ratios.len() as f64,
            active_share: embeddings.active_share,
            correlation_sparse: embeddings.correlation_sparse,
            correlation_dense: embeddings.correlation_dense,
            probe_r_squared: self.quick_probe(encoder).ok().flatten(),
            neuron_energies: decomposition.energies().into_iter().map(|e| e as f32).collect(),
        }
    }

    /// Measures a learner at the end of its run.
    ///
    /// # Errors
    /// [`ProbeError`] when features are not finite.
    pub fn score(&self, learner: &EncoderLearner) -> Result<Evaluation, ProbeError> {
        let encoder = &learner.encoder;
        let evaluation = self.evaluation_observations();
        let features = Decomposition::new(encoder.weights.val(), self.features()).measures();
        let chance_coverage = self.chance_coverage();
        let task = DownstreamTask::new(self.probe_observations(), &|z| self.task_targets(z), &self.device);
        Ok(Evaluation {
            embeddings: self.embedding_measures(encoder, &evaluation),
            incoherence: self.data().dictionary().incoherence(),
            chance_coverage,
            coverage_corrected: chance_corrected(features.coverage_mean, chance_coverage),
            features,
            probe: task.score(&|x| encoder.forward(x))?,
            baselines: if self.spec.measurement.baselines { Some(self.baselines(&task)?) } else { None },
        })
    }

    fn baselines(&self, task: &DownstreamTask) -> Result<Baselines, ProbeError> {
        let untrained = self.untrained();
        let tuning = self.sample(self.spec.measurement.probe_samples, Purpose::Tuning, 0);
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
            untrained: task.score(&|x| untrained.encoder.forward(x))?,
        })
    }

    /// Soft-thresholded `Mᵀx`: the encoder whose neurons are the features themselves.
    fn oracle(&self, threshold: f64) -> SymmetricReluEncoder {
        EncoderConfig { bias: Bias::Trained { initial: threshold }, ..EncoderConfig::new() }.init(self.features())
    }

    fn quick_probe(&self, encoder: &SymmetricReluEncoder) -> Result<Option<f64>, ProbeError> {
        let [train, test] = &self.snapshot_samples;
        let embed = |o: &Observations| encoder.forward(o.x.to_tensor(&self.device));
        let y = |o: &Observations| self.task_targets(&o.z);
        ridge_r_squared(embed(train), &y(train), embed(test), &y(test))
    }

    fn embedding_measures(&self, encoder: &SymmetricReluEncoder, observations: &Observations) -> EmbeddingMeasures {
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
        if self.spec.measurement.shuffled_targets {
            // Observations are independent, so that the target of the next one is as good as any.
            let by = 1.min(targets.len());
            targets.rotate_left(by);
        }
        targets
    }

    fn chance_coverage(&self) -> f64 {
        let (m, d1) = (self.spec.encoder.num_neurons, self.spec.data.input_dim);
        let draw = |step| {
            let mut rng = Stream::new(self.seed, Purpose::Tuning).rng(Part::Whole, step);
            let weights = Matrix::from_values(m, d1, standard_normal(&mut rng, m * d1)).into_tensor(&self.device);
            Decomposition::new(weights, self.features()).measures().coverage_mean
        };
        (0..CHANCE_DRAWS).map(draw).sum::<f64>() / CHANCE_DRAWS as f64
    }

    fn data(&self) -> &SparseCodingModel {
        self.batches.data()
    }

    fn sample(&self, count: usize, purpose: Purpose, step: u64) -> Observations {
        self.data().sample(count, Stream::new(self.seed, purpose), step)
    }
}

impl Training for Monitor {
    type Learner = EncoderLearner;
    type Batch = TrainingBatch;
    type Snapshot = Snapshot;

    fn schedule(&self) -> Schedule {
        let training = &self.spec.training;
        let (steps, steps_per_epoch) = (training.steps, training.steps_per_epoch);
        Schedule { steps, steps_per_epoch, step_size: training.step_size }
    }

    fn fresh(&self) -> EncoderLearner {
        EncoderLearner::new(&self.spec, self.seed, &self.device.clone().autodiff())
    }

    fn untrained(&self) -> EncoderLearner {
        EncoderLearner::new(&self.spec, self.seed, &self.device)
    }

    fn optimizer(&self) -> ModuleOptimizer {
        EncoderLearner::optimizer(&self.spec)
    }

    fn batch(&self, step: u64) -> TrainingBatch {
        self.batches.training(step, &self.device.clone().autodiff())
    }

    fn has_closed_form(&self) -> bool {
        matches!(GradientSource::fastest(&self.spec, &self.device), GradientSource::ClosedForm(_))
    }

    fn snapshot(&self, learner: &EncoderLearner) -> Snapshot {
        self.measure(learner)
    }

    fn evaluate(&self, learner: &EncoderLearner, _: Option<&EncoderLearner>) -> Result<Evaluated, String> {
        let evaluation = self.score(learner).map_err(|e| e.to_string())?;
        let tensors = [
            ("weights", learner.encoder.weights.val().into_data()),
            ("biases", learner.encoder.biases.val().into_data()),
            ("dictionary", self.features().transpose().into_data()),
        ];
        let files = vec![
            ("weights.safetensors", safetensors_bytes(tensors)),
            ("evaluation.json", pretty(&evaluation).into_bytes()),
        ];
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

impl Measured for Snapshot {
    fn step(&self) -> u64 {
        self.step
    }

    fn loss(&self) -> f64 {
        self.loss
    }

    fn shown() -> Vec<Shown<Self>> {
        vec![
            Shown { name: "Held-out loss", read: |s| s.loss, higher_is_better: false },
            Shown { name: "Energy in span(M)", read: |s| s.energy_in_span, higher_is_better: true },
            Shown { name: "Coverage", read: |s| s.coverage_mean, higher_is_better: true },
            Shown { name: "Least coverage", read: |s| s.coverage_min, higher_is_better: true },
            Shown { name: "Active share", read: |s| s.active_share, higher_is_better: false },
            Shown { name: "Probe R²", read: |s| s.probe_r_squared.unwrap_or(0.0), higher_is_better: true },
        ]
    }
}

/// `y = ⟨w*, z⟩` and its sign on held-out observations.
struct DownstreamTask {
    train: TaskSamples,
    test: TaskSamples,
}

struct TaskSamples {
    x: Tensor<2>,
    y: Vec<f64>,
    /// Rows with z ≠ 0, where `sign⟨w*, z⟩` is defined.
    with_feature: Vec<i64>,
}

impl DownstreamTask {
    fn new(observations: [Observations; 2], targets: &dyn Fn(&Matrix) -> Vec<f64>, device: &Device) -> Self {
        let [train, test] = observations.map(|o| {
            let rows = o.z.iter_rows().enumerate().filter(|(_, z)| z.iter().any(|v| *v != 0.0));
            TaskSamples {
                y: targets(&o.z),
                with_feature: rows.map(|(i, _)| i as i64).collect(),
                x: o.x.into_tensor(device),
            }
        });
        Self { train, test }
    }

    fn score(&self, represent: &dyn Fn(Tensor<2>) -> Tensor<2>) -> Result<ProbeScore, ProbeError> {
        let (train, test) = (represent(self.train.x.clone()), represent(self.test.x.clone()));
        let r_squared = ridge_r_squared(train.clone(), &self.train.y, test.clone(), &self.test.y)?;
        let signs = |samples: &TaskSamples, features: Tensor<2>| {
            let rows = Tensor::from_data(&samples.with_feature[..], &features.device());
            let signs: Vec<bool> = samples.with_feature.iter().map(|i| samples.y[*i as usize] > 0.0).collect();
            (features.select(0, rows), signs)
        };
        if self.train.with_feature.len() < MIN_TRAINING_ROWS || self.test.with_feature.is_empty() {
            return Ok(ProbeScore { r_squared, accuracy: None });
        }
        let ((train, train_signs), (test, test_signs)) = (signs(&self.train, train), signs(&self.test, test));
        Ok(ProbeScore { r_squared, accuracy: Some(logistic_accuracy(train, &train_signs, test, &test_signs)?) })
    }
}
