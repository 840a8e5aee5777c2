//! A run folder as a stream of events, whoever makes the run.

use crate::run::folder::RunFolder;
use crate::run::pictures::PICTURES;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

/// The lines that are added to a file.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    read: u64,
    /// The file as it was opened last: it is read to its end even if it is moved meanwhile.
    open: Option<File>,
    /// The beginning of a line whose end is not there yet.
    begun: Vec<u8>,
}

/// What has happened to a file since it was last looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Whether it was written anew, so that earlier lines do not count any more.
    pub anew: bool,
    /// Whole lines.
    pub lines: Vec<String>,
}

impl Lines {
    /// The lines of a file, which need not exist yet.
    pub fn of(path: PathBuf) -> Self {
        Self { path, read: 0, open: None, begun: Vec::new() }
    }

    /// The lines since the last call. A file that cannot be read has none.
    pub fn added(&mut self) -> Added {
        let mut added = Added::default();
        if let Ok(file) = File::open(&self.path) {
            self.open = Some(file);
        }
        let Some(file) = &mut self.open else { return added };
        let Ok(length) = file.metadata().map(|m| m.len()) else { return added };
        if length < self.read {
            added.anew = true;
            (self.read, self.begun) = (0, Vec::new());
        }
        if length == self.read || file.seek(SeekFrom::Start(self.read)).is_err() {
            return added;
        }
        let mut bytes = Vec::new();
        // What was read before an error is good.
        let _ = file.read_to_end(&mut bytes);
        self.read += bytes.len() as u64;
        self.begun.extend(bytes);
        if let Some(end) = self.begun.iter().rposition(|b| *b == b'\n') {
            let whole: Vec<u8> = self.begun.drain(..=end).collect();
            added.lines = String::from_utf8_lossy(&whole).lines().map(String::from).collect();
        }
        added
    }
}

/// The snapshots and pictures of a run as they are added.
#[derive(Debug)]
pub struct Followed {
    snapshots: Lines,
    pictures: Lines,
}

/// What is new in a run folder.
#[derive(Debug)]
pub struct News {
    /// Snapshots, as lines of JSON.
    pub snapshots: Added,
    /// The latest picture, as a line of JSON.
    pub picture: Option<String>,
}

impl Followed {
    /// A run from its beginning.
    pub fn from_the_start(folder: &RunFolder) -> Self {
        let lines = |name: &str| Lines::of(folder.path().join(name));
        Self { snapshots: lines("metrics.jsonl"), pictures: lines(PICTURES) }
    }

    /// What is new.
    pub fn news(&mut self) -> News {
        News { snapshots: self.snapshots.added(), picture: self.pictures.added().lines.pop() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn whole_lines_come_once_and_a_file_that_is_cut_begins_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut lines = Lines::of(path.clone());
        assert_eq!(lines.added(), Added::default());
        let mut file = File::create(&path).unwrap();
        file.write_all(b"{\"a\":1}\n{\"a\":").unwrap();
        assert_eq!(lines.added(), Added { anew: false, lines: vec!["{\"a\":1}".into()] });
        assert_eq!(lines.added(), Added::default());
        file.write_all(b"2}\n").unwrap();
        assert_eq!(lines.added(), Added { anew: false, lines: vec!["{\"a\":2}".into()] });
        std::fs::write(&path, "{\"b\":1}\n").unwrap();
        assert_eq!(lines.added(), Added { anew: true, lines: vec!["{\"b\":1}".into()] });
        // A run that is moved is followed to its end.
        File::options().append(true).open(&path).unwrap().write_all(b"{\"b\":2}\n").unwrap();
        std::fs::rename(&path, folder.path().join("moved.jsonl")).unwrap();
        assert_eq!(lines.added(), Added { anew: false, lines: vec!["{\"b\":2}".into()] });
    }
}
