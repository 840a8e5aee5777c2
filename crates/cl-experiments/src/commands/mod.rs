//! The command line: paths, device and output, never a scientific value.

use crate::error::UserError;
use crate::experiment::{DEFAULT_EXPERIMENTS, Extent};
use crate::images::preview;
use crate::plan::{self, Conditions};
use crate::record::DEFAULT_RUNS;
use crate::reproduce::{self, Conclusion, Request};
use crate::sweep::{self, Shard};
use crate::{bench, certify, device, drive, export, fetch, schedule, shell, train};
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Exit status of what was asked to stop, as shells have it for Ctrl-C.
const STOPPED: u8 = 130;

/// Feature learning in self-supervised contrastive learning, as a laboratory.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run what is missing for the claims, judge them, write the report
    Reproduce(Reproduce),
    /// Judge and report what is there, without running anything
    Report(Reproduce),
    /// Run the points of an experiment file, or a share of them, without judging
    Sweep(Sweep),
    /// Time training steps: steps per second, where the time goes, share of the processor's peak
    Bench(Bench),
    /// Run one experiment on every backend of this binary and write how far apart they come out
    Certify(Certify),
    /// Train one point of an experiment under Burn's dashboard
    Train(Train),
    /// Data: what is generated, what is published
    #[command(subcommand)]
    Data(Data),
    /// Images and their views
    #[command(subcommand)]
    Images(Images),
    /// List the devices this binary can use
    Devices,
    /// Print shell completions
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Carry out one job given on standard input (used by `reproduce`)
    #[command(hide = true)]
    RunOne,
    /// Time one job given on standard input (used by `bench`)
    #[command(hide = true)]
    BenchOne,
}

