//! What is measured while an encoder of vectors trains.

use crate::tasks::spread::ViewDistances;
use crate::tasks::task::{Measured, Shown};
#[cfg(doc)]
use cl_model::features::{EmbeddingMeasures, FeatureMeasures};
use cl_model::representation::OutputMeasures;
#[cfg(doc)]
use cl_model::representation::effective_rank;
use serde::{Deserialize, Serialize};

/// One line of `metrics.jsonl`: the state after `step` steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Steps done.
    pub step: u64,
    /// `η` of the last step (of the first, at step 0).
    pub learning_rate: f64,
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
    pub singleton_fraction: f64,
    /// `√Σ_i ‖M Mᵀ w_i‖²`.
    pub norm_in_span: f64,
    /// `√Σ_i ‖w_i − M Mᵀ w_i‖²`.
    pub norm_complement: f64,
    /// Mean of `b_i / ‖w_i‖`.
    pub threshold_ratio: f64,
    /// See [`EmbeddingMeasures`]; on 512 observations.
    pub active_fraction: f64,
    /// See [`EmbeddingMeasures`]; on 512 observations.
    pub correlation_sparse: f64,
    /// See [`EmbeddingMeasures`]; on 512 observations.
    pub correlation_dense: f64,
    /// `R²` of a ridge probe fitted on 512 observations and scored on 512 others; `None` where their targets do not vary, or an
    /// embedding is not finite.
    pub probe_r_squared: Option<f64>,
    /// Effective rank of the features of 512 observations, see [`effective_rank`]; `None` where one is not finite.
    #[serde(default)]
    pub feature_rank: Option<f64>,
    /// Of the outputs for the held-out batch, before any predictor; `None` for the supervised objective.
    #[serde(default)]
    pub outputs: Option<OutputMeasures>,
    /// How far the views of the same batch are apart; `None` for the supervised objective and where all are alike.
    #[serde(default)]
    pub view_distances: Option<ViewDistances>,
    /// Norm of the gradient of all parameters together for the next training batch, before any bound; `None` where it is not finite.
    #[serde(default)]
    pub gradient_norm: Option<f64>,
    /// Frobenius norm of what the predictor takes from other outputs; `None` without a linear predictor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predictor_off_diagonal: Option<f64>,
    /// `‖M Mᵀ w_i‖² / ‖w_i‖²` per neuron.
    pub neuron_energies: Vec<f32>,
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
            Shown { name: "Active fraction", read: |s| s.active_fraction, higher_is_better: false },
            Shown { name: "Probe R²", read: |s| s.probe_r_squared.unwrap_or(0.0), higher_is_better: true },
            Shown { name: "Effective rank", read: |s| s.feature_rank.unwrap_or(0.0), higher_is_better: true },
            Shown { name: "Gradient norm", read: |s| s.gradient_norm.unwrap_or(0.0), higher_is_better: false },
        ]
    }

    fn warning(&self) -> Option<String> {
        self.outputs?.collapse().map(String::from)
    }
}

#[cfg(test)]
impl Snapshot {
    /// An example at step 0, for tests.
    pub fn example() -> Self {
        Self {
            step: 0,
            learning_rate: 0.5,
            loss: 1.0,
            largest_similarity: None,
            energy_in_span: 0.5,
            coverage_mean: 0.5,
            coverage_min: 0.2,
            features_with_singleton: 1,
            singleton_fraction: 0.5,
            norm_in_span: 1.0,
            norm_complement: 1.0,
            threshold_ratio: 0.0,
            active_fraction: 1.0,
            correlation_sparse: 0.5,
            correlation_dense: 0.5,
            probe_r_squared: Some(0.5),
            feature_rank: Some(1.0),
            outputs: None,
            view_distances: None,
            gradient_norm: Some(0.1),
            predictor_off_diagonal: None,
            neuron_energies: Vec::new(),
        }
    }
}
