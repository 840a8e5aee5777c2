//! Vector encoders on the sparse coding model, above all the paper's.
//!
//! [`spec`] says what a run is, [`batches`] draws what a step trains on, [`gradient`] computes its gradient,
//! [`training`] puts them together and takes [`snapshot`]s, [`evaluation`] scores at the end. [`moments`] estimates
//! cross-view moments without training, and [`export`] writes what a step is made of.

pub mod batches;
pub mod evaluation;
pub mod export;
pub mod gradient;
pub mod moments;
pub mod snapshot;
pub mod spec;
pub mod training;
