//! The model of every kind of training: one encoder for all views, and what is between it and the loss.

use crate::encoders::Encoder;
use crate::{MomentumCopy, Outputs, Predictor, Projector};
use burn::module::Module;
use burn::nn::Linear;
use burn::nn::loss::CrossEntropyLoss;
use burn::tensor::{Int, Tensor};

/// Encoder with projector, predictor and momentum copy, or with the linear head of the supervised objective.
#[derive(Module, Debug)]
pub struct Siamese<E: Module> {
    /// From what the network sees to features.
    pub encoder: E,
    /// From features to the input of the two-view loss; the features themselves without one.
    pub projector: Option<Projector>,
    /// From the output for one view to that for the other, if the objective compares predictions.
    pub predictor: Option<Predictor>,
    /// What computes the outputs that predictions are compared with; the model itself without one.
    pub momentum_copy: Option<MomentumCopy<E>>,
    /// From features to logits of classes.
    pub head: Option<Linear>,
}

impl<E: Encoder> Siamese<E> {
    /// An encoder with nothing behind it.
    pub fn of_encoder(encoder: E) -> Self {
        Self { encoder, projector: None, predictor: None, momentum_copy: None, head: None }
    }

    /// Whether nothing is behind the encoder, so that objectives see features.
    pub fn is_encoder_alone(&self) -> bool {
        self.projector.is_none() && self.predictor.is_none() && self.momentum_copy.is_none() && self.head.is_none()
    }

    /// The input of the two-view loss before any predictor, `[n, k]`.
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

    /// Features as the input of the two-view loss.
    pub fn project(&self, features: Tensor<2>) -> Tensor<2> {
        match &self.projector {
            None => features,
            Some(projector) => projector.forward(features),
        }
    }

    /// What an objective sees of two views with these outputs, and with these of the momentum copy if there is one.
    pub fn compared(&self, first: Tensor<2>, second: Tensor<2>, copied: Option<[Tensor<2>; 2]>) -> Outputs {
        let Some(predictor) = &self.predictor else {
            return Outputs { targets: copied, ..Outputs::of_views(first, second) };
        };
        let targets = copied.or_else(|| Some([first.clone(), second.clone()]));
        Outputs { targets, ..Outputs::of_views(predictor.forward(first), predictor.forward(second)) }
    }

    /// Logits of classes, `[n, K]`.
    ///
    /// # Panics
    /// Without a head.
    pub fn logits(&self, x: E::Input) -> Tensor<2> {
        let head = self.head.as_ref().expect("the supervised objective comes with a head");
        head.forward(self.encoder.forward(x))
    }

    /// Mean cross-entropy, `[1]`, of the logits against classes `[n]` in 0..K: the supervised baseline.
    ///
    /// Wen & Li 2021, abstract, question 2: supervised learning finds the sparse features without augmentation.
    ///
    /// # Panics
    /// Without a head, or when the numbers of rows differ.
    pub fn cross_entropy(&self, x: E::Input, classes: Tensor<1, Int>) -> Tensor<1> {
        let logits = self.logits(x);
        CrossEntropyLoss::new(None, &logits.device()).forward(logits, classes)
    }

    /// The model after the update of a step, counted from 0; `optimize` moves the parameters.
    pub fn updated(self, step: u64, optimize: impl FnOnce(Self) -> Self) -> Self {
        let after_update = self.encoder.after_update(step);
        let mut moved = optimize(self);
        if let Some(after_update) = after_update {
            moved.encoder = after_update(moved.encoder);
        }
        let (encoder, projector) = (&moved.encoder, moved.projector.as_ref());
        moved.momentum_copy = moved.momentum_copy.map(|copy| copy.following(encoder, projector));
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SymmetricReluEncoder;
    use burn::module::Param;
    use burn::tensor::Device;

    #[test]
    fn two_classes_give_the_logistic_loss() {
        let device = Device::flex();
        let identity = || Tensor::eye(2, &device);
        let head = Linear { weight: Param::from_tensor(identity()), bias: None };
        let model = Siamese { head: Some(head), ..Siamese::of_encoder(SymmetricReluEncoder::new(identity())) };
        let x = Tensor::from_data([[0.0, 1.0], [0.0, 1.0]], &device);
        let loss = model.cross_entropy(x, Tensor::from_data([1, 0], &device));
        let expected = 0.5 * ((-1f64).exp().ln_1p() + 1f64.exp().ln_1p());
        assert!((loss.into_scalar::<f64>() - expected).abs() < 1e-6);
    }
}
