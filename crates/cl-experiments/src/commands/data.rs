//! `data`: generated and published data.

use crate::io::error::UserError;
use crate::io::fetch::{self, Fetched};
use crate::run::catalog::Catalog;
use crate::tasks::sparse_coding::export::{self, export};
use clap::Subcommand;
use std::path::PathBuf;

/// What there is to do with data.
#[derive(Debug, Subcommand)]
pub enum Data {
    /// Write one batch (M, z, ξ, x and both views) as safetensors
    Export(Export),
    /// Download CIFAR-10, CIFAR-100 or CLINC150, check it and unpack it
    Fetch(Fetch),
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
    #[arg(value_parser = ["cifar10", "cifar100", "clinc150"])]
    pub dataset: String,
    /// Folder to put it in; the cache folder ($XDG_CACHE_HOME or ~/.cache)/cl-experiments/data when not given
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// Another address of the same archive; the digest stays the published one
    #[arg(long)]
    pub url: Option<String>,
}

/// Writes a batch, or fetches a data set.
///
/// # Errors
/// [`UserError`] as for [`export`] and [`fetch::run`].
pub fn run(data: Data, catalog: &Catalog) -> Result<(), UserError> {
    match data {
        Data::Export(arguments) => {
            let Export { experiment, point, seed, step, output } = arguments;
            let point =
                export(&export::Request { experiment, point, seed, step, output: output.clone() }, catalog.parts())?;
            crate::say_line!("{}: batch of step {step} of {point}", output.display());
        }
        Data::Fetch(arguments) => match fetch::run(&arguments.dataset, arguments.data_dir, arguments.url.as_deref())? {
            Fetched::AlreadyThere(path) => {
                crate::say_line!(
                    "{}: {} is there and complete; nothing was downloaded",
                    path.display(),
                    arguments.dataset
                );
            }
            Fetched::Unpacked(path) => {
                crate::say_line!("{}: {}, whole and checked", path.display(), arguments.dataset);
            }
        },
    }
    Ok(())
}
