//! What is wrong with a configuration.

/// A value of a configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value is out of range.
    #[error("{key} = {value} is out of range; it has to be {right}")]
    Range {
        /// Path of the key inside its configuration.
        key: String,
        /// The value found.
        value: String,
        /// What would be right.
        right: String,
    },
}

/// Refuses `value` unless it is `right`; `wanted` says what would be.
pub(crate) fn check(right: bool, key: &str, value: impl ToString, wanted: impl ToString) -> Result<(), ConfigError> {
    if right {
        return Ok(());
    }
    Err(ConfigError::Range { key: key.into(), value: value.to_string(), right: wanted.to_string() })
}
