//! Runs that differ in numbers alone, trained side by side as one tensor program, see [`cl_model::replicas`].
//!
//! Each run has the data, the weights to begin with and the folder that it has when it is run alone, and ends within rounding of what it would
//! have come to. A group that is stopped starts again: what is kept of it are whole runs.

use crate::io::error::UserError;
use crate::io::manifest::Manifest;
use crate::run::folder::{MetricsLog, RunFolder};
use crate::run::headless::Outcome;
use crate::run::queue::Job;
use crate::run::recording::finish;
use crate::spec::{Objective, RunSpec, TrainingSpec};
use crate::tasks::sparse_coding::learner::EncoderLearner;
use crate::tasks::sparse_coding::monitor::Monitor;
use crate::tasks::task::{Learning, Measured, Training};
use burn::tensor::{Device, Tensor, TensorData};
use cl_data::Matrix;
use cl_model::replicas::{ReplicaBatch, ReplicaSettings, Replicas};
use cl_model::{Bias, Normalization};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Training specification and seed of each replica.
pub type Group = Vec<(TrainingSpec, u64)>;

/// Sorts jobs into groups of at most `most` that can be trained side by side, and those that cannot.
pub fn groups(jobs: Vec<Job>, most: usize) -> (Vec<Vec<Job>>, Vec<Job>) {
    let mut alike: BTreeMap<[usize; 8], Vec<Job>> = BTreeMap::new();
    let mut alone = Vec::new();
    for job in jobs {
        match &job.spec {
            RunSpec::Training(spec) if settings(spec).is_some() => alike.entry(shape(spec)).or_default().push(job),
            _ => alone.push(job),
        }
    }
    (
        alike
            .into_values()
            .flat_map(|jobs| jobs.chunks(most.max(1)).map(<[Job]>::to_vec).collect::<Vec<_>>())
            .collect(),
        alone,
    )
}

/// What runs have to have in common.
fn shape(spec: &TrainingSpec) -> [usize; 8] {
    let (data, training) = (&spec.data, &spec.training);
    [
        data.code_dim,
        data.input_dim,
        spec.encoder.num_neurons,
        training.batch_size,
        spec.num_negatives(),
        usize::from(other_keys(spec)),
        training.steps as usize,
        training.steps_per_epoch as usize,
    ]
}

fn other_keys(spec: &TrainingSpec) -> bool {
    matches!(spec.objective, Objective::Contrastive(c) if c.negatives == cl_data::Negatives::OtherKeys)
}

/// What a replica is trained with; `None` where a specification is not for replicas.
fn settings(spec: &TrainingSpec) -> Option<ReplicaSettings> {
    let bias = match spec.encoder.bias {
        Bias::Zero => None,
        Bias::Scheduled(rule) => Some(rule),
        Bias::Trained { .. } => return None,
    };
    let Objective::Contrastive(objective) = spec.objective else { return None };
    let loss = objective.info_nce();
    let fits = ReplicaSettings::supports(&loss) && spec.encoder.normalization == Normalization::None;
    fits.then_some(ReplicaSettings { loss, weight_decay: spec.training.weight_decay, bias })
}

/// Replicas in training with what feeds and measures them.
pub struct Replication {
    monitors: Vec<Monitor>,
    learners: Vec<EncoderLearner>,
    step_sizes: Vec<cl_model::StepSize>,
    replicas: Replicas,
    device: Device,
    step: u64,
}

impl Replication {
    /// The replicas of a group before their first step.
    ///
    /// # Errors
    /// [`UserError::Argument`] when a specification is not for replicas, or of another shape.
    pub fn new(group: &Group, device: &Device) -> Result<Self, UserError> {
        let device = device.clone().inner();
        let all: Option<Vec<ReplicaSettings>> = group.iter().map(|(spec, _)| settings(spec)).collect();
        let first = group.first().map(|(spec, _)| shape(spec));
        let (Some(all), true) = (all, group.iter().all(|(spec, _)| Some(shape(spec)) == first)) else {
            return Err(UserError::Argument(
                "replicas have one shape and the paper's loss: inner products, no gradient through keys, no \
                 normalization, thresholds that are zero or scheduled"
                    .into(),
            ));
        };
        let monitors: Vec<Monitor> = group.iter().map(|(spec, seed)| Monitor::new(spec, *seed, &device)).collect();
        let learners: Vec<EncoderLearner> =
            group.iter().map(|(spec, seed)| EncoderLearner::new(spec, *seed, &device)).collect();
        let weights = learners.iter().map(|l| l.encoder.weights.val()).collect();
        let code_dim = group.first().map_or(1, |(spec, _)| spec.data.code_dim);
        Ok(Self {
            replicas: Replicas::new(weights, &all, code_dim),
            step_sizes: group.iter().map(|(spec, _)| spec.training.step_size).collect(),
            monitors,
            learners,
            device,
            step: 0,
        })
    }

