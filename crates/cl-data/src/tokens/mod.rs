//! Sentences of words: a generated language whose topics and style are known, text from files, and the two views of a sentence.
//!
//! ```
//! use cl_data::tokens::augmentation::{DropTokens, TokenPipeline};
//! use cl_data::tokens::{TopicLanguage, TopicLanguageConfig};
//! use cl_data::{Purpose, Stream};
//!
//! let language = TopicLanguage::random(TopicLanguageConfig::default(), Stream::new(1, Purpose::Dictionary))?;
//! let stream = Stream::new(1, Purpose::TrainingPairs);
//! let drawn = language.sample(3, stream, 0);
//! assert_eq!(drawn.sentences.get(0).len(), 24);
//! let pipeline = TokenPipeline::none().with(DropTokens::NAME, DropTokens { probability: 0.5 });
//! let [first, second] = pipeline.views(&drawn.sentences, Some((&language, &drawn.style)), stream, 0);
//! assert!(first.get(0).len() < 24 && first != second);
//! # Ok::<(), cl_config::ConfigError>(())
//! ```

pub mod augmentation;
mod error;
mod labelled_text;
#[cfg(feature = "tokenizers")]
mod pretrained;
mod sentences;
mod topic_language;
mod vocabulary;

pub use error::TextError;
pub use labelled_text::{CLINC150_JSON, LabelledText, TextSplits, read_clinc150, read_sources, read_split_files};
#[cfg(feature = "tokenizers")]
pub use pretrained::PretrainedTokenizer;
pub use sentences::Sentences;
pub use topic_language::{TopicLanguage, TopicLanguageConfig, TopicSentences};
pub use vocabulary::{UNKNOWN, Vocabulary, words};
