//! VICReg.

use super::{Objective, Outputs};
use crate::closed_form::HostObjective;
use crate::drift::LinearModel;
use burn::tensor::Tensor;
use cl_config::{Component, ConfigError, not_negative, positive};
use faer::Mat;
use serde::{Deserialize, Serialize};

/// VICReg (Bardes et al. 2022): invariance, variance and covariance of the m outputs of both views,
///
/// ```text
/// inv · mean (F − G)² + var · ½ Σ_views mean_i relu(1 − s_i) + cov · ½ Σ_views 1/m Σ_{i≠j} Cov_ij²,   s_i = √(var_i + ε),
/// ```
///
/// variances and covariances over B − 1. The paper's loss, and lightly's, have no ½ in front of the covariances: their `nu` is half of
/// this `covariance`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VicReg {
    /// Weight of the distance of two views, `inv` ≥ 0; 25 in the paper.
    pub invariance: f64,
    /// Weight of the hinge at deviation 1, `var` ≥ 0; 25 in the paper.
    pub variance: f64,
    /// Weight of the squared covariances, `cov` ≥ 0; 2 for what is 1 in the paper.
    pub covariance: f64,
    /// `ε` > 0 beside variances; 1e-4 by default, as in the paper.
    #[serde(default = "epsilon")]
    pub epsilon: f64,
}

const fn epsilon() -> f64 {
    1e-4
}

impl Component for VicReg {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        not_negative("invariance", self.invariance)?;
        not_negative("variance", self.variance)?;
        not_negative("covariance", self.covariance)?;
        positive("epsilon", self.epsilon)?;
        Ok(self)
    }
}

impl Objective for VicReg {
    /// # Panics
    /// With fewer than two pairs.
    fn loss(&self, outputs: Outputs) -> Tensor<1> {
        let [n, m] = outputs.first.dims();
        assert!(n > 1, "VICReg takes variances over the batch: it has two pairs or more");
        let invariance = (outputs.first.clone() - outputs.second.clone()).square().mean();
        let of_view = |f: Tensor<2>| {
            let centred = f.clone() - f.mean_dim(0);
            let covariance = centred.clone().transpose().matmul(centred.clone()) / (n - 1) as f64;
            let variance = centred.square().sum_dim(0) / (n - 1) as f64;
            let hinge = ((variance.clone() + self.epsilon).sqrt() * -1.0 + 1.0).clamp_min(0.0).mean();
            let off_diagonal = (covariance.square().sum() - variance.square().sum()) / m as f64;
            hinge * self.variance + off_diagonal * self.covariance
        };
        invariance * self.invariance + (of_view(outputs.first) + of_view(outputs.second)) / 2.0
    }

    fn drift(&self, model: &LinearModel) -> Option<Mat<f64>> {
        Some(model.vicreg(self))
    }

    fn in_host_memory(&self) -> Option<&dyn HostObjective> {
        Some(self)
    }
}
