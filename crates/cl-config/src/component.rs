//! Parts of a run that files choose by name.

use crate::ConfigError;
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;

/// A part of a run as a file describes it: an objective, a transform of images, the configuration of an encoder.
///
/// A field that a file may leave out has a default in `serde`; unknown keys are refused with `#[serde(deny_unknown_fields)]`.
pub trait Component: Serialize + DeserializeOwned + Debug + Clone + Send + Sync + 'static {
    /// To be raised whenever the same values give other numbers, so that older runs are not taken for new ones.
    const VERSION: u32;

    /// The same where every value is in its range.
    ///
    /// # Errors
    /// [`ConfigError`] naming key, value and what would be right.
    fn checked(self) -> Result<Self, ConfigError>;
}
