//! What a representation is trained for: losses of the outputs of two views.
//!
//! An objective holds no parameters: whatever training changes is part of the model. A new one implements [`Objective`] and, to
//! be chosen in a file, [`Component`](crate::Component).

mod info_nce;
mod nt_xent;
mod softmax;

pub use info_nce::{InfoNce, InfoNceOutput, KeyGradient, LossScale, Similarity};
pub use nt_xent::{NtXent, nt_xent};
pub(crate) use softmax::log_partition;
pub use softmax::normalized;

use crate::closed_form::HostObjective;
use burn::tensor::Tensor;
use std::fmt::Debug;

/// What the model makes of the samples of a step.
#[derive(Debug, Clone)]
pub struct Outputs {
    /// Of the first view of each sample, `[B, k]`.
    pub first: Tensor<2>,
    /// Of the second view of each sample, `[B, k]`.
    pub second: Tensor<2>,
    /// Of samples that belong to no pair, `[N, k]`, where the data draw some and the objective takes them.
    pub negatives: Option<Tensor<2>>,
}

/// A loss of the outputs of two views.
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

    /// Its value where all outputs are alike, for `batch_size` pairs and `negatives` samples beside them: what training starts
    /// from, and what charts mark. `None` where there is none of interest.
    fn at_chance(&self, _batch_size: usize, _negatives: Option<usize>) -> Option<f64> {
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
