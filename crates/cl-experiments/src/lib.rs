//! Runs that hold the claims of Wen & Li (2021) to account.
//!
//! An experiment file ([`experiment`]) is expanded into run specifications ([`spec`]); each is carried out
//! ([`drive`], [`train`]) into a run folder ([`record`]); claims are judged from folders ([`claims`]) and shown
//! ([`report`]).

pub mod bench;
pub mod broken;
pub mod certify;
pub mod checkpoint;
pub mod claims;
pub mod cli;
pub mod dashboard;
pub mod device;
pub mod drive;
pub mod error;
pub mod experiment;
pub mod export;
pub mod fetch;
pub mod images;
pub mod judge;
pub mod learner;
pub mod manifest;
pub mod measure;
mod metric_files;
pub mod moments;
pub mod os_path;
pub mod output;
mod panics;
pub mod plan;
pub mod quiet;
pub mod record;
pub mod replicate;
pub mod report;
pub mod reproduce;
pub mod schedule;
pub mod shell;
pub mod spec;
pub mod sweep;
pub mod toml_file;
pub mod train;
pub mod training;
pub mod undefined;

/// The README's example compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
