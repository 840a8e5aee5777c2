//! Carrying tasks out: one run into its [`folder`], many of them side by side.
//!
//! [`catalog`] knows what runs can be made of. [`headless`] and [`learner`] (burn-train's, with its [`dashboard`]) take the same steps and go on from each other's
//! [`checkpoint`]s; [`plan`] says which runs there are, [`queue`] makes them in child processes, [`replicas`] as one tensor program;
//! [`sweep`] makes the runs of an experiment file, [`mod@bench`] times steps.

pub mod bench;
pub mod catalog;
pub mod checkpoint;
pub mod dashboard;
pub mod folder;
pub mod headless;
pub mod learner;
pub mod learning_rates;
mod metric_files;
pub mod plan;
pub mod queue;
pub mod quiet;
pub mod recording;
pub mod replicas;
pub mod sweep;
