//! C2: growth in the linear stage against the two predictions.

use super::measure::{CompleteRun, Measure};
use crate::io::error::UserError;
use crate::io::undefined::largest;
use crate::spec::experiment::Point;
use crate::tasks::sparse_coding::snapshot::Snapshot;
use crate::tasks::sparse_coding::spec::TrainingSpec;
use crate::tasks::sparse_coding::training::SparseCoding;
use crate::tasks::task::Task;
use burn::tensor::Device;
use cl_config::{Component, ConfigError, positive};
use cl_data::{Matrix, SecondMoments};
use cl_model::linear_stage::{LinearStage, PredictedNorms, Prediction};
use cl_model::{Bias, InfoNce, LearningRate, Normalization, OptimizerConfig, SymmetricReluConfig};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Relative errors of the predictions of the linear stage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinearStageGrowth {
    /// Snapshots are used until `max |Sim|/τ` on a held-out batch first exceeds this, larger than 0.
    pub similarity_bound: f64,
}

impl Component for LinearStageGrowth {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        positive("similarity_bound", self.similarity_bound)?;
        Ok(self)
    }
}

impl Measure for LinearStageGrowth {
    fn check(&self, point: &Point) -> Result<(), String> {
        trained(point).map(|_| ())
    }

    fn of_run(&self, run: &CompleteRun) -> Result<BTreeMap<String, f64>, UserError> {
        let spec = trained(run.point).map_err(UserError::Run)?;
        Ok(Comparison::new(spec, run.seed, &run.folder.snapshots()?, self.similarity_bound).metrics())
    }
}

/// What the prediction is about.
fn trained(point: &Point) -> Result<&TrainingSpec, String> {
    let spec = point
        .spec
        .get::<TrainingSpec>()
        .filter(|spec| spec.symmetric_relu().is_some() && spec.model.is_encoder_alone());
    spec.ok_or_else(|| {
        "it does not train the encoder symmetric_relu alone on sparse_coding, whose growth is predicted".into()
    })
}

/// Measured norms and predicted ones, at the steps where a snapshot was taken.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// Steps.
    pub steps: Vec<u64>,
    /// Measured.
    pub measured: Vec<PredictedNorms>,
    /// Predicted for the mean weights.
    pub mean: Vec<PredictedNorms>,
    /// Predicted with gradient noise.
    pub with_noise: Vec<PredictedNorms>,
    /// How many of the first snapshots lie below the bound on `max |Sim|/τ`.
    pub within_bound: usize,
}

/// Whether the beginning of a run is predicted: the paper's encoder alone, without normalisation and with thresholds that begin at 0,
/// under the paper's loss and plain gradient descent at a constant rate.
pub fn is_predicted(spec: &TrainingSpec) -> bool {
    let of_the_paper = |loss: &InfoNce| *loss == InfoNce::paper(loss.temperature);
    let has_its_loss = spec.objective.config::<InfoNce>().is_some_and(of_the_paper);
    let has_its_encoder = spec.symmetric_relu().is_some_and(|encoder| {
        let from_0 = match encoder.bias {
            Bias::Zero => true,
            Bias::Scheduled(rule) => rule.start_step > 0,
            Bias::Trained { .. } => false,
        };
        from_0 && encoder.normalization == Normalization::None
    });
    let is_plain = matches!(spec.optimization.optimizer, OptimizerConfig::Sgd { momentum: 0.0, .. })
        && spec.optimization.gradient_clip.is_none()
        && !matches!(spec.optimization.learning_rate, LearningRate::WarmupCosine { .. });
    has_its_loss && has_its_encoder && is_plain && spec.model.is_encoder_alone()
}

/// The norms that the linear stage predicts for the first steps of a run, from its specification and seed; nothing is fitted.
pub fn predict(spec: &TrainingSpec, seed: u64, steps: u64) -> Prediction {
    let eta = match spec.schedule().learning_rate {
        LearningRate::Constant { rate } | LearningRate::ExponentialDecay { first: rate, .. } => rate,
        // The prediction assumes a constant η, without a warm-up.
        LearningRate::WarmupCosine { peak, .. } => peak,
    };
    let data = spec.data.model(seed);
    let moments = SecondMoments::new(&data, &spec.views.augmentation());
    let negatives = spec.num_negatives() as f64;
    let stage = LinearStage {
        cross_view: &moments.cross_view,
        plus: &moments.plus,
        plus_plus: &moments.plus_plus,
        kappa: negatives / (negatives + 1.0),
        eta,
        weight_decay: spec.weight_decay(),
        batch_size: spec.optimization.batch_size as f64,
    };
    let untrained = SparseCoding::<SymmetricReluConfig>::on(spec, seed, &Device::flex()).untrained();
    let weights = untrained.encoder.weights.val().into_data();
    let weights: Vec<f64> = weights.iter::<f64>().collect();
    let weights: Vec<Vec<f64>> = weights.chunks_exact(spec.data.input_dim).map(<[f64]>::to_vec).collect();
    stage.predict(&weights, &rows(data.dictionary().features()), steps as usize)
}

