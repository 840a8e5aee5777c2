//! Encoders of signals on a circle, whose data and augmentation directions are known: what of them encoder and projector keep.

pub mod evaluation;
pub mod spec;
pub mod world;
