//! The activation before the mean over positions.

use crate::encoders::symmetric_relu;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use cl_config::{ConfigError, check};
use serde::{Deserialize, Serialize};

/// The last activation of an image encoder, before the mean over positions.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LastActivation {
    /// `relu(h)`.
    #[default]
    Relu,
    /// `relu(h − b) − relu(−h − b)`, the activation of Wen & Li 2021 with a fixed threshold.
    SymmetricRelu {
        /// `b` ≥ 0, the same for all channels; the batch normalisation before it sets the unit.
        threshold: f64,
    },
}

impl LastActivation {
    /// The activation of `h`, position by position.
    pub fn forward<const D: usize>(&self, h: Tensor<D>) -> Tensor<D> {
        match *self {
            Self::Relu => relu(h),
            Self::SymmetricRelu { threshold } => {
                let thresholds = Tensor::full([1; D], threshold, &h.device());
                symmetric_relu(h, thresholds)
            }
        }
    }

    pub(super) fn check(&self, key: &str) -> Result<(), ConfigError> {
        match *self {
            Self::Relu => Ok(()),
            Self::SymmetricRelu { threshold } => {
                let key = format!("{key}.symmetric_relu.threshold");
                check(threshold.is_finite() && threshold >= 0.0, &key, threshold, "a finite number, 0 or larger")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn each_activation_has_the_values_of_its_formula() {
        let h = Tensor::<4>::from_data([[[[-2.0, -0.25], [0.5, 3.0]]]], &Device::flex());
        let values = |a: LastActivation| a.forward(h.clone()).into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(values(LastActivation::Relu), [0.0, 0.0, 0.5, 3.0]);
        assert_eq!(values(LastActivation::SymmetricRelu { threshold: 0.5 }), [-1.5, 0.0, 0.0, 2.5]);
    }
}
