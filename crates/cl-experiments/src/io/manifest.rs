//! How, and by which program, a run was made.

use crate::io::error::UserError;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// How, and by which program, a run was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Commit of the sources that the program was built from, `unknown` outside a checkout.
    pub commit: String,
    /// Whether the sources held uncommitted changes; `None` outside a checkout.
    pub dirty: Option<bool>,
    /// SHA-256 of `Cargo.lock` at build time.
    pub lock_sha256: String,
    /// Version of this program.
    pub version: String,
    /// Version of the numbers drawn.
    pub data_version: u32,
    /// Version of the arithmetic.
    pub algorithm_version: u32,
    /// Name of the backend.
    pub device: String,
    /// `RAYON_NUM_THREADS`, or the number of cores.
    pub threads: usize,
    /// Operating system and architecture.
    pub platform: String,
    /// Wall-clock seconds of the session that finished the run.
    pub duration_s: f64,
    /// Seconds of these in which snapshots and, at the end, the evaluation were made; `None` where nobody took the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measuring_s: Option<f64>,
    /// Number of runs trained as one tensor program with this one, including itself.
    #[serde(default = "alone")]
    pub replicas: usize,
    /// Steps done in that session; fewer than the run's total if it was resumed.
    pub steps_done: u64,
    /// Peak memory of the process in bytes; 0 if the system does not report it.
    pub peak_memory_byte: u64,
    /// For a run with parts of a program built on this one: the program that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<OwnProgram>,
}

/// A program built on this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnProgram {
    /// Names and versions of its parts in the run.
    pub parts: Vec<(String, u32)>,
    /// SHA-256 of the executable.
    pub executable_sha256: String,
    /// Commit of its sources when the run ended, `unknown` outside a checkout or if their location is not known.
    pub commit: String,
    /// Whether its sources held uncommitted changes then.
    pub dirty: Option<bool>,
    /// SHA-256 of its `Cargo.lock` then.
    pub lock_sha256: String,
}

static OWN_SOURCES: OnceLock<&'static str> = OnceLock::new();

/// Sets where the sources of a program built on this one are; only the first call counts.
pub(crate) fn set_own_sources(directory: &'static str) {
    OWN_SOURCES.get_or_init(|| directory);
}

impl OwnProgram {
    /// This program, for a run with some of its parts.
    ///
    /// # Errors
    /// [`UserError`] when the executable cannot be read.
    pub fn this(parts: Vec<(String, u32)>) -> Result<Self, UserError> {
        let sources = OWN_SOURCES.get().map(Path::new);
        let git = |arguments: &[&str]| {
            let output = Command::new("git").arg("-C").arg(sources?).args(arguments).output().ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
        };
        let lock = sources.into_iter().flat_map(Path::ancestors).map(|folder| folder.join("Cargo.lock"));
        let lock = lock.filter_map(|path| std::fs::read(path).ok()).next();
        Ok(Self {
            parts,
            executable_sha256: executable_sha256()?.into(),
            commit: git(&["rev-parse", "HEAD"]).unwrap_or_else(|| "unknown".into()),
            dirty: git(&["--no-optional-locks", "status", "--porcelain", "--untracked-files=no"])
                .map(|d| !d.is_empty()),
            lock_sha256: lock.map_or("unknown".into(), |bytes| hex::encode(Sha256::digest(bytes))),
        })
    }
}

/// SHA-256 of the executable of this process, read once.
///
/// # Errors
/// [`UserError`] when it cannot be read.
pub fn executable_sha256() -> Result<&'static str, UserError> {
    static DIGEST: OnceLock<Result<String, String>> = OnceLock::new();
    let read = || {
        let bytes = std::env::current_exe().and_then(std::fs::read).map_err(|e| e.to_string())?;
        Ok(hex::encode(Sha256::digest(bytes)))
    };
    match DIGEST.get_or_init(read) {
        Ok(digest) => Ok(digest),
        Err(e) => Err(UserError::Run(format!("this program's own file cannot be read: {e}"))),
    }
}

fn alone() -> usize {
    1
}

impl Manifest {
    /// The manifest of a run that ends now.
    pub fn now(device: &str, duration_s: f64, steps_done: u64) -> Self {
        Self {
            commit: env!("CL_COMMIT").into(),
            dirty: match env!("CL_DIRTY") {
                "yes" => Some(true),
                "no" => Some(false),
                _ => None,
            },
            lock_sha256: env!("CL_LOCK_SHA256").into(),
            version: env!("CARGO_PKG_VERSION").into(),
            data_version: cl_data::DATA_VERSION,
            algorithm_version: cl_model::ALGORITHM_VERSION,
            device: device.into(),
            threads: std::env::var("RAYON_NUM_THREADS")
                .ok()
                .and_then(|n| n.parse().ok())
                .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            duration_s,
            measuring_s: None,
            replicas: 1,
            steps_done,
            peak_memory_byte: peak_memory_byte(),
            own: None,
        }
    }
}

/// Peak memory of this process in bytes; 0 if the system does not report it.
#[cfg(unix)]
pub(crate) fn peak_memory_byte() -> u64 {
    use nix::sys::resource::{UsageWho, getrusage};
    // ru_maxrss is in kibibytes on Linux and in bytes on macOS.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.max_rss() as u64 * unit)
}

#[cfg(not(unix))]
pub(crate) fn peak_memory_byte() -> u64 {
    0
}
