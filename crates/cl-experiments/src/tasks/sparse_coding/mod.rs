//! The paper's encoder on the sparse coding model.
//!
//! [`learner`] is one training step, [`monitor`] feeds and measures it, [`moments`] estimates cross-view moments without training, and
//! [`export`] writes what a step is made of.

pub mod export;
pub mod learner;
pub mod moments;
pub mod monitor;
