//! Errors in the description of a data model.

use cl_config::ConfigError;

/// A condition that a data model does not meet, with the values that break it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A dictionary cannot have more orthonormal columns than rows.
    #[error(
        "code_dim = {code_dim} is larger than input_dim = {input_dim}; orthonormal columns need code_dim <= input_dim"
    )]
    MoreFeaturesThanCoordinates {
        /// Number of columns asked for.
        code_dim: usize,
        /// Number of rows asked for.
        input_dim: usize,
    },
    /// Something that can only be drawn on the host.
    #[error("{what} are not drawn on a device; draw on the host")]
    NotOnDevice {
        /// What was asked for.
        what: &'static str,
    },
    /// A value is out of its range.
    #[error(transparent)]
    Config(#[from] ConfigError),
}
