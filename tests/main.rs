//! What the whole program promises, one file per behaviour.

#![allow(clippy::disallowed_macros, reason = "the test harness reads what tests print")]

/// Shared: a small experiment, scratch folders, the binary.
mod support;

/// Training is the algorithm of the paper, as given in its box.
mod algorithm_1;
/// The same step on every backend that is compiled in.
mod backends;
/// Damaged or malicious files.
mod bad_bytes;
/// No result depends on the wall clock.
mod clock;
/// What the command line says when it is used wrongly.
mod command_line_errors;
/// `data export` writes what a step trains on.
mod data_export;
/// `data fetch`: resumed, checked before it is unpacked, complete or absent.
mod data_fetch;
/// The program's loaders, given bytes by tests and fuzzers.
mod entry_points;
/// Packages that build on the workspace share its build outputs.
mod examples;
/// Every file below experiments/ is valid, judged and explained.
mod experiment_files;
/// What figures show is what the run folders of a claim say.
mod figures;
/// Image runs: resumed bit by bit, the same under both drivers, decoupled by what changes colour.
mod images;
/// SIGKILL at random moments, for every kind of run.
#[cfg(unix)]
mod kill;
/// Imports point down the layers, without cycles.
mod layers;
/// Memory, files and threads over 200,000 steps.
#[cfg(target_os = "linux")]
mod long_runs;
/// Prediction heads, momentum copies, reconstruction: resumed bit by bit, refused where they are of no use, collapses noticed.
mod non_contrastive;
/// What is printed, where, and what happens when nobody reads it or it cannot be written.
#[cfg(unix)]
mod output;
/// What a program built on this one adds: identity, refusals, names.
mod own_parts;
/// As an unprivileged user, and alongside other processes.
#[cfg(unix)]
mod permissions;
/// What is kept for those who watch a run.
mod pictures;
/// Masks let the features of a known dictionary be found; without them they are not.
mod recovery;
/// Three training steps against a loop in double precision.
mod reference_step;
/// The report opens in a browser without errors.
mod report_page;
/// Measures of image encoders, on one for which the right values are known.
mod representation;
/// A run that was stopped resumes bit by bit as if it had not been.
mod resume;
/// Run folders: reused, never overwritten, damage is reported.
mod run_folders;
/// Coverage of intervals, errors of many verdicts taken together.
mod statistics;
/// Shards of a sweep, sweeps that are killed, replicas, and what `bench` reports.
mod sweep;
/// Runs on sentences: resumed bit by bit in the middle of a queue, on generated and on real text, refused where something is of no use.
mod text;
/// `train` and `reproduce` give the same numbers; the dashboard appears and leaves the terminal as it was.
mod training_drivers;
/// Signals on a circle and observations with a class: resumed bit by bit, what is not there measured as such, wrong values refused.
mod two_views;