    /// Number of replicas.
    pub fn count(&self) -> usize {
        self.replicas.count()
    }

    /// The batch of the next step, drawn on the host.
    pub fn batch(&self) -> ReplicaBatch {
        let batches: Vec<_> = self.monitors.par_iter().map(|m| m.batches().on_host(self.step)).collect();
        let stack = |parts: Vec<&Matrix>| {
            let shape = [parts.len(), parts[0].rows, parts[0].cols];
            let values: Vec<f32> = parts.iter().flat_map(|m| m.values.iter().copied()).collect();
            Tensor::<3>::from_data(TensorData::new(values, shape), &self.device)
        };
        let negatives: Option<Vec<&Matrix>> = batches.iter().map(|b| b.negatives.as_ref()).collect();
        ReplicaBatch {
            x_plus: stack(batches.iter().map(|b| &b.pair.x_plus).collect()),
            x_plus_plus: stack(batches.iter().map(|b| &b.pair.x_plus_plus).collect()),
            negatives: negatives.map(stack),
        }
    }

    /// One step of all replicas; mean losses, `[R]`.
    pub fn step(&mut self, batch: ReplicaBatch) -> Tensor<1> {
        let etas: Vec<f64> = self.step_sizes.iter().map(|s| s.at(self.step)).collect();
        let loss = self.replicas.step(batch, &etas, self.step);
        self.step += 1;
        loss
    }

    /// A replica's learner as it stands.
    pub fn learner(&self, replica: usize) -> EncoderLearner {
        let [_, m, d1] = self.replicas.weights.dims();
        let weights = self.replicas.weights.clone().narrow(0, replica, 1).reshape([m, d1]);
        let biases = self.replicas.biases.clone().narrow(0, replica, 1).reshape([m]);
        self.learners[replica].clone().with_state(weights, biases).at_step(self.step)
    }
}

/// Carries out the jobs of a group; each folder is whole at the end.
///
/// # Errors
/// [`UserError`] when a folder cannot be used or numbers stop being finite.
pub fn execute(
    jobs: &[Job],
    device: &Device,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(f64),
) -> Result<Outcome, UserError> {
    let started = Instant::now();
    let group: Group = jobs
        .iter()
        .filter_map(|job| match &job.spec {
            RunSpec::Training(spec) => Some((spec.clone(), job.seed)),
            _ => None,
        })
        .collect();
    let mut replication = Replication::new(&group, device)?;
    let folders: Vec<RunFolder> = jobs.iter().map(|job| RunFolder::at(&job.folder)).collect();
    let (mut locks, mut logs) = (Vec::new(), Vec::new());
    for (job, folder) in jobs.iter().zip(&folders) {
        locks.push(folder.open(&job.spec, job.seed)?);
        logs.push(MetricsLog::resume::<crate::tasks::sparse_coding::monitor::Snapshot>(folder, 0)?);
    }
    let (steps, per_epoch) = (group[0].0.training.steps, group[0].0.training.steps_per_epoch);
    loop {
        if replication.step.is_multiple_of(per_epoch) {
            for (replica, (log, has_snapshot)) in logs.iter_mut().enumerate() {
                let snapshot = replication.monitors[replica].snapshot(&replication.learner(replica));
                if !snapshot.loss().is_finite() {
                    return Err(UserError::Run(format!(
                        "{}: the loss is no longer finite at step {}; a smaller training.step_size or a larger temperature usually helps",
                        folders[replica].path().display(),
                        replication.step
                    )));
                }
                if !std::mem::take(has_snapshot) {
                    log.append(&snapshot)?;
                }
            }
            progress(replication.step as f64 / steps as f64);
        }
        if replication.step == steps {
            break;
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(Outcome::Stopped { step: replication.step, resumes_at: 0 });
        }
        let batch = replication.batch();
        let _ = replication.step(batch);
    }
    for (replica, (job, folder)) in jobs.iter().zip(&folders).enumerate() {
        finish(&replication.monitors[replica], &replication.learner(replica), folder)?;
        let manifest = Manifest::now(&job.device, started.elapsed().as_secs_f64(), steps);
        folder.write_json("manifest.json", &Manifest { replicas: jobs.len(), ..manifest })?;
        folder.complete()?;
    }
    Ok(Outcome::Finished)
}
