//! NT-Xent with attraction and repulsion weighed against each other.

use super::{Objective, Outputs, nt_xent};
use crate::closed_form::HostObjective;
use burn::tensor::Tensor;
use cl_config::{Component, ConfigError, not_negative, positive};
use serde::{Deserialize, Serialize};

/// [`NtXent`](super::NtXent) with a weight r on what repels,
///
/// ```text
/// mean over the 2B views of −⟨f̂_i, f̂_i'⟩/τ + r log Σ_{j ≠ i} e^{⟨f̂_i, f̂_j⟩/τ},
/// ```
///
/// with i' the other view of the sample of i. Ours: it stands in for the balanced contrastive loss of Lee 2025, arXiv 2510.10572, whose form is not
/// known here. At r = 1 it is NT-Xent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BalancedNtXent {
    /// `τ` > 0.
    pub temperature: f64,
    /// `r` ≥ 0.
    pub repulsion: f64,
}

impl Component for BalancedNtXent {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        positive("temperature", self.temperature)?;
        not_negative("repulsion", self.repulsion)?;
        Ok(self)
    }
}

impl Objective for BalancedNtXent {
    fn loss(&self, outputs: Outputs) -> Tensor<1> {
        nt_xent::balanced(outputs.first, outputs.second, self.temperature, self.repulsion)
    }

    fn at_chance(&self, batch_size: usize, _: Option<usize>) -> Option<f64> {
        // Otherwise it depends on how similar alike outputs are, here on 1/τ.
        (self.repulsion == 1.0).then(|| (2.0 * batch_size as f64 - 2.0).ln_1p())
    }

    fn in_host_memory(&self) -> Option<&dyn HostObjective> {
        Some(self)
    }
}
