//! Mistakes of a program for images, made on purpose to see that claims notice them (`experiments/mutations.toml`).

use serde::{Deserialize, Serialize};

/// A mistake. No experiment file asks for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mistake {
    /// The network at the end is scored with the running statistics of the best one.
    StatisticsOfAnotherState,
    /// Training images have each other's labels.
    LabelsPermuted,
    /// The second view of an image is one of another image.
    ViewsOfDifferentImages,
    /// The first view is the image as it is.
    SecondViewOnly,
    /// What the loss sees is scored instead of the features.
    ProjectorScored,
    /// A part of a set is taken from a single class as far as possible.
    PartOfOneClass,
}

/// Whether an experiment file has no mistake.
pub(crate) fn is_none(mistake: &Option<Mistake>) -> bool {
    mistake.is_none()
}
