//! From run folders to judged claims.
//!
//! Most claims are read off the evaluations that every run has. Further measures are listed by the experiment file in
//! `measures`, see [`measure`]: [`decoupling`], [`drift`], [`feature_groups`], [`linear_stage`], [`prototype_bounds`], [`stages`],
//! [`threshold_correlation`], [`weight_decay_law`], and what programs built on this one add.

pub mod decoupling;
pub mod drift;
pub mod feature_groups;
pub mod images;
pub mod linear_stage;
pub mod measure;
pub mod prototype_bounds;
pub mod stages;
pub mod threshold_correlation;
pub mod weight_decay_law;

use crate::io::error::UserError;
use crate::io::undefined::or_nan;
use crate::judge::{Expected, Judgement, Metrics, Verdict, overall};
use crate::run::folder::RunFolder;
use crate::spec::experiment::{Experiment, Point};
use crate::spec::{Part, Parts, RunSpec};
use crate::tasks::images::spec::ImageSpec;
use crate::tasks::sparse_coding::evaluation::Evaluation;
use crate::tasks::sparse_coding::snapshot::Snapshot;
use crate::tasks::sparse_coding::spec::{MomentsSpec, TrainingSpec};
use crate::tasks::spread::ViewDistances;
use cl_model::representation::OutputMeasures;
use decoupling::SimultaneousTests;
use drift::DriftGrowth;
use feature_groups::FeatureGroups;
use linear_stage::LinearStageGrowth;
use measure::{CompleteRun, Measure, Measures};
use prototype_bounds::PrototypeBounds;
use stages::StagesOfTraining;
use std::any::Any;
use std::collections::BTreeMap;
use threshold_correlation::ThresholdCorrelation;
use weight_decay_law::WeightDecayLaw;

/// The measures built into this program.
pub fn standard() -> Measures {
    let mut measures = Measures::new("measures");
    measure::add::<DriftGrowth>(&mut measures, "drift", false);
    measure::add::<FeatureGroups>(&mut measures, "feature_groups", false);
    measure::add::<LinearStageGrowth>(&mut measures, "linear_stage", false);
    measure::add::<PrototypeBounds>(&mut measures, "prototype_bounds", false);
    measure::add::<SimultaneousTests>(&mut measures, "simultaneous_tests", false);
    measure::add::<StagesOfTraining>(&mut measures, "stages", false);
    measure::add::<ThresholdCorrelation>(&mut measures, "threshold_correlation", false);
    measure::add::<WeightDecayLaw>(&mut measures, "weight_decay_law", false);
    measures
}

/// A claim after its runs.
#[derive(Debug, Clone)]
pub struct ClaimResult {
    /// What was run.
    pub experiment: Experiment,
    /// What was expected.
    pub expected: Expected,
    /// The measures that the experiment names.
    pub measures: Vec<Part<dyn Measure>>,
    /// The folder of each point and seed.
    pub folders: BTreeMap<(String, u64), RunFolder>,
    /// The results, as named numbers.
    pub metrics: Metrics,
    /// Expectations together with the results.
    pub judgements: Vec<Judgement>,
    /// The verdict.
    pub verdict: Verdict,
}

/// How claims are judged.
#[derive(Debug, Clone, Copy)]
pub struct Judge<'a> {
    /// What runs can be built from.
    pub parts: &'a Parts,
    /// What experiment files can measure.
    pub measures: &'a Measures,
    /// Whether the full set is judged.
    pub full: bool,
    /// Number of intervals judged together, including those of other claims; see [`Expected::judge`].
    pub family: usize,
}

impl Judge<'_> {
    /// Reads complete run folders and judges them. Folders may hold runs of other specifications: predictions are made
    /// from the experiment's own.
    ///
    /// # Errors
    /// [`UserError`] when a folder or `expected.toml` cannot be read, or the experiment names an unknown measure.
    pub fn judge(
        &self,
        experiment: Experiment,
        folders: BTreeMap<(String, u64), RunFolder>,
    ) -> Result<ClaimResult, UserError> {
        let expected = Expected::load(&experiment.folder)?;
        let measures = measure::chosen(&experiment, self.measures)?;
        let mut metrics = Metrics::new();
        for point in &experiment.points {
            for &seed in &point.seeds {
                let Some(folder) = folders.get(&(point.name.clone(), seed)).filter(|f| f.is_complete()) else {
                    continue;
                };
                folder.check_maker(&point.spec)?;
                let run = CompleteRun { point, seed, folder };
                let mut values = metrics_of_its_kind(run, self.parts)?;
                for measure in &measures {
                    values.extend(measure.get().of_run(&run)?);
                }
                metrics.entry(point.name.clone()).or_default().insert(seed, values);
            }
        }
        measures.iter().for_each(|measure| measure.get().across_runs(&mut metrics));
        let points = experiment.point_names();
        expected.check(&experiment.folder.join("expected.toml"), &points, &metrics, self.full)?;
        let judgements = expected.judge(&points, &metrics, self.full, self.family);
        let verdict = overall(&judgements);
        Ok(ClaimResult { experiment, expected, measures, folders, metrics, judgements, verdict })
    }
}

