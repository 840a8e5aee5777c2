//! Locating data.

use super::archive::Archive;
use crate::io::error::UserError;
use etcetera::{BaseStrategy, choose_base_strategy};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// `cl-experiments/data` in the user's cache: `$XDG_CACHE_HOME`, or `~/.cache` if that is not set.
///
/// # Errors
/// [`UserError::Argument`] when there is no home folder either.
pub fn cache_folder() -> Result<PathBuf, UserError> {
    let cache = choose_base_strategy().ok().map(|folders| folders.cache_dir());
    cache.filter(|path| path.is_absolute()).map(|path| path.join("cl-experiments").join("data")).ok_or_else(|| {
        UserError::Argument("there is no cache folder: neither XDG_CACHE_HOME nor HOME is set; give --data-dir".into())
    })
}

/// The folder with the files of a data set: `--data-dir`, else the environment variable, such as `CL_CIFAR10_DIR`,
/// else the cache if the data set has been fetched.
///
/// A folder given by the user may hold only some of the data files, or contain the published folder that does, or hold the
/// data in another form, see [`Archive::instead`]. In the cache it has to be complete.
///
/// # Errors
/// [`UserError`] when a given folder holds no data file, when the cache holds an incomplete folder, and, listing all
/// three ways, when nothing is given or fetched.
pub fn data_folder(dataset: &str, data_dir: Option<&Path>) -> Result<PathBuf, UserError> {
    let archive = Archive::named(dataset)?;
    let variable = std::env::var_os(archive.variable());
    let cache = cache_folder().ok();
    data_folder_among(&archive, data_dir, variable.as_deref(), cache.as_deref())
}

/// [`data_folder`] with the environment given: the value of the variable, and the cache folder if there is one.
///
/// # Errors
/// Those of [`data_folder`].
pub fn data_folder_among(
    archive: &Archive,
    data_dir: Option<&Path>,
    variable: Option<&OsStr>,
    cache: Option<&Path>,
) -> Result<PathBuf, UserError> {
    if let Some(folder) = data_dir {
        return named(archive, folder, "--data-dir");
    }
    if let Some(folder) = variable.filter(|value| !value.is_empty()) {
        return named(archive, Path::new(folder), &archive.variable());
    }
    let fetched = cache.map(|cache| cache.join(archive.top_folder)).filter(|folder| folder.exists());
    let Some(folder) = fetched else {
        return Err(UserError::Argument(format!(
            "{name} is not here. One of three ways: `data fetch {name}` downloads it; --data-dir names a folder that \
             holds {first}{instead}; so does the environment variable {variable}.",
            name = archive.name,
            instead = archive.instead.map_or(String::new(), |other| format!(", or {}", other.described)),
            first = archive.files.first().map_or("its files", |(name, _)| name),
            variable = archive.variable()
        )));
    };
    match archive.flaw(&folder) {
        None => Ok(folder),
        Some(flaw) => Err(UserError::file(
            folder,
            format!("{flaw}; move this folder away and give `data fetch {}` again", archive.name),
        )),
    }
}

/// `folder`, or the published folder inside it; errors refer to it as `origin`.
fn named(archive: &Archive, folder: &Path, origin: &str) -> Result<PathBuf, UserError> {
    let holds_data = |folder: &PathBuf| {
        archive.files.iter().any(|(name, _)| folder.join(name).is_file())
            || archive.instead.is_some_and(|other| folder.join(other.entry).exists())
    };
    [folder.join(archive.top_folder), folder.to_path_buf()].into_iter().find(holds_data).ok_or_else(|| {
        let mut names: Vec<&str> = archive.files.iter().map(|(name, _)| *name).collect();
        names.extend(archive.instead.map(|other| other.described));
        UserError::file(
            folder,
            format!("{origin} names this folder for {}, but none of {} is in it", archive.name, names.join(", ")),
        )
    })
}
