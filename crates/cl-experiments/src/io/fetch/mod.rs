//! `data fetch`: published data sets from their home pages into the cache folder.
//!
//! | file | idea |
//! |---|---|
//! | `archive.rs` | what is published: address, digest, files and sizes |
//! | `download.rs` | into a `.part` file that survives and is resumed |
//! | `unpack.rs` | regular files only, into a staging folder |
//! | `locate.rs` | where the data are: `--data-dir`, environment, cache |
//! | `show.rs` | progress bar or lines |
//!
//! Nothing is unpacked before its digest has been verified, and the folder appears as a whole, in one rename.

mod archive;
mod download;
mod locate;
mod show;
mod unpack;

pub use archive::{Archive, CIFAR10, CIFAR100, CLINC150, Digest, Instead};
pub use download::Origin;
pub use locate::{cache_folder, data_folder, data_folder_among};

use crate::io::error::UserError;
use md5::Md5;
use sha2::Sha256;
use std::fs::{self, File, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How a fetch ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// The folder already existed and was complete; no request was made.
    AlreadyThere(PathBuf),
    /// The folder exists now.
    Unpacked(PathBuf),
}

/// Events during a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A download starts, or resumes, after `have` bytes.
    Started {
        /// Bytes already present.
        have: u64,
        /// Total number of bytes, if the server reports it.
        total: Option<u64>,
    },
    /// Bytes were written.
    Received {
        /// Bytes present so far.
        have: u64,
    },
    /// An attempt failed and another one follows.
    Retrying {
        /// What went wrong.
        reason: String,
        /// Pause before the next attempt.
        wait: Duration,
    },
    /// The digest is being computed.
    Checking,
    /// The archive is being unpacked.
    Unpacking,
}

/// The files of one archive below the cache folder.
#[derive(Debug)]
struct Places {
    /// The whole archive, either verified by its digest or a user's own copy.
    archive: PathBuf,
    /// What has been downloaded so far.
    part: PathBuf,
    /// Where `part` comes from: address and validator, one line each.
    part_from: PathBuf,
    lock: PathBuf,
    staging: PathBuf,
    target: PathBuf,
}

impl Places {
    fn new(archive: &Archive, folder: &Path) -> Self {
        let file = archive.file_name();
        Self {
            archive: folder.join(&file),
            part: folder.join(format!("{file}.part")),
            part_from: folder.join(format!("{file}.part.from")),
            lock: folder.join(format!("{file}.lock")),
            staging: folder.join(format!(".staged-{}", archive.top_folder)),
            target: folder.join(archive.top_folder),
        }
    }
}

/// Fetches a data set, with progress on the terminal, into `folder`, or into the cache if none is given.
///
/// `url` is an alternative address of the same archive.
///
/// # Errors
/// [`UserError`] naming the address or file and what to do.
pub fn run(dataset: &str, folder: Option<PathBuf>, url: Option<&str>) -> Result<Fetched, UserError> {
    let archive = Archive::named(dataset)?;
    let folder = folder.map_or_else(cache_folder, Ok)?;
    let origin = Origin::new(url.unwrap_or(archive.url));
    let mut show = show::Show::new(&origin.url);
    let fetched = fetch(&archive, &folder, &origin, &mut |event| show.hear(event));
    show.end();
    fetched
}

/// Places an archive's folder below `folder`, by download or from a copy of the archive already there.
///
/// A download that ended early is kept as `<archive>.part` and resumed. The archive is deleted once it is unpacked.
///
/// # Errors
/// [`UserError`] when the folder exists but is incomplete, cannot be written, or is in use by another process; when the
/// download fails; when the digest is wrong; when the archive holds what it should not.
pub fn fetch(
    archive: &Archive,
    folder: &Path,
    origin: &Origin,
    hear: &mut dyn FnMut(Event),
) -> Result<Fetched, UserError> {
    let places = Places::new(archive, folder);
    if is_there(archive, &places.target)? {
        return Ok(Fetched::AlreadyThere(places.target));
    }
    fs::create_dir_all(folder).map_err(|e| {
        UserError::file(folder, format!("the folder cannot be made: {e}; name one that can be written with --data-dir"))
    })?;
    let _lock = lock(archive, &places.lock)?;
    // Another process may have finished before the lock was free.
    if is_there(archive, &places.target)? {
        return Ok(Fetched::AlreadyThere(places.target));
    }
    if places.archive.exists() {
        hear(Event::Checking);
        let found = digest_of(archive.digest, &places.archive)?;
        if found != archive.digest.digits() {
            return Err(UserError::file(
                &places.archive,
                format!(
                    "its {} is {found} instead of {}, so it is not the published archive; remove it and give the \
                     command again",
                    archive.digest.name(),
                    archive.digest.digits()
                ),
            ));
        }
    } else {
        download::download(archive, &places, origin, hear)?;
        hear(Event::Checking);
        accept(archive, &places, origin)?;
    }
    hear(Event::Unpacking);
    install(archive, &places)?;
    Ok(Fetched::Unpacked(places.target))
}

