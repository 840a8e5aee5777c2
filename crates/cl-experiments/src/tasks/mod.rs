//! Kinds of training: what is trained, on what, and how it is measured.
//!
//! [`task`] says what a kind has to offer; [`sparse_coding`] is the paper's encoder on the sparse coding model, [`images`] convolutional
//! encoders.

pub mod choice;
pub mod head;
pub mod images;
pub mod sparse_coding;
pub mod task;
