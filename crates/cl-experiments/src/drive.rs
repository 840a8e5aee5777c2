//! Carries a run from wherever it stands to its end: the light loop under `reproduce`.
//!
//! It calls the same `step` and `optimize` as burn-train's learner (see [`crate::train`]), without the metric
//! threads and the events per batch: over 3,000 steps of the recipe at d = 32 the learner takes 5 to 10 % longer with a core
//! to spare, and 6 to 18 % longer with two seeds on two cores.

use crate::checkpoint;
use crate::error::UserError;
use crate::learner::{EncoderLearner, StepSizeScheduler};
use crate::measure::Monitor;
use crate::moments;
use crate::record::{Manifest, MetricsLog, RunFolder};
use crate::spec::{MomentsSpec, RunSpec, TrainingSpec};
use burn::module::Module;
use burn::optim::lr_scheduler::LrScheduler;
use burn::tensor::{Device, Tensor};
use burn::train::TrainStep;
use safetensors::tensor::TensorView;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Least time between two checkpoints of the light loop.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is complete.
    Finished,
    /// It was asked to stop after this many steps, and will go on from the last checkpoint.
    Stopped {
        /// Steps done.
        step: u64,
        /// Steps a resumed run starts from.
        resumes_at: u64,
    },
}

/// Where and under what conditions a run takes place.
pub struct Session<'a> {
    /// The device by name, for the manifest.
    pub device_name: &'a str,
    /// The device.
    pub device: &'a Device,
    /// Set to end the run after the step under way.
    pub stop: &'a AtomicBool,
    /// Hears `(done, of)`.
    pub progress: &'a mut dyn FnMut(u64, u64),
    /// Hears what the user should know.
    pub warn: &'a mut dyn FnMut(String),
}

/// Runs `spec` under `seed` in `folder`, from the last checkpoint if there is one. A complete folder is left alone.
///
/// # Errors
/// [`UserError`] when the folder cannot be used, or when numbers stop being finite.
pub fn execute(spec: &RunSpec, seed: u64, folder: &RunFolder, session: Session) -> Result<Outcome, UserError> {
    if folder.is_complete() {
        return Ok(Outcome::Finished);
    }
    let _lock = folder.open(spec, seed)?;
    let started = Instant::now();
    match spec {
        RunSpec::Training(spec) => train(spec, seed, folder, session, started),
        RunSpec::Moments(spec) => estimate(spec, seed, folder, session, started),
    }
}

fn train(
    spec: &TrainingSpec,
    seed: u64,
    folder: &RunFolder,
    session: Session,
    started: Instant,
) -> Result<Outcome, UserError> {
    let device = session.device.clone().autodiff();
    let monitor = Monitor::new(spec, seed, &device);
    let fresh = EncoderLearner::new(spec, seed, &device);
    let per_epoch = spec.training.steps_per_epoch;
    let (mut learner, _) = checkpoint::restore_latest(&folder.checkpoints(), fresh, per_epoch, session.warn);
    let first_step = learner.step;
    let mut optimizer = EncoderLearner::optimizer(spec);
    let mut schedule = StepSizeScheduler::new(spec.training.step_size, learner.step);

    let (mut log, has_snapshot) = MetricsLog::resume(folder, learner.step)?;
    if !has_snapshot {
        log.append(&monitor.snapshot(&learner.valid()))?;
    }
    let mut saved = Instant::now();
    while learner.step < spec.training.steps {
        let batch = monitor.batches().training(learner.step, &device);
        let output = TrainStep::step(&learner, batch);
        let loss = output.item.loss;
        learner = learner.optimize(&mut optimizer, schedule.step().into(), output.grads);

        let at_epoch_end = learner.step.is_multiple_of(per_epoch);
        if at_epoch_end {
            let snapshot = monitor.snapshot(&learner.valid());
            require_finite(&learner, loss, folder)?;
            log.append(&snapshot)?;
            (session.progress)(learner.step, spec.training.steps);
        }
        let stopping = session.stop.load(Ordering::Relaxed);
        if at_epoch_end && (stopping || saved.elapsed() >= CHECKPOINT_EVERY) {
            let epoch = (learner.step / per_epoch) as usize;
            checkpoint::save(&folder.checkpoints(), epoch, &learner, &optimizer, &schedule)?;
            saved = Instant::now();
        }
        if stopping && learner.step < spec.training.steps {
            let resumes_at = checkpoint::epochs(&folder.checkpoints()).first().map_or(0, |e| *e as u64 * per_epoch);
            return Ok(Outcome::Stopped { step: learner.step, resumes_at });
        }
    }
    finish(&monitor, &learner.valid(), folder)?;
    folder.write_json("manifest.json", &manifest(&session, started, learner.step - first_step))?;
    folder.complete()?;
    Ok(Outcome::Finished)
}

