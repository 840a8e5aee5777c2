//! Run folders: `runs/<claim>/<point>-<digest>/seed-<n>/`.
//!
//! | file | what it holds |
//! |---|---|
//! | `spec.json` | the resolved specification and the versions of data and algorithm |
//! | `manifest.json` | commit, lock hash, device, versions, duration, peak memory |
//! | `metrics.jsonl` | one [snapshot](crate::tasks::task::Measured) per epoch |
//! | `evaluation.json`, `moments.json` | the results |
//! | `weights.safetensors` | `weights` `[m, d1]`, `biases` `[m]`, `dictionary` `[d1, d]` |
//! | `pictures.jsonl` | what the model looked like, for those who watched, see [`pictures`](crate::run::pictures) |
//! | `checkpoint/` | while the run is under way |
//! | `COMPLETE` | written last |
//!
//! Files are staged and renamed. A folder is never overwritten: a complete one is reused, an incomplete one is resumed,
//! and a different specification has a different digest.

use crate::io::error::UserError;
use crate::io::files::{pretty, remove_staged, write_whole};
use crate::io::manifest::{Manifest, OwnProgram, executable_sha256};
use crate::spec::{Parts, RunSpec};
use crate::tasks::sparse_coding::moments::MomentsReport;
use crate::tasks::task::Measured;
use crate::tasks::text::neighbors::Neighbors;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where runs live unless the command line says otherwise.
pub const DEFAULT_RUNS: &str = "runs";

const MARKER: &str = "COMPLETE";

/// A run's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

/// Locks a run folder against other processes until it is dropped.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

impl RunFolder {
    /// The folder of one run below `runs`.
    pub fn new(runs: &Path, claim: &str, point: &str, spec: &RunSpec, seed: u64) -> Self {
        Self { path: runs.join(claim).join(format!("{point}-{}", spec.digest())).join(format!("seed-{seed}")) }
    }

    /// The run folder at a path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The complete folder of this specification and seed, whatever claim and point it was run under; otherwise the
    /// folder where it belongs.
    pub fn find(runs: &Path, claim: &str, point: &str, spec: &RunSpec, seed: u64) -> Self {
        let own = Self::new(runs, claim, point, spec, seed);
        if own.path.exists() {
            return own;
        }
        let suffix = format!("-{}", spec.digest());
        let children =
            |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|e| e.path()).collect::<Vec<_>>();
        let mut found: Vec<PathBuf> = children(runs)
            .iter()
            .flat_map(|claim| children(claim))
            .filter(|p| p.file_name().is_some_and(|name| name.to_string_lossy().ends_with(&suffix)))
            .map(|p| p.join(format!("seed-{seed}")))
            .filter(|p| p.join(MARKER).is_file())
            .collect();
        found.sort();
        found.into_iter().next().map_or(own, Self::at)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the run is finished.
    pub fn is_complete(&self) -> bool {
        self.path.join(MARKER).is_file()
    }

    /// Whether a process is working in this folder.
    pub fn is_under_way(&self) -> bool {
        let lock = File::options().append(true).open(self.path.join("lock"));
        !self.is_complete() && lock.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Checks that this program may use a complete run: one with parts of a program built on this one can only be
    /// reused by the executable that made it, because those parts may have changed since.
    ///
    /// # Errors
    /// [`UserError`] naming the folder and the parts if another executable made it, or when it cannot be read.
    pub fn check_maker(&self, spec: &RunSpec) -> Result<(), UserError> {
        let parts: Vec<String> = spec.own_parts().into_iter().map(|part| part.name).collect();
        if parts.is_empty() || !self.is_complete() {
            return Ok(());
        }
        let made_by = self.manifest()?.own.map(|own| own.executable_sha256);
        if made_by.as_deref() == Some(executable_sha256()?) {
            return Ok(());
        }
        Err(UserError::file(
            &self.path,
            format!(
                "this run was made by another build of the program, and {} may have changed since; remove the folder to make the run \
                 again, or give another --runs",
                parts.join(", ")
            ),
        ))
    }

    /// Writes how the run was made, and marks it as finished.
    ///
    /// # Errors
    /// [`UserError::File`] naming the file that cannot be written.
    pub fn complete_with(&self, spec: &RunSpec, manifest: Manifest) -> Result<(), UserError> {
        let own: Vec<(String, u32)> = spec.own_parts().into_iter().map(|part| (part.name, part.version)).collect();
        let own = if own.is_empty() { None } else { Some(OwnProgram::this(own)?) };
        self.write_json("manifest.json", &Manifest { own, ..manifest })?;
        self.complete()
    }

    /// The folder of checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoint")
    }