impl Comparison {
    /// Predicts a run from its specification and seed; nothing is fitted.
    pub fn new(spec: &TrainingSpec, seed: u64, snapshots: &[Snapshot], similarity_bound: f64) -> Self {
        let within = |s: &&Snapshot| s.largest_similarity.is_some_and(|v| v <= similarity_bound);
        let within_bound = snapshots.iter().take_while(within).count();
        // Only one snapshot beyond the bound is shown: the prediction grows without limit.
        let shown: Vec<&Snapshot> = snapshots.iter().take(within_bound + 1).collect();
        let last = shown.last().map_or(0, |s| s.step);
        let prediction = predict(spec, seed, last);
        let at = |curve: &[PredictedNorms]| shown.iter().map(|s| curve[s.step as usize]).collect();
        Self {
            steps: shown.iter().map(|s| s.step).collect(),
            measured: shown
                .iter()
                .map(|s| PredictedNorms { in_span: s.norm_in_span, complement: s.norm_complement })
                .collect(),
            mean: at(&prediction.mean),
            with_noise: at(&prediction.with_noise),
            within_bound,
        }
    }

    /// Largest relative errors of both predictions, the last step within the bound and the growth up to it.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let largest = |predicted: &[PredictedNorms]| {
            let errors = |(m, p): (&PredictedNorms, &PredictedNorms)| {
                [m.in_span / p.in_span - 1.0, m.complement / p.complement - 1.0]
            };
            largest(self.measured.iter().zip(predicted).take(self.within_bound).flat_map(errors))
        };
        let last = self.within_bound.saturating_sub(1);
        let growth = self.measured.get(last).map_or(1.0, |m| m.in_span / self.measured[0].in_span);
        BTreeMap::from([
            ("largest_error_with_noise".to_string(), largest(&self.with_noise)),
            ("largest_error_of_mean".to_string(), largest(&self.mean)),
            ("last_step_within_bound".to_string(), self.steps.get(last).map_or(0.0, |s| *s as f64)),
            ("growth_in_span".to_string(), growth),
        ])
    }
}

fn rows(matrix: &Matrix) -> Vec<Vec<f64>> {
    matrix.iter_rows().map(|row| row.iter().map(|v| f64::from(*v)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::catalog::Catalog;
    use crate::spec::experiment::{Experiment, Extent};
    use std::path::Path;

    fn spec() -> TrainingSpec {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/c2-linear-stage");
        let experiment = Experiment::load(&folder, Extent::Default, Catalog::standard().parts()).unwrap();
        experiment.point("small-step").unwrap().spec.get::<TrainingSpec>().unwrap().clone()
    }

    fn snapshot(step: u64, similarity: f64, norms: PredictedNorms) -> Snapshot {
        let (in_span, complement) = (norms.in_span, norms.complement);
        Snapshot {
            step,
            largest_similarity: Some(similarity),
            norm_in_span: in_span,
            norm_complement: complement,
            ..Snapshot::example()
        }
    }

    #[test]
    fn errors_are_those_of_the_snapshots_within_the_bound() {
        let spec = spec();
        let similarities = [0.01, 0.05, 0.1, 0.3, 0.2];
        let steps = |k: usize| 20 * k as u64;
        let of = |norms: &dyn Fn(usize) -> PredictedNorms| -> Vec<Snapshot> {
            similarities.iter().enumerate().map(|(k, s)| snapshot(steps(k), *s, norms(k))).collect()
        };
        let one = PredictedNorms { in_span: 1.0, complement: 1.0 };
        let predicted = Comparison::new(&spec, 201, &of(&|_| one), 0.2).with_noise;
        // Three lie below the bound, and one beyond is shown; a later return below the bound is not.
        assert_eq!(predicted.len(), 4);
        let off = [(1.0, 1.0), (1.02, 0.99), (0.97, 1.01), (5.0, 5.0), (9.0, 9.0)];
        let measured = of(&|k| {
            let predicted = predicted.get(k).copied().unwrap_or(one);
            PredictedNorms { in_span: off[k].0 * predicted.in_span, complement: off[k].1 * predicted.complement }
        });
        let comparison = Comparison::new(&spec, 201, &measured, 0.2);
        assert_eq!((comparison.within_bound, &comparison.steps[..]), (3, &[0, 20, 40, 60][..]));
        let metrics = comparison.metrics();
        assert!((metrics["largest_error_with_noise"] - 0.03).abs() < 1e-9, "{metrics:?}");
        assert_eq!(metrics["last_step_within_bound"], 40.0);
        let growth = 0.97 * predicted[2].in_span / predicted[0].in_span;
        assert!((metrics["growth_in_span"] - growth).abs() < 1e-12);
        // NaN is not within any bound.
        let mut broken = measured;
        broken[1].norm_in_span = f64::NAN;
        assert!(Comparison::new(&spec, 201, &broken, 0.2).metrics()["largest_error_with_noise"].is_nan());
    }

    #[test]
    fn the_prediction_begins_at_the_weights_that_training_begins_at() {
        let spec = spec();
        let one = PredictedNorms { in_span: 1.0, complement: 1.0 };
        let start = Comparison::new(&spec, 202, &[snapshot(0, 0.0, one)], 0.2).mean[0];
        let untrained = SparseCoding::<SymmetricReluConfig>::on(&spec, 202, &Device::flex()).untrained();
        let squares: f64 = untrained.encoder.weights.val().square().sum().into_scalar();
        assert!((start.in_span.powi(2) + start.complement.powi(2) - squares).abs() < 1e-5 * squares);
        let other = Comparison::new(&spec, 203, &[snapshot(0, 0.0, one)], 0.2).mean[0];
        assert_ne!(start, other);
    }
}
