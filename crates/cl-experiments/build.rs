//! Records which dependencies this binary was built with.

use sha2::{Digest, Sha256};
use std::path::Path;

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
}
