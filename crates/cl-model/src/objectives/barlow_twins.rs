//! Barlow Twins.

use super::{Objective, Outputs};
use crate::closed_form::HostObjective;
use crate::drift::LinearModel;
use burn::tensor::Tensor;
use cl_config::{Component, ConfigError, not_negative, positive};
use faer::Mat;
use serde::{Deserialize, Serialize};

/// Barlow Twins (Zbontar et al. 2021): `1/m [Σ_i (C_ii − 1)² + a Σ_{i≠j} C_ij²]` with the cross-correlation `C = F̃ᵀG̃/B` of the m outputs of
/// both views, each standardised over the batch: `F̃ = (F − mean)/√(var + ε)`, the variance over B.
///
/// The paper's loss is m times as large, and so is lightly's (`lambda_param` is a). At chance, for outputs of both views that have
/// nothing to do with each other, it is about 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BarlowTwins {
    /// `a` ≥ 0; 0.0051 in the paper, with outputs of 8,192 coordinates.
    pub off_diagonal: f64,
    /// `ε` > 0 beside variances; 1e-4 by default.
    #[serde(default = "epsilon")]
    pub epsilon: f64,
}

const fn epsilon() -> f64 {
    1e-4
}

impl Component for BarlowTwins {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        not_negative("off_diagonal", self.off_diagonal)?;
        positive("epsilon", self.epsilon)?;
        Ok(self)
    }
}

impl Objective for BarlowTwins {
    /// # Panics
    /// With fewer than two pairs.
    fn loss(&self, outputs: Outputs) -> Tensor<1> {
        let [n, m] = outputs.first.dims();
        assert!(n > 1, "Barlow Twins standardises over the batch: it has two pairs or more");
        let standardised = |f: Tensor<2>| {
            let centred = f.clone() - f.mean_dim(0);
            let variance = centred.clone().square().mean_dim(0);
            centred / (variance + self.epsilon).sqrt()
        };
        let (first, second) = (standardised(outputs.first), standardised(outputs.second));
        let on_diagonal = (first.clone() * second.clone()).mean_dim(0);
        let all = (first.transpose().matmul(second) / n as f64).square().sum();
        let off_diagonal = all - on_diagonal.clone().square().sum();
        ((on_diagonal - 1.0).square().sum() + off_diagonal * self.off_diagonal) / m as f64
    }

    fn drift(&self, model: &LinearModel) -> Option<Mat<f64>> {
        Some(model.barlow_twins(self))
    }

    fn in_host_memory(&self) -> Option<&dyn HostObjective> {
        Some(self)
    }
}
