//! `bench`: how fast a step is, where its time goes, and how far that is from what the processor can do.
//!
//! Each shape is timed in a child process of its own, so that threads and peak memory are its own.

use crate::cli::Bench;
use crate::drive::peak_memory_byte;
use crate::error::UserError;
use crate::experiment::{Experiment, Extent};
use crate::learner::{EncoderLearner, StepSizeScheduler};
use crate::measure::{Monitor, Snapshot};
use crate::record::{pretty, write_whole};
use crate::replicate::Replication;
use crate::report::{self, Growth};
use crate::schedule::child;
use crate::spec::{Objective, RunSpec, TrainingSpec};
use crate::training::{Learning, Training, step_and_draw};
use burn::module::Module;
use burn::optim::lr_scheduler::LrScheduler;
use burn::tensor::Device;
use burn::train::TrainStep;
use cl_data::DeviceSampler;
use cl_model::replicas::ReplicaBatch;
use faer::{Accum, Mat, Par, linalg::matmul::matmul};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::time::Instant;

/// Steps before the clock starts.
const WARM_UP: u64 = 50;

/// Steps over which the parts are timed one after another.
const STEPS_IN_PARTS: u64 = 40;

/// Size of the square product that stands for what the processor can do.
const PEAK_SIZE: usize = 1024;

/// A shape to be timed.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct BenchJob {
    point: String,
    spec: TrainingSpec,
    seed: u64,
    device: String,
    /// Encoders trained as one tensor program; one by the usual step when `None`.
    replicas: Option<usize>,
    sample_on_device: bool,
}

/// What was measured of one shape.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Timing {
    /// Name of the point.
    pub point: String,
    /// d, d1, m, B and N.
    pub shape: [usize; 5],
    /// The seed.
    pub seed: u64,
    /// Backend by name.
    pub device: String,
    /// Threads.
    pub threads: usize,
    /// Encoders trained at once; every figure of a step is that of one step of one of them.
    pub replicas: usize,
    /// Steps timed, after 50 to warm up.
    pub steps: u64,
    /// Steps per second, all of a step included: data, both views, negatives, loss, gradient, update, thresholds.
    pub steps_per_second: f64,
    /// Seconds of a step's parts, one after another; they exceed a step where data are drawn beside it.
    pub part_s: Parts,
    /// Floating-point operations of the products of a step.
    pub flop_per_step: f64,
    /// Floating-point operations per second of square products on as many threads.
    pub peak_flop_per_second: f64,
    /// `flop_per_step · steps_per_second / peak_flop_per_second`; `None` away from the host.
    pub share_of_peak: Option<f64>,
    /// Peak memory of the process in bytes.
    pub peak_memory_byte: u64,
    /// What the encoder is like at the end.
    pub state: State,
}

/// Seconds of a step's parts.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Parts {
    /// Observations, views and negatives.
    pub data: f64,
    /// Embeddings, loss and gradient.
    pub gradient: f64,
    /// Descent and thresholds.
    pub update: f64,
}

/// The state reached.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct State {
    /// See [`cl_model::features::FeatureMeasures`].
    pub energy_in_span: f64,
    /// See [`cl_model::features::FeatureMeasures`].
    pub coverage_mean: f64,
    /// See [`cl_model::features::FeatureMeasures`].
    pub coverage_min: f64,
    /// Loss on a held-out batch.
    pub loss: f64,
}

/// Times the shapes of an experiment.
///
/// # Errors
/// [`UserError`] when the experiment cannot be read, a point is not there, or a child fails.
pub fn bench(arguments: &Bench) -> Result<(), UserError> {
    crate::device::open(&arguments.device)?;
    let experiment = Experiment::load(&arguments.experiment, Extent::Default)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if arguments.threads.is_empty() { vec![1, cores] } else { arguments.threads.clone() };
    let mut timings = Vec::new();
    for (name, spec, seed) in chosen(&experiment, arguments)? {
        let counts: Vec<Option<usize>> = match arguments.replicas.is_empty() {
            true => vec![None],
            false => arguments.replicas.iter().copied().map(Some).collect(),
        };
        for (&threads, &replicas) in threads.iter().flat_map(|t| counts.iter().map(move |c| (t, c))) {
            let job = BenchJob {
                point: name.clone(),
                spec: spec.clone(),
                seed,
                device: arguments.device.clone(),
                replicas,
                sample_on_device: arguments.sample_on_device,
            };
            let timing = in_a_child(&job, threads)?;
            if !arguments.json {
                if timings.is_empty() {
                    println!("{HEAD}");
                }
                println!("{}", row(&timing));
            }
            timings.push(timing);
        }
    }
    if arguments.json {
        print!("{}", pretty(&timings));
    }
    if let Some(output) = &arguments.output {
        std::fs::create_dir_all(output)
            .map_err(|e| UserError::file(output, format!("the folder cannot be made: {e}")))?;
        for growth in growths(&experiment, &timings) {
            report::write_growth(&growth, output)?;
        }
        write_whole(&output.join("bench.json"), pretty(&timings).as_bytes())?;
    }
    Ok(())
}

