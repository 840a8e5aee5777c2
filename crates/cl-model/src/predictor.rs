//! The prediction head of non-contrastive objectives: from the output for one view to that for the other.

use crate::encoders::{Normalization, StandardNormals};
use crate::{GroupConfig, Projector, ProjectorConfig};
use burn::module::{Module, Param, ParamGroup};
use burn::tensor::{Device, Tensor};
use cl_config::{Component, ConfigError, not_negative, positive};
use serde::{Deserialize, Serialize};

/// A [`Predictor`] and how it is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictorConfig {
    /// What it computes.
    pub network: PredictorNetwork,
    /// Its learning rate over that of the encoder, larger than 0. Default 1.
    #[serde(default = "one")]
    pub learning_rate_factor: f64,
    /// Its weight decay, at least 0. Default: that of the optimizer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
}

/// What a [`Predictor`] computes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PredictorNetwork {
    /// `P f`, with P equal to 1 at the start.
    Linear,
    /// `f + E f`, with E equal to 0 at the start and on its diagonal (Wen & Li 2022).
    OffDiagonal,
    /// `W₂ relu(norm(W₁ f + b₁)) + b₂` with any number of hidden layers, random at the start (Grill et al. 2020; Chen & He 2021).
    Mlp {
        /// Units of each hidden layer.
        hidden_dims: Vec<usize>,
        /// Before each ReLU. Default [`Normalization::None`].
        #[serde(default)]
        normalization: Normalization,
    },
}

const fn one() -> f64 {
    1.0
}

impl Component for PredictorConfig {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        if let PredictorNetwork::Mlp { hidden_dims, normalization } = &self.network {
            mlp(hidden_dims, *normalization, 1).checked().map_err(|e| e.below("network.mlp"))?;
        }
        positive("learning_rate_factor", self.learning_rate_factor)?;
        self.weight_decay.map_or(Ok(()), |decay| not_negative("weight_decay", decay))?;
        Ok(self)
    }
}

fn mlp(hidden_dims: &[usize], normalization: Normalization, output_dim: usize) -> ProjectorConfig {
    ProjectorConfig { hidden_dims: hidden_dims.to_vec(), output_dim, normalization, frozen: false }
}

impl PredictorConfig {
    /// A predictor of outputs `[B, dim]`.
    pub fn init(&self, dim: usize, normals: &mut StandardNormals<'_>, device: &Device) -> Predictor {
        match &self.network {
            PredictorNetwork::Linear => Predictor::Linear(Param::from_tensor(Tensor::eye(dim, device))),
            PredictorNetwork::OffDiagonal => {
                Predictor::OffDiagonal(Param::from_tensor(Tensor::zeros([dim, dim], device)))
            }
            PredictorNetwork::Mlp { hidden_dims, normalization } => {
                Predictor::Mlp(mlp(hidden_dims, *normalization, dim).init(dim, normals, device))
            }
        }
    }

    /// How the parameters of the [`predictor`](crate::Siamese::predictor) of a model are updated.
    pub fn group(&self) -> GroupConfig {
        GroupConfig {
            group: ParamGroup::from_regex(r"^predictor\.").expect("a valid pattern"),
            weight_decay: self.weight_decay,
            learning_rate_factor: self.learning_rate_factor,
        }
    }
}

/// A map from outputs `[B, k]` to predictions `[B, k]`.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "one exists in a model")]
pub enum Predictor {
    /// `P`, `[k, k]`; row i is what prediction i takes from each output.
    Linear(Param<Tensor<2>>),
    /// `E`, `[k, k]`, beside the outputs themselves; its diagonal counts for nothing.
    OffDiagonal(Param<Tensor<2>>),
    /// A network.
    Mlp(Projector),
}

impl Predictor {
    /// The predictions, `[B, k]`.
    pub fn forward(&self, outputs: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Linear(matrix) => outputs.matmul(matrix.val().transpose()),
            Self::OffDiagonal(matrix) => outputs.clone() + outputs.matmul(off_diagonal(matrix.val()).transpose()),
            Self::Mlp(mlp) => mlp.forward(outputs),
        }
    }

    /// `P` or `E`; `None` for an MLP.
    pub const fn matrix(&self) -> Option<&Param<Tensor<2>>> {
        match self {
            Self::Linear(matrix) | Self::OffDiagonal(matrix) => Some(matrix),
            Self::Mlp(_) => None,
        }
    }

    /// Frobenius norm of what predictions take from other outputs; `None` for an MLP.
    pub fn off_diagonal_norm(&self) -> Option<f64> {
        let matrix = self.matrix()?.val().inner();
        Some(off_diagonal(matrix).square().sum().sqrt().into_scalar())
    }
}

fn off_diagonal(matrix: Tensor<2>) -> Tensor<2> {
    let diagonal = Tensor::eye(matrix.dims()[0], &matrix.device());
    matrix * (1.0 - diagonal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn predictor(network: PredictorNetwork, device: &Device) -> Predictor {
        let config = PredictorConfig { network, learning_rate_factor: 1.0, weight_decay: None };
        config.checked().unwrap().init(2, &mut |n| vec![1.0; n], device)
    }

    fn values(tensor: Tensor<2>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    #[test]
    fn matrices_start_as_the_identity() {
        let x = || Tensor::<2>::from_data([[1.0, -2.0], [0.5, 3.0]], &Device::flex());
        for network in [PredictorNetwork::Linear, PredictorNetwork::OffDiagonal] {
            let predictor = predictor(network, &Device::flex());
            assert_eq!(values(predictor.forward(x())), values(x()));
            assert_eq!(predictor.off_diagonal_norm(), Some(0.0));
        }
    }

    #[test]
    fn rows_are_what_a_prediction_takes_and_the_diagonal_of_e_counts_for_nothing() {
        let device = Device::flex().autodiff();
        let matrix = || Param::from_tensor(Tensor::from_data([[2.0, 3.0], [4.0, 5.0]], &device));
        let x = || Tensor::<2>::from_data([[1.0, 10.0]], &device);
        let linear = Predictor::Linear(matrix());
        assert_eq!(values(linear.forward(x())), [32.0, 54.0]);
        let off = Predictor::OffDiagonal(matrix());
        assert_eq!(values(off.forward(x())), [31.0, 14.0]);
        assert_eq!(off.off_diagonal_norm(), Some(5.0));
        let gradients = off.forward(x()).sum().backward();
        assert_eq!(values(off.matrix().unwrap().grad(&gradients).unwrap()), [0.0, 10.0, 1.0, 0.0]);
    }

    #[test]
    fn an_mlp_has_as_many_outputs_as_inputs_and_its_sizes_are_checked() {
        let mlp = |hidden_dims| PredictorNetwork::Mlp { hidden_dims, normalization: Normalization::None };
        let out = predictor(mlp(vec![3]), &Device::flex()).forward(Tensor::ones([1, 2], &Device::flex()));
        // W₁ = √(2/2), W₂ = √(1/3): three hidden units of 2.
        assert!(values(out).iter().all(|v| (v - 6.0 / 3f32.sqrt()).abs() < 1e-5));
        let config = PredictorConfig { network: mlp(vec![0]), learning_rate_factor: 1.0, weight_decay: None };
        assert_eq!(config.checked().unwrap_err().key, "network.mlp.hidden_dims[0]");
        let config =
            PredictorConfig { network: PredictorNetwork::Linear, learning_rate_factor: 0.0, weight_decay: None };
        assert_eq!(config.checked().unwrap_err().key, "learning_rate_factor");
    }
}
