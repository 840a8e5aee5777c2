//! What an objective sees of two views, its loss, and the way back.

use burn::optim::GradientsParams;
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use burn::train::TrainOutput;
use cl_model::closed_form::HostObjective;
use cl_model::{Encoder, Objective, Outputs, Siamese};

/// What an objective sees of two views of n samples, and of negatives; outputs that pass no gradient are computed outside the graph.
pub fn outputs<E: Encoder>(
    model: &Siamese<E>,
    objective: &dyn Objective,
    [x_plus, x_plus_plus]: [E::Input; 2],
    negatives: Option<E::Input>,
) -> Outputs {
    if model.queue.is_some() {
        let copy = model.momentum_copy.as_ref().expect("a queue comes with a momentum copy");
        return model.queued(model.output(x_plus), copy.output(x_plus_plus));
    }
    let key = |x| if objective.has_key_gradient() { model.output(x) } else { model.output_detached(x) };
    let copied = model.momentum_copy.as_ref().map(|copy| [&x_plus, &x_plus_plus].map(|x| copy.output(x.clone())));
    let (first, second) = (model.output(x_plus), key(x_plus_plus));
    Outputs { negatives: negatives.map(key), ..model.compared(first, second, copied) }
}

/// Loss and gradients of a model from what an objective sees of it; the loss in closed form if `on_host` is given. `collect` makes gradients of
/// parameters of those of everything that the outputs were made of. The keys of a queue are left beside them.
pub fn gradients<E: Encoder>(
    model: &Siamese<E>,
    (objective, on_host): (&dyn Objective, Option<&dyn HostObjective>),
    outputs: Outputs,
    collect: impl FnOnce(Gradients) -> GradientsParams,
) -> TrainOutput<Tensor<1>> {
    let keys = outputs.second.clone();
    let (item, graph) = match on_host {
        Some(on_host) => in_closed_form(on_host, outputs),
        None => {
            let loss = objective.loss(outputs);
            (loss.clone().detach(), loss.backward())
        }
    };
    let mut grads = collect(graph);
    model.leave_keys(&mut grads, keys);
    TrainOutput { grads, item }
}

/// The loss `[1]` outside the graph, and the gradients of everything that the outputs were made of: only what is in front of the loss goes
/// through autodiff.
fn in_closed_form(objective: &dyn HostObjective, outputs: Outputs) -> (Tensor<1>, Gradients) {
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
