//! Unpacking: regular files and folders below the one top folder, and nothing else.

use super::archive::Archive;
use crate::io::error::UserError;
use flate2::read::GzDecoder;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use tar::{Entry, EntryType};

/// Unpacks `file` below `staging`, which is created; the caller removes it.
///
/// Names, types, number and sizes of entries are checked against what the archive should hold before a single byte of
/// an entry is written. Permissions, owners and times of entries are ignored.
///
/// # Errors
/// [`UserError::File`] naming the entry.
pub(super) fn unpack(archive: &Archive, file: &Path, staging: &Path) -> Result<(), UserError> {
    let damaged = |e: io::Error| UserError::file(file, format!("it cannot be unpacked: {e}"));
    fs::create_dir_all(staging).map_err(|e| write_error(staging, &e))?;
    // Headers and padding are added to the files: at most three blocks of 512 bytes per entry, and two at the end.
    let most = archive.limit_byte() + 2048 * (archive.limit_entries() as u64 + 8);
    let bytes = Capped { inner: GzDecoder::new(File::open(file).map_err(damaged)?), left: most, most };
    let mut tar = tar::Archive::new(bytes);
    let mut total = 0;
    for (number, entry) in tar.entries().map_err(damaged)?.enumerate() {
        let mut entry = entry.map_err(damaged)?;
        let shown: String = String::from_utf8_lossy(&entry.path_bytes()).chars().take(100).collect();
        let refused = |why: String| UserError::file(file, format!("entry {shown:?} {why}; nothing was unpacked"));
        if number >= archive.limit_entries() {
            return Err(refused(format!("is one more than the {} that there may be", archive.limit_entries())));
        }
        let path = inside(archive, &entry).map_err(&refused)?;
        let size = entry.size();
        let name = path.strip_prefix(archive.top_folder).unwrap_or(&path);
        let most = archive.file_limit_byte(name).min(archive.limit_byte() - total);
        if size > most {
            return Err(refused(format!("has {size} bytes where {most} are the most there may be")));
        }
        total += size;
        let place = staging.join(&path);
        if entry.header().entry_type() == EntryType::Directory {
            fs::create_dir_all(&place).map_err(|e| write_error(&place, &e))?;
        } else {
            write_file(&mut entry, &place)?.map_err(|e| refused(format!("cannot be read: {e}")))?;
        }
    }
    Ok(())
}

/// The relative path of an entry if it may be unpacked, or why not.
fn inside(archive: &Archive, entry: &Entry<impl Read>) -> Result<PathBuf, String> {
    match entry.header().entry_type() {
        EntryType::Regular | EntryType::Directory => {}
        kind => return Err(format!("is of kind {kind:?}, neither a regular file nor a folder")),
    }
    let name = entry.path().map_err(|e| format!("has a name that cannot be used: {e}"))?;
    let mut path = PathBuf::new();
    for component in name.components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            _ => return Err("leads out of the folder".into()),
        }
    }
    let below = path.starts_with(archive.top_folder);
    let allowed = match entry.header().entry_type() {
        EntryType::Directory => below || path.as_os_str().is_empty(),
        _ => below && path != Path::new(archive.top_folder),
    };
    if allowed { Ok(path) } else { Err(format!("is not below {}/", archive.top_folder)) }
}

/// Writes one file, which must not exist yet. The outer error is about the disk, the inner one about the archive.
fn write_file(entry: &mut Entry<impl Read>, place: &Path) -> Result<io::Result<()>, UserError> {
    let failed = |e: &io::Error| write_error(place, e);
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder).map_err(|e| failed(&e))?;
    }
    let mut file = File::create_new(place).map_err(|e| failed(&e))?;
    let mut left = entry.size();
    let mut buffer = vec![0; 1 << 16];
    while left > 0 {
        match entry.read(&mut buffer) {
            Ok(0) => return Ok(Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{left} bytes are missing")))),
            Ok(n) => {
                io::Write::write_all(&mut file, &buffer[..n]).map_err(|e| failed(&e))?;
                left = left.saturating_sub(n as u64);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Ok(Err(e)),
        }
    }
    // The folder counts as complete by file sizes, so the bytes must be on disk before it gets its name.
    file.sync_all().map_err(|e| failed(&e))?;
    Ok(Ok(()))
}

fn write_error(path: &Path, e: &io::Error) -> UserError {
    UserError::file(path, format!("it cannot be written: {e}; {}", super::KEPT_ARCHIVE))
}

/// A reader that fails, instead of ending, after this many bytes: it bounds how far a small file can expand.
struct Capped<R> {
    inner: R,
    left: u64,
    most: u64,
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| {
            io::Error::other(format!("it swells to more than the {} bytes that there may be", self.most))
        })?;
        Ok(n)
    }
}
