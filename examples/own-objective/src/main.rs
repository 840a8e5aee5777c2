//! A loss of one's own, on data whose features are known.

use burn::tensor::{Tensor, activation::relu};
use cl_config::{Component, ConfigError, positive};
use cl_experiments::Laboratory;
use cl_model::{Objective, Outputs, objectives::normalized};
use serde::{Deserialize, Serialize};

/// `relu(margin − s_ii + s_ij)`, mean over i ≠ j, with s_ij the cosine of the first view of i and the second view of j.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hinge {
    /// By how much the views of one sample have to be more alike than those of two; > 0.
    margin: f64,
}

impl Component for Hinge {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        positive("margin", self.margin)?;
        Ok(self)
    }
}

impl Objective for Hinge {
    fn loss(&self, outputs: Outputs) -> Tensor<1> {
        let cosines = normalized(outputs.first).matmul(normalized(outputs.second).transpose());
        let [n, _] = cosines.dims();
        let itself = Tensor::<2>::eye(n, &cosines.device());
        let positives = (cosines.clone() * itself.clone()).sum_dim(1);
        let hinges = relu(cosines - positives + self.margin) * (itself.neg() + 1.0);
        hinges.sum() / (n * (n - 1)) as f64
    }

    fn at_chance(&self, _batch_size: usize, _negatives: Option<usize>) -> Option<f64> {
        Some(self.margin)
    }
}

fn main() -> std::process::ExitCode {
    Laboratory::standard().built_from(env!("CARGO_MANIFEST_DIR")).objective::<Hinge>("hinge").main()
}