impl ClaimResult {
    /// The experiment's measure of this type, if it names one.
    pub fn measure<M: Any>(&self) -> Option<&M> {
        self.measures.iter().find_map(|measure| measure.config())
    }
}

/// A complete run by itself, as a claim that expects nothing.
///
/// # Errors
/// [`UserError`] when its folder cannot be read, or another executable's own parts made it.
pub fn single_run(judge: &Judge, spec: RunSpec, seed: u64, folder: &RunFolder) -> Result<ClaimResult, UserError> {
    folder.check_maker(&spec)?;
    let point = Point { name: "run".into(), spec, seeds: vec![seed] };
    let values = metrics_of_its_kind(CompleteRun { point: &point, seed, folder }, judge.parts)?;
    let metrics = Metrics::from([(point.name.clone(), [(seed, values)].into())]);
    let folders = [((point.name.clone(), seed), folder.clone())].into();
    let experiment = Experiment::of_one_point(point);
    let expected = Expected { expect: Vec::new() };
    Ok(ClaimResult {
        experiment,
        expected,
        measures: Vec::new(),
        folders,
        metrics,
        judgements: Vec::new(),
        verdict: Verdict::Undecided,
    })
}

/// The metrics that every run of its kind of data has.
fn metrics_of_its_kind(run: CompleteRun, parts: &Parts) -> Result<BTreeMap<String, f64>, UserError> {
    let CompleteRun { point, seed, folder } = run;
    if let Some(spec) = point.spec.get::<TrainingSpec>() {
        Ok(training_metrics(spec, &folder.evaluation()?, &folder.snapshots()?))
    } else if let Some(spec) = point.spec.get::<MomentsSpec>() {
        let moments = folder.moments()?;
        let is_own = folder.spec(parts)?.0.get() == Some(spec);
        Ok(decoupling::metrics(&if is_own { moments } else { moments.held_against(spec, seed) }))
    } else if point.spec.get::<ImageSpec>().is_some() {
        Ok(images::metrics(&folder.evaluation()?, &folder.snapshots()?))
    } else {
        Ok(numbers_of(&folder.evaluation()?))
    }
}

/// Every number of an evaluation by its path, such as `probe.accuracy`: the metrics of a kind of data that this program does not know.
fn numbers_of(evaluation: &serde_json::Value) -> BTreeMap<String, f64> {
    fn collect(path: &str, value: &serde_json::Value, numbers: &mut BTreeMap<String, f64>) {
        match value {
            serde_json::Value::Object(entries) => {
                for (key, value) in entries {
                    collect(&if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, value, numbers);
                }
            }
            serde_json::Value::Number(number) => {
                numbers.insert(path.into(), number.as_f64().unwrap_or(f64::NAN));
            }
            // What an evaluation writes for NaN.
            serde_json::Value::Null => {
                numbers.insert(path.into(), f64::NAN);
            }
            _ => {}
        }
    }
    let mut numbers = BTreeMap::new();
    collect("", evaluation, &mut numbers);
    numbers
}