/// Arguments of `sweep`.
#[derive(Debug, clap::Args)]
pub struct Sweep {
    /// Folder of an experiment, such as experiments/c9-how-much-augmentation
    pub experiment: PathBuf,
    /// Points to run, repeatedly; all when none is given
    #[arg(long)]
    pub point: Vec<String>,
    /// The full set: larger sizes, finer grids
    #[arg(long)]
    pub full: bool,
    /// The i-th of n shares of the runs, such as 1/4; together the n shares are the whole
    #[arg(long, default_value = "1/1")]
    pub shard: Shard,
    /// Train so many runs of the same shape side by side as one tensor program, in this process: for graphics cards
    #[arg(long)]
    pub replicas: Option<std::num::NonZeroUsize>,
    /// Say what would be run and what it would cost, and run nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Folder of run folders; several shards may write to one
    #[arg(long, default_value = DEFAULT_RUNS)]
    pub runs: PathBuf,
    /// flex, ndarray, wgpu, cuda or cuda:n
    #[arg(long, default_value = "flex")]
    pub device: String,
    /// Least seconds between two checkpoints of a run; 0 makes one at the end of each epoch
    #[arg(long, default_value_t = drive::CHECKPOINT_EVERY_S, value_parser = seconds)]
    pub checkpoint_every: f64,
    /// Runs side by side; one per core when not given
    #[arg(long)]
    pub jobs: Option<std::num::NonZeroUsize>,
    /// Folder of images, for experiments on images; CL_CIFAR10_DIR or what `data fetch` brought when not given
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
}

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
pub struct Bench {
    /// Folder of the experiment whose points are timed, each for as many steps as it has (on images for ten)
    #[arg(default_value = "experiments/bench")]
    pub experiment: PathBuf,
    /// Points to time, repeatedly; all when none is given
    #[arg(long)]
    pub point: Vec<String>,
    /// The seed; the first one of each point when not given
    #[arg(long)]
    pub seed: Option<u64>,
    /// Numbers of threads, such as 1,2; one, and one per core, when not given
    #[arg(long, value_delimiter = ',')]
    pub threads: Vec<usize>,
    /// Numbers of replicas trained as one tensor program, such as 1,16,256; without it, a single encoder by the usual step
    #[arg(long, value_delimiter = ',')]
    pub replicas: Vec<std::num::NonZeroUsize>,
    /// With replicas: draw data on the device
    #[arg(long, requires = "replicas")]
    pub sample_on_device: bool,
    /// flex, ndarray, wgpu, cuda or cuda:n
    #[arg(long, default_value = "flex")]
    pub device: String,
    /// Folder of images, for experiments on images; CL_CIFAR10_DIR or what `data fetch` brought when not given
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// Print JSON, for machines
    #[arg(long)]
    pub json: bool,
    /// Folder for bench.json and for figures of the cost over each axis of the experiment's grids, and over replicas
    #[arg(long)]
    pub output: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Reproduce {
    /// Claims, such as c3 c5; all when none is given
    claims: Vec<String>,
    /// The full set: larger sizes, finer grids
    #[arg(long)]
    full: bool,
    /// Also make mistakes on purpose, and see that those claims notice which must (experiments/broken.toml)
    #[arg(long)]
    broken: bool,
    /// Folder of experiment files
    #[arg(long, default_value = DEFAULT_EXPERIMENTS)]
    experiments: PathBuf,
    /// Folder of run folders
    #[arg(long, default_value = DEFAULT_RUNS)]
    runs: PathBuf,
    /// Folder that report.html and figures/ are written to
    #[arg(long, default_value = "report")]
    output: PathBuf,
    /// flex, ndarray, wgpu, cuda or cuda:n
    #[arg(long, default_value = "flex")]
    device: String,
    /// Least seconds between two checkpoints of a run; 0 makes one at the end of each epoch
    #[arg(long, default_value_t = drive::CHECKPOINT_EVERY_S, value_parser = seconds)]
    checkpoint_every: f64,
    /// Runs side by side; one per core when not given
    #[arg(long)]
    jobs: Option<std::num::NonZeroUsize>,
    /// Folder of images, for experiments on images; CL_CIFAR10_DIR or what `data fetch` brought when not given
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

/// Arguments of `certify`.
#[derive(Debug, clap::Args)]
pub struct Certify {
    /// Folder of an experiment with the paper's encoder
    #[arg(default_value = "experiments/certificate")]
    pub experiment: PathBuf,
    /// Write what tests/python/check_run.py (check_images.py for images) recomputes of one run instead: data, weights, gradient, measures
    #[arg(long)]
    pub against_python: bool,
    /// The point to write; the first one of the file when not given
    #[arg(long, requires = "against_python")]
    pub point: Option<String>,
    /// Folder of images, for experiments on images; CL_CIFAR10_DIR or what `data fetch` brought when not given
    #[arg(long, requires = "against_python")]
    pub data_dir: Option<PathBuf>,
    /// Folder for certificate.json, its figure and the runs, or for what is recomputed
    #[arg(long, default_value = "certificate")]
    pub output: PathBuf,
}

/// Arguments of `train`.
#[derive(Debug, clap::Args)]
pub struct Train {
    /// Folder of an experiment, such as experiments/c3-contrastive-features
    pub experiment: PathBuf,
    /// The point; the first one of the file when not given
    #[arg(long)]
    pub point: Option<String>,
    /// The seed; the first one of the point when not given
    #[arg(long)]
    pub seed: Option<u64>,
    /// Folder of run folders
    #[arg(long, default_value = DEFAULT_RUNS)]
    pub runs: PathBuf,
    /// flex, ndarray, wgpu, cuda or cuda:n
    #[arg(long, default_value = "flex")]
    pub device: String,
    /// One line per epoch instead of the dashboard
    #[arg(long)]
    pub no_tui: bool,
    /// Folder of images, for experiments on images; CL_CIFAR10_DIR or what `data fetch` brought when not given
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Data {
    /// Write one batch (M, z, ξ, x and both views) as safetensors
    Export(Export),
    /// Download CIFAR-10 or CIFAR-100, check it and unpack it
    Fetch(Fetch),
}

#[derive(Debug, Subcommand)]
enum Images {
    /// Write a PNG sheet of images with pairs of views as training would draw them
    Preview(Preview),
}

/// Arguments of `images preview`.
#[derive(Debug, clap::Args)]
pub struct Preview {
    /// Folder of an experiment on images
    pub experiment: PathBuf,
    /// The point; the first one of the file when not given
    #[arg(long)]
    pub point: Option<String>,
    /// The seed; the first one of the point when not given
    #[arg(long)]
    pub seed: Option<u64>,
    /// Images on the sheet
    #[arg(long, default_value_t = 10)]
    pub images: usize,
    /// Folder of images; CL_CIFAR10_DIR or what `data fetch` brought when not given
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// The file to write; an existing one is not overwritten
    #[arg(long)]
    pub output: PathBuf,
}

/// Arguments of `data export`.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// Folder of an experiment
    pub experiment: PathBuf,
    /// The point; the first one of the file when not given
    #[arg(long)]
    pub point: Option<String>,
    /// The seed; the first one of the point when not given
    #[arg(long)]
    pub seed: Option<u64>,
    /// The training step whose batch is written
    #[arg(long, default_value_t = 0)]
    pub step: u64,
    /// The file to write; an existing one is not overwritten
    #[arg(long)]
    pub output: PathBuf,
}

/// Arguments of `data fetch`.
#[derive(Debug, clap::Args)]
pub struct Fetch {
    /// The data set
    #[arg(value_parser = ["cifar10", "cifar100"])]
    pub dataset: String,
    /// Folder to put it in; the cache folder ($XDG_CACHE_HOME or ~/.cache)/cl-experiments/data when not given
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// Another address of the same archive; the digest stays the published one
    #[arg(long)]
    pub url: Option<String>,
}

/// Parses the command line and does what it says. Returns the exit status: 0, 1 where a claim does not hold,
/// 130 where the run was stopped.
///
/// # Errors
/// [`UserError`], which goes with exit status 2.
pub fn run() -> Result<u8, UserError> {
    let cli = Cli::parse();
    let stop = Arc::new(AtomicBool::new(false));
    match cli.command {
        Command::Reproduce(arguments) => {
            stop_on_signals(&stop)?;
            conclude(reproduce::reproduce(&arguments.request(true), &stop)?)
        }
        Command::Report(arguments) if arguments.broken => Err(UserError::Argument(
            "--broken makes runs, which `report` does not; give it to `reproduce`, which takes up what is there".into(),
        )),
        Command::Report(arguments) => conclude(reproduce::reproduce(&arguments.request(false), &stop)?),
        Command::Sweep(arguments) => {
            stop_on_signals(&stop)?;
            Ok(if sweep::sweep(&arguments, &stop)? { 0 } else { STOPPED })
        }
        Command::Bench(arguments) => bench::bench(&arguments).map(|()| 0),
        Command::BenchOne => bench::bench_one().map(|()| 0),
        Command::Certify(arguments) if arguments.against_python => certify::python::export(&arguments).map(|()| 0),
        Command::Certify(arguments) => {
            stop_on_signals(&stop)?;
            conclude(certify::certify(&arguments, &stop)?)
        }
        Command::Train(arguments) => {
            stop_on_signals(&stop)?;
            train::train(&arguments, stop)
        }
        Command::Data(Data::Export(arguments)) => export::export(&arguments).map(|()| 0),
        Command::Data(Data::Fetch(arguments)) => fetch::run(&arguments).map(|()| 0),
        Command::Images(Images::Preview(arguments)) => preview::write(&arguments).map(|()| 0),
        Command::Devices => {
            crate::say!("{}", device::list());
            Ok(0)
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "cl-experiments", &mut script);
            crate::say!("{}", String::from_utf8_lossy(&script));
            Ok(0)
        }
        Command::RunOne => {
            stop_on_signals(&stop)?;
            schedule::run_one(&stop).map(|()| 0)
        }
    }
}

/// A length of time.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok().filter(|s| (0.0..=1e9).contains(s));
    seconds.ok_or_else(|| "it has to be a number of seconds from 0 to 1e9".into())
}

