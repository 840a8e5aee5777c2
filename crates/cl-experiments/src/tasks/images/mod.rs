//! The paper's questions on images: convolutional encoders, SimCLR's augmentations, kNN and linear probes.
//!
//! [`dataset`] finds and pins the images, [`data`] holds them with their views, [`spec`] says what a run is, [`model`]
//! is trained, [`training`] feeds and measures it, [`evaluation`] scores it, [`analysis`] looks into it, [`directions`]
//! finds which pixel directions an augmentation decouples and the encoder keeps, [`preview`] shows views.

pub mod analysis;
pub mod data;
pub mod dataset;
pub mod directions;
pub mod evaluation;
pub mod model;
pub mod preview;
pub mod spec;
pub mod training;
