//! The spectral contrastive loss.

use super::{Objective, Outputs};
use crate::closed_form::HostObjective;
use crate::drift::LinearModel;
use burn::tensor::Tensor;
use cl_config::{Component, ConfigError};
use faer::{Mat, Scale};
use serde::{Deserialize, Serialize};

/// The spectral contrastive loss (HaoChen et al. 2021): `−2 mean_i ⟨F_i, G_i⟩ + mean_{i≠j} ⟨F_i, G_j⟩²`, with the outputs F and G of both views.
///
/// It has no temperature: its minimum over all functions is at the leading eigenfunctions of the augmentation graph, scaled by the
/// roots of their eigenvalues. Symmetric in the views; the same for outputs that are rotated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spectral {}

impl Component for Spectral {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        Ok(self)
    }
}

impl Objective for Spectral {
    /// # Panics
    /// With fewer than two pairs.
    fn loss(&self, outputs: Outputs) -> Tensor<1> {
        let [n, _] = outputs.first.dims();
        assert!(n > 1, "the spectral contrastive loss compares pairs: a batch has two or more");
        let products = outputs.first.clone().matmul(outputs.second.clone().transpose());
        let positives = (outputs.first * outputs.second).sum_dim(1);
        let all = products.square().sum();
        let others = (all - positives.clone().square().sum()) / (n * (n - 1)) as f64;
        others - positives.mean() * 2.0
    }

    /// `4(WC − WGAG)`.
    fn drift(&self, model: &LinearModel) -> Option<Mat<f64>> {
        Some(Scale(4.0) * (model.with_cross_view() - model.of_outputs(&model.view) * model.with_view()))
    }

    fn in_host_memory(&self) -> Option<&dyn HostObjective> {
        Some(self)
    }
}
