//! `lab`: the laboratory in a browser.

use super::Laboratory;
use crate::io::error::UserError;
use crate::lab::{Contents, Places, serve};
use crate::run::folder::DEFAULT_RUNS;
use crate::spec::experiment::DEFAULT_EXPERIMENTS;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

/// Arguments of `lab`.
#[derive(Debug, clap::Args)]
pub struct Lab {
    /// The port on this machine's loopback interface; a free one when 0
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Folder of experiment files
    #[arg(long, default_value = DEFAULT_EXPERIMENTS)]
    experiments: PathBuf,
    /// Folder of run folders
    #[arg(long, default_value = DEFAULT_RUNS)]
    runs: PathBuf,
    /// flex, ndarray, wgpu, cuda or cuda:n
    #[arg(long, default_value = "flex")]
    device: String,
    /// Folder of images, for experiments on images; CL_CIFAR10_DIR or what `data fetch` brought when not given
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

/// Serves until it is stopped.
///
/// # Errors
/// [`UserError`] as for [`serve`].
pub fn run(arguments: Lab, laboratory: Laboratory, stop: &AtomicBool) -> Result<(), UserError> {
    let Laboratory { catalog, measures, figures } = laboratory;
    let Lab { port, experiments, runs, device, data_dir } = arguments;
    let places = Places { experiments, runs, data_dir };
    serve(Contents { catalog, measures, figures }, places, (port, &device), stop, |address| {
        crate::say_line!("The laboratory is open at http://{address}/ (only on this machine; Ctrl-C closes it).");
    })
}
