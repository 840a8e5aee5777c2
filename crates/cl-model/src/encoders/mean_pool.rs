//! The mean of the words of a sentence, and a perceptron behind it.

use super::{Encoder, EncoderConfig, Mlp, MlpConfig, StandardNormals, TokenShape, Tokens, VectorShape};
use burn::module::{Module, Param};
use burn::nn::Embedding;
use burn::tensor::{Device, Tensor, TensorData};
use cl_config::{Component, ConfigError, at_least};
use serde::{Deserialize, Serialize};

/// Sizes of a [`MeanPool`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeanPoolConfig {
    /// Coordinates of a word, at least 1.
    pub embedding_dim: usize,
    /// Units of each layer behind the mean; the last ones are the features. Without any, the mean is.
    pub layer_dims: Vec<usize>,
}

impl Component for MeanPoolConfig {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        at_least("embedding_dim", self.embedding_dim as u64, 1)?;
        for (i, units) in self.layer_dims.iter().enumerate() {
            at_least(&format!("layer_dims[{i}]"), *units as u64, 1)?;
        }
        Ok(self)
    }
}

/// `relu(W_L … relu(W_1 x̄ + b_1) … + b_L)` of the mean x̄ of the vectors of a sentence's words.
#[derive(Module, Debug)]
pub struct MeanPool {
    /// A vector for each word, `[V, embedding_dim]`, `N(0, 1)` at the start.
    pub words: Embedding,
    /// What is behind the mean.
    pub mlp: Mlp,
}

/// Vectors of words with entries `N(0, variance)`.
pub(super) fn word_vectors(
    [words, dim]: [usize; 2],
    variance: f64,
    normals: &mut StandardNormals<'_>,
    device: &Device,
) -> Embedding {
    let mut values = normals(words * dim);
    values.iter_mut().for_each(|v| *v *= variance.sqrt() as f32);
    let weight = Tensor::<2>::from_data(TensorData::new(values, [words, dim]), device);
    Embedding { weight: Param::from_tensor(weight) }
}

impl EncoderConfig for MeanPoolConfig {
    type Encoder = MeanPool;

    fn init(&self, shape: TokenShape, normals: &mut StandardNormals<'_>, device: &Device) -> MeanPool {
        let words = word_vectors([shape.vocabulary, self.embedding_dim], 1.0, normals, device);
        let behind = VectorShape { dim: self.embedding_dim, code_dim: self.embedding_dim };
        MeanPool { words, mlp: MlpConfig { layer_dims: self.layer_dims.clone() }.init(behind, normals, device) }
    }

    fn multiply_adds(&self, shape: TokenShape) -> f64 {
        let behind = VectorShape { dim: self.embedding_dim, code_dim: self.embedding_dim };
        let mlp = MlpConfig { layer_dims: self.layer_dims.clone() };
        (shape.longest * self.embedding_dim) as f64 + mlp.multiply_adds(behind)
    }
}

impl Encoder for MeanPool {
    type Input = Tokens;
    type Shape = TokenShape;

    fn forward(&self, tokens: Tokens) -> Tensor<2> {
        self.mlp.forward(tokens.mean(self.words.forward(tokens.ids.clone())))
    }

    fn feature_dim(&self) -> usize {
        match self.mlp.layers.is_empty() {
            true => self.words.weight.dims()[1],
            false => self.mlp.feature_dim(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: TokenShape = TokenShape { vocabulary: 3, longest: 2 };

    #[test]
    fn features_are_those_of_the_mean_word() {
        let config = MeanPoolConfig { embedding_dim: 2, layer_dims: vec![] }.checked().unwrap();
        let mut next = 0.0;
        let mut counting = |n: usize| {
            let values = (0..n).map(|i| next + i as f32).collect();
            next += n as f32;
            values
        };
        // Words (0, 1), (2, 3), (4, 5).
        let encoder = config.init(SHAPE, &mut counting, &Device::flex());
        let sentences: [&[u32]; 2] = [&[0, 2], &[1]];
        let features = encoder.forward(Tokens::new(sentences.into_iter(), &Device::flex()));
        assert_eq!(features.into_data().try_to_vec::<f32>().unwrap(), [2.0, 3.0, 2.0, 3.0]);
        assert_eq!((encoder.feature_dim(), config.multiply_adds(SHAPE)), (2, 4.0));
        let deep = MeanPoolConfig { embedding_dim: 2, layer_dims: vec![5, 4] };
        assert_eq!(deep.init(SHAPE, &mut |n| vec![1.0; n], &Device::flex()).feature_dim(), 4);
        let refused = MeanPoolConfig { embedding_dim: 2, layer_dims: vec![5, 0] }.checked().unwrap_err();
        assert!(refused.to_string().starts_with("layer_dims[1] = 0 "));
    }
}
