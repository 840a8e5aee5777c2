//! What encoders of sentences see.

use super::Encoder;
use burn::tensor::{Device, Int, Tensor, TensorData};

/// A batch of sentences as numbers of words, filled up to the length of the longest one.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// Numbers of words, `[n, L]`; any number where there is none.
    pub ids: Tensor<2, Int>,
    /// 1 where there is a word and 0 behind the end of a sentence, `[n, L]`.
    pub mask: Tensor<2>,
}

impl Tokens {
    /// Of sentences with at least one word each.
    ///
    /// # Panics
    /// When there is no sentence, or one without a word.
    pub fn new<'a>(sentences: impl ExactSizeIterator<Item = &'a [u32]> + Clone, device: &Device) -> Self {
        let (n, longest) = (sentences.len(), sentences.clone().map(<[u32]>::len).max().unwrap_or(0));
        let (mut ids, mut mask) = (vec![0i32; n * longest], vec![0f32; n * longest]);
        for (row, sentence) in sentences.enumerate() {
            assert!(!sentence.is_empty(), "sentence {row} has no word");
            for (place, word) in sentence.iter().enumerate() {
                ids[row * longest + place] = *word as i32;
                mask[row * longest + place] = 1.0;
            }
        }
        Self {
            ids: Tensor::from_data(TensorData::new(ids, [n, longest]), device),
            mask: Tensor::from_data(TensorData::new(mask, [n, longest]), device),
        }
    }

    /// Number of sentences, and of words of the longest one.
    pub fn dims(&self) -> [usize; 2] {
        self.mask.dims()
    }

    /// Where each word is, one of `[n, L]` vectors: the mean over each sentence, `[n, k]`.
    pub fn mean(&self, words: Tensor<3>) -> Tensor<2> {
        let [n, _, k] = words.dims();
        let weights = self.mask.clone() / self.mask.clone().sum_dim(1);
        (words * weights.unsqueeze_dim::<3>(2)).sum_dim(1).reshape([n, k])
    }

    /// How often each of `vocabulary` words occurs, `[n, vocabulary]`, outside the gradient.
    pub fn counts(&self, vocabulary: usize) -> Tensor<2> {
        let [n, longest] = self.dims();
        let (ids, mask) = (self.ids.clone().into_data(), self.mask.clone().into_data());
        let mut counts = vec![0f32; n * vocabulary];
        for (place, (word, weight)) in ids.iter::<i64>().zip(mask.iter::<f32>()).enumerate() {
            counts[place / longest * vocabulary + word as usize] += weight;
        }
        Tensor::from_data(TensorData::new(counts, [n, vocabulary]), &self.mask.device())
    }
}

/// What is known about sentences before there are weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenShape {
    /// `V`, words of the vocabulary.
    pub vocabulary: usize,
    /// Words of the longest sentence.
    pub longest: usize,
}

/// An encoder of sentences.
pub trait TokenEncoder: Encoder<Input = Tokens, Shape = TokenShape> {}

impl<E: Encoder<Input = Tokens, Shape = TokenShape>> TokenEncoder for E {}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        let sentences: [&[u32]; 2] = [&[3, 1, 3], &[2]];
        Tokens::new(sentences.into_iter(), &Device::flex())
    }

    #[test]
    fn short_sentences_are_filled_up_and_what_fills_them_counts_for_nothing() {
        assert_eq!(tokens().dims(), [2, 3]);
        let counts = tokens().counts(4).into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(counts, [0.0, 1.0, 0.0, 2.0, 0.0, 0.0, 1.0, 0.0]);
        let words = Tensor::from_data([[[1.0], [2.0], [6.0]], [[5.0], [99.0], [-99.0]]], &Device::flex());
        assert_eq!(tokens().mean(words).into_data().try_to_vec::<f32>().unwrap(), [3.0, 5.0]);
    }

    #[test]
    #[should_panic(expected = "sentence 1 has no word")]
    fn a_sentence_has_a_word() {
        let sentences: [&[u32]; 2] = [&[3], &[]];
        Tokens::new(sentences.into_iter(), &Device::flex());
    }
}
