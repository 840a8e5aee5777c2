//! The second view predicted from the features of the first, where the second view shows something.

use super::{Objective, Outputs, Reconstructed};
use burn::tensor::Tensor;
use cl_config::{Component, ConfigError, positive};
use serde::{Deserialize, Serialize};

/// `½ mean ‖s 1[x⁺⁺ ≠ 0] ⊙ Wᵀ f(x⁺) − x⁺⁺‖²` with the encoder's own weights as decoder: a masked autoencoder with tied weights
/// (Vincent et al. 2008; He et al. 2022).
///
/// Masks set coordinates to 0 and multiply the others by s, so that this is the distance to the observation where the second view shows it,
/// times s². Complementary masks show just what the first view does not.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskedReconstruction {
    /// `s` > 0, what the second view's coordinates are multiplied by where it shows them: 2 for unbiased masks that keep one half,
    /// 1 without a mask.
    pub scale: f64,
}

impl Component for MaskedReconstruction {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        positive("scale", self.scale)?;
        Ok(self)
    }
}

impl Objective for MaskedReconstruction {
    /// # Panics
    /// Without a [reconstruction](Outputs::reconstruction): a task that makes none refuses objectives that
    /// [reconstruct](Objective::reconstructs).
    fn loss(&self, outputs: Outputs) -> Tensor<1> {
        let [decoded, view] = outputs.reconstruction.expect("a model that reconstructs");
        let shown = view.clone().not_equal_scalar(0.0).float() * self.scale;
        let [n, _] = view.dims();
        (shown * decoded - view).square().sum() / (2.0 * n as f64)
    }

    /// The features of the second view are not used.
    fn has_key_gradient(&self) -> bool {
        false
    }

    fn reconstructs(&self) -> Option<Reconstructed> {
        Some(Reconstructed::Observations)
    }
}
