//! Growth of the weights while thresholds are 0, against what the drift of the objective predicts.

use super::measure::{CompleteRun, Measure};
use crate::io::error::UserError;
use crate::io::undefined::largest;
use crate::spec::experiment::Point;
use crate::tasks::sparse_coding::snapshot::Snapshot;
use crate::tasks::sparse_coding::spec::TrainingSpec;
use crate::tasks::sparse_coding::training::SparseCoding;
use crate::tasks::task::Task;
use burn::tensor::Device;
use cl_config::{Component, ConfigError};
use cl_data::{Augmentation, Negatives, SecondMoments};
use cl_model::drift::LinearModel;
use cl_model::linear_stage::PredictedNorms;
use cl_model::{Bias, Normalization, OptimizerConfig, SymmetricReluConfig};
use faer::{Mat, Scale};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How far norms follow `W ← (1 − ηλ) W + η · drift(W)` from the weights that training starts at. Nothing is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriftGrowth {}

impl Component for DriftGrowth {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        Ok(self)
    }
}

impl Measure for DriftGrowth {
    fn check(&self, point: &Point) -> Result<(), String> {
        trained(point).map(|_| ())
    }

    fn of_run(&self, run: &CompleteRun) -> Result<BTreeMap<String, f64>, UserError> {
        let spec = trained(run.point).map_err(UserError::Run)?;
        Ok(Trajectory::new(spec, run.seed, &run.folder.snapshots()?).metrics())
    }
}

/// What the prediction is about.
fn trained(point: &Point) -> Result<&TrainingSpec, String> {
    let spec = point.spec.get::<TrainingSpec>();
    let spec = spec.filter(|spec| spec.symmetric_relu().is_some_and(is_linear));
    let spec = spec.ok_or(
        "it does not train the encoder symmetric_relu with thresholds of 0 and without normalization on sparse_coding",
    )?;
    let one = || Mat::from_fn(1, 1, |_, _| 1.0);
    let model = LinearModel {
        weights: one(),
        cross_view: one(),
        view: one(),
        negatives: Some(one()),
        batch_size: spec.optimization.batch_size,
        num_negatives: spec.num_negatives(),
    };
    let known = spec.objective().is_some_and(|objective| objective.drift(&model).is_some());
    let factors = spec.views.augmentation().coordinate_factors();
    let is_plain = spec.optimization.gradient_clip.is_none()
        && spec.data.training_set_size.is_none()
        && matches!(spec.optimization.optimizer, OptimizerConfig::Sgd { momentum: 0.0, .. });
    if !known {
        Err(format!("the drift of the objective {} is not known", spec.objective.name()))
    } else if !spec.model.is_encoder_alone() {
        Err("there is a projector, predictor, momentum copy or queue behind its encoder".into())
    } else if !is_plain {
        Err("it is not trained by plain, unclipped gradient descent on fresh observations".into())
    } else if (factors.square_plus - factors.square_plus_plus).abs() > 1e-6 {
        Err("its two views have different second moments".into())
    } else {
        Ok(spec)
    }
}

/// Whether outputs are `W x`.
fn is_linear(encoder: &SymmetricReluConfig) -> bool {
    encoder.bias == Bias::Zero && encoder.normalization == Normalization::None
}

/// Measured norms and predicted ones, at the steps where a snapshot was taken.
#[derive(Debug, Clone)]
pub struct Trajectory {
    /// Steps.
    pub steps: Vec<u64>,
    /// Measured.
    pub measured: Vec<PredictedNorms>,
    /// Predicted.
    pub predicted: Vec<PredictedNorms>,
}

impl Trajectory {
    /// Follows the drift from the initial weights of a run.
    ///
    /// # Panics
    /// When the drift of the objective is not known.
    pub fn new(spec: &TrainingSpec, seed: u64, snapshots: &[Snapshot]) -> Self {
        let objective = spec.objective().expect("a two-view objective");
        let features = spec.data.model(seed).dictionary().features().clone();
        let features =
            Mat::from_fn(features.rows, features.cols, |j, c| f64::from(features.values[j * features.cols + c]));
        let mut model = linear_model(spec, seed);
        let (rate, decay) = (spec.schedule().learning_rate, spec.weight_decay());
        let mut predicted = Vec::new();
        let mut step = 0;
        for snapshot in snapshots {
            while step < snapshot.step {
                let eta = rate.at(step);
                let drift = objective.drift(&model).expect("it has been checked");
                model.weights = Scale(1.0 - eta * decay) * &model.weights + Scale(eta) * drift;
                step += 1;
            }
            predicted.push(norms(&model.weights, &features));
        }
        Self {
            steps: snapshots.iter().map(|s| s.step).collect(),
            measured: snapshots
                .iter()
                .map(|s| PredictedNorms { in_span: s.norm_in_span, complement: s.norm_complement })
                .collect(),
            predicted,
        }
    }

