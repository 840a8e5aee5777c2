//! Blocks of attention over the words of a sentence.

use super::mean_pool::word_vectors;
use super::{Encoder, EncoderConfig, StandardNormals, TokenShape, Tokens};
use burn::module::Module;
use burn::nn::Embedding;
use burn::nn::transformer::{TransformerEncoder, TransformerEncoderConfig, TransformerEncoderInput};
use burn::tensor::{Device, Int, Tensor};
use cl_config::{Component, ConfigError, at_least, check};
use serde::{Deserialize, Serialize};

/// Sizes of a [`Transformer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformerConfig {
    /// Coordinates of a word and of the features, a multiple of the number of heads.
    pub embedding_dim: usize,
    /// Blocks of attention and perceptron, at least 1.
    pub blocks: usize,
    /// Heads of attention in a block, at least 1.
    pub heads: usize,
    /// Hidden units of the perceptron of a block, at least 1.
    pub feed_forward_dim: usize,
}

impl Component for TransformerConfig {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        at_least("embedding_dim", self.embedding_dim as u64, 1)?;
        at_least("blocks", self.blocks as u64, 1)?;
        at_least("heads", self.heads as u64, 1)?;
        at_least("feed_forward_dim", self.feed_forward_dim as u64, 1)?;
        let wanted = format!("a multiple of heads = {}", self.heads);
        check(self.embedding_dim.is_multiple_of(self.heads), "embedding_dim", self.embedding_dim, wanted)?;
        Ok(self)
    }
}

/// Words and places as vectors, Burn's blocks of self-attention, normalised first and without dropout, and the mean over the words of the sentence.
///
/// Vaswani et al. 2017; places have vectors of their own as in BERT (Devlin et al. 2019), and words behind the end of a sentence are not attended to.
#[derive(Module, Debug)]
pub struct Transformer {
    /// A vector for each word, `[V, embedding_dim]`.
    pub words: Embedding,
    /// A vector for each place, `[L, embedding_dim]`.
    pub places: Embedding,
    /// The blocks.
    pub blocks: TransformerEncoder,
}

impl EncoderConfig for TransformerConfig {
    type Encoder = Transformer;

    /// Words `N(0, 1)`, places `N(0, 0.02²)`, blocks by Burn's initialisers.
    fn init(&self, shape: TokenShape, normals: &mut StandardNormals<'_>, device: &Device) -> Transformer {
        let blocks = TransformerEncoderConfig::new(self.embedding_dim, self.feed_forward_dim, self.heads, self.blocks)
            .with_dropout(0.0)
            .with_norm_first(true);
        Transformer {
            words: word_vectors([shape.vocabulary, self.embedding_dim], 1.0, normals, device),
            places: word_vectors([shape.longest, self.embedding_dim], 0.02 * 0.02, normals, device),
            blocks: blocks.init(device),
        }
    }

    fn multiply_adds(&self, shape: TokenShape) -> f64 {
        let (l, d) = (shape.longest as f64, self.embedding_dim as f64);
        let block = 4.0 * d * d + 2.0 * l * d + 2.0 * d * self.feed_forward_dim as f64;
        self.blocks as f64 * l * block
    }
}

impl Encoder for Transformer {
    type Input = Tokens;
    type Shape = TokenShape;

    fn forward(&self, tokens: Tokens) -> Tensor<2> {
        let [_, longest] = tokens.dims();
        let places = Tensor::<1, Int>::arange(0..longest as i64, &tokens.ids.device()).unsqueeze::<2>();
        let x = self.words.forward(tokens.ids.clone()) + self.places.forward(places);
        let behind_the_end = tokens.mask.clone().equal_scalar(0.0);
        let words = self.blocks.forward(TransformerEncoderInput::new(x).mask_pad(behind_the_end));
        tokens.mean(words)
    }

    fn feature_dim(&self) -> usize {
        self.words.weight.dims()[1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoder() -> Transformer {
        let config = TransformerConfig { embedding_dim: 4, blocks: 2, heads: 2, feed_forward_dim: 6 };
        let device = Device::flex();
        device.seed(3);
        let mut source = |n: usize| (0..n).map(|i| (i as f32).sin()).collect::<Vec<f32>>();
        config.checked().unwrap().init(TokenShape { vocabulary: 5, longest: 6 }, &mut source, &device)
    }

    fn features(encoder: &Transformer, sentences: &[&[u32]]) -> Vec<f32> {
        let tokens = Tokens::new(sentences.iter().copied(), &Device::flex());
        encoder.forward(tokens).into_data().try_to_vec().unwrap()
    }

    #[test]
    fn what_fills_a_sentence_up_changes_nothing_and_order_does() {
        let encoder = encoder();
        let alone = features(&encoder, &[&[1, 2, 3]]);
        let beside = features(&encoder, &[&[1, 2, 3], &[4, 4, 4, 4, 4, 4]]);
        let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(close(&alone, &beside[..4]), "{alone:?} {beside:?}");
        assert!(!close(&alone, &features(&encoder, &[&[3, 2, 1]])));
        assert_eq!(encoder.feature_dim(), 4);
    }

    #[test]
    fn wrong_sizes_are_refused_by_name() {
        let d = TransformerConfig { embedding_dim: 4, blocks: 1, heads: 2, feed_forward_dim: 6 };
        let refused = |c: TransformerConfig| c.checked().unwrap_err().to_string();
        assert!(refused(TransformerConfig { embedding_dim: 5, ..d }).contains("a multiple of heads = 2"));
        assert!(refused(TransformerConfig { blocks: 0, ..d }).starts_with("blocks = 0 "));
    }
}
