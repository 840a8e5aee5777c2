//! Vocabularies that come with pre-trained models: `tokenizer.json` of Hugging Face's tokenizers.

use super::TextError;
use std::path::Path;
use tokenizers::Tokenizer;

/// How a pre-trained model splits sentences into pieces of words.
#[derive(Debug, Clone)]
pub struct PretrainedTokenizer {
    tokenizer: Tokenizer,
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
        Ok(Self { tokenizer })
    }

    /// Number of pieces, those added to the vocabulary included.
    pub fn len(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str = r###"{
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": null, "decoder": null,
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            "vocab": {"[UNK]": 0, "play": 1, "##ing": 2, "song": 3}
        }
    }"###;

    #[test]
    fn sentences_are_split_into_pieces() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, WORDS).unwrap();
        let tokenizer = PretrainedTokenizer::read(&path).unwrap();
        assert_eq!((tokenizer.len(), tokenizer.encode("Playing song now").unwrap()), (4, vec![1, 2, 3, 0]));
        std::fs::write(&path, "{}").unwrap();
        assert!(PretrainedTokenizer::read(&path).unwrap_err().to_string().contains("it is no tokenizer.json"));
        assert!(
            PretrainedTokenizer::read(Path::new("/nowhere/t.json"))
                .unwrap_err()
                .to_string()
                .contains("/nowhere/t.json")
        );
    }
}