/// Timings over the axis of each grid that has one, and over numbers of replicas.
fn growths(experiment: &Experiment, timings: &[Timing]) -> Vec<Growth> {
    let over = |name: &str, quantity: &str, value: &dyn Fn(&Timing) -> Option<f64>| Growth {
        name: name.to_string(),
        quantity: quantity.to_string(),
        timings: timings.iter().filter_map(|t| Some((value(t)?, t.clone()))).collect(),
    };
    let mut growths = Vec::new();
    for grid in &experiment.grids {
        if let [(key, values)] = &grid.axes[..] {
            let number = |value: &toml::Value| value.as_float().or(value.as_integer().map(|i| i as f64));
            let place = |t: &Timing| grid.points.iter().position(|name| *name == t.point);
            let words = key.rsplit_once('.').map_or(key.as_str(), |(_, last)| last).replace('_', " ");
            // The last key alone says nothing where it is a count.
            let words = if words == "count" { grid.name.replace('-', " ") } else { words };
            growths.push(over(&grid.name, &words, &|t| number(&values[place(t)?])));
        }
    }
    growths.push(over("replicas", "replicas", &|t| (t.replicas > 1).then_some(t.replicas as f64)));
    growths.retain(|growth| growth.timings.len() > 1);
    growths
}

fn chosen(experiment: &Experiment, arguments: &Bench) -> Result<Vec<(String, TrainingSpec, u64)>, UserError> {
    let points = experiment.chosen(&arguments.point)?;
    let training = points.into_iter().filter_map(|point| match &point.spec {
        RunSpec::Training(spec) => {
            let seed = arguments.seed.or(point.seeds.first().copied()).unwrap_or(1);
            Some((point.name.clone(), spec.clone(), seed))
        }
        _ => None,
    });
    let training: Vec<_> = training.collect();
    if training.is_empty() {
        let path = experiment.folder.join("experiment.toml");
        return Err(UserError::file(path, "no point of it trains the paper's encoder, so there is no step to time"));
    }
    Ok(training)
}

const HEAD: &str = "point           d    d1     m     B     N  replicas  threads    steps/s   ms/step   data  gradient  update   MFLOP/step  of peak  peak memory";

fn row(t: &Timing) -> String {
    let total = t.part_s.data + t.part_s.gradient + t.part_s.update;
    let share = |part: f64| format!("{:.0} %", 100.0 * part / total);
    let of_peak = t.share_of_peak.map_or("-".to_string(), |s| format!("{:.0} %", 100.0 * s));
    let [d, d1, m, b, n] = t.shape;
    format!(
        "{:<12} {d:>4} {d1:>5} {m:>5} {b:>5} {n:>5} {:>9} {:>8} {:>10.1} {:>9.3} {:>6} {:>9} {:>7} {:>12.1} {of_peak:>8} {:>8.0} MiB",
        t.point,
        t.replicas,
        t.threads,
        t.steps_per_second,
        1e3 / t.steps_per_second,
        share(t.part_s.data),
        share(t.part_s.gradient),
        share(t.part_s.update),
        t.flop_per_step / 1e6,
        t.peak_memory_byte as f64 / 1_048_576.0
    )
}

