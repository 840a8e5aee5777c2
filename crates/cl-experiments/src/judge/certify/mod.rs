//! `certify`: one seeded experiment on every backend of this binary, and how far apart the results are.
//!
//! Backends sum in different orders, so they differ by rounding from the first step on, and training propagates such
//! differences. The effect of errors of the size of float32 rounding on this very experiment is measured (see
//! [`rounding`]), and a backend agrees as long as it stays within that.

pub mod python;
mod python_images;
pub mod rounding;
mod taken_apart;

use crate::io::device;
use crate::io::error::UserError;
use crate::io::manifest::Manifest;
use crate::io::undefined::{as_null, largest, or_nan};
use crate::judge::measures::Judge;
use crate::judge::measures::measure::Measures;
use crate::judge::{Expected, Verdict};
use crate::run::catalog::Catalog;
use crate::run::folder::RunFolder;
use crate::run::headless::{CHECKPOINT_EVERY_S, Outcome, Session};
use crate::spec::RunSpec;
use crate::spec::experiment::{Experiment, Extent};
use crate::tasks::sparse_coding::snapshot::Snapshot;
use crate::tasks::sparse_coding::spec::TrainingSpec;
use burn::tensor::Device;
use rounding::Envelope;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The backend that the others are compared with.
const REFERENCE: &str = "flex";

/// A tolerance above this fraction of a metric's size is reported as uninformative.
const UNINFORMATIVE: f64 = 0.1;

/// A named number of a snapshot.
pub type Metric = (&'static str, fn(&Snapshot) -> f64);

/// Numbers of a snapshot whose divergence is tracked.
pub const METRICS: [Metric; 9] = [
    ("loss", |s| s.loss),
    ("energy_in_span", |s| s.energy_in_span),
    ("coverage_mean", |s| s.coverage_mean),
    ("norm_in_span", |s| s.norm_in_span),
    ("norm_complement", |s| s.norm_complement),
    ("threshold_ratio", |s| s.threshold_ratio),
    ("correlation_sparse", |s| s.correlation_sparse),
    ("correlation_dense", |s| s.correlation_dense),
    ("probe_r_squared", |s| or_nan(s.probe_r_squared)),
];

/// `certificate.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Certificate {
    /// The experiment.
    pub experiment: String,
    /// The backend that the others are compared with.
    pub reference: String,
    /// How tolerances are determined.
    pub tolerance: String,
    /// Commit, versions and platform.
    pub manifest: Manifest,
    /// Backends that were run.
    pub backends: Vec<BackendResult>,
    /// Backends that were not, and why.
    pub left_out: BTreeMap<String, String>,
    /// Whether all that were run agree with the reference.
    pub agree: bool,
}

/// The result on one backend.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BackendResult {
    /// Name of the backend.
    pub name: String,
    /// The verdict of the experiment on it.
    pub verdict: Verdict,
    /// Whether verdict and metrics agree with the reference.
    pub agrees: bool,
    /// Seconds spent in this call; none for runs that were already there.
    pub duration_s: f64,
    /// By metric; empty for the reference.
    pub metrics: BTreeMap<String, Divergence>,
}

/// How far a metric diverges in the run that is worst relative to its tolerance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Divergence {
    /// The first step at which any run lies outside its tolerance.
    pub first_step_outside: Option<u64>,
    /// Largest divergence in units of the tolerance; infinite, and `null` in JSON, where a number is NaN.
    #[serde(with = "as_null")]
    pub largest_fraction_of_tolerance: f64,
    /// By step.
    pub over_time: Vec<Distance>,
}

/// How far a metric has diverged at a step, in units of its largest value in the run.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Distance {
    /// The step.
    pub step: u64,
    /// How far; infinite, and `null` in JSON, where a number is NaN.
    #[serde(with = "as_null")]
    pub apart: f64,
    /// How far it may diverge.
    pub tolerance: f64,
}

