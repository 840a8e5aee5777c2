//! The paper's questions on images: convolutional encoders, SimCLR's augmentations, kNN and linear probes.
//!
//! [`spec`] says what a run is, [`dataset`] finds and pins the images, [`learner`] is the network in training, [`mistake`] what can go wrong with it on purpose,
//! [`training`] feeds and measures it, [`weights`] lays it out for files, [`evaluation`] scores it, [`anatomy`] looks into it and [`directions`] asks
//! which directions of the pixels an augmentation decouples and which of them the encoder keeps.

pub mod anatomy;
pub mod dataset;
pub mod directions;
pub mod evaluation;
pub mod learner;
pub mod mistake;
pub mod preview;
pub mod spec;
pub mod training;
pub mod weights;
