//! What a run is: every scientific value, checked once.
//!
//! One vocabulary for every kind of data: `data`, `views`, `model`, `objective`, `optimization`, `evaluation`. The key below `data`
//! names the kind, and the kind reads the rest.

mod encoder_info;
pub mod experiment;
pub mod mistake;
mod model;
mod optimization;
mod part;
mod specification;
pub mod under_name;

pub use encoder_info::EncoderInfo;
pub use model::ModelSpec;
pub use optimization::{Optimization, Schedule};
pub use part::{Named, Part, Registry};
pub use specification::{ChosenPart, Parts, RunSpec, SUPERVISED, Specification};

/// Whether a switch is off and need not be written.
pub(crate) fn is_off(switch: &bool) -> bool {
    !switch
}