    /// Creates the folder, locks it, and writes or checks the specification.
    ///
    /// # Errors
    /// [`UserError`] when the folder cannot be written, another process has locked it, or it holds another run.
    pub fn open(&self, spec: &RunSpec, seed: u64) -> Result<RunLock, UserError> {
        fs::create_dir_all(&self.path)
            .map_err(|e| UserError::file(&self.path, format!("the run folder cannot be made: {e}")))?;
        let path = self.path.join("lock");
        let file = File::create(&path)
            .map_err(|e| UserError::file(&path, format!("the run folder cannot be written: {e}")))?;
        match patiently(|| file.try_lock()) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(UserError::file(
                    &self.path,
                    "another process is working in this run folder; wait for it or end it",
                ));
            }
            Err(TryLockError::Error(e)) => {
                return Err(UserError::file(
                    path,
                    format!("it cannot be locked ({e}); runs need a file system with locks, so give another --runs"),
                ));
            }
        }
        remove_staged(&self.path)?;
        remove_staged(&self.checkpoints())?;
        let text = Self::identity(spec, seed);
        let path = self.path.join("spec.json");
        match fs::read_to_string(&path) {
            Ok(found) if found == text => {}
            Ok(_) => {
                return Err(UserError::file(
                    path,
                    "this folder holds a run of another specification or version; move it away",
                ));
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => self.write("spec.json", text.as_bytes())?,
            Err(e) => return Err(UserError::file(path, format!("it cannot be read: {e}"))),
        }
        Ok(RunLock { _file: file })
    }

    fn identity(spec: &RunSpec, seed: u64) -> String {
        let identity = serde_json::json!({
            "seed": seed,
            "data_version": cl_data::DATA_VERSION,
            "algorithm_version": cl_model::ALGORITHM_VERSION,
            "spec": spec,
        });
        pretty(&identity)
    }

    /// The specification and the seed of a run.
    ///
    /// # Errors
    /// [`UserError::File`] when `spec.json` is missing or damaged.
    pub fn spec(&self, parts: &Parts) -> Result<(RunSpec, u64), UserError> {
        #[derive(Deserialize)]
        struct Identity {
            seed: u64,
            spec: toml::Table,
        }
        let identity: Identity = self.read("spec.json")?;
        let spec = RunSpec::from_table(identity.spec, parts);
        Ok((spec.map_err(|e| UserError::file(self.path.join("spec.json"), e))?, identity.seed))
    }

    /// Writes a file under a temporary name and renames it.
    ///
    /// # Errors
    /// [`UserError::File`] naming the file.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), UserError> {
        write_whole(&self.path.join(name), bytes)
    }

    /// Writes a value as JSON.
    ///
    /// # Errors
    /// [`UserError::File`] naming the file.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), UserError> {
        self.write(name, pretty(value).as_bytes())
    }

    /// Marks the run as finished. Checkpoints are deleted: the weights are in `weights.safetensors`.
    ///
    /// # Errors
    /// [`UserError::File`] naming the marker, or what cannot be deleted.
    pub fn complete(&self) -> Result<(), UserError> {
        self.write(MARKER, b"this run is finished; its files do not change any more\n")?;
        self.drop_checkpoints()
    }

    /// The file of the best weights so far, while a run is under way.
    pub fn best(&self) -> PathBuf {
        self.path.join("best.bpk")
    }

    fn drop_checkpoints(&self) -> Result<(), UserError> {
        let removed =
            [(self.checkpoints(), fs::remove_dir_all(self.checkpoints())), (self.best(), fs::remove_file(self.best()))];
        for (path, result) in removed {
            match result {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(UserError::file(path, format!("it cannot be removed: {e}")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Deletes what was left behind by a process that was killed right after its run was finished. If that is not
    /// permitted, it stays: nothing reads it.
    pub fn tidy(&self) {
        let (checkpoints, best) = (self.checkpoints(), self.best());
        if self.is_complete() && (checkpoints.exists() || best.exists()) {
            let lock = File::options().append(true).open(self.path.join("lock"));
            if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
                let _ = self.drop_checkpoints();
            }
        }
    }

    /// All snapshots.
    ///
    /// # Errors
    /// [`UserError::File`] naming file and line.
    pub fn snapshots<S: Measured>(&self) -> Result<Vec<S>, UserError> {
        let path = self.path.join("metrics.jsonl");
        let text = fs::read_to_string(&path).map_err(|e| UserError::file(&path, format!("it cannot be read: {e}")))?;
        let parse = |(number, line): (usize, &str)| {
            serde_json::from_str(line).map_err(|e| UserError::file(&path, format!("line {}: {e}", number + 1)))
        };
        text.lines().enumerate().map(parse).collect()
    }

    /// The final evaluation.
    ///
    /// # Errors
    /// [`UserError::File`] naming the file.
    pub fn evaluation<E: for<'a> Deserialize<'a>>(&self) -> Result<E, UserError> {
        self.read("evaluation.json")
    }

    /// The estimated moments.
    ///
    /// # Errors
    /// [`UserError::File`] naming the file.
    pub fn moments(&self) -> Result<MomentsReport, UserError> {
        self.read("moments.json")
    }

    /// The manifest.
    ///
    /// # Errors
    /// [`UserError::File`] naming the file.
    pub fn manifest(&self) -> Result<Manifest, UserError> {
        self.read("manifest.json")
    }

    /// The weights, `[m][d1]`.
    ///
    /// # Errors
    /// [`UserError::File`] when the file is missing, truncated or of another shape.
    pub fn weights(&self) -> Result<Vec<Vec<f64>>, UserError> {
        let (shape, values) = self.tensor("weights.safetensors", "weights")?;
        let columns = match shape[..] {
            [_, columns] if columns > 0 => columns,
            _ => {
                let path = self.path.join("weights.safetensors");
                return Err(UserError::file(&path, format!("weights have shape {shape:?} instead of [m, d1]")));
            }
        };
        let row = |row: &[f32]| row.iter().map(|v| f64::from(*v)).collect();
        Ok(values.chunks_exact(columns).map(row).collect())
    }

    /// Shape and values of a tensor of 32-bit floats in a safetensors file.
    ///
    /// # Errors
    /// [`UserError::File`] when the file is missing or truncated, or has no such tensor.
    pub fn tensor(&self, file: &str, name: &str) -> Result<(Vec<usize>, Vec<f32>), UserError> {
        let path = self.path.join(file);
        let bytes = fs::read(&path).map_err(|e| UserError::file(&path, format!("it cannot be read: {e}")))?;
        let damaged =
            |e: &dyn std::fmt::Display| UserError::file(&path, format!("it is not a whole safetensors file: {e}"));
        let tensors = safetensors::SafeTensors::deserialize(&bytes).map_err(|e| damaged(&e))?;
        let tensor = tensors.tensor(name).map_err(|e| damaged(&e))?;
        if tensor.dtype() != safetensors::Dtype::F32 {
            return Err(UserError::file(&path, format!("{name} is {:?} instead of F32", tensor.dtype())));
        }
        let (values, _) = tensor.data().as_chunks::<4>();
        Ok((tensor.shape().to_vec(), values.iter().map(|b| f32::from_le_bytes(*b)).collect()))
    }

    /// Sentences with their nearest ones, of a run on text.
    ///
    /// # Errors
    /// [`UserError::File`] when the file is missing or not what this version writes.
    pub fn neighbors(&self) -> Result<Vec<Neighbors>, UserError> {
        self.read("neighbors.json")
    }

    /// A file of JSON in the folder.
    ///
    /// # Errors
    /// [`UserError::File`] when it is missing or not what this version writes.
    pub fn read<T: for<'a> Deserialize<'a>>(&self, name: &str) -> Result<T, UserError> {
        let path = self.path.join(name);
        let bytes = fs::read(&path).map_err(|e| UserError::file(&path, format!("it cannot be read: {e}")))?;
        serde_json::from_slice(&bytes)
            .map_err(|e| UserError::file(&path, format!("it is not what this version writes: {e}")))
    }
}

/// Tries again for a moment while a lock is held: who lists runs asks for their locks and gives them back at once.
fn patiently(lock: impl Fn() -> Result<(), TryLockError>) -> Result<(), TryLockError> {
    for _ in 0..5 {
        match lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
            other => return other,
        }
    }
    lock()
}

/// The growing `metrics.jsonl` of a run.
#[derive(Debug)]
pub struct MetricsLog {
    path: PathBuf,
    file: File,
}

impl MetricsLog {
    /// Opens the log of a run that resumes after `steps_done` steps: later lines and a truncated last line are dropped.
    /// The second value says whether the snapshot at `steps_done` is already there.
    ///
    /// # Errors
    /// [`UserError::File`] naming the file.
    pub fn resume<S: Measured>(folder: &RunFolder, steps_done: u64) -> Result<(Self, bool), UserError> {
        let path = folder.path().join("metrics.jsonl");
        let text = match fs::read(&path) {
            // Lines are kept up to the first bytes that are not UTF-8.
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(UserError::file(&path, format!("it cannot be read: {e}"))),
        };
        let mut kept = String::new();
        let mut last = None;
        for line in text.split_inclusive('\n') {
            match serde_json::from_str::<S>(line) {
                Ok(snapshot) if snapshot.step() <= steps_done && line.ends_with('\n') => {
                    kept.push_str(line);
                    last = Some(snapshot.step());
                }
                _ => break,
            }
        }
        if kept != text || !path.exists() || fs::metadata(&path).is_ok_and(|m| m.len() != kept.len() as u64) {
            write_whole(&path, kept.as_bytes())?;
        }
        let file = File::options()
            .append(true)
            .open(&path)
            .map_err(|e| UserError::file(&path, format!("it cannot be written: {e}")))?;
        Ok((Self { path, file }, last == Some(steps_done)))
    }

    /// Appends a line.
    ///
    /// # Errors
    /// [`UserError::File`] naming the file.
    pub fn append(&mut self, snapshot: &impl Measured) -> Result<(), UserError> {
        let line = serde_json::to_string(snapshot).expect("a snapshot is plain data") + "\n";
        self.file
            .write_all(line.as_bytes())
            .map_err(|e| UserError::file(&self.path, format!("it cannot be written: {e}")))
    }
}