fn in_a_child(job: &BenchJob, threads: usize) -> Result<Timing, UserError> {
    let failed = |e: &dyn std::fmt::Display| UserError::Run(format!("timing {}: {e}", job.point));
    let mut child = child("bench-one", threads).and_then(|mut child| child.spawn()).map_err(|e| failed(&e))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(pretty(job).as_bytes()).map_err(|e| failed(&e))?;
    }
    let output = child.wait_with_output().map_err(|e| failed(&e))?;
    if !output.status.success() {
        return Err(failed(&"the child process ended with an error"));
    }
    serde_json::from_slice(&output.stdout).map_err(|e| failed(&e))
}

/// The child's side: reads a job from standard input, times it, writes a [`Timing`] as JSON.
///
/// # Errors
/// [`UserError`] when the job cannot be read or the device not opened.
pub fn bench_one() -> Result<(), UserError> {
    let job: BenchJob = serde_json::from_reader(std::io::stdin())
        .map_err(|e| UserError::Argument(format!("bench-one reads a job from its parent on standard input: {e}")))?;
    let device = crate::device::open(&job.device)?;
    let timing = match job.replicas {
        Some(count) => time_replicas(&job, count, &device)?,
        None => time(&job, &device),
    };
    print!("{}", pretty(&timing));
    Ok(())
}

fn time(job: &BenchJob, device: &Device) -> Timing {
    let training = Monitor::new(&job.spec, job.seed, device);
    let mut learner = training.fresh();
    let mut optimizer = training.optimizer();
    let mut step_sizes = StepSizeScheduler::new(job.spec.training.step_size, 0);
    let steps = job.spec.training.steps;
    let (mut ahead, mut started) = (None, Instant::now());
    for step in 0..steps {
        if step == WARM_UP.min(steps - 1) {
            wait(&learner);
            started = Instant::now();
        }
        let output;
        (output, ahead) = step_and_draw(&training, &learner, ahead);
        learner = learner.optimize(&mut optimizer, step_sizes.step().into(), output.grads);
    }
    wait(&learner);
    let timed = steps - WARM_UP.min(steps - 1);
    let steps_per_second = timed as f64 / started.elapsed().as_secs_f64();
    let state = State::from(training.snapshot(&learner.valid()));
    let peak_memory_byte = peak_memory_byte();

    let mut part_s = Parts::default();
    for _ in 0..STEPS_IN_PARTS {
        let t0 = Instant::now();
        let batch = training.batch(learner.steps_done());
        let t1 = Instant::now();
        let output = TrainStep::step(&learner, batch);
        let t2 = Instant::now();
        learner = learner.optimize(&mut optimizer, step_sizes.step().into(), output.grads);
        wait(&learner);
        let t3 = Instant::now();
        let seconds = |from: Instant, to: Instant| to.duration_since(from).as_secs_f64() / STEPS_IN_PARTS as f64;
        part_s.data += seconds(t0, t1);
        part_s.gradient += seconds(t1, t2);
        part_s.update += seconds(t2, t3);
    }
    timing(job, 1, timed, steps_per_second, part_s, peak_memory_byte, state)
}

/// The same of replicas: seeds `seed`, `seed + 1`, … of one specification.
fn time_replicas(job: &BenchJob, count: usize, device: &Device) -> Result<Timing, UserError> {
    let group = (0..count as u64).map(|i| (job.spec.clone(), job.seed + i)).collect();
    let mut replication = Replication::new(&group, device)?;
    let models: Vec<_> = group.iter().map(|(spec, seed)| spec.data.model(*seed)).collect();
    let sampler = match job.sample_on_device {
        true => Some(
            DeviceSampler::new(&models, job.spec.data.augmentation, device)
                .map_err(|e| UserError::Argument(format!("--sample-on-device: {e}")))?,
        ),
        false => None,
    };
    let draw = |replication: &Replication| match &sampler {
        None => replication.batch(),
        Some(sampler) => {
            let [x_plus, x_plus_plus] = sampler.pairs(job.spec.training.batch_size);
            let negatives = Some(sampler.observations(job.spec.num_negatives()));
            ReplicaBatch { x_plus, x_plus_plus, negatives }
        }
    };
    // What goes wrong on the device shows in the numbers that are read next.
    let wait = || drop(device.sync());
    // Fewer steps, the more replicas: enough to be timed.
    let timed = (job.spec.training.steps / count as u64).clamp(10, job.spec.training.steps);
    let (mut part_s, mut started) = (Parts::default(), Instant::now());
    let warm_up = timed.min(WARM_UP) / 2;
    for step in 0..warm_up + timed {
        if step == warm_up {
            wait();
            (part_s, started) = (Parts::default(), Instant::now());
        }
        let t0 = Instant::now();
        let batch = draw(&replication);
        wait();
        let t1 = Instant::now();
        let _ = replication.step(batch);
        wait();
        let replica_steps = (timed * count as u64) as f64;
        part_s.data += t1.duration_since(t0).as_secs_f64() / replica_steps;
        part_s.gradient += t1.elapsed().as_secs_f64() / replica_steps;
    }
    let replica_steps_per_second = (timed * count as u64) as f64 / started.elapsed().as_secs_f64();
    let training = Monitor::new(&job.spec, job.seed, device);
    let state = State::from(training.snapshot(&replication.learner(0)));
    Ok(timing(job, count, timed, replica_steps_per_second, part_s, peak_memory_byte(), state))
}

