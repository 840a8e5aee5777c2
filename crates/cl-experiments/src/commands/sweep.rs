//! `sweep`: the runs of an experiment file, or a shard of them, without judging.

use super::{STOPPED, seconds};
use crate::io::error::UserError;
use crate::run::catalog::Catalog;
use crate::run::folder::DEFAULT_RUNS;
use crate::run::headless::CHECKPOINT_EVERY_S;
use crate::run::plan::{self, Conditions};
use crate::run::sweep::{Request, Shard, sweep};
use crate::spec::experiment::Extent;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

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
    /// The i-th of n shards of the runs, such as 1/4; together the n shards are the whole
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
    #[arg(long, default_value_t = CHECKPOINT_EVERY_S, value_parser = seconds)]
    pub checkpoint_every: f64,
    /// Runs side by side; one per core when not given
    #[arg(long)]
    pub jobs: Option<std::num::NonZeroUsize>,
    /// Folder of images, for experiments on images; CL_CIFAR10_DIR or what `data fetch` brought when not given
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
}

/// Sweeps; returns the exit status.
///
/// # Errors
/// [`UserError`] as for [`sweep`].
pub fn run(arguments: Sweep, catalog: &Catalog, stop: &AtomicBool) -> Result<u8, UserError> {
    let request = Request {
        experiment: arguments.experiment,
        points: arguments.point,
        extent: if arguments.full { Extent::Full } else { Extent::Default },
        shard: arguments.shard,
        replicas: arguments.replicas,
        dry_run: arguments.dry_run,
        conditions: Conditions {
            runs: arguments.runs,
            also: Vec::new(),
            device: arguments.device,
            data_dir: arguments.data_dir,
            checkpoint_every_s: arguments.checkpoint_every,
            side_by_side: plan::side_by_side(arguments.jobs),
        },
    };
    Ok(if sweep(&request, catalog, stop)? { 0 } else { STOPPED })
}
