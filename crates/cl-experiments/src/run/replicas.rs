//! Runs that differ only in numbers, trained side by side as one tensor program, see [`cl_model::replicas`].
//!
//! Each run has the same data, initial weights and folder as when it is run alone, and ends within rounding of the same
//! result. A group that is stopped starts from scratch: only complete runs are kept.

use crate::io::error::UserError;
use crate::io::manifest::Manifest;
use crate::run::folder::{MetricsLog, RunFolder};
use crate::run::headless::Outcome;
use crate::run::queue::Job;
use crate::run::recording::finish;
use crate::spec::{RunSpec, Schedule};
use crate::tasks::learner::{Learner, LearnerOf};
use crate::tasks::sparse_coding::snapshot::Snapshot;
use crate::tasks::sparse_coding::spec::TrainingSpec;
use crate::tasks::sparse_coding::training::SparseCoding;
use crate::tasks::task::Measured;
use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use cl_data::Matrix;
use cl_model::replicas::{ReplicaBatch, ReplicaSettings, Replicas};
use cl_model::{Bias, InfoNce, LearningRate, Normalization, OptimizerConfig};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Training specification and seed of each replica.
pub type Group = Vec<(TrainingSpec, u64)>;

/// Splits jobs into groups of at most `most` that can be trained side by side, and the remaining ones.
pub fn groups(jobs: Vec<Job>, most: usize) -> (Vec<Vec<Job>>, Vec<Job>) {
    let mut alike: BTreeMap<[usize; 8], Vec<Job>> = BTreeMap::new();
    let mut alone = Vec::new();
    for job in jobs {
        match of_job(&job.spec).map(shape) {
            Some(shape) => alike.entry(shape).or_default().push(job),
            None => alone.push(job),
        }
    }
    let groups = alike.into_values().flat_map(|jobs| jobs.chunks(most.max(1)).map(<[Job]>::to_vec).collect::<Vec<_>>());
    (groups.collect(), alone)
}

/// The specification of a run that can be trained as a replica.
fn of_job(spec: &RunSpec) -> Option<&TrainingSpec> {
    spec.get::<TrainingSpec>().filter(|spec| settings(spec).is_some())
}

/// What the runs of a group must have in common.
fn shape(spec: &TrainingSpec) -> [usize; 8] {
    let schedule = spec.schedule();
    [
        spec.data.code_dim,
        spec.data.input_dim,
        spec.symmetric_relu().map_or(0, |encoder| encoder.num_neurons),
        spec.optimization.batch_size,
        spec.num_negatives(),
        usize::from(spec.data.negatives == cl_data::Negatives::OtherKeys),
        schedule.steps as usize,
        schedule.steps_per_snapshot as usize,
    ]
}

/// The settings of a replica; `None` if the specification does not support replicas.
fn settings(spec: &TrainingSpec) -> Option<ReplicaSettings> {
    let encoder = spec.symmetric_relu()?;
    let bias = match encoder.bias {
        Bias::Zero => None,
        Bias::Scheduled(rule) => Some(rule),
        Bias::Trained { .. } => return None,
    };
    let loss = *spec.objective.config::<InfoNce>()?;
    let is_plain = matches!(spec.optimization.optimizer, OptimizerConfig::Sgd { momentum: 0.0, .. });
    let fits = ReplicaSettings::supports(&loss)
        && encoder.normalization == Normalization::None
        && spec.model.is_encoder_alone()
        && is_plain
        && spec.optimization.gradient_clip.is_none();
    fits.then_some(ReplicaSettings { loss, weight_decay: spec.weight_decay(), bias })
}

/// Replicas in training, with what feeds and measures them.
pub struct Replication {
    tasks: Vec<Arc<SparseCoding>>,
    learners: Vec<LearnerOf<SparseCoding>>,
    rates: Vec<LearningRate>,
    replicas: Replicas,
    device: Device,
    step: u64,
}

