//! Vocabularies that come with pre-trained models: `tokenizer.json` of Hugging Face's tokenizers.

use super::TextError;
use std::path::Path;
use tokenizers::Tokenizer;

/// How a pre-trained model splits sentences into pieces of words.
#[derive(Debug, Clone)]
pub struct PretrainedTokenizer {
    tokenizer: Tokenizer,
    /// One more than the largest number of a piece.
    len: usize,
}

impl PretrainedTokenizer {
    /// The one of a file.
    ///
    /// # Errors
    /// [`TextError`] naming the file.
    pub fn read(path: &Path) -> Result<Self, TextError> {
        let wrong = |e: &dyn std::fmt::Display| TextError::Content {
            path: path.into(),
            message: format!("it is no tokenizer.json: {e}"),
        };
        let bytes = std::fs::read(path).map_err(|source| TextError::Io { path: path.into(), source })?;
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|e| wrong(&e))?;
        // Lengths are those of the experiment.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|e| wrong(&e))?;
        let largest = tokenizer.get_vocab(true).into_values().max();
        let len = largest.ok_or_else(|| wrong(&"its vocabulary is empty"))? as usize + 1;
        Ok(Self { tokenizer, len })
    }

    /// One more than the largest number of a piece, those added to the vocabulary included.
    #[allow(clippy::len_without_is_empty, reason = "an empty one is refused")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The numbers of a sentence's pieces, without special ones; empty where it has none.
    ///
    /// # Errors
    /// A message, when the tokenizer cannot split the sentence.
    pub fn encode(&self, sentence: &str) -> Result<Vec<u32>, String> {
        let encoding = self.tokenizer.encode_fast(sentence, false).map_err(|e| e.to_string())?;
        Ok(encoding.get_ids().to_vec())
    }
}
