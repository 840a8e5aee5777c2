//! What an encoder of vectors learned by the end, and the downstream task it is asked to solve.

use burn::tensor::{Device, Tensor};
use cl_data::{Matrix, Observations};
use cl_model::features::{EmbeddingMeasures, FeatureMeasures};
use cl_model::probe::{MIN_TRAINING_ROWS, ProbeError, logistic_accuracy, ridge_r_squared};
use serde::{Deserialize, Serialize};

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
    /// The same probe on other representations, if the specification asks for them.
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

/// Probes that put the probe on `f(x)` into perspective.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Baselines {
    /// On `x` itself.
    pub input: ProbeScore,
    /// On the oracle code, soft-thresholded `Mᵀx`.
    pub oracle: ProbeScore,
    /// The oracle's threshold, chosen on separate observations.
    pub oracle_threshold: f64,
    /// On the encoder before training.
    pub untrained: ProbeScore,
}

/// `y = ⟨w*, z⟩` and its sign on held-out observations.
pub struct DownstreamTask {
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
    /// The task on observations to fit on and to score on; `targets` maps codes to `⟨w*, z⟩`.
    pub fn new(observations: [Observations; 2], targets: &dyn Fn(&Matrix) -> Vec<f64>, device: &Device) -> Self {
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

    /// How well a linear head does on the output of `represent`.
    ///
    /// # Errors
    /// [`ProbeError`] when a representation is not finite.
    pub fn score(&self, represent: &dyn Fn(Tensor<2>) -> Tensor<2>) -> Result<ProbeScore, ProbeError> {
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
