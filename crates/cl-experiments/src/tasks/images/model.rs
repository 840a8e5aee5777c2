//! What image encoders are trained on and what is computed from it: batches, losses, similarities.

use super::spec::ImageSpec;
use crate::tasks::initial_model::{self, Behind};
use crate::tasks::two_view_loss::{self, values};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Gradients, Int, Tensor, TensorData};
use burn::train::TrainOutput;
use cl_model::conv::ImageEncoder;
use cl_model::{EncoderConfig, MomentumCopy, Outputs, Siamese};

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
pub fn loss<E: ImageEncoder>(model: &Siamese<E>, spec: &ImageSpec, batch: &ImageBatch) -> Tensor<1> {
    let features = model.encoder.forward(seen(model, batch));
    match spec.objective() {
        None => model.cross_entropy(features, batch.classes.clone()),
        Some(objective) => objective.loss(compared(model, batch, features)),
    }
}

/// Mean loss of a batch, `[1]`, and its gradients: of convolutions by [`cl_model::host_conv`] where they are a stack of those that it knows
/// and the device is the processor, of everything else through autodiff.
pub fn gradients<E: ImageEncoder>(model: &Siamese<E>, spec: &ImageSpec, batch: &ImageBatch) -> TrainOutput<Tensor<1>> {
    let images = seen(model, batch);
    let on_host = images.device().inner() == Device::flex();
    let Some(stack) = model.encoder.as_conv_stack().filter(|stack| on_host && stack.is_training()) else {
        return behind_features(model, spec, batch, model.encoder.forward(images), |grads| {
            GradientsParams::from_grads(grads, model)
        });
    };
    let ([n, _, h, w], parameters) = (images.dims(), stack.parameters());
    let pass = parameters.stack().forward(values(&images.into_data()), [h, w]);
    stack.update_running_moments(pass.moments());
    let features = TensorData::new(pass.features.clone(), [n, pass.features.len() / n]);
    let features = Tensor::<2>::from_data(features, &Device::flex().autodiff()).require_grad();
    behind_features(model, spec, batch, features.clone(), |grads| {
        let of_features = features.grad(&grads).unwrap_or_else(|| features.clone().inner().zeros_like()).into_data();
        let mut all = GradientsParams::from_grads(grads, model);
        stack.register(pass.backward(values(&of_features)), &mut all);
        all
    })
}

/// Loss and gradients of what is behind the features of a batch; `collect` adds those of what is in front.
fn behind_features<E: ImageEncoder>(
    model: &Siamese<E>,
    spec: &ImageSpec,
    batch: &ImageBatch,
    features: Tensor<2>,
    collect: impl FnOnce(Gradients) -> GradientsParams,
) -> TrainOutput<Tensor<1>> {
    let Some(objective) = spec.objective() else {
        let loss = model.cross_entropy(features, batch.classes.clone());
        return TrainOutput { grads: collect(loss.backward()), item: loss.detach() };
    };
    let outputs = compared(model, batch, features);
    let is_host = outputs.first.device().inner() == Device::flex();
    let on_host = objective.in_host_memory().filter(|_| is_host);
    two_view_loss::gradients(model, (objective.as_ref(), on_host), outputs, collect)
}

/// What the encoder in training sees of a batch: all views, in one pass so that batch normalisation sees them together, or, where keys come
/// from a momentum copy, the first ones.
fn seen<E: ImageEncoder>(model: &Siamese<E>, batch: &ImageBatch) -> Tensor<4> {
    if model.queue.is_some() { halves(batch.views.clone())[0].clone() } else { batch.views.clone() }
}

/// What an objective sees of the features of a batch.
fn compared<E: ImageEncoder>(model: &Siamese<E>, batch: &ImageBatch, features: Tensor<2>) -> Outputs {
    let outputs = model.project(features);
    let of_copy = |copy: &MomentumCopy<E>, views| copy.output_of(features_detached(&copy.encoder, views));
    let copied = |views| model.momentum_copy.as_ref().map(|copy| of_copy(copy, views));
    if model.queue.is_some() {
        let [_, of_keys] = halves(batch.views.clone());
        return model.queued(outputs, copied(of_keys).expect("a queue comes with a momentum copy"));
    }
    let [first, second] = halves(outputs);
    model.compared(first, second, copied(batch.views.clone()).map(halves))
}

/// Features of images that no gradient passes, `[n, feature_dim]`.
pub fn features_detached<E: ImageEncoder>(encoder: &E, images: Tensor<4>) -> Tensor<2> {
    let Some(stack) = encoder.as_conv_stack().filter(|_| images.device() == Device::flex()) else {
        return encoder.forward_detached(images);
    };
    let ([n, _, h, w], parameters, images) = (images.dims(), stack.parameters(), images.into_data());
    let features = if stack.is_training() {
        let pass = parameters.stack().forward(values(&images), [h, w]);
        stack.update_running_moments(pass.moments());
        pass.features
    } else {
        parameters.stack().infer(values(&images), [h, w], &stack.running_moments())
    };
    let columns = features.len() / n;
    Tensor::from_data(TensorData::new(features, [n, columns]), &Device::flex())
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

/// The first and the second half of what is stacked.
pub fn halves<const D: usize>(both: Tensor<D>) -> [Tensor<D>; 2] {
    let n = both.dims()[0] / 2;
    [both.clone().narrow(0, 0, n), both.narrow(0, n, n)]
}
