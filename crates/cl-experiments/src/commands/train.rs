//! `train`: one point of an experiment under Burn's dashboard.

use super::STOPPED;
use crate::io::error::UserError;
use crate::run::catalog::Catalog;
use crate::run::folder::DEFAULT_RUNS;
use crate::run::learner::Request;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

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

/// Trains; returns the exit status.
///
/// # Errors
/// [`UserError`] as for [`train`].
pub fn run(arguments: Train, catalog: &Catalog, stop: Arc<AtomicBool>) -> Result<u8, UserError> {
    let request = Request {
        experiment: arguments.experiment,
        point: arguments.point,
        seed: arguments.seed,
        runs: arguments.runs,
        device: arguments.device,
        wants_dashboard: !arguments.no_tui,
        data_dir: arguments.data_dir,
    };
    Ok(if catalog.train(&request, stop)? { 0 } else { STOPPED })
}
