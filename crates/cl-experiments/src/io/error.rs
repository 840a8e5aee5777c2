//! User errors, reported with file, key, value and what would be right.

use std::path::PathBuf;

/// Something wrong with a specification. The caller adds the file and the point.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// A key is missing, unknown or of the wrong type.
    #[error("{message}")]
    Parse {
        /// The parser's message, which names the key.
        message: String,
    },
    /// A value is out of range.
    #[error(transparent)]
    Range(#[from] cl_config::ConfigError),
}

/// Something wrong with the user's input: exit status 2, as opposed to a claim that fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserError {
    /// Something is wrong with a file.
    #[error("{}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong and what would be right.
        message: String,
    },
    /// An argument is wrong.
    #[error("{0}")]
    Argument(String),
    /// A run could not continue.
    #[error("{0}")]
    Run(String),
}

impl UserError {
    /// An error about a file.
    pub fn file(path: impl Into<PathBuf>, message: impl std::fmt::Display) -> Self {
        Self::File { path: path.into(), message: message.to_string() }
    }
}