/// Runs the experiment on each backend, below `output`, and compares the results; `None` if stopped.
///
/// # Errors
/// [`UserError`] when there is no second backend or one cannot be opened, when the experiment cannot be read or does
/// not train the paper's encoder, or when a run fails.
pub fn certify(
    experiment: &Path,
    output: &Path,
    catalog: &Catalog,
    measures: &Measures,
    stop: &AtomicBool,
) -> Result<Option<Certificate>, UserError> {
    let parts = catalog.parts();
    let experiment = Experiment::load(experiment, Extent::Default, parts)?;
    let runs = training_runs(&experiment)?;
    let (ready, left_out) = backends_of_this_binary()?;
    crate::say_line!(
        "{} runs on each of {}; float32 rounding is tried {} times on each.",
        runs.len(),
        ready.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
        rounding::TRIALS
    );
    let mut made = Vec::new();
    for (name, device) in &ready {
        let started = Instant::now();
        let Some(folders) = run_all_on((name, device), &experiment.claim, &runs, output, catalog, stop)? else {
            return Ok(None);
        };
        let duration_s = started.elapsed().as_secs_f64();
        crate::say_line!("{name}: done in {duration_s:.0} s");
        made.push(Made { name, folders, duration_s });
    }
    let (reference, others) = made.split_first().expect("the reference is among the backends");
    let mut followed = Vec::new();
    for run in &runs {
        let snapshots = reference.snapshots(run)?;
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        followed.push(Followed { run, envelope: Envelope::of(&run.spec, run.seed, &snapshots), snapshots });
    }
    let family = Expected::intervals_of(std::slice::from_ref(&experiment), false)?;
    let judge = Judge { parts, measures, full: false, family };
    let verdict_of = |made: &Made| Ok(judge.judge(experiment.clone(), made.folders.clone())?.verdict);
    let verdict: Verdict = verdict_of(reference)?;
    let mut backends = vec![reference.result(verdict, true, BTreeMap::new())];
    for made in others {
        let metrics = made.divergences(&followed)?;
        let is_inside = metrics.values().all(|d| d.first_step_outside.is_none());
        let own = verdict_of(made)?;
        backends.push(made.result(own, is_inside && own == verdict, metrics));
    }
    Ok(Some(Certificate {
        experiment: experiment.claim.clone(),
        reference: REFERENCE.into(),
        tolerance: rounding::in_words(),
        manifest: Manifest::now(REFERENCE, made.iter().map(|m| m.duration_s).sum(), 0),
        agree: backends.iter().all(|b| b.agrees),
        backends,
        left_out,
    }))
}

