//! Kinds of training: what is trained, on what, and how it is measured.
//!
//! [`task`] says what a kind has to provide and [`learner`] steps it; [`sparse_coding`] trains vector encoders on the
//! sparse coding model, [`two_views`] on any other source of two views ([`circular_signals`], [`class_features`], [`text`]), [`images`]
//! image encoders.

pub mod choice;
pub mod circular_signals;
pub mod class_features;
pub mod images;
pub mod initial_model;
pub mod learner;
pub mod sparse_coding;
pub mod spread;
pub mod task;
pub mod text;
pub mod two_view_loss;
pub mod two_views;
pub mod weights;
