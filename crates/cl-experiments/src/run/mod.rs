//! Executing tasks: one run in its [`folder`], or many of them side by side.
//!
//! [`catalog`] knows what runs can be built from. [`headless`] and [`learner`] (burn-train's, with its [`dashboard`])
//! take the same steps and resume from each other's [`checkpoint`]s; [`plan`] lists runs, [`queue`] executes them in
//! child processes, [`replicas`] as one tensor program; [`sweep`] covers an experiment file, [`mod@bench`] times steps.

pub mod bench;
pub mod catalog;
pub mod checkpoint;
pub mod dashboard;
pub mod folder;
pub mod headless;
pub mod learner;
pub mod learning_rates;
mod metric_files;
pub mod pictures;
pub mod plan;
pub mod queue;
pub mod quiet;
pub mod recording;
pub mod replicas;
pub mod sweep;
