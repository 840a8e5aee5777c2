//! Keys of earlier batches, as negatives.

use crate::encoders::StandardNormals;
use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use cl_config::{Component, ConfigError, at_least, check};
use serde::{Deserialize, Serialize};

/// How many keys a [`KeyQueue`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueConfig {
    /// `K_q`, at least 1 and a multiple of the batch size; 65,536 in MoCo on ImageNet.
    pub size: usize,
    /// What a step puts into it.
    #[serde(default, skip_serializing_if = "is_keys")]
    pub filling: QueueFilling,
}

/// What a step puts into a queue. All but keys are mistakes that public programs have made, kept to see what they do.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueFilling {
    /// The keys of the step.
    #[default]
    Keys,
    /// Nothing: the random directions of the start stay.
    Nothing,
    /// This number in every coordinate.
    Constant(f64),
}

fn is_keys(filling: &QueueFilling) -> bool {
    *filling == QueueFilling::Keys
}

impl Component for QueueConfig {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        at_least("size", self.size as u64, 1)?;
        if let QueueFilling::Constant(number) = self.filling {
            check(number.is_finite(), "filling.constant", number, "a finite number")?;
        }
        Ok(self)
    }
}

impl QueueConfig {
    /// A queue of random directions of length 1, for keys `[B, dim]`.
    pub fn init(&self, dim: usize, normals: &mut StandardNormals<'_>, device: &Device) -> KeyQueue {
        let mut keys = normals(self.size * dim);
        for key in keys.chunks_exact_mut(dim) {
            let length = key.iter().map(|v| v * v).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
            key.iter_mut().for_each(|v| *v /= length);
        }
        let keys = Tensor::<2>::from_data(TensorData::new(keys, [self.size, dim]), device);
        KeyQueue { keys: Param::from_tensor(keys).no_grad(), filling: self.filling }
    }
}

/// Keys of the last K_q samples, the oldest of which make room for those of each step (He et al. 2020, MoCo). Part of the model's state; no
/// gradient reaches it.
#[derive(Module, Debug)]
pub struct KeyQueue {
    /// `[K_q, k]`.
    pub keys: Param<Tensor<2>>,
    #[module(skip)]
    filling: QueueFilling,
}

impl KeyQueue {
    /// Puts the keys of a step `[B, k]` beside its gradients, from where [`take`](Self::take) takes them at the update.
    pub fn stash(&self, gradients: &mut GradientsParams, keys: Tensor<2>) {
        gradients.register(self.keys.id, keys.without_autodiff());
    }

    /// The keys that a step has put there, if it has.
    pub fn take(&self, gradients: &mut GradientsParams) -> Option<Tensor<2>> {
        gradients.remove::<2>(self.keys.id)
    }

    /// The queue with the keys of a step, counted from 0, in the place of the oldest.
    ///
    /// # Panics
    /// When K_q is not a multiple of their number.
    #[must_use]
    pub fn enqueued(self, keys: Tensor<2>, step: u64) -> Self {
        let ([size, dim], [count, _]) = (self.keys.dims(), keys.dims());
        assert!(
            size.is_multiple_of(count),
            "a queue of {size} keys is filled by a whole number of batches, not of {count}"
        );
        let keys = match self.filling {
            QueueFilling::Keys => keys,
            QueueFilling::Nothing => return self,
            QueueFilling::Constant(number) => keys.full_like(number),
        };
        let at = (step % (size / count) as u64) as usize * count;
        let replaced =
            |own: Tensor<2>| own.detach().slice_assign([at..at + count, 0..dim], keys.clone()).set_require_grad(false);
        Self { keys: self.keys.map(replaced), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(values: [f32; 2], device: &Device) -> Tensor<2> {
        Tensor::from_data([[values[0]], [values[1]]], device)
    }

    #[test]
    fn the_oldest_keys_make_room() {
        let device = Device::flex().autodiff();
        let mut queue =
            QueueConfig { size: 4, filling: QueueFilling::Keys }.init(1, &mut |count| vec![-2.0; count], &device);
        let read = |queue: &KeyQueue| queue.keys.val().into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(read(&queue), [-1.0; 4], "of length 1 at the start");
        let expected = [[1.0, 2.0, -1.0, -1.0], [1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 3.0, 4.0]];
        for (step, expected) in expected.into_iter().enumerate() {
            let first = 2.0 * step as f32 + 1.0;
            let mut gradients = GradientsParams::new();
            queue.stash(&mut gradients, keys([first, first + 1.0], &device));
            let left = queue.take(&mut gradients).unwrap();
            assert!(queue.take(&mut gradients).is_none(), "no optimizer sees them");
            queue = queue.enqueued(left, step as u64);
            assert_eq!(read(&queue), expected);
            assert!(!queue.keys.is_require_grad());
        }
    }

    #[test]
    fn mistakes_are_made_as_they_are_asked_for() {
        let device = Device::flex().autodiff();
        let filled = |filling: QueueFilling| {
            let queue = QueueConfig { size: 4, filling }.init(1, &mut |count| vec![-2.0; count], &device);
            queue.enqueued(keys([1.0, 2.0], &device), 0).keys.val().into_data().try_to_vec::<f32>().unwrap()
        };
        assert_eq!(filled(QueueFilling::Nothing), [-1.0; 4]);
        assert_eq!(filled(QueueFilling::Constant(0.5)), [0.5, 0.5, -1.0, -1.0]);
        let config = QueueConfig { size: 4, filling: QueueFilling::Constant(f64::INFINITY) };
        assert!(config.checked().unwrap_err().to_string().starts_with("filling.constant = inf "));
    }

    #[test]
    #[should_panic(expected = "whole number of batches")]
    fn batches_fill_it_a_whole_number_of_times() {
        let device = Device::flex();
        let queue =
            QueueConfig { size: 3, filling: QueueFilling::Keys }.init(1, &mut |count| vec![1.0; count], &device);
        let _ = queue.enqueued(keys([1.0, 2.0], &device), 0);
    }
}
