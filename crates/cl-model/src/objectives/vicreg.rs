//! VICReg.

use super::{Objective, Outputs};
use crate::closed_form::HostObjective;
use crate::drift::{LinearModel, trace};
use burn::tensor::Tensor;
use cl_config::{Component, ConfigError, not_negative, positive};
use faer::{Mat, Scale};
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

    /// `−(4 inv/m) W(G − C) + (var/m) [s_i < 1] G w_i/s_i − (4 cov/m) off(V) W G − (4 cov/m)[(tr V − V_ii) W G + off(V) W G]/(B − 1)`
    /// with `V = WGWᵀ`; the last term is what a covariance over B samples has beside that over all.
    fn drift(&self, model: &LinearModel) -> Option<Mat<f64>> {
        let m = model.weights.nrows();
        let deviations = model.deviations(self.epsilon);
        let covariance = model.of_outputs(&model.view);
        let total = trace(&covariance);
        let finite = 1.0 / (model.batch_size as f64 - 1.0);
        let of_view = Mat::from_fn(m, m, |i, j| {
            if i != j {
                return -4.0 * self.covariance * covariance[(i, j)] * (1.0 + finite);
            }
            let hinge = if deviations[i] < 1.0 { self.variance / deviations[i] } else { 0.0 };
            -4.0 * self.invariance + hinge - 4.0 * self.covariance * (total - covariance[(i, i)]) * finite
        });
        let drift = Scale(4.0 * self.invariance) * model.with_cross_view() + of_view * model.with_view();
        Some(Scale(1.0 / m as f64) * drift)
    }

    fn in_host_memory(&self) -> Option<&dyn HostObjective> {
        Some(self)
    }
}
