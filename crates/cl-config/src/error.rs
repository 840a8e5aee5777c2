//! What is wrong with a value.

/// A value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value} is out of range; it has to be {right}")]
pub struct ConfigError {
    /// Path of the key inside the configuration that was checked.
    pub key: String,
    /// The value found.
    pub value: String,
    /// What would be right, as the end of "it has to be …".
    pub right: String,
}

impl ConfigError {
    /// The same error for a configuration below `key` of another one.
    #[must_use]
    pub fn below(self, key: &str) -> Self {
        Self { key: format!("{key}.{}", self.key), ..self }
    }
}
