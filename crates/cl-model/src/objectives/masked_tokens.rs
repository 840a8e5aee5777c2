//! The words of the second view predicted from the features of the first.

use super::{Objective, Outputs, Reconstructed};
use burn::tensor::Tensor;
use burn::tensor::activation::log_softmax;
use cl_config::{Component, ConfigError};
use serde::{Deserialize, Serialize};

/// `−Σ_i Σ_w n_iw log softmax(A f(x⁺_i) + a)_w / Σ_iw n_iw`, with `n_iw` how often the second view of sentence i has the word w: masked-token
/// prediction, the baseline of contrast on text.
///
/// Views that share out the words of a sentence make the second one just what is hidden from the first. Every hidden word is predicted from the
/// features of the sentence, as in a continuous bag of words (Mikolov et al. 2013); BERT (Devlin et al. 2019) predicts each from the output at its
/// place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskedTokens {}

impl Component for MaskedTokens {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        Ok(self)
    }
}

impl Objective for MaskedTokens {
    /// # Panics
    /// Without a [reconstruction](Outputs::reconstruction): a task that makes none refuses objectives that
    /// [reconstruct](Objective::reconstructs).
    fn loss(&self, outputs: Outputs) -> Tensor<1> {
        let [logits, counts] = outputs.reconstruction.expect("a model that reconstructs");
        let words = counts.clone().sum().clamp_min(1.0);
        (log_softmax(logits, 1) * counts).sum().neg() / words
    }

    /// The features of the second view are not used.
    fn has_key_gradient(&self) -> bool {
        false
    }

    fn reconstructs(&self) -> Option<Reconstructed> {
        Some(Reconstructed::Tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn hidden_words_cost_minus_the_logarithm_of_their_probability() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_data([[2f32.ln(), 0.0, 0.0], [0.0, 0.0, 0.0]], &device);
        // Probabilities ½, ¼, ¼ and thirds; one hidden word in the first sentence, the same one twice in the second.
        let counts = Tensor::<2>::from_data([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]], &device);
        let outputs = Outputs::of_views(Tensor::zeros([2, 1], &device), Tensor::zeros([2, 1], &device));
        let loss = MaskedTokens {}.loss(Outputs { reconstruction: Some([logits.clone(), counts]), ..outputs.clone() });
        let expected = (2f64.ln() + 2.0 * 3f64.ln()) / 3.0;
        assert!((loss.into_scalar::<f64>() - expected).abs() < 1e-6);
        // Nothing hidden costs nothing.
        let none = Tensor::zeros([2, 3], &device);
        let loss = MaskedTokens {}.loss(Outputs { reconstruction: Some([logits, none]), ..outputs });
        assert_eq!(loss.into_scalar::<f64>(), 0.0);
    }
}
