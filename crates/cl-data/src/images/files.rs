//! Reading files and folders with errors that name them.

use super::ImageError;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// The bytes of a file that has at least one and at most `limit`; `needed` says what a missing file is for.
pub(super) fn read_file(path: &Path, limit: u64, needed: &'static str) -> Result<Vec<u8>, ImageError> {
    let metadata = fs::metadata(path).map_err(|source| unreadable(path, source, needed))?;
    if !metadata.is_file() {
        return Err(ImageError::NotAFile { path: path.into() });
    }
    match metadata.len() {
        0 => Err(ImageError::EmptyFile { path: path.into() }),
        bytes if bytes > limit => Err(ImageError::TooLarge { path: path.into(), bytes, limit }),
        _ => fs::read(path).map_err(|source| ImageError::Io { path: path.into(), source }),
    }
}

/// Checks that `path` is a folder.
pub(super) fn require_folder(path: &Path, needed: &'static str) -> Result<(), ImageError> {
    let metadata = fs::metadata(path).map_err(|source| unreadable(path, source, needed))?;
    if metadata.is_dir() { Ok(()) } else { Err(ImageError::NotAFolder { path: path.into() }) }
}

fn unreadable(path: &Path, source: std::io::Error, needed: &'static str) -> ImageError {
    match source.kind() {
        ErrorKind::NotFound => ImageError::Missing { path: path.into(), needed },
        _ => ImageError::Io { path: path.into(), source },
    }
}