/// Opened backends by name, the reference first, and those that this binary lacks with the reason.
type Backends = (Vec<(&'static str, Device)>, BTreeMap<String, String>);

fn backends_of_this_binary() -> Result<Backends, UserError> {
    let (mut ready, mut left_out) = (Vec::new(), BTreeMap::new());
    for name in device::names() {
        match device::open(name) {
            Ok(device) => ready.push((name, device)),
            // Every backend compiled into this binary has to be certified.
            Err(reason) if device::is_compiled(name) => return Err(reason),
            Err(reason) => {
                left_out.insert(name.to_string(), reason.to_string());
            }
        }
    }
    if ready.len() < 2 {
        return Err(UserError::Argument(format!(
            "this binary holds {REFERENCE} alone, so there is nothing to compare; build with `cargo run --release --features \
             ndarray,wgpu -- certify`"
        )));
    }
    Ok((ready, left_out))
}

/// Run folders by point and seed.
type Folders = BTreeMap<(String, u64), RunFolder>;

/// Executes the runs on one backend below `output`; `None` if stopped.
fn run_all_on(
    (name, device): (&str, &Device),
    claim: &str,
    runs: &[Run],
    output: &Path,
    catalog: &Catalog,
    stop: &AtomicBool,
) -> Result<Option<Folders>, UserError> {
    let mut folders = Folders::new();
    for run in runs {
        let spec = RunSpec::new(run.spec.clone());
        let folder = RunFolder::new(&output.join("runs").join(name), claim, &run.point, &spec, run.seed);
        let session = Session {
            device_name: name,
            device,
            data_dir: None,
            checkpoint_every: Duration::from_secs_f64(CHECKPOINT_EVERY_S),
            pictures: false,
            stop,
            progress: &mut |_, _| {},
            warn: &mut |text| crate::warn_line!("{text}"),
        };
        if let Outcome::Stopped { .. } = catalog.execute(&spec, run.seed, &folder, session)? {
            return Ok(None);
        }
        folders.insert((run.point.clone(), run.seed), folder);
    }
    Ok(Some(folders))
}

/// The runs that one backend made.
#[derive(Debug)]
struct Made {
    name: &'static str,
    folders: Folders,
    duration_s: f64,
}

/// A run of the reference, and how far others may diverge from it.
#[derive(Debug)]
struct Followed<'a> {
    run: &'a Run,
    envelope: Envelope,
    snapshots: Vec<Snapshot>,
}

impl Made {
    fn snapshots(&self, run: &Run) -> Result<Vec<Snapshot>, UserError> {
        self.folders[&(run.point.clone(), run.seed)].snapshots()
    }

    /// By metric, for the run that is worst relative to its tolerance.
    fn divergences(&self, followed: &[Followed]) -> Result<BTreeMap<String, Divergence>, UserError> {
        let mut metrics = BTreeMap::new();
        for Followed { run, envelope, snapshots } in followed {
            for (metric, divergence) in envelope.compare(snapshots, &self.snapshots(run)?) {
                worst(&mut metrics, metric, divergence);
            }
        }
        Ok(metrics)
    }

    fn result(&self, verdict: Verdict, agrees: bool, metrics: BTreeMap<String, Divergence>) -> BackendResult {
        BackendResult { name: self.name.to_string(), verdict, agrees, duration_s: self.duration_s, metrics }
    }
}

/// A run to be compared.
#[derive(Debug, Clone)]
struct Run {
    point: String,
    spec: TrainingSpec,
    seed: u64,
}

fn training_runs(experiment: &Experiment) -> Result<Vec<Run>, UserError> {
    let mut runs = Vec::new();
    for point in &experiment.points {
        let Some(spec) = point.spec.get::<TrainingSpec>().filter(|spec| spec.symmetric_relu().is_some()) else {
            let path = experiment.folder.join("experiment.toml");
            return Err(UserError::file(path, format!("points.{} does not train the paper's encoder", point.name)));
        };
        runs.extend(point.seeds.iter().map(|seed| Run { point: point.name.clone(), spec: spec.clone(), seed: *seed }));
    }
    Ok(runs)
}

/// Keeps the worse of two runs relative to its tolerance, and the earlier first step outside.
fn worst(metrics: &mut BTreeMap<String, Divergence>, metric: &str, found: Divergence) {
    let Some(kept) = metrics.get_mut(metric) else {
        metrics.insert(metric.into(), found);
        return;
    };
    let earliest = match (kept.first_step_outside, found.first_step_outside) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    if found.largest_fraction_of_tolerance > kept.largest_fraction_of_tolerance {
        *kept = found;
    }
    kept.first_step_outside = earliest;
}

/// The table for the terminal.
pub fn table(certificate: &Certificate) -> String {
    let mut text = String::new();
    for backend in &certificate.backends {
        let agrees = if backend.agrees { "agrees" } else { "DISAGREES" };
        let role = if backend.name == certificate.reference { "the reference" } else { agrees };
        text.push_str(&format!("\n{:<8} {role}; the claim {} on it\n", backend.name, backend.verdict));
        for (metric, d) in &backend.metrics {
            let outside = d.first_step_outside.map_or("never".to_string(), |step| format!("step {step}"));
            let largest = largest(d.over_time.iter().map(|t| t.apart));
            let (first, last) =
                (d.over_time.first().map_or(0.0, |t| t.tolerance), d.over_time.last().map_or(0.0, |t| t.tolerance));
            let says = if last > UNINFORMATIVE { ", which says little" } else { "" };
            text.push_str(&format!(
                "         {metric:<20} {largest:.1e} apart at most, {:>5.2} of the tolerance ({first:.0e} growing to {last:.0e}{says}); outside: {outside}\n",
                d.largest_fraction_of_tolerance
            ));
        }
    }
    for (name, reason) in &certificate.left_out {
        text.push_str(&format!("\n{name:<8} left out: {reason}\n"));
    }
    text
}