/// The metrics that every training run has, by the names that `expected.toml` uses.
fn training_metrics(spec: &TrainingSpec, evaluation: &Evaluation, snapshots: &[Snapshot]) -> BTreeMap<String, f64> {
    let f = &evaluation.features;
    let e = &evaluation.embeddings;
    let mut values: BTreeMap<String, f64> = [
        ("energy_in_span", f.energy_in_span),
        ("coverage_mean", f.coverage_mean),
        ("coverage_min", f.coverage_min),
        ("coverage_median", f.coverage_median),
        ("coverage_max", f.coverage_max),
        ("coverage_corrected", evaluation.coverage_corrected),
        ("features_without_singleton", spec.data.code_dim as f64 - f.features_with_singleton as f64),
        ("singleton_fraction", f.singleton_fraction),
        (
            "most_neurons_per_feature_fraction",
            most_neurons(f) / snapshots.last().map_or(f64::NAN, |s| s.neuron_energies.len() as f64),
        ),
        ("correlation_sparse", e.correlation_sparse),
        ("correlation_dense", e.correlation_dense),
        ("active_fraction", e.active_fraction),
        ("probe_r_squared", or_nan(evaluation.probe.r_squared)),
        ("probe_accuracy", or_nan(evaluation.probe.accuracy)),
        ("relative_smallest_loss_before_threshold", relative_smallest_loss(spec, snapshots)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_string(), value))
    .collect();
    if let Some(b) = &evaluation.baselines {
        let [probe, oracle, input, untrained] =
            [evaluation.probe, b.oracle, b.input, b.untrained].map(|s| (or_nan(s.r_squared), or_nan(s.accuracy)));
        values.extend([
            ("oracle_r_squared".to_string(), oracle.0),
            ("oracle_accuracy".to_string(), oracle.1),
            ("probe_r_squared_over_oracle".to_string(), probe.0 / oracle.0),
            ("probe_accuracy_minus_oracle".to_string(), probe.1 - oracle.1),
            ("input_r_squared_over_oracle".to_string(), input.0 / oracle.0),
            ("untrained_r_squared_over_oracle".to_string(), untrained.0 / oracle.0),
        ]);
    }
    values.extend(predictor_metrics(snapshots));
    if let Some(last) = snapshots.last() {
        values.extend(signals(last.outputs, last.view_distances, last.feature_rank, last.gradient_norm));
    }
    for snapshot in snapshots {
        // Horizons within a run, for maps over time.
        values.insert(format!("coverage_mean@{}", snapshot.step), snapshot.coverage_mean);
    }
    values
}

/// How outputs and features are spread at the end, how far views are apart, and how long the gradient is.
fn signals(
    outputs: Option<OutputMeasures>,
    view_distances: Option<ViewDistances>,
    feature_rank: Option<f64>,
    gradient_norm: Option<f64>,
) -> BTreeMap<String, f64> {
    let of_outputs = outputs.map(|o| {
        [
            ("output_rank", o.effective_rank),
            ("output_spread", o.spread),
            ("alignment", o.alignment),
            ("uniformity", o.uniformity),
        ]
    });
    let of_views = view_distances.map(|d| {
        [
            ("feature_view_distance", d.features),
            ("output_view_distance", d.outputs),
            ("output_over_feature_view_distance", d.outputs / d.features),
        ]
    });
    let others = [("feature_rank", feature_rank), ("gradient_norm", gradient_norm)];
    let others = others.into_iter().filter_map(|(name, value)| Some((name, value?)));
    of_outputs
        .into_iter()
        .flatten()
        .chain(of_views.into_iter().flatten())
        .chain(others)
        .map(|(name, value)| (name.to_string(), value))
        .collect()
}

/// Peak, its step, and end of the norm of a predictor's off-diagonal entries, for runs that have such a predictor.
fn predictor_metrics(snapshots: &[Snapshot]) -> Vec<(String, f64)> {
    let norms: Vec<(u64, f64)> = snapshots.iter().filter_map(|s| Some((s.step, s.predictor_off_diagonal?))).collect();
    let peak = norms.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
    let (Some((step, peak)), Some((_, last))) = (peak, norms.last()) else { return Vec::new() };
    let metrics = [("peak", peak), ("peak_step", step as f64), ("last", *last), ("last_over_peak", last / peak)];
    metrics.map(|(name, value)| (format!("predictor_off_diagonal_{name}"), value)).into()
}

fn most_neurons(f: &cl_model::features::FeatureMeasures) -> f64 {
    f.neurons_per_feature.iter().copied().max().unwrap_or(0) as f64
}

/// Smallest held-out loss up to T1 (up to the end without a bias rule), over its value at chance; NaN where an objective has none.
fn relative_smallest_loss(spec: &TrainingSpec, snapshots: &[Snapshot]) -> f64 {
    let until = spec.bias_start().unwrap_or(u64::MAX);
    let smallest = snapshots.iter().filter(|s| s.step <= until).map(|s| s.loss).fold(f64::INFINITY, f64::min);
    smallest / spec.loss_at_chance().unwrap_or(f64::NAN)
}
