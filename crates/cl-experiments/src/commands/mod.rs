//! The command line: paths, device and output, never a scientific value.
//!
//! One file per verb. Each turns its arguments into a request, calls what executes it, and reports the result.

mod bench;
mod certify;
mod data;
mod images;
#[cfg(feature = "lab")]
mod lab;
mod laboratory;
pub mod reproduce;
mod sweep;
mod train;

pub use laboratory::Laboratory;

use crate::io::device;
use crate::io::error::UserError;
use crate::run::bench::bench_one;
use crate::run::queue::run_one;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Exit status when a claim does not hold.
const FAILS: u8 = 1;

/// Exit status of a stopped command; shells use the same for Ctrl-C.
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
    Reproduce(reproduce::Reproduce),
    /// Judge and report what is there, without running anything
    Report(reproduce::Reproduce),
    /// Run the points of an experiment file, or a part of them, without judging
    Sweep(sweep::Sweep),
    /// Time training steps: steps per second, where the time goes, part of the processor's peak reached
    Bench(bench::Bench),
    /// Run one experiment on every backend of this binary and write how far apart they come out
    Certify(certify::Certify),
    /// Train one point of an experiment under Burn's dashboard
    Train(train::Train),
    /// Data: what is generated, what is published
    #[command(subcommand)]
    Data(data::Data),
    /// Images and their views
    #[command(subcommand)]
    Images(images::Images),
    /// Open the laboratory in a browser: try settings and watch runs as they learn
    #[cfg(feature = "lab")]
    Lab(lab::Lab),
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

/// Parses the command line and executes it. Returns the exit status: 0, 1 when a claim does not hold, 130 when the run
/// was stopped.
///
/// # Errors
/// [`UserError`], for which the exit status is 2.
pub fn run(laboratory: Laboratory) -> Result<u8, UserError> {
    let catalog = &laboratory.catalog;
    let stop = || stop_on_signals();
    match Cli::parse().command {
        Command::Reproduce(arguments) => reproduce::run(&arguments, true, &laboratory, &*stop()?),
        Command::Report(arguments) => reproduce::run(&arguments, false, &laboratory, &AtomicBool::new(false)),
        Command::Sweep(arguments) => sweep::run(arguments, catalog, &*stop()?),
        Command::Bench(arguments) => bench::run(&arguments, catalog).map(|()| 0),
        Command::Certify(arguments) => certify::run(&arguments, &laboratory, &*stop()?),
        Command::Train(arguments) => train::run(arguments, catalog, stop()?),
        Command::Data(arguments) => data::run(arguments, catalog).map(|()| 0),
        Command::Images(arguments) => images::run(arguments, catalog).map(|()| 0),
        #[cfg(feature = "lab")]
        Command::Lab(arguments) => {
            let stop = stop()?;
            lab::run(arguments, laboratory, &stop).map(|()| 0)
        }
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
        Command::RunOne => run_one(catalog, &*stop()?).map(|()| 0),
        Command::BenchOne => {
            crate::say!("{}", bench_one(catalog)?);
            Ok(0)
        }
    }
}

/// A length of time.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok().filter(|s| (0.0..=1e9).contains(s));
    seconds.ok_or_else(|| "it has to be a number of seconds from 0 to 1e9".into())
}

/// A flag that signals set.
fn stop_on_signals() -> Result<Arc<AtomicBool>, UserError> {
    let stop = Arc::new(AtomicBool::new(false));
    let heard = stop.clone();
    ctrlc::set_handler(move || heard.store(true, Ordering::Relaxed))
        .map_err(|e| UserError::Run(format!("signals cannot be handled: {e}")))?;
    Ok(stop)
}
