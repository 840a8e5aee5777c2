//! The model of every kind of training: one encoder for all views, and what stands between it and the loss.

use crate::Projector;
use crate::encoders::Encoder;
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;

/// Encoder with projector, or with the linear head of the supervised objective.
#[derive(Module, Debug)]
pub struct Siamese<E: Module> {
    /// From what the network sees to features.
    pub encoder: E,
    /// From features to what the loss of two views sees; the features themselves without one.
    pub projector: Option<Projector>,
    /// From features to logits of classes.
    pub head: Option<Linear>,
}

impl<E: Encoder> Siamese<E> {
    /// What the loss of two views sees, `[n, k]`.
    pub fn output(&self, x: E::Input) -> Tensor<2> {
        self.project(self.encoder.forward(x))
    }

    /// The same outside the gradient.
    pub fn output_detached(&self, x: E::Input) -> Tensor<2> {
        match &self.projector {
            None => self.encoder.forward_detached(x),
            Some(projector) => projector.forward(self.encoder.forward_detached(x)).detach(),
        }
    }

    /// Features as the loss of two views sees them.
    pub fn project(&self, features: Tensor<2>) -> Tensor<2> {
        match &self.projector {
            None => features,
            Some(projector) => projector.forward(features),
        }
    }

    /// Logits of classes, `[n, K]`.
    ///
    /// # Panics
    /// Without a head.
    pub fn logits(&self, x: E::Input) -> Tensor<2> {
        let head = self.head.as_ref().expect("the supervised objective comes with a head");
        head.forward(self.encoder.forward(x))
    }

    /// The model after the update of a step, counted from 0; `optimize` moves the parameters.
    pub fn updated(self, step: u64, optimize: impl FnOnce(Self) -> Self) -> Self {
        let after_update = self.encoder.after_update(step);
        let mut moved = optimize(self);
        if let Some(after_update) = after_update {
            moved.encoder = after_update(moved.encoder);
        }
        moved
    }
}
