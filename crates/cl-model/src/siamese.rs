//! The model of every kind of training: one encoder for all views, and what is between it and the loss.

use crate::encoders::Encoder;
use crate::{KeyQueue, MomentumCopy, Outputs, Predictor, Projector};
use burn::module::Module;
use burn::nn::Linear;
use burn::nn::loss::CrossEntropyLoss;
use burn::optim::GradientsParams;
use burn::tensor::{Int, Tensor};

/// Encoder with projector, predictor, momentum copy and queue, or with the linear head of the supervised objective.
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
    /// Keys of earlier batches, made by the momentum copy, as negatives; none without one.
    pub queue: Option<KeyQueue>,
    /// From features to logits of classes.
    pub head: Option<Linear>,
}

impl<E: Encoder> Siamese<E> {
    /// An encoder with nothing behind it.
    pub fn of_encoder(encoder: E) -> Self {
        Self { encoder, projector: None, predictor: None, momentum_copy: None, queue: None, head: None }
    }

    /// Whether nothing is behind the encoder, so that objectives see features.
    pub fn is_encoder_alone(&self) -> bool {
        let has_targets = self.predictor.is_some() || self.momentum_copy.is_some() || self.queue.is_some();
        self.projector.is_none() && !has_targets && self.head.is_none()
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

    /// What an objective sees of the outputs for queries, of keys by the momentum copy, and of those in the queue.
    ///
    /// # Panics
    /// Without a queue.
    pub fn queued(&self, queries: Tensor<2>, keys: Tensor<2>) -> Outputs {
        let queue = self.queue.as_ref().expect("the model has a queue");
        Outputs { negatives: Some(queue.keys.val()), ..Outputs::of_views(queries, keys) }
    }

    /// Leaves the keys of a step for the queue, if there is one, beside its gradients; see [`updated`](Self::updated).
    pub fn leave_keys(&self, gradients: &mut GradientsParams, keys: Tensor<2>) {
        if let Some(queue) = &self.queue {
            queue.stash(gradients, keys);
        }
    }

    /// Logits of classes, `[n, K]`, of features.
    ///
    /// # Panics
    /// Without a head.
    pub fn logits(&self, features: Tensor<2>) -> Tensor<2> {
        let head = self.head.as_ref().expect("the supervised objective comes with a head");
        head.forward(features)
    }

    /// Mean cross-entropy, `[1]`, of the logits of features against classes `[n]` in 0..K: the supervised baseline.
    ///
    /// Wen & Li 2021, abstract, question 2: supervised learning finds the sparse features without augmentation.
    ///
    /// # Panics
    /// Without a head, or when the numbers of rows differ.
    pub fn cross_entropy(&self, features: Tensor<2>, classes: Tensor<1, Int>) -> Tensor<1> {
        let logits = self.logits(features);
        CrossEntropyLoss::new(None, &logits.device()).forward(logits, classes)
    }

    /// The model after the update of a step, counted from 0; `optimize` moves the parameters along the gradients.
    ///
    /// # Panics
    /// When there is a queue and the step has left no keys for it.
    pub fn updated(
        self,
        step: u64,
        mut gradients: GradientsParams,
        optimize: impl FnOnce(Self, GradientsParams) -> Self,
    ) -> Self {
        let keys = self.queue.as_ref().map(|q| q.take(&mut gradients).expect("a step leaves keys for the queue"));
        let after_update = self.encoder.after_update(step);
        let mut moved = optimize(self, gradients);
        if let Some(after_update) = after_update {
            moved.encoder = after_update(moved.encoder);
        }
        let (encoder, projector) = (&moved.encoder, moved.projector.as_ref());
        moved.momentum_copy = moved.momentum_copy.map(|copy| copy.following(encoder, projector));
        moved.queue = moved.queue.zip(keys).map(|(queue, keys)| queue.enqueued(keys, step));
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
        let features = Tensor::from_data([[0.0, 1.0], [0.0, 1.0]], &device);
        let loss = model.cross_entropy(features, Tensor::from_data([1, 0], &device));
        let expected = 0.5 * ((-1f64).exp().ln_1p() + 1f64.exp().ln_1p());
        assert!((loss.into_scalar::<f64>() - expected).abs() < 1e-6);
    }
}
