//! The negative cosine of two views, the loss of SimSiam and BYOL.

use super::{Objective, Outputs, unit_rows::unit_rows};
use crate::closed_form::HostObjective;
use crate::drift::LinearModel;
use burn::tensor::Tensor;
use cl_config::{Component, ConfigError, positive};
use faer::{Mat, Scale};
use serde::{Deserialize, Serialize};

/// `−½ mean ⟨F̂, sg Ĝ⟩ − ½ mean ⟨Ĝ, sg F̂⟩` (Chen & He 2021; Grill et al. 2020) with rows `F̂ = F/√(‖F‖² + ε)` and sg, which no gradient
/// passes. From −1, both views alike, to 1.
///
/// With a predictor `F, G` are predictions, and those inside sg the outputs before it (SimSiam); with a momentum copy they are the
/// copy's (BYOL). Without either the gradient is half of that without sg. A model whose outputs are all the same is at its minimum.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NegativeCosine {
    /// Whether the side that is compared with passes no gradient; true by default.
    #[serde(default = "yes")]
    pub stop_gradient: bool,
    /// `ε` > 0 beside squared lengths; 1e-4 by default.
    #[serde(default = "epsilon")]
    pub epsilon: f64,
}

const fn yes() -> bool {
    true
}

const fn epsilon() -> f64 {
    1e-4
}

impl Component for NegativeCosine {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        positive("epsilon", self.epsilon)?;
        Ok(self)
    }
}

impl Objective for NegativeCosine {
    fn loss(&self, outputs: Outputs) -> Tensor<1> {
        let unit = |f| unit_rows(f, self.epsilon);
        let [first, second] = [outputs.first, outputs.second].map(unit);
        let [of_first, of_second] = outputs.targets.map_or_else(|| [first.clone(), second.clone()], |t| t.map(unit));
        let [at_first, at_second] = [of_first, of_second].map(|f| if self.stop_gradient { f.detach() } else { f });
        ((first * at_second).sum_dim(1) + (second * at_first).sum_dim(1)).mean() / -2.0
    }

    fn takes_targets(&self) -> bool {
        true
    }

    fn drift(&self, model: &LinearModel) -> Option<Mat<f64>> {
        let factor = if self.stop_gradient { 0.5 } else { 1.0 };
        Some(model.cosine() * Scale(factor))
    }

    fn in_host_memory(&self) -> Option<&dyn HostObjective> {
        Some(self)
    }
}
