//! The loss of outputs for two views and its way back to them.

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use cl_model::closed_form::HostObjective;
use cl_model::{Objective, Outputs};

/// The loss `[1]` outside the graph, and the gradients of everything that the outputs were made of; by autodiff.
pub fn through_autodiff(objective: &dyn Objective, outputs: Outputs) -> (Tensor<1>, Gradients) {
    let loss = objective.loss(outputs);
    (loss.clone().detach(), loss.backward())
}

/// The same where the loss is known in closed form: only what is in front of it goes through autodiff.
pub fn in_closed_form(objective: &dyn HostObjective, outputs: Outputs) -> (Tensor<1>, Gradients) {
    let Outputs { first, second, targets, negatives, .. } = outputs;
    let [b, _] = first.dims();
    let f = Tensor::cat([first, second].into_iter().chain(targets.into_iter().flatten()).chain(negatives).collect(), 0);
    let [_, k] = f.dims();
    let (value, gradient) = objective.loss_and_gradient(values(&f.clone().detach().into_data()).to_vec(), k, b);
    let rows = gradient.len() / k;
    let gradient = Tensor::<2>::from_data(TensorData::new(gradient, [rows, k]), &f.device());
    // Its gradient equals that of the loss.
    let product = (f.narrow(0, 0, rows) * gradient).sum();
    (Tensor::from_data([value as f32], &Device::flex()), product.backward())
}

/// Numbers that a tensor on the host holds.
pub fn values(data: &TensorData) -> &[f32] {
    data.as_slice().expect("tensors on Flex hold 32-bit floats")
}
