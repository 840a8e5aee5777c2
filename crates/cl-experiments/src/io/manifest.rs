//! How and by what a run was made.

use serde::{Deserialize, Serialize};

/// How and by what a run was made.
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
    /// Backend by name.
    pub device: String,
    /// `RAYON_NUM_THREADS`, or the number of cores.
    pub threads: usize,
    /// Operating system and architecture.
    pub platform: String,
    /// Wall-clock seconds of the session that finished the run.
    pub duration_s: f64,
    /// Runs that were trained as one tensor program with this one, itself included.
    #[serde(default = "alone")]
    pub replicas: usize,
    /// Steps that session did; fewer than the run's when it was resumed.
    pub steps_done: u64,
    /// Peak memory of the process in bytes; 0 where the system does not say.
    pub peak_memory_byte: u64,
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
            replicas: 1,
            steps_done,
            peak_memory_byte: peak_memory_byte(),
        }
    }
}

/// Peak memory of this process in bytes; 0 where the system does not say.
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