fn is_there(archive: &Archive, target: &Path) -> Result<bool, UserError> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    match fs::symlink_metadata(target) {
        Err(e) if matches!(e.kind(), NotFound | NotADirectory) => return Ok(false),
        Err(e) => return Err(UserError::file(target, format!("it cannot be read: {e}"))),
        Ok(_) => {}
    }
    match archive.flaw(target) {
        None => Ok(true),
        Some(flaw) => Err(UserError::file(target, format!("{flaw}; move this folder away and give the command again"))),
    }
}

/// Locks the folder against other processes until the file is dropped.
fn lock(archive: &Archive, path: &Path) -> Result<File, UserError> {
    let file = File::create(path).map_err(|e| {
        UserError::file(path, format!("it cannot be written: {e}; name another folder with --data-dir"))
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(UserError::file(
            path,
            format!("another process is fetching {} into this folder; wait for it or end it", archive.name),
        )),
        Err(TryLockError::Error(e)) => Err(UserError::file(
            path,
            format!("it cannot be locked: {e}; name a folder on a local disk with --data-dir"),
        )),
    }
}

/// Turns a download into the archive if its digest is right, and deletes it otherwise.
fn accept(archive: &Archive, places: &Places, origin: &Origin) -> Result<(), UserError> {
    let found = digest_of(archive.digest, &places.part)?;
    // It records where `part` came from, which no longer matters in either case.
    let _ = fs::remove_file(&places.part_from);
    if found == archive.digest.digits() {
        return fs::rename(&places.part, &places.archive)
            .map_err(|e| UserError::file(&places.archive, format!("it cannot be written: {e}")));
    }
    fs::remove_file(&places.part).map_err(|e| {
        UserError::file(&places.part, format!("its {} is wrong and it cannot be removed: {e}", archive.digest.name()))
    })?;
    Err(UserError::Run(format!(
        "{}: what came has {} {found} instead of {}, so it is not the published archive, and it was removed. Give the \
         command again in case it was damaged on its way; if the same digest comes back, give another address with \
         --url. {}",
        origin.url,
        archive.digest.name(),
        archive.digest.digits(),
        by_hand(archive, &places.archive)
    )))
}

/// Unpacks into a staging folder, checks that everything is there, and renames it.
fn install(archive: &Archive, places: &Places) -> Result<(), UserError> {
    let cannot =
        |path: &Path, e: std::io::Error| UserError::file(path, format!("it cannot be written: {e}; {}", KEPT_ARCHIVE));
    remove_folder(&places.staging).map_err(|e| cannot(&places.staging, e))?;
    let staged = match archive.is_packed {
        true => unpack::unpack(archive, &places.archive, &places.staging),
        false => stage_file(archive, places).map_err(|e| cannot(&places.staging, e)),
    };
    let unpacked = staged.and_then(|()| {
        let folder = places.staging.join(archive.top_folder);
        match archive.flaw(&folder) {
            None => fs::rename(&folder, &places.target).map_err(|e| cannot(&places.target, e)),
            Some(flaw) => {
                Err(UserError::file(&places.archive, format!("after unpacking, {flaw}; nothing was put in place")))
            }
        }
    });
    // What is left of either is useless but harmless.
    let _ = remove_folder(&places.staging);
    if unpacked.is_ok() {
        let _ = fs::remove_file(&places.archive);
    }
    unpacked
}

/// Puts a data set that is a single file into its folder.
fn stage_file(archive: &Archive, places: &Places) -> std::io::Result<()> {
    let folder = places.staging.join(archive.top_folder);
    fs::create_dir_all(&folder)?;
    let place = folder.join(archive.file_name());
    fs::copy(&places.archive, &place)?;
    // The folder counts as complete by file sizes, so the bytes must be on disk before it gets its name.
    File::open(place)?.sync_all()
}

const KEPT_ARCHIVE: &str = "the archive is kept, and the same command unpacks it once that is mended";

fn remove_folder(path: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// The digest of a file, of the same kind as the published one.
fn digest_of(published: Digest, path: &Path) -> Result<String, UserError> {
    match published {
        Digest::Md5(_) => hash_of::<Md5>(path),
        Digest::Sha256(_) => hash_of::<Sha256>(path),
    }
}

fn hash_of<H: sha2::Digest>(path: &Path) -> Result<String, UserError> {
    let failed = |e: std::io::Error| UserError::file(path, format!("it cannot be read: {e}"));
    let mut file = File::open(path).map_err(failed)?;
    let mut digest = H::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hex::encode(digest.finalize())),
            Ok(n) => digest.update(&buffer[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(failed(e)),
        }
    }
}

/// How to get the archive without network access on this machine.
fn by_hand(archive: &Archive, place: &Path) -> String {
    format!(
        "Without a network: put {} ({}) at {} and give the same command, which checks and unpacks it.",
        archive.file_name(),
        archive.digest,
        place.display()
    )
}
