//! Errors in text from files.

use std::io;
use std::path::PathBuf;

/// Why text cannot be used, with the file and what would be right.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// A file or folder cannot be read.
    #[error("{path}: it cannot be read: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is larger than any text that is read.
    #[error("{path}: it has {bytes} bytes; at most {most} are read", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The largest one.
        most: u64,
    },
    /// A line is not as it should be.
    #[error("{path}, line {line}: {message}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong and what would be right.
        message: String,
    },
    /// A file or folder does not hold what it should.
    #[error("{path}: {message}", path = path.display())]
    Content {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and what would be right.
        message: String,
    },
}
