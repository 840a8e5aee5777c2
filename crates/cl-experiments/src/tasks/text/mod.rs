//! Encoders of sentences: contrast on text, on a language whose topics and style are known or on text from files.
//!
//! | file | idea |
//! |---|---|
//! | `spec.rs` | the specification |
//! | `source.rs` | where sentences come from |
//! | `world.rs` | the views of a step |
//! | `labels.rs` | sentences with labels, the same for every arm of a seed |
//! | `fine_tuning.rs` | an encoder trained on labels |
//! | `evaluation.rs` | what is measured at the end |
//! | `neighbors.rs` | the sentences nearest to some |

pub mod evaluation;
mod fine_tuning;
mod labels;
pub mod neighbors;
pub mod source;
pub mod spec;
pub mod world;
