//! Decoupled NT-Xent.

use super::{Objective, Outputs, drift_of_cosines, log_partition, normalized};
use crate::closed_form::HostObjective;
use crate::drift::LinearModel;
use burn::tensor::Tensor;
use cl_config::{Component, ConfigError, positive};
use faer::Mat;
use serde::{Deserialize, Serialize};

/// Decoupled contrastive learning, DCL (Yeh et al. 2022): [`NtXent`](super::NtXent) without the positive in the sum over keys,
///
/// ```text
/// mean over the 2B views of −⟨f̂_i, f̂_i'⟩/τ + log Σ_{j ≠ i, i'} e^{⟨f̂_i, f̂_j⟩/τ},
/// ```
///
/// with i' the other view of the sample of i.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecoupledNtXent {
    /// `τ` > 0.
    pub temperature: f64,
}

impl Component for DecoupledNtXent {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        positive("temperature", self.temperature)?;
        Ok(self)
    }
}

impl Objective for DecoupledNtXent {
    /// # Panics
    /// With fewer than two pairs.
    fn loss(&self, outputs: Outputs) -> Tensor<1> {
        let [n, _] = outputs.first.dims();
        assert!(n > 1, "the negatives are the views of other samples: a batch has two pairs or more");
        let (first, second) = (normalized(outputs.first), normalized(outputs.second));
        let views = Tensor::cat(vec![first.clone(), second.clone()], 0);
        let partners = Tensor::cat(vec![second, first], 0);
        let positives = (views.clone() * partners).sum_dim(1) / self.temperature;
        let logits = views.clone().matmul(views.transpose()) / self.temperature;
        // Neither itself nor the other view of its sample.
        let same_sample = Tensor::<2>::eye(n, &logits.device()).repeat(&[2, 2]).bool();
        (log_partition(logits.mask_fill(same_sample, -1e30), None) - positives).mean()
    }

    fn at_chance(&self, batch_size: usize, _: Option<usize>) -> Option<f64> {
        Some((2.0 * batch_size as f64 - 2.0).ln())
    }

    fn drift(&self, model: &LinearModel) -> Option<Mat<f64>> {
        Some(drift_of_cosines(model, self.temperature, 1.0))
    }

    fn in_host_memory(&self) -> Option<&dyn HostObjective> {
        Some(self)
    }
}
