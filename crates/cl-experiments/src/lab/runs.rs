//! The runs there are.

use crate::io::error::UserError;
use crate::run::folder::RunFolder;
use serde::Serialize;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// A run in the list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Listed {
    /// Its folder below the folder of runs, which names it.
    pub folder: String,
    /// The claim it was made for.
    pub claim: String,
    /// The point, without its digest.
    pub point: String,
    /// The seed.
    pub seed: u64,
    /// How far it is.
    pub state: State,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is finished.
    Complete,
    /// A process is working on it.
    UnderWay,
    /// Nobody is working on it.
    Stopped,
}

impl State {
    /// The present state of a run.
    pub fn of(folder: &RunFolder) -> Self {
        if folder.is_complete() {
            Self::Complete
        } else if folder.is_under_way() {
            Self::UnderWay
        } else {
            Self::Stopped
        }
    }
}

/// All runs, in order; names that are not text are left out.
pub fn list(runs: &Path) -> Vec<Listed> {
    let mut found = Vec::new();
    for claim in children(runs) {
        for point in children(&runs.join(&claim)) {
            for seed in children(&runs.join(&claim).join(&point)) {
                let path = runs.join(&claim).join(&point).join(&seed);
                let (Some(claim), Some(point), Some(seed)) = (claim.to_str(), point.to_str(), seed.to_str()) else {
                    continue;
                };
                let Some(number) = seed.strip_prefix("seed-").and_then(|n| n.parse().ok()) else { continue };
                if path.join("spec.json").is_file() {
                    found.push(Listed {
                        folder: format!("{claim}/{point}/{seed}"),
                        claim: claim.to_string(),
                        point: point.rsplit_once('-').map_or(point, |(name, _)| name).to_string(),
                        seed: number,
                        state: State::of(&RunFolder::at(path)),
                    });
                }
            }
        }
    }
    found.sort();
    found
}

/// Names of folders in a folder, without hidden ones.
fn children(path: &Path) -> Vec<OsString> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let names = entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name());
    names.filter(|name| !name.as_encoded_bytes().starts_with(b".")).collect()
}

/// The run of this name: nothing outside the folder of runs has one.
///
/// # Errors
/// [`UserError::Argument`] when there is no such run.
pub fn named(runs: &Path, folder: &str) -> Result<RunFolder, UserError> {
    let none = || UserError::Argument(format!("there is no run {folder:?} in {}", runs.display()));
    let parts: Vec<Component> = Path::new(folder).components().collect();
    let is_plain =
        |part: &Component| matches!(part, Component::Normal(name) if !name.as_encoded_bytes().starts_with(b"."));
    if parts.len() != 3 || !parts.iter().all(is_plain) || folder.contains(char::is_control) {
        return Err(none());
    }
    let path = runs.join(parts.iter().collect::<PathBuf>());
    // Links do not lead out.
    let (inside, whole) = (path.canonicalize(), runs.canonicalize());
    match (inside, whole) {
        (Ok(inside), Ok(whole)) if inside.starts_with(&whole) && inside.join("spec.json").is_file() => {
            Ok(RunFolder::at(path))
        }
        _ => Err(none()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_listed_and_nothing_else_can_be_named() {
        let top = tempfile::tempdir().unwrap();
        let runs = top.path().join("runs");
        let run = runs.join("c3/masked-0123456789ab/seed-7");
        for folder in [&run, &top.path().join("a/b/c"), &runs.join(".scratch/x/seed-1")] {
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(folder.join("spec.json"), "{}").unwrap();
        }
        std::fs::create_dir_all(runs.join("c3/masked-0123456789ab/empty")).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(top.path().join("a"), runs.join("link")).unwrap();
        let listed = list(&runs);
        let own: Vec<&Listed> = listed.iter().filter(|run| run.claim != "link").collect();
        assert_eq!(own.len(), 1);
        assert_eq!((own[0].point.as_str(), own[0].seed, own[0].state), ("masked", 7, State::Stopped));
        assert_eq!(named(&runs, &own[0].folder).unwrap().path(), run);
        std::fs::write(run.join("COMPLETE"), "").unwrap();
        assert_eq!(list(&runs)[0].state, State::Complete);
        for folder in [
            "../a/b",
            "a/b/c",
            "/etc",
            "link/b/c",
            ".scratch/x/seed-1",
            "c3",
            "c3/masked-0123456789ab/empty",
            "../../x",
            "",
        ] {
            assert!(named(&runs, folder).is_err(), "{folder}");
        }
    }
}
