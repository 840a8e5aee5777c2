//! As an unprivileged user: what cannot be read or written is named, and what others have finished stays as it is.

use crate::support::{scratch, small_experiment, small_spec};
use cl_experiments::run::folder::RunFolder;
use cl_experiments::spec::RunSpec;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The user and group `nobody` of most systems.
const NOBODY: u32 = 65534;

/// A folder that everybody may enter, with the program and the small experiment in it.
struct Place {
    folder: tempfile::TempDir,
    program: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = scratch();
        mode(folder.path(), 0o755);
        let program = folder.path().join("cl-experiments");
        // The binary that was built may be where others have no access. Another process copies it: a file that this one
        // has open for writing cannot be executed, and children of other tests inherit open files.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_cl-experiments")).arg(&program).status().unwrap();
        assert!(copied.success());
        mode(&program, 0o755);
        small_experiment(folder.path(), ("seeds = [1]", "seeds = [1]"));
        Self { folder, program }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("RAYON_NUM_THREADS", "1").env("HOME", self.folder.path());
        command.current_dir(self.folder.path());
        command
    }

    /// Runs it as the user who runs the tests.
    fn as_owner(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary starts")
    }

    /// Runs it as an unprivileged user; root drops its privileges first.
    fn without_rights(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        if is_root(self.folder.path()) {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.output().expect("the binary starts")
    }

    fn run_folder(&self, runs: &str) -> RunFolder {
        RunFolder::new(&self.path(runs), "small", "masked", &RunSpec::new(small_spec()), 1)
    }
}

/// Whether this folder belongs to root.
fn is_root(folder: &Path) -> bool {
    fs::metadata(folder).unwrap().uid() == 0
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Sets the mode of everything below a folder, the folder included.
fn mode_below(path: &Path, folder_mode: u32, file_mode: u32) {
    if path.is_dir() {
        mode(path, 0o755);
        fs::read_dir(path).unwrap().flatten().for_each(|entry| mode_below(&entry.path(), folder_mode, file_mode));
        mode(path, folder_mode);
    } else {
        mode(path, file_mode);
    }
}

fn refused(output: &Output, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    assert!(words.iter().all(|word| text.contains(word)), "{words:?} are not all in {text}");
}

#[test]
fn a_folder_that_may_not_be_written_is_named() {
    let place = Place::new();
    fs::create_dir(place.path("closed")).unwrap();
    mode(&place.path("closed"), 0o555);
    for arguments in [
        &["train", "small", "--no-tui", "--runs", "closed/runs"][..],
        &["sweep", "small", "--runs", "closed/runs"],
        &["certify", "small", "--against-python", "--output", "closed/check"],
        &["data", "export", "small", "--output", "closed/batch.safetensors"],
    ] {
        refused(&place.without_rights(arguments), &["closed/", "ermission denied"]);
    }
    mode(&place.path("closed"), 0o755);
}

#[test]
fn a_file_that_may_not_be_read_is_named() {
    let place = Place::new();
    mode(&place.path("small/experiment.toml"), 0o000);
    let output = place.without_rights(&["train", "small", "--no-tui"]);
    refused(&output, &["small/experiment.toml: it cannot be read", "ermission denied"]);
}

#[test]
fn a_run_folder_of_someone_else_is_left_alone_and_its_finished_run_reused() {
    let place = Place::new();
    assert!(place.as_owner(&["train", "small", "--no-tui"]).status.success());
    let run = place.run_folder("runs");
    mode_below(&place.path("runs"), 0o555, 0o444);
    let again = place.without_rights(&["train", "small", "--no-tui"]);
    let text = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success() && text.contains("is complete; it is reused"), "{text}");

    // The same run, not finished.
    mode_below(&place.path("runs"), 0o755, 0o644);
    fs::remove_file(run.path().join("COMPLETE")).unwrap();
    let weights = fs::read(run.path().join("weights.safetensors")).unwrap();
    mode_below(&place.path("runs"), 0o555, 0o444);
    refused(
        &place.without_rights(&["train", "small", "--no-tui"]),
        &["seed-1", "cannot be written", "ermission denied"],
    );
    assert_eq!(fs::read(run.path().join("weights.safetensors")).unwrap(), weights);
    mode_below(&place.path("runs"), 0o755, 0o644);
}

#[test]
fn a_cache_that_may_not_be_written_is_named_before_anything_is_downloaded() {
    let place = Place::new();
    fs::create_dir(place.path("cache")).unwrap();
    mode(&place.path("cache"), 0o555);
    // Nothing listens there: a download would fail with a different message.
    let mut command = place.command(&["data", "fetch", "cifar10", "--url", "http://127.0.0.1:9/cifar.tar.gz"]);
    if is_root(place.folder.path()) {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.env("XDG_CACHE_HOME", place.path("cache")).output().unwrap();
    refused(&output, &["cache/cl-experiments", "ermission denied"]);
    mode(&place.path("cache"), 0o755);
}

/// This process plays the part of the first one.
#[test]
fn a_second_process_in_a_run_folder_is_told_and_changes_nothing() {
    let place = Place::new();
    let run = place.run_folder("runs");
    let lock = run.open(&RunSpec::new(small_spec()), 1).unwrap();
    for arguments in [&["train", "small", "--no-tui"][..], &["sweep", "small"]] {
        refused(&place.as_owner(arguments), &["another process is working in this run folder"]);
        assert!(!run.is_complete() && !run.path().join("metrics.jsonl").exists());
    }
    drop(lock);
    assert!(place.as_owner(&["train", "small", "--no-tui"]).status.success());
}