impl From<Snapshot> for State {
    fn from(snapshot: Snapshot) -> Self {
        Self {
            energy_in_span: snapshot.energy_in_span,
            coverage_mean: snapshot.coverage_mean,
            coverage_min: snapshot.coverage_min,
            loss: snapshot.loss,
        }
    }
}

fn timing(
    job: &BenchJob,
    replicas: usize,
    timed: u64,
    steps_per_second: f64,
    part_s: Parts,
    peak_memory_byte: u64,
    state: State,
) -> Timing {
    let flop_per_step = flop_per_step(&job.spec);
    let peak_flop_per_second = peak_flop_per_second();
    let on_host = crate::device::is_host(&job.device);
    Timing {
        point: job.point.clone(),
        shape: shape(&job.spec),
        seed: job.seed,
        device: job.device.clone(),
        threads: rayon::current_num_threads(),
        replicas,
        steps: timed,
        steps_per_second,
        part_s,
        flop_per_step,
        peak_flop_per_second,
        share_of_peak: on_host.then(|| flop_per_step * steps_per_second / peak_flop_per_second),
        peak_memory_byte,
        state,
    }
}

/// Waits until a device has done what it was asked for.
fn wait(learner: &EncoderLearner) {
    // What goes wrong on the device shows in the numbers that are read next.
    let _ = learner.encoder.weights.device().sync();
}

fn shape(spec: &TrainingSpec) -> [usize; 5] {
    let (data, encoder) = (&spec.data, &spec.encoder);
    [data.code_dim, data.input_dim, encoder.num_neurons, spec.training.batch_size, spec.num_negatives()]
}

/// Two per multiply-add: embeddings of both views and negatives, similarities and their way back, the gradient of
/// the weights.
fn flop_per_step(spec: &TrainingSpec) -> f64 {
    let (b, n) = (spec.training.batch_size as f64, spec.num_negatives() as f64);
    let (m, d1) = (spec.encoder.num_neurons as f64, spec.data.input_dim as f64);
    match spec.objective {
        // Every view is query and key.
        Objective::NtXent(_) => 8.0 * m * d1 * b + 6.0 * (2.0 * b) * (2.0 * b) * m,
        Objective::Contrastive(_) => 2.0 * m * d1 * (3.0 * b + n) + 4.0 * b * n * m,
        Objective::Supervised(s) => 4.0 * b * m * d1 + 6.0 * b * m * s.num_classes as f64,
    }
}

/// The best of several square products of 32-bit floats, one on each thread.
fn peak_flop_per_second() -> f64 {
    let seconds = rayon::broadcast(|_| {
        let a = Mat::<f32>::from_fn(PEAK_SIZE, PEAK_SIZE, |i, j| ((i * 7 + j * 3) % 11) as f32 - 5.0);
        let mut out = Mat::<f32>::zeros(PEAK_SIZE, PEAK_SIZE);
        let once = |out: &mut Mat<f32>| {
            let started = Instant::now();
            matmul(out, Accum::Replace, &a, &a, 1.0, Par::Seq);
            started.elapsed().as_secs_f64()
        };
        (0..12).map(|_| once(&mut out)).fold(f64::INFINITY, f64::min)
    });
    seconds.iter().map(|s| 2.0 * (PEAK_SIZE as f64).powi(3) / s).sum()
}
