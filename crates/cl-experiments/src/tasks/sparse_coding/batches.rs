//! The samples of each step, drawn afresh.

use super::spec::{ClassesSpec, TrainingSpec};
use burn::tensor::{Device, Int, Tensor, TensorData};
use cl_data::{Matrix, Part, Purpose, Stream, standard_normal};

/// Samples of one step.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "one exists at a time, for the length of a step")]
pub enum Samples {
    /// Positive pairs and negatives.
    Pairs {
        /// `x⁺`, `[B, d1]`.
        x_plus: Tensor<2>,
        /// `x⁺⁺`, `[B, d1]`.
        x_plus_plus: Tensor<2>,
        /// `[N, d1]`; without them the other keys serve.
        negatives: Option<Tensor<2>>,
    },
    /// Observations and their classes.
    Labelled {
        /// `[B, d1]`.
        x: Tensor<2>,
        /// `[B]`, in 0..K.
        classes: Tensor<1, Int>,
    },
}

/// Draws the batch of any step on any device.
#[derive(Debug, Clone)]
pub struct BatchSource {
    sampler: cl_data::PairSampler,
    classes: Option<ClassesSpec>,
    /// `C` of the classes, `[K, d]`.
    class_matrix: Matrix,
}

impl BatchSource {
    /// The batches of one seed.
    pub fn new(spec: &TrainingSpec, seed: u64) -> Self {
        let d = spec.data.code_dim;
        let classes = spec.data.classes.filter(|_| spec.is_supervised());
        let count = classes.map_or(0, |classes| classes.count);
        let mut rng = Stream::new(seed, Purpose::Classes).rng(Part::Whole, 0);
        let class_matrix = Matrix::from_values(count, d, standard_normal(&mut rng, count * d));
        Self { sampler: spec.sampler(seed), classes, class_matrix }
    }

    /// The samples trained on at `step`.
    pub fn training(&self, step: u64, device: &Device) -> Samples {
        match self.classes {
            None => on_device(self.sampler.batch(step), device),
            Some(classes) => self.labelled(classes, Purpose::TrainingPairs, step, device),
        }
    }

    /// The contrastive batch of `step` in host memory.
    pub fn on_host(&self, step: u64) -> cl_data::ContrastiveBatch {
        self.sampler.batch(step)
    }

    /// Held-out samples of the same kind, for the loss shown at `step`.
    pub fn held_out(&self, step: u64, device: &Device) -> Samples {
        match self.classes {
            None => on_device(self.sampler.held_out_batch(step), device),
            Some(classes) => self.labelled(classes, Purpose::HeldOutPairs, step, device),
        }
    }

    /// The data model.
    pub fn data(&self) -> &cl_data::SparseCodingModel {
        &self.sampler.data
    }

    fn labelled(&self, wanted: ClassesSpec, purpose: Purpose, step: u64, device: &Device) -> Samples {
        let stream = Stream::new(self.sampler.seed, purpose);
        let observations = self.sampler.data.sample(self.sampler.batch_size, stream, step);
        let mut classes: Vec<i64> = observations.z.iter_rows().map(|z| self.class_of(z) as i64).collect();
        if wanted.shuffled {
            // Observations are independent, so the class of the next one is as good as any.
            classes.rotate_left(1);
        }
        let count = classes.len();
        Samples::Labelled {
            x: observations.x.into_tensor(device),
            classes: Tensor::from_data(TensorData::new(classes, [count]), device),
        }
    }

    /// `argmax_k (C z)_k`; the smallest k among equals, so z = 0 is class 0.
    fn class_of(&self, z: &[f32]) -> usize {
        let scores = self.class_matrix.iter_rows().map(|c| c.iter().zip(z).map(|(c, z)| c * z).sum::<f32>());
        let best =
            scores.enumerate().fold((0, f32::NEG_INFINITY), |best, (k, s)| if s > best.1 { (k, s) } else { best });
        best.0
    }
}

fn on_device(batch: cl_data::ContrastiveBatch, device: &Device) -> Samples {
    Samples::Pairs {
        x_plus: batch.pair.x_plus.into_tensor(device),
        x_plus_plus: batch.pair.x_plus_plus.into_tensor(device),
        negatives: batch.negatives.map(|n| n.into_tensor(device)),
    }
}
