//! What can be wrong with the description of a data model.

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
    /// What is asked for is only drawn on the host.
    #[error("{what} are not drawn on a device; draw on the host")]
    NotOnDevice {
        /// What was asked for.
        what: &'static str,
    },
    /// A size that has to be at least one is zero.
    #[error("{name} = 0, but it has to be at least 1")]
    Zero {
        /// The key.
        name: &'static str,
    },
    /// A number lies outside its range.
    #[error("{name} = {value} is outside {range}")]
    OutOfRange {
        /// The key.
        name: &'static str,
        /// The value given.
        value: f64,
        /// The range that would be right.
        range: &'static str,
    },
    /// More non-zero entries than there are features.
    #[error("nonzero_count = {count} is outside 1..={code_dim} (code_dim)")]
    TooManyNonzeros {
        /// Non-zero entries asked for.
        count: usize,
        /// Number of features.
        code_dim: usize,
    },
}
