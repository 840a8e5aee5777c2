//! `bench`: how fast a step is, where its time goes, and how far that is from the processor's peak.

use crate::io::error::UserError;
use crate::io::files::{pretty, write_whole};
use crate::report;
use crate::run::bench::{Request, bench, growths};
use crate::run::catalog::Catalog;
use std::num::NonZeroUsize;
use std::path::PathBuf;

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
    pub threads: Vec<NonZeroUsize>,
    /// Numbers of replicas trained as one tensor program, such as 1,16,256; without it, a single encoder by the usual step
    #[arg(long, value_delimiter = ',')]
    pub replicas: Vec<NonZeroUsize>,
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

/// Times, prints and draws.
///
/// # Errors
/// [`UserError`] as for [`bench`], and when a file cannot be written.
pub fn run(arguments: &Bench, catalog: &Catalog) -> Result<(), UserError> {
    let request = Request {
        experiment: arguments.experiment.clone(),
        points: arguments.point.clone(),
        seed: arguments.seed,
        threads: arguments.threads.clone(),
        replicas: arguments.replicas.clone(),
        sample_on_device: arguments.sample_on_device,
        device: arguments.device.clone(),
        data_dir: arguments.data_dir.clone(),
    };
    let mut last_head = "";
    let (experiment, timings) = bench(&request, catalog, &mut |timing| {
        if !arguments.json {
            if timing.head() != last_head {
                last_head = timing.head();
                crate::say_line!("{last_head}");
            }
            crate::say_line!("{}", timing.row());
        }
    })?;
    if arguments.json {
        crate::say!("{}", pretty(&timings));
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