fn conclude(conclusion: Conclusion) -> Result<u8, UserError> {
    Ok(match conclusion {
        Conclusion::Judged { all_hold: true } => 0,
        Conclusion::Judged { all_hold: false } => 1,
        Conclusion::Stopped => STOPPED,
    })
}

fn stop_on_signals(stop: &Arc<AtomicBool>) -> Result<(), UserError> {
    let stop = stop.clone();
    ctrlc::set_handler(move || stop.store(true, std::sync::atomic::Ordering::Relaxed))
        .map_err(|e| UserError::Run(format!("signals cannot be handled: {e}")))
}

impl Reproduce {
    fn request(&self, run_missing: bool) -> Request {
        Request {
            claims: self.claims.clone(),
            extent: if self.full { Extent::Full } else { Extent::Default },
            experiments: self.experiments.clone(),
            output: self.output.clone(),
            conditions: Conditions {
                runs: self.runs.clone(),
                also: Vec::new(),
                device: self.device.clone(),
                data_dir: self.data_dir.clone(),
                checkpoint_every_s: self.checkpoint_every,
                side_by_side: plan::side_by_side(self.jobs),
            },
            run_missing,
            broken: self.broken,
            command: command_line(),
        }
    }
}

/// The command as a user would type it at the top of the project.
fn command_line() -> String {
    format!("cargo run --release -- {}", shell::join(std::env::args_os().skip(1)))
}