/// Writes what a finished training leaves behind, the completion marker aside.
///
/// # Errors
/// [`UserError`] when a probe or a file fails.
pub fn finish(monitor: &Monitor, learner: &EncoderLearner, folder: &RunFolder) -> Result<(), UserError> {
    let evaluation =
        monitor.evaluate(learner).map_err(|e| UserError::Run(format!("{}: {e}", folder.path().display())))?;
    write_weights("weights.safetensors", monitor, learner, folder)?;
    folder.write_json("evaluation.json", &evaluation)
}

/// Fails, with the state saved beside the run, once a loss or a weight is not finite.
///
/// # Errors
/// [`UserError::Run`] naming the step and the last finite metrics.
pub fn require_finite(learner: &EncoderLearner, loss: Tensor<1>, folder: &RunFolder) -> Result<(), UserError> {
    let weights = learner.encoder.weights.val().detach();
    let finite = loss.is_finite().all().into_scalar::<bool>() && weights.is_finite().all().into_scalar::<bool>();
    if finite {
        return Ok(());
    }
    let last = folder.snapshots()?.into_iter().rfind(|s| s.loss.is_finite());
    let last = last.map_or("there is no finite snapshot".to_string(), |s| {
        format!(
            "the last finite snapshot, at step {}, has loss {:.4} and energy in span(M) {:.4}",
            s.step, s.loss, s.energy_in_span
        )
    });
    let path = folder.path().join("non-finite.bpk");
    let saved = match learner.clone().into_record().save(&path) {
        Ok(()) => format!("the state is in {}", path.display()),
        Err(e) => format!("the state could not be saved: {e}"),
    };
    Err(UserError::Run(format!(
        "loss or weights are no longer finite by step {}; {last}; {saved}. A smaller training.step_size or a larger \
         temperature usually helps",
        learner.step
    )))
}

fn write_weights(name: &str, monitor: &Monitor, learner: &EncoderLearner, folder: &RunFolder) -> Result<(), UserError> {
    let tensors = [
        ("weights", learner.encoder.weights.val().into_data()),
        ("biases", learner.encoder.biases.val().into_data()),
        ("dictionary", monitor.features().transpose().into_data()),
    ];
    let bytes: Vec<(&str, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, data)| {
            let values = data.iter::<f32>().flat_map(f32::to_le_bytes).collect();
            (name, data.shape().to_vec(), values)
        })
        .collect();
    folder.write(name, &safetensors_bytes(&bytes))
}

/// A safetensors file of 32-bit floats, given as `(name, shape, little-endian bytes)`.
///
/// # Panics
/// When a shape does not match its bytes.
pub fn safetensors_bytes(tensors: &[(&str, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (*name, TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).expect("shape and bytes agree"))
    });
    safetensors::serialize(views, None).expect("plain tensors can be serialised")
}

fn estimate(
    spec: &MomentsSpec,
    seed: u64,
    folder: &RunFolder,
    session: Session,
    started: Instant,
) -> Result<Outcome, UserError> {
    let total = spec.moments.samples as u64;
    let report = moments::estimate(spec, seed, session.device, &mut |done| (session.progress)(done, total));
    folder.write_json("moments.json", &report)?;
    folder.write_json("manifest.json", &manifest(&session, started, total))?;
    folder.complete()?;
    Ok(Outcome::Finished)
}

fn manifest(session: &Session, started: Instant, steps_done: u64) -> Manifest {
    Manifest::now(session.device_name, started.elapsed().as_secs_f64(), steps_done)
}

impl Manifest {
    /// The manifest of a run that ends now.
    pub fn now(device: &str, duration_s: f64, steps_done: u64) -> Self {
        let git = |args: &[&str]| {
            let output =
                std::process::Command::new("git").arg("-C").arg(env!("CARGO_MANIFEST_DIR")).args(args).output().ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
        };
        Self {
            commit: git(&["rev-parse", "HEAD"]).unwrap_or_else(|| "unknown".into()),
            dirty: git(&["status", "--porcelain"]).map(|changes| !changes.is_empty()),
            lock_sha256: env!("CL_LOCK_SHA256").into(),
            version: env!("CARGO_PKG_VERSION").into(),
            data_version: cl_data::DATA_VERSION,
            algorithm_version: cl_model::ALGORITHM_VERSION,
            device: device.into(),
            threads: std::env::var("RAYON_NUM_THREADS")
                .ok()
                .and_then(|n| n.parse().ok())
                .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            duration_s,
            steps_done,
            peak_memory_byte: peak_memory_byte(),
        }
    }
}

#[cfg(unix)]
fn peak_memory_byte() -> u64 {
    use nix::sys::resource::{UsageWho, getrusage};
    // ru_maxrss is in kibibytes on Linux and in bytes on macOS.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.max_rss() as u64 * unit)
}

#[cfg(not(unix))]
fn peak_memory_byte() -> u64 {
    0
}
