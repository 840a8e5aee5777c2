//! Where the gradient of a step comes from: Burn's autodiff over the readable formulation, or a closed form in host memory.

use super::batches::Samples;
use crate::tasks::two_view_loss::{self, values};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use burn::train::TrainOutput;
use cl_model::closed_form::{HostBatch, HostEncoder, HostObjective, Rows, loss_and_gradient};
use cl_model::{Objective, Outputs, Siamese, SymmetricReluEncoder, VectorEncoder};

/// Steps in closed form between two [sweeps](sweep_graph) of Burn's graph.
pub const SWEEP_EVERY: u64 = 512;

/// Where the gradient of a step comes from. All give the same numbers up to rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GradientSource {
    /// Burn's autodiff over the plain formulation, on any backend.
    Autodiff,
    /// [`cl_model::closed_form`], in host memory: the paper's encoder with nothing after it.
    ClosedForm,
    /// The same for the loss only; autodiff for the model.
    LossInClosedForm,
}

impl GradientSource {
    /// The fastest one available for a model and an objective on a device.
    pub fn fastest<E: VectorEncoder>(model: &Siamese<E>, objective: Option<&dyn Objective>, device: &Device) -> Self {
        let on_host = device.clone().inner() == Device::flex();
        let in_host_memory =
            |objective: &dyn Objective| objective.in_host_memory().is_some() && objective.reconstructs().is_none();
        if !on_host || !objective.is_some_and(in_host_memory) {
            return Self::Autodiff;
        }
        let plain = model.encoder.as_symmetric_relu().is_some_and(|encoder| encoder.normalization.is_none());
        if plain && model.is_encoder_alone() { Self::ClosedForm } else { Self::LossInClosedForm }
    }
}

/// What an objective sees of two views, with what a decoder makes of the first one where it asks for that.
pub fn outputs<E: VectorEncoder>(model: &Siamese<E>, objective: &dyn Objective, samples: Samples) -> Outputs {
    let Samples::Pairs { x_plus, x_plus_plus, negatives } = samples else {
        panic!("the samples belong to the supervised objective");
    };
    let outputs = two_view_loss::outputs(model, objective, [x_plus, x_plus_plus.clone()], negatives);
    if objective.reconstructs().is_none() {
        return outputs;
    }
    let encoder = model.encoder.as_symmetric_relu().expect("the specification has been checked");
    let decoded = outputs.first.clone().matmul(encoder.weights.val());
    Outputs { reconstruction: Some([decoded, x_plus_plus]), ..outputs }
}

/// Mean cross-entropy of labelled samples under the model's head, `[1]`.
pub fn supervised_loss<E: VectorEncoder>(model: &Siamese<E>, samples: Samples) -> Tensor<1> {
    let Samples::Labelled { x, classes } = samples else {
        panic!("the samples belong to an objective of two views");
    };
    model.cross_entropy(model.encoder.forward(x), classes)
}

/// Loss and gradients of the paper's encoder by [`cl_model::closed_form`].
pub fn in_closed_form(
    encoder: &SymmetricReluEncoder,
    objective: &dyn HostObjective,
    samples: Samples,
) -> TrainOutput<Tensor<1>> {
    let Samples::Pairs { x_plus, x_plus_plus, negatives } = samples else {
        panic!("the samples belong to the supervised objective");
    };
    let [m, d1] = encoder.weights.dims();
    let (w, b) = (encoder.weights.val().into_data(), encoder.biases.val().into_data());
    let batch = [Some(x_plus), Some(x_plus_plus), negatives].map(|x| x.map(Tensor::into_data));
    let [x_plus, x_plus_plus, negatives] = batch.each_ref().map(|x| x.as_ref().map(|x| Rows::new(values(x), d1)));
    let (Some(x_plus), Some(x_plus_plus)) = (x_plus, x_plus_plus) else { unreachable!("both views are there") };
    let out = loss_and_gradient(
        objective,
        HostEncoder { weights: Rows::new(values(&w), d1), biases: values(&b) },
        HostBatch { x_plus, x_plus_plus, negatives },
    );
    let mut grads = GradientsParams::new();
    let device = Device::flex();
    grads.register(encoder.weights.id, Tensor::<2>::from_data(TensorData::new(out.weights, [m, d1]), &device));
    if encoder.biases.is_require_grad() {
        grads.register(encoder.biases.id, Tensor::<1>::from_data(TensorData::new(out.biases, [m]), &device));
    }
    TrainOutput { grads, item: Tensor::from_data([out.loss as f32], &device) }
}

/// Lets Burn forget parameters of earlier steps: it keeps an entry for each tensor that may require a gradient, until a
/// backward pass checks which of them still exist. Steps in closed form make no backward pass.
pub fn sweep_graph(device: &Device) {
    let _ = Tensor::<1>::zeros([1], device).require_grad().sum().backward();
}
