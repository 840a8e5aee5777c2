//! Encoders of observations with a class: contrast with samples beside contrast with prototypes of classes.

pub mod evaluation;
pub mod spec;
pub mod world;
