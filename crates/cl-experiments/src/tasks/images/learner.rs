//! An image encoder in training: one pass over both views, a loss, a step.

use crate::spec::images::{ImageObjective, ImageSpec};
use crate::tasks::head::zero_head;
use crate::tasks::task::{Learning, StepOutput};
use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Int, Tensor};
use burn::train::{TrainOutput, TrainStep};
use cl_data::{Part, Purpose, Stream, standard_normal};
use cl_model::conv::{ImageEncoder, Projector};
use cl_model::{cross_entropy, nt_xent};

/// Encoder with projector (contrastive) or head (supervised).
#[derive(Module, Debug)]
pub struct ImageLearner {
    /// From images to features.
    pub encoder: ImageEncoder,
    /// From features to what the contrastive loss sees.
    pub projector: Option<Projector>,
    /// The linear head of the supervised objective.
    pub head: Option<Linear>,
    #[module(skip)]
    step: u64,
    #[module(skip)]
    objective: ImageObjective,
}

/// What one step trains on, outside autodiff.
#[derive(Debug, Clone)]
pub struct ImageBatch {
    /// The step it belongs to.
    pub step: u64,
    /// All first views, then all second views, `[2B, 3, h, w]`; with labels the first views alone, `[B, 3, h, w]`.
    pub views: Tensor<4>,
    /// `[B]`, in 0..K.
    pub classes: Tensor<1, Int>,
}

impl ImageLearner {
    /// The learner at step 0; `device` decides whether gradients can be taken.
    pub fn new(spec: &ImageSpec, seed: u64, device: &Device) -> Self {
        let mut rng = Stream::new(seed, Purpose::InitialWeights).rng(Part::Whole, 0);
        let mut normals = |count| standard_normal(&mut rng, count);
        let encoder = spec.network.encoder.init(&mut normals, device);
        let features = encoder.feature_dim();
        let (projector, head) = match spec.objective {
            ImageObjective::Supervised => (None, Some(zero_head(features, spec.content().num_classes, device))),
            _ => (Some(spec.network.projector.init(features, &mut normals, device)), None),
        };
        Self { encoder, projector, head, step: 0, objective: spec.objective }
    }

    /// Mean loss of a batch, `[1]`.
    pub fn loss(&self, batch: &ImageBatch) -> Tensor<1> {
        let features = self.encoder.forward(batch.views.clone());
        match (self.objective, &self.projector, &self.head) {
            (ImageObjective::NtXent(spec), Some(projector), _) => {
                let [first, second] = halves(projector.forward(features));
                nt_xent(first, second, spec.temperature)
            }
            (ImageObjective::InfoNce(spec), Some(projector), _) => {
                let [first, second] = halves(projector.forward(features));
                spec.info_nce().forward(first, second, None).loss
            }
            (_, _, Some(head)) => cross_entropy(head.forward(features), batch.classes.clone()),
            _ => unreachable!("an objective comes with its projector or head"),
        }
    }

    /// Cosines of projections, means over a batch; `None` with labels.
    pub fn similarities(&self, batch: &ImageBatch) -> Option<Similarities> {
        let [first, second] = halves(self.projector.as_ref()?.forward(self.encoder.forward(batch.views.clone())));
        let unit = |z: Tensor<2>| {
            let norm = z.clone().square().sum_dim(1).sqrt().clamp_min(1e-12);
            z / norm
        };
        let cosines = unit(first).matmul(unit(second).transpose());
        let [n, _] = cosines.dims();
        let positive: f64 = (cosines.clone() * Tensor::eye(n, &cosines.device())).sum().into_scalar();
        let all: f64 = cosines.sum().into_scalar();
        let negative = (n > 1).then(|| (all - positive) / (n * (n - 1)) as f64);
        Some(Similarities { positive: positive / n as f64, negative })
    }
}

/// Mean cosines of projections over a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Similarities {
    /// Of the two views of an image.
    pub positive: f64,
    /// Of views of different images; `None` for a single image.
    pub negative: Option<f64>,
}

fn halves(rows: Tensor<2>) -> [Tensor<2>; 2] {
    let n = rows.dims()[0] / 2;
    [rows.clone().narrow(0, 0, n), rows.narrow(0, n, n)]
}

impl Learning for ImageLearner {
    fn steps_done(&self) -> u64 {
        self.step
    }

    fn at_step(self, steps_done: u64) -> Self {
        Self { step: steps_done, ..self }
    }
}

impl TrainStep for ImageLearner {
    type Input = ImageBatch;
    type Output = StepOutput;

    fn step(&self, batch: ImageBatch) -> TrainOutput<StepOutput> {
        assert_eq!(batch.step, self.step, "the batch belongs to another step");
        let loss = self.loss(&batch);
        let gradients = loss.backward();
        TrainOutput::new(self, gradients, StepOutput { step: self.step, loss: loss.detach() })
    }

    fn optimize(
        self,
        optimizer: &mut burn::optim::ModuleOptimizer,
        step_size: burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate,
        gradients: burn::optim::GradientsParams,
    ) -> Self {
        let stepped = optimizer.step(step_size, self, gradients);
        Self { step: stepped.step + 1, ..stepped }
    }

    fn optimize_multi(
        self,
        optimizer: &mut burn::optim::ModuleOptimizer,
        step_size: burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate,
        gradients: burn::optim::MultiGradientsParams,
    ) -> Self {
        let stepped = optimizer.step_multi(step_size, self, gradients);
        Self { step: stepped.step + 1, ..stepped }
    }
}
