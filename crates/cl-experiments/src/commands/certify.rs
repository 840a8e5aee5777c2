//! `certify`: runs one experiment on every backend, or exports a run so that Python can recompute it.

use super::{FAILS, Laboratory, STOPPED};
use crate::io::error::UserError;
use crate::io::files::{pretty, write_whole};
use crate::io::shell;
use crate::judge::certify::{certify, python, table};
use crate::report;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

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

/// Certifies, or exports what is to be recomputed; returns the exit status.
///
/// # Errors
/// [`UserError`] as for [`certify`] and [`python::export`], and when a file cannot be written.
pub fn run(arguments: &Certify, laboratory: &Laboratory, stop: &AtomicBool) -> Result<u8, UserError> {
    let output = &arguments.output;
    if arguments.against_python {
        let written = python::export(
            &python::Request {
                experiment: arguments.experiment.clone(),
                point: arguments.point.clone(),
                data_dir: arguments.data_dir.clone(),
                output: output.clone(),
            },
            &laboratory.catalog,
        )?;
        crate::say_line!(
            "{}: {} of {}, seed {}. To recompute it without this program:\n  pip install --require-hashes -r \
             tests/python/requirements.txt\n  python3 tests/python/{} {}",
            output.display(),
            written.point,
            written.claim,
            written.seed,
            written.check,
            shell::join([output])
        );
        return Ok(0);
    }
    let Some(certificate) = certify(&arguments.experiment, output, &laboratory.catalog, &laboratory.measures, stop)?
    else {
        crate::say_line!("Stopped; the same command goes on from the last checkpoint.");
        return Ok(STOPPED);
    };
    crate::say!("{}", table(&certificate));
    write_whole(&output.join("certificate.json"), pretty(&certificate).as_bytes())?;
    report::write_divergence(&certificate, output)?;
    crate::say_line!("{}", output.join("certificate.json").display());
    Ok(if certificate.agree { 0 } else { FAILS })
}
