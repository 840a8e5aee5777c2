//! What a representation is trained for: losses on the outputs for two views.
//!
//! An objective holds no parameters: whatever training changes is part of the model. A new one implements [`Objective`] and, to
//! be chosen in a file, [`Component`](crate::Component).

mod alignment_uniformity;
mod balanced_nt_xent;
mod barlow_twins;
mod decoupled_nt_xent;
mod info_nce;
mod masked_reconstruction;
mod masked_tokens;
mod negative_cosine;
mod nt_xent;
mod softmax;
mod spectral;
mod unit_rows;
mod vicreg;

pub use alignment_uniformity::{AlignmentUniformity, uniformity};
pub use balanced_nt_xent::BalancedNtXent;
pub use barlow_twins::BarlowTwins;
pub use decoupled_nt_xent::DecoupledNtXent;
pub use info_nce::{InfoNce, InfoNceOutput, KeyGradient, LossScale, Similarity};
pub use masked_reconstruction::MaskedReconstruction;
pub use masked_tokens::MaskedTokens;
pub use negative_cosine::NegativeCosine;
pub use nt_xent::{NtXent, nt_xent};
pub use softmax::normalized;
pub(crate) use softmax::{drift_of_cosines, log_partition};
pub use spectral::Spectral;
pub use vicreg::VicReg;

use crate::closed_form::HostObjective;
use crate::drift::LinearModel;
use burn::tensor::Tensor;
use faer::Mat;
use std::fmt::Debug;

/// The model's outputs for the samples of a step.
#[derive(Debug, Clone)]
pub struct Outputs {
    /// Of the first view of each sample, `[B, k]`.
    pub first: Tensor<2>,
    /// Of the second view of each sample, `[B, k]`.
    pub second: Tensor<2>,
    /// What the first two are compared with, the other way round, where that is something else: the outputs before a
    /// predictor, or those of a momentum copy. Of the first and of the second view, `[B, k]` each.
    pub targets: Option<[Tensor<2>; 2]>,
    /// Of samples that belong to no pair, `[N, k]`, if the data provide some and the objective takes them.
    pub negatives: Option<Tensor<2>>,
    /// What the model decodes from the features of the first view, and the second view, for an objective that
    /// [reconstructs](Objective::reconstructs): observations `[B, d1]`, or logits and counts of tokens `[B, V]`.
    pub reconstruction: Option<[Tensor<2>; 2]>,
}

impl Outputs {
    /// Two views that are compared with each other.
    pub fn of_views(first: Tensor<2>, second: Tensor<2>) -> Self {
        Self { first, second, targets: None, negatives: None, reconstruction: None }
    }
}

/// What a model decodes from features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconstructed {
    /// Observations, coordinate by coordinate.
    Observations,
    /// The logits of the words of a vocabulary.
    Tokens,
}

/// A loss on the outputs for two views.
pub trait Objective: Debug + Send + Sync {
    /// The mean loss, `[1]`; gradients are taken through it.
    fn loss(&self, outputs: Outputs) -> Tensor<1>;

    /// Whether gradients flow through the second view and the negatives. Where they do not, these are computed outside the graph.
    fn has_key_gradient(&self) -> bool {
        true
    }

    /// Whether it takes negatives that belong to no pair.
    fn takes_negatives(&self) -> bool {
        false
    }

    /// Whether predictions may be compared with targets that are not predictions, see [`Outputs::targets`].
    fn takes_targets(&self) -> bool {
        false
    }

    /// What it compares with what the model decodes, see [`Outputs::reconstruction`]; `None` for an objective of outputs.
    fn reconstructs(&self) -> Option<Reconstructed> {
        None
    }

    /// Its value when all outputs are alike, for `batch_size` pairs and `negatives` additional samples: where training
    /// starts, and what charts mark. `None` if there is no such value of interest.
    fn at_chance(&self, _batch_size: usize, _negatives: Option<usize>) -> Option<f64> {
        None
    }

    /// Minus the mean gradient with respect to the weights of a linear encoder, `[m, d1]`, from second moments; `None` where it is not
    /// known. See [`drift`](crate::drift).
    fn drift(&self, _model: &LinearModel) -> Option<Mat<f64>> {
        None
    }

    /// The largest similarity in units of the temperature, `[1]`, where the loss is a softmax of similarities.
    fn largest_similarity(&self, _outputs: Outputs) -> Option<Tensor<1>> {
        None
    }

    /// The same loss with its gradient in host memory, where it is known in closed form.
    fn in_host_memory(&self) -> Option<&dyn HostObjective> {
        None
    }
}