impl Replication {
    /// The replicas of a group before their first step.
    ///
    /// # Errors
    /// [`UserError::Argument`] when a specification does not support replicas, or has a different shape.
    pub fn new(group: &Group, device: &Device) -> Result<Self, UserError> {
        let device = device.clone().inner();
        let all: Option<Vec<ReplicaSettings>> = group.iter().map(|(spec, _)| settings(spec)).collect();
        let first = group.first().map(|(spec, _)| shape(spec));
        let (Some(all), true) = (all, group.iter().all(|(spec, _)| Some(shape(spec)) == first)) else {
            return Err(UserError::Argument(
                "replicas have one shape, the paper's encoder and its loss: inner products, no gradient through keys, no \
                 normalization, thresholds that are zero or scheduled, plain gradient descent"
                    .into(),
            ));
        };
        let tasks: Vec<Arc<SparseCoding>> =
            group.iter().map(|(spec, seed)| Arc::new(SparseCoding::on(spec, *seed, &device))).collect();
        let learners: Vec<_> = tasks.iter().map(Learner::untrained).collect();
        let weights = learners.iter().map(|l| l.model.encoder.weights.val()).collect();
        let code_dim = group.first().map_or(1, |(spec, _)| spec.data.code_dim);
        Ok(Self {
            replicas: Replicas::new(weights, &all, code_dim),
            rates: group.iter().map(|(spec, _)| spec.schedule().learning_rate).collect(),
            tasks,
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
        let batches: Vec<_> = self.tasks.par_iter().map(|m| m.batches().on_host(self.step)).collect();
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
        let etas: Vec<f64> = self.rates.iter().map(|s| s.at(self.step)).collect();
        let loss = self.replicas.step(batch, &etas, self.step);
        self.step += 1;
        loss
    }

    /// A replica's learner in its current state.
    pub fn learner(&self, replica: usize) -> LearnerOf<SparseCoding> {
        let [_, m, d1] = self.replicas.weights.dims();
        let weights = self.replicas.weights.clone().narrow(0, replica, 1).reshape([m, d1]);
        let biases = self.replicas.biases.clone().narrow(0, replica, 1).reshape([m]);
        let learner = self.learners[replica].clone();
        let mut model = learner.model.clone();
        model.encoder.weights = Param::initialized(model.encoder.weights.id, weights);
        model.encoder.biases = Param::initialized(model.encoder.biases.id, biases);
        learner.with_model(model).at_step(self.step)
    }
}

/// Executes the jobs of a group; at the end, every folder is complete.
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
    let group: Group = jobs.iter().filter_map(|job| Some((of_job(&job.spec)?.clone(), job.seed))).collect();
    let mut replication = Replication::new(&group, device)?;
    let folders: Vec<RunFolder> = jobs.iter().map(|job| RunFolder::at(&job.folder)).collect();
    let (mut locks, mut logs) = (Vec::new(), Vec::new());
    for (job, folder) in jobs.iter().zip(&folders) {
        locks.push(folder.open(&job.spec, job.seed)?);
        logs.push(MetricsLog::resume::<Snapshot>(folder, 0)?);
    }
    let Schedule { steps, steps_per_snapshot, .. } = group[0].0.schedule();
    loop {
        if replication.step.is_multiple_of(steps_per_snapshot) {
            for (replica, (log, has_snapshot)) in logs.iter_mut().enumerate() {
                let snapshot = replication.learner(replica).snapshot();
                if !snapshot.loss().is_finite() {
                    return Err(UserError::Run(format!(
                        "{}: the loss is no longer finite at step {}; a smaller optimization.learning_rate or a larger temperature usually helps",
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
        finish(&replication.learner(replica), folder)?;
        let manifest = Manifest::now(&job.device, started.elapsed().as_secs_f64(), steps);
        folder.complete_with(&job.spec, Manifest { replicas: jobs.len(), ..manifest })?;
    }
    Ok(Outcome::Finished)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::catalog::Catalog;

    fn spec(lines: &str) -> TrainingSpec {
        let text = format!(
            "data.sparse_coding = {{ code_dim = 4, input_dim = 8, negatives = \"other_keys\" }}\n\
             objective.info_nce = {{ similarity = \"inner_product\", key_gradient = \"stopped\", temperature = 1.0, scale = \"one\" }}\n\
             model.encoder.symmetric_relu = {{ num_neurons = 4, initial_scale = 0.1, normalization = \"none\", bias = \"zero\" }}\n\
             optimization = {{ steps = 1, batch_size = 8, optimizer = {{ sgd = {{ weight_decay = 0.0 }} }}, snapshot_every = 1, \
             learning_rate = {{ constant = {{ rate = 0.1 }} }} }}\nevaluation = {{ samples = 8, probe_samples = 8, baselines = false }}\n{lines}"
        );
        let spec = RunSpec::from_table(toml::from_str(&text).unwrap(), Catalog::standard().parts()).unwrap();
        spec.get::<TrainingSpec>().unwrap().clone()
    }

    #[test]
    fn replicas_are_encoders_alone() {
        assert!(settings(&spec("")).is_some());
        let queue = "model.momentum_copy = { momentum = 0.9 }\nmodel.queue = { size = 16 }";
        assert!(settings(&spec(queue)).is_none());
        assert!(settings(&spec("model.projector = { hidden_dims = [], output_dim = 2 }")).is_none());
    }
}
