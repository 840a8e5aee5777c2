//! Records which sources and dependencies this binary was built from.

#![allow(clippy::disallowed_macros, reason = "cargo reads what a build script prints")]

use sha2::{Digest, Sha256};
use std::path::Path;
use std::process::Command;

fn main() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lock = here.ancestors().map(|folder| folder.join("Cargo.lock")).find(|path| path.is_file());
    let digest = match lock {
        Some(path) => {
            println!("cargo::rerun-if-changed={}", path.display());
            std::fs::read(path).map_or("unknown".into(), |bytes| hex::encode(Sha256::digest(bytes)))
        }
        None => "unknown".into(),
    };
    println!("cargo::rustc-env=CL_LOCK_SHA256={digest}");

    // A commit moves the log of HEAD; a change of sources makes the checkout dirty.
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(here).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let crates = ["../cl-config/src", "../cl-data/src", "../cl-model/src"].map(|path| here.join(path));
    let mut watched = [vec![here.join("src")], crates.into()].concat();
    watched.extend(git(&["rev-parse", "--git-path", "logs/HEAD"]).map(|path| here.join(path)));
    for path in watched.iter().filter(|path| path.exists()) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    // Without locks: a build that is stopped leaves none behind.
    let dirty = git(&["--no-optional-locks", "status", "--porcelain", "--untracked-files=no"]);
    println!("cargo::rustc-env=CL_COMMIT={}", git(&["rev-parse", "HEAD"]).unwrap_or_else(|| "unknown".into()));
    println!("cargo::rustc-env=CL_DIRTY={}", dirty.map_or("unknown", |d| if d.is_empty() { "no" } else { "yes" }));
}
