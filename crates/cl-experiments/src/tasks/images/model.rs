//! What image encoders are trained on and what is computed from it: batches, losses, similarities.

use super::spec::ImageSpec;
use crate::tasks::initial_model::{self, Behind};
use crate::tasks::task::through_autodiff;
use burn::tensor::{Device, Int, Tensor};
use burn::train::TrainOutput;
use cl_model::conv::ImageEncoder;
use cl_model::{EncoderConfig, Outputs, Siamese};

/// What one step trains on, outside autodiff.
#[derive(Debug, Clone)]
pub struct ImageBatch {
    /// All first views, then all second views, `[2B, 3, h, w]`; with labels, only the first views, `[B, 3, h, w]`.
    pub views: Tensor<4>,
    /// `[B]`, in 0..K.
    pub classes: Tensor<1, Int>,
}

/// The model before training; `device` decides whether gradients can be taken.
///
/// # Panics
/// When the specification asks for another encoder, or when the images are not pinned.
pub fn initial<C: EncoderConfig<Encoder: ImageEncoder>>(
    spec: &ImageSpec,
    seed: u64,
    device: &Device,
) -> Siamese<C::Encoder> {
    let config = spec.model.encoder.config::<C>().expect("the encoder that was registered by this name");
    let behind = match spec.is_supervised() {
        true => Behind::Head(spec.content().num_classes),
        false => Behind::Outputs(&spec.model),
    };
    initial_model::init(config, spec.shape(), behind, seed, device)
}

/// Mean loss of a batch, `[1]`.
pub fn loss<E: ImageEncoder>(model: &Siamese<E>, spec: &ImageSpec, batch: ImageBatch) -> Tensor<1> {
    match spec.objective() {
        None => model.cross_entropy(batch.views, batch.classes),
        Some(objective) => objective.loss(compared(model, batch.views)),
    }
}

/// Mean loss of a batch, `[1]`, and its gradients.
pub fn gradients<E: ImageEncoder>(model: &Siamese<E>, spec: &ImageSpec, batch: ImageBatch) -> TrainOutput<Tensor<1>> {
    let Some(objective) = spec.objective() else { return through_autodiff(model, loss(model, spec, batch)) };
    let outputs = compared(model, batch.views);
    let keys = outputs.second.clone();
    let mut output = through_autodiff(model, objective.loss(outputs));
    model.leave_keys(&mut output.grads, keys);
    output
}

/// What an objective sees of the two views of a batch.
fn compared<E: ImageEncoder>(model: &Siamese<E>, views: Tensor<4>) -> Outputs {
    let of_views = |views: &Tensor<4>| {
        let n = views.dims()[0] / 2;
        [views.clone().narrow(0, 0, n), views.clone().narrow(0, n, n)]
    };
    if model.queue.is_some() {
        let [queries, of_keys] = of_views(&views);
        return model.queued(queries, of_keys).expect("a queue comes with a momentum copy");
    }
    // In one pass, so that batch normalisation sees both views together.
    let copied = model.momentum_copy.as_ref().map(|copy| halves(copy.output(views.clone())));
    let [first, second] = halves(model.output(views));
    model.compared(first, second, copied)
}

/// The outputs for both views of a batch, before any predictor, `[B, k]` each.
pub fn outputs<E: ImageEncoder>(model: &Siamese<E>, views: Tensor<4>) -> [Tensor<2>; 2] {
    halves(model.output(views))
}

/// Mean cosines of outputs over a batch of two views.
pub fn similarities([first, second]: [Tensor<2>; 2]) -> Similarities {
    let unit = |z: Tensor<2>| {
        let norm = z.clone().square().sum_dim(1).sqrt().clamp_min(1e-12);
        z / norm
    };
    let cosines = unit(first).matmul(unit(second).transpose());
    let [n, _] = cosines.dims();
    let positive: f64 = (cosines.clone() * Tensor::eye(n, &cosines.device())).sum().into_scalar();
    let all: f64 = cosines.sum().into_scalar();
    let negative = (n > 1).then(|| (all - positive) / (n * (n - 1)) as f64);
    Similarities { positive: positive / n as f64, negative }
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
