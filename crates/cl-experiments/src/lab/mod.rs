//! `lab`: the laboratory in a browser, on the loopback interface alone.
//!
//! | file | idea |
//! |---|---|
//! | `settings.rs` | what a page asks for: a point of an experiment file, with values changed |
//! | `shelf.rs` | what can be chosen: experiments, their points, objectives |
//! | `tries.rs` | one child process for a page, in a scratch folder |
//! | `follow.rs` | a run folder as a stream of events, whoever makes the run |
//! | `runs.rs` | the runs there are |
//! | `looks.rs` | sheets of views, predicted curves, the figures of a run, reports |
//! | `guard.rs` | which requests are answered at all |
//! | `server.rs` | addresses and answers |
//! | `page/` | what the browser gets; nothing is loaded from elsewhere |
//!
//! What is read: the folders of experiments, runs and images, as commands find them. What is written: runs.

mod follow;
mod guard;
mod looks;
mod runs;
mod server;
mod settings;
mod shelf;
mod tries;

pub use server::serve;

use crate::judge::measures::measure::Measures;
use crate::report::Figures;
use crate::run::catalog::Catalog;
use std::path::PathBuf;

/// Where a laboratory finds what it shows.
#[derive(Debug, Clone)]
pub struct Places {
    /// The folder of experiments.
    pub experiments: PathBuf,
    /// The folder of runs.
    pub runs: PathBuf,
    /// The image folder, if given.
    pub data_dir: Option<PathBuf>,
}

/// What a laboratory is made of.
pub struct Contents {
    /// What runs can be built from.
    pub catalog: Catalog,
    /// What can be measured.
    pub measures: Measures,
    /// What can be drawn.
    pub figures: Figures,
}
