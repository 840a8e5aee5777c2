//! Alignment and uniformity.

use super::{Objective, Outputs, normalized};
use crate::closed_form::HostObjective;
use burn::tensor::Tensor;
use cl_config::{Component, ConfigError, not_negative, positive};
use serde::{Deserialize, Serialize};

/// Alignment and uniformity on the unit sphere (Wang & Isola 2020):
///
/// ```text
/// mean_i ‖F̂_i − Ĝ_i‖² + w · ½ Σ_views log mean_{i≠j} e^{−t‖F̂_i − F̂_j‖²}.
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlignmentUniformity {
    /// Weight of uniformity, `w` ≥ 0; 1 in the paper.
    pub uniformity: f64,
    /// `t` > 0; 2 by default, as in the paper.
    #[serde(default = "exponent")]
    pub exponent: f64,
}

const fn exponent() -> f64 {
    2.0
}

impl Component for AlignmentUniformity {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        not_negative("uniformity", self.uniformity)?;
        positive("exponent", self.exponent)?;
        Ok(self)
    }
}

impl Objective for AlignmentUniformity {
    /// # Panics
    /// With fewer than two pairs.
    fn loss(&self, outputs: Outputs) -> Tensor<1> {
        let [n, _] = outputs.first.dims();
        assert!(n > 1, "uniformity compares samples: a batch has two pairs or more");
        let (first, second) = (normalized(outputs.first), normalized(outputs.second));
        let alignment = (first.clone() - second.clone()).square().sum_dim(1).mean();
        let of_view = |f: Tensor<2>| uniformity(f, self.exponent);
        alignment + (of_view(first) + of_view(second)) * (self.uniformity / 2.0)
    }

    fn in_host_memory(&self) -> Option<&dyn HostObjective> {
        Some(self)
    }
}

/// `log mean_{i≠j} e^{−t‖u_i − u_j‖²}` of rows, `[1]`: 0 where all are alike, falling as they spread over the sphere.
pub fn uniformity(rows: Tensor<2>, exponent: f64) -> Tensor<1> {
    let [n, _] = rows.dims();
    let squares = rows.clone().square().sum_dim(1);
    let products = rows.clone().matmul(rows.transpose());
    let distances = squares.clone() + squares.transpose() - products * 2.0;
    let itself = Tensor::<2>::eye(n, &distances.device()).bool();
    let pairs = (distances.clamp_min(0.0) * -exponent).exp().mask_fill(itself, 0.0);
    (pairs.sum() / (n * (n - 1)) as f64).log()
}
