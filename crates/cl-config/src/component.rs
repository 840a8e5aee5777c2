//! Parts of a run that files choose by name.

use crate::ConfigError;
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;

/// A part of a run as a file describes it: an objective, a transform of images, the configuration of an encoder.
///
/// A field that a file may omit has a default in `serde`; unknown keys are rejected by `#[serde(deny_unknown_fields)]`.
pub trait Component: Serialize + DeserializeOwned + Debug + Clone + Send + Sync + 'static {
    /// Must be raised whenever the same values give different numbers, so that older runs are not taken for new ones.
    const VERSION: u32;

    /// Returns the configuration if every value is in its range.
    ///
    /// # Errors
    /// [`ConfigError`] naming key, value and what would be right.
    fn checked(self) -> Result<Self, ConfigError>;
}