    /// Largest relative errors of the norms, and the separation `log(growth in span(M) / growth in the complement)` by the end.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let error = |side: fn(&PredictedNorms) -> f64| {
            largest(self.measured.iter().zip(&self.predicted).map(|(m, p)| side(m) / side(p) - 1.0))
        };
        let growth = |of: &[PredictedNorms], side: fn(&PredictedNorms) -> f64| match (of.first(), of.last()) {
            (Some(first), Some(last)) => side(last) / side(first),
            _ => f64::NAN,
        };
        let separation = |of: &[PredictedNorms]| (growth(of, |n| n.in_span) / growth(of, |n| n.complement)).ln();
        let (measured, predicted) = (separation(&self.measured), separation(&self.predicted));
        BTreeMap::from(
            [
                ("drift_error_in_span", error(|n| n.in_span)),
                ("drift_error_complement", error(|n| n.complement)),
                ("growth_in_span", growth(&self.measured, |n| n.in_span)),
                ("growth_complement", growth(&self.measured, |n| n.complement)),
                ("separation", measured),
                ("separation_predicted", predicted),
                ("separation_error", (measured / predicted - 1.0).abs()),
            ]
            .map(|(name, value)| (name.to_string(), value)),
        )
    }
}

/// What a run starts from and what it sees.
fn linear_model(spec: &TrainingSpec, seed: u64) -> LinearModel {
    let data = spec.data.model(seed);
    let augmentation = spec.views.augmentation();
    let moments = SecondMoments::new(&data, &augmentation);
    let d1 = spec.data.input_dim;
    let matrix = |values: &[f64]| Mat::from_fn(d1, d1, |r, c| values[r * d1 + c]);
    let untrained = SparseCoding::<SymmetricReluConfig>::on(spec, seed, &Device::flex()).untrained();
    let weights: Vec<f64> = untrained.encoder.weights.val().into_data().iter::<f64>().collect();
    let negatives = match spec.data.negatives {
        Negatives::Fresh { .. } => SecondMoments::new(&data, &Augmentation::None).plus,
        Negatives::FreshAugmented { .. } | Negatives::OtherKeys => moments.plus_plus.clone(),
    };
    LinearModel {
        weights: Mat::from_fn(weights.len() / d1, d1, |r, c| weights[r * d1 + c]),
        cross_view: matrix(&moments.cross_view),
        view: matrix(&moments.plus),
        negatives: Some(matrix(&negatives)),
        batch_size: spec.optimization.batch_size,
        num_negatives: spec.num_negatives(),
    }
}

/// `√Σ‖·‖²` inside the span of orthonormal features `[d, d1]`, and in its complement.
fn norms(weights: &Mat<f64>, features: &Mat<f64>) -> PredictedNorms {
    let squares = |matrix: &Mat<f64>| matrix.norm_l2().powi(2);
    let inside = squares(&(weights * features.transpose()));
    PredictedNorms { in_span: inside.sqrt(), complement: (squares(weights) - inside).max(0.0).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn norms_of(values: &[(f64, f64)]) -> Vec<PredictedNorms> {
        values
            .iter()
            .map(|(in_span, complement)| PredictedNorms { in_span: *in_span, complement: *complement })
            .collect()
    }

    #[test]
    fn errors_and_separations_by_hand() {
        let trajectory = Trajectory {
            steps: vec![0, 10, 20],
            measured: norms_of(&[(1.0, 2.0), (2.2, 2.0), (4.0, 1.0)]),
            predicted: norms_of(&[(1.0, 2.0), (2.0, 2.0), (4.0, 2.0)]),
        };
        let metrics = trajectory.metrics();
        let close = |name: &str, expected: f64| {
            assert!((metrics[name] - expected).abs() < 1e-12, "{name}: {} instead of {expected}", metrics[name]);
        };
        close("drift_error_in_span", 0.1);
        close("drift_error_complement", 0.5);
        close("growth_in_span", 4.0);
        close("growth_complement", 0.5);
        close("separation", 8f64.ln());
        close("separation_predicted", 4f64.ln());
        close("separation_error", 0.5);
    }

    #[test]
    fn norms_are_split_along_the_features() {
        let weights = Mat::from_fn(2, 3, |r, c| [[3.0, 0.0, 4.0], [0.0, 2.0, 0.0]][r][c]);
        let features = Mat::from_fn(2, 3, |j, c| [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]][j][c]);
        let found = norms(&weights, &features);
        assert!((found.in_span - 13f64.sqrt()).abs() < 1e-12 && (found.complement - 4.0).abs() < 1e-12);
    }
}
