//! Atomic writing of files, and what they hold.

use crate::io::error::UserError;
use burn::tensor::TensorData;
use safetensors::tensor::TensorView;
use serde::Serialize;
use std::fs::{self, Permissions};
use std::io::Write;
use std::path::Path;
use tempfile::Builder;

/// Prefix of the names of files that are not complete yet.
pub const STAGED: &str = ".staged-";

/// Writes `path` under a temporary name and renames it, so that it is either complete or absent.
///
/// # Errors
/// [`UserError::File`] naming the file.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), UserError> {
    let failed = |e: std::io::Error| UserError::file(path, format!("it cannot be written: {e}"));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!("{STAGED}{}-", std::process::id());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut staged = Builder::new();
    staged.prefix(&prefix).suffix(name.as_ref());
    // Removed if anything fails from here on.
    let mut staged = match readable_by_others() {
        Some(permissions) => staged.permissions(permissions).tempfile_in(folder),
        None => staged.tempfile_in(folder),
    }
    .map_err(failed)?;
    staged.write_all(bytes).and_then(|()| staged.as_file().sync_all()).map_err(failed)?;
    staged.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}

/// The permissions of files created with defaults, before the umask is applied.
#[cfg(unix)]
fn readable_by_others() -> Option<Permissions> {
    Some(std::os::unix::fs::PermissionsExt::from_mode(0o666))
}

#[cfg(not(unix))]
fn readable_by_others() -> Option<Permissions> {
    None
}

/// A safetensors file of 32-bit floats.
pub fn safetensors_bytes<'a>(tensors: impl IntoIterator<Item = (&'a str, TensorData)>) -> Vec<u8> {
    let bytes: Vec<(&str, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, data)| (name, data.shape().to_vec(), data.iter::<f32>().flat_map(f32::to_le_bytes).collect()))
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        (*name, TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).expect("shape and bytes agree"))
    });
    safetensors::serialize(views, None).expect("plain tensors can be serialised")
}

/// JSON for human readers, with a newline at the end.
pub fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("plain data") + "\n"
}

/// Deletes files that a killed process had begun to write. This process must hold the folder's lock.
///
/// # Errors
/// [`UserError::File`] naming the file that cannot be removed.
pub fn remove_staged(folder: &Path) -> Result<(), UserError> {
    remove_where(folder, |name| name.starts_with(STAGED))
}

/// The same where other processes may be writing: only files begun by a process that is gone.
///
/// # Errors
/// [`UserError::File`] naming the file that cannot be removed.
pub fn remove_staged_by_the_dead(folder: &Path) -> Result<(), UserError> {
    let process = |name: &str| name.strip_prefix(STAGED)?.split('-').next()?.parse().ok();
    remove_where(folder, |name| process(name).is_some_and(is_gone))
}

fn remove_where(folder: &Path, is_left: impl Fn(&str) -> bool) -> Result<(), UserError> {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if is_left(&entry.file_name().to_string_lossy()) {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(UserError::file(&path, format!("it cannot be removed: {e}")));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(unix)]
fn is_gone(process: i32) -> bool {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(process), None) == Err(nix::errno::Errno::ESRCH)
}

#[cfg(not(unix))]
fn is_gone(_process: i32) -> bool {
    false
}
