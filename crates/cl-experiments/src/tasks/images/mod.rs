//! The paper's questions on images: convolutional encoders, SimCLR's augmentations, kNN and linear probes.
//!
//! [`dataset`] finds and pins the images, [`data`] holds them with their views, [`spec`] says what a run is, [`model`] is what trains, [`training`] feeds
//! and measures it, [`evaluation`] scores it, [`analysis`] looks into it and [`directions`] asks
//! which directions of the pixels an augmentation decouples and which of them the encoder keeps. [`preview`] shows views before training.

pub mod analysis;
pub mod data;
pub mod dataset;
pub mod directions;
pub mod evaluation;
pub mod model;
pub mod preview;
pub mod spec;
pub mod training;
