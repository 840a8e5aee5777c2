//! Runs that put the claims of Wen & Li (2021) to the test.
//!
//! Layers, each of which imports only those above it in this list:
//!
//! | layer | what it holds |
//! |---|---|
//! | [`io`] | errors, devices, files, output, downloads |
//! | [`spec`] | experiment files, expanded into checked specifications |
//! | [`tasks`] | kinds of training: data, model, measures |
//! | [`run`] | executing a task in a run folder, alone or many side by side |
//! | [`judge`] | measures across runs, expectations, verdicts; mutation tests; comparison of backends |
//! | [`report`] | figures and the page |
//! | `lab` | the laboratory in a browser (feature `lab`) |
//! | [`commands`] | the command line |

pub mod commands;
pub mod io;
pub mod judge;
#[cfg(feature = "lab")]
pub mod lab;
pub mod report;
pub mod run;
pub mod spec;
pub mod tasks;

pub use commands::Laboratory;

/// The README's example compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
