//! Barlow Twins.

use super::{Objective, Outputs};
use crate::closed_form::HostObjective;
use crate::drift::LinearModel;
use burn::tensor::Tensor;
use cl_config::{Component, ConfigError, not_negative, positive};
use faer::{Mat, Scale};
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

    /// Row i is `(4/m) [(1 − ρ_i)(C − ρ_i G) w_i/s_i² − a Σ_{j≠i} K_ij (C w_j/(s_i s_j) − K_ij G w_i/s_i²)]` with
    /// `s_i² = w_iᵀGw_i + ε`, `K = S⁻¹WCWᵀS⁻¹` and `ρ_i = K_ii`.
    fn drift(&self, model: &LinearModel) -> Option<Mat<f64>> {
        let m = model.weights.nrows();
        let deviations = model.deviations(self.epsilon);
        let products = model.of_outputs(&model.cross_view);
        let correlation = Mat::from_fn(m, m, |i, j| products[(i, j)] / (deviations[i] * deviations[j]));
        // Every row of the drift is a sum of rows of WC and WG.
        let of_cross_view = Mat::from_fn(m, m, |i, j| {
            let scale = deviations[i] * deviations[j];
            match i == j {
                true => (1.0 - correlation[(i, i)]) / scale,
                false => -self.off_diagonal * correlation[(i, j)] / scale,
            }
        });
        let of_view = |i: usize| {
            let own = correlation[(i, i)];
            let others: f64 = (0..m).filter(|k| *k != i).map(|k| correlation[(i, k)].powi(2)).sum();
            (self.off_diagonal * others - (1.0 - own) * own) / deviations[i].powi(2)
        };
        let with_view = model.with_view();
        let with_view = Mat::from_fn(m, with_view.ncols(), |i, c| of_view(i) * with_view[(i, c)]);
        Some(Scale(4.0 / m as f64) * (of_cross_view * model.with_cross_view() + with_view))
    }

    fn in_host_memory(&self) -> Option<&dyn HostObjective> {
        Some(self)
    }
}
