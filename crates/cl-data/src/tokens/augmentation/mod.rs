//! Two views of each sentence of a batch.
//!
//! A [`TokenPipeline`] is a list of [`TokenTransform`]s, applied in its order, each with random numbers of its own: leaving one out does not change
//! the numbers of the others.

mod complementary_split;
mod drop_tokens;
mod local_reordering;
mod pipeline;
mod replace_synonyms;
mod restyle;

pub use complementary_split::ComplementarySplit;
pub use drop_tokens::DropTokens;
pub use local_reordering::LocalReordering;
pub use pipeline::{TokenPipeline, TokenTransform, Whole};
pub use replace_synonyms::ReplaceSynonyms;
pub use restyle::{Restyle, Style};
