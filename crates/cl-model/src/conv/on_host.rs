//! A stack of convolutions between Burn's module and the host.

use super::activation::LastActivation;
use super::layers::ConvNorm;
use crate::host_conv::{HostLayer, HostStack, LayerGradient, Moments};
use burn::nn::{BatchNorm, PaddingConfig2d};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};

/// 3×3 convolutions with one pixel of padding, each followed by a batch normalisation and a ReLU, and the mean over positions: what
/// [`host_conv`](crate::host_conv) computes.
#[derive(Debug, Clone, Copy)]
pub struct ConvStack<'a> {
    /// In order, at least one.
    pub layers: &'a [ConvNorm],
    /// Behind the last of them.
    pub last_activation: LastActivation,
}

/// The numbers of a [`ConvStack`] in host memory.
#[derive(Debug, Clone)]
pub struct StackParameters {
    layers: Vec<LayerParameters>,
    last_threshold: Option<f32>,
}

#[derive(Debug, Clone)]
struct LayerParameters {
    channels: [usize; 2],
    stride: usize,
    kernel: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    epsilon: f64,
}

impl ConvStack<'_> {
    /// Copies the parameters to the host.
    ///
    /// # Panics
    /// When a convolution is not 3×3 with one pixel of padding and without bias.
    pub fn parameters(&self) -> StackParameters {
        let layers = self.layers.iter().map(|layer| {
            let ([outputs, inputs, kernel @ ..], padding) = (layer.conv.weight.dims(), &layer.conv.padding);
            let is_known = kernel == [3, 3] && matches!(padding, PaddingConfig2d::Explicit(1, 1, 1, 1));
            assert!(is_known && layer.conv.bias.is_none(), "3×3 convolutions with one pixel of padding, without bias");
            LayerParameters {
                channels: [inputs, outputs],
                stride: layer.conv.stride[0],
                kernel: read(layer.conv.weight.val()),
                gamma: read(layer.norm.gamma.val()),
                beta: read(layer.norm.beta.val()),
                epsilon: layer.norm.epsilon,
            }
        });
        let last_threshold = match self.last_activation {
            LastActivation::Relu => None,
            LastActivation::SymmetricRelu { threshold } => Some(threshold as f32),
        };
        StackParameters { layers: layers.collect(), last_threshold }
    }

    /// Running moments of each layer.
    pub fn running_moments(&self) -> Vec<Moments> {
        let double = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
        let of = |norm: &BatchNorm| Moments {
            mean: double(read(norm.running_mean.value_sync())),
            variance: double(read(norm.running_var.value_sync())),
        };
        self.layers.iter().map(|layer| of(&layer.norm)).collect()
    }

    /// Whether batch normalisation uses the moments of each batch.
    pub fn is_training(&self) -> bool {
        self.layers.iter().all(|layer| layer.conv.weight.val().is_autodiff() && layer.norm.training.is_enabled())
    }

    /// Moves the running moments towards those of a batch, as a forward pass through the module does.
    pub fn update_running_moments<'m>(&self, moments: impl Iterator<Item = &'m Moments>) {
        for (layer, moments) in self.layers.iter().zip(moments) {
            let norm = &layer.norm;
            let moved = |running: Tensor<1>, of_batch: &[f64]| {
                let of_batch: Vec<f32> = of_batch.iter().map(|v| *v as f32).collect();
                let of_batch = Tensor::from_data(of_batch.as_slice(), &running.device());
                (running * (1.0 - norm.momentum) + of_batch * norm.momentum).detach()
            };
            norm.running_mean.update(moved(norm.running_mean.value_sync(), &moments.mean));
            norm.running_var.update(moved(norm.running_var.value_sync(), &moments.variance));
        }
    }

    /// Registers the gradients of all parameters that require one.
    pub fn register(&self, gradients: Vec<LayerGradient>, into: &mut GradientsParams) {
        let device = Device::flex();
        for (layer, gradient) in self.layers.iter().zip(gradients) {
            let (conv, norm) = (&layer.conv, &layer.norm);
            if conv.weight.is_require_grad() {
                let kernel = TensorData::new(gradient.kernel, conv.weight.dims());
                into.register(conv.weight.id, Tensor::<4>::from_data(kernel, &device));
            }
            for (parameter, gradient) in [(&norm.gamma, gradient.gamma), (&norm.beta, gradient.beta)] {
                if parameter.is_require_grad() {
                    into.register(parameter.id, Tensor::<1>::from_data(gradient.as_slice(), &device));
                }
            }
        }
    }
}

impl StackParameters {
    /// The stack on the host.
    pub fn stack(&self) -> HostStack<'_> {
        let layers = self.layers.iter().map(|layer| HostLayer {
            channels: layer.channels,
            stride: layer.stride,
            kernel: &layer.kernel,
            gamma: &layer.gamma,
            beta: &layer.beta,
            epsilon: layer.epsilon,
        });
        HostStack { layers: layers.collect(), last_threshold: self.last_threshold }
    }
}

/// Numbers of a tensor on the host.
fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().expect("tensors hold 32-bit floats")
}
