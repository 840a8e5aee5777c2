//! A stack of convolutions between Burn's module and the host.

use super::activation::LastActivation;
use super::layers::ConvNorm;
use crate::host_conv::{HostLayer, HostStack, LayerGradient, Moments, Stage};
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, PaddingConfig2d};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};

/// Convolutions that keep the size at stride 1, each followed by a batch normalisation and a ReLU, some in pairs with a shortcut around them,
/// and the mean over positions: what [`host_conv`](crate::host_conv) computes.
#[derive(Debug, Clone)]
pub struct ConvStack<'a> {
    /// In order, at least one.
    pub stages: Vec<Stage<ConvAndNorm<'a>>>,
    /// Behind the last of them.
    pub last_activation: LastActivation,
}

/// A convolution and the normalisation behind it.
#[derive(Debug, Clone, Copy)]
pub struct ConvAndNorm<'a> {
    /// Without bias.
    pub conv: &'a Conv2d,
    /// Of the convolution's output.
    pub norm: &'a BatchNorm,
}

/// The numbers of a [`ConvStack`] in host memory.
#[derive(Debug, Clone)]
pub struct StackParameters {
    stages: Vec<Stage<LayerParameters>>,
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

impl<'a> From<&'a ConvNorm> for ConvAndNorm<'a> {
    fn from(layer: &'a ConvNorm) -> Self {
        Self { conv: &layer.conv, norm: &layer.norm }
    }
}

impl ConvStack<'_> {
    /// All layers, in the order of moments and gradients.
    pub fn layers(&self) -> impl Iterator<Item = &ConvAndNorm<'_>> {
        self.stages.iter().flat_map(Stage::layers)
    }

    /// Copies the parameters to the host.
    ///
    /// # Panics
    /// When a convolution is neither 3×3 with one pixel of padding nor 1×1 without, or has a bias.
    pub fn parameters(&self) -> StackParameters {
        let stages = self.stages.iter().map(|stage| stage.map(ConvAndNorm::parameters)).collect();
        let last_threshold = match self.last_activation {
            LastActivation::Relu => None,
            LastActivation::SymmetricRelu { threshold } => Some(threshold as f32),
        };
        StackParameters { stages, last_threshold }
    }

    /// Running moments of each layer.
    pub fn running_moments(&self) -> Vec<Moments> {
        let double = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
        let of = |norm: &BatchNorm| Moments {
            mean: double(read(norm.running_mean.value_sync())),
            variance: double(read(norm.running_var.value_sync())),
        };
        self.layers().map(|layer| of(layer.norm)).collect()
    }

    /// Whether batch normalisation uses the moments of each batch.
    pub fn is_training(&self) -> bool {
        self.layers().all(|layer| layer.conv.weight.val().is_autodiff() && layer.norm.training.is_enabled())
    }

    /// Moves the running moments towards those of a batch, as a forward pass through the module does.
    pub fn update_running_moments<'m>(&self, moments: impl Iterator<Item = &'m Moments>) {
        for (layer, moments) in self.layers().zip(moments) {
            let norm = layer.norm;
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
        for (ConvAndNorm { conv, norm }, gradient) in self.layers().zip(gradients) {
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

impl ConvAndNorm<'_> {
    fn parameters(&self) -> LayerParameters {
        let Self { conv, norm } = self;
        let [outputs, inputs, kernel @ ..] = conv.weight.dims();
        let is_known = match &conv.padding {
            PaddingConfig2d::Explicit(1, 1, 1, 1) => kernel == [3, 3],
            PaddingConfig2d::Explicit(0, 0, 0, 0) => kernel == [1, 1],
            _ => false,
        };
        assert!(is_known && conv.bias.is_none(), "convolutions that keep the size, 3×3 or 1×1, without bias");
        LayerParameters {
            channels: [inputs, outputs],
            stride: conv.stride[0],
            kernel: read(conv.weight.val()),
            gamma: read(norm.gamma.val()),
            beta: read(norm.beta.val()),
            epsilon: norm.epsilon,
        }
    }
}

impl StackParameters {
    /// The stack on the host.
    pub fn stack(&self) -> HostStack<'_> {
        let stages = self.stages.iter().map(|stage| stage.map(LayerParameters::on_host)).collect();
        HostStack { stages, last_threshold: self.last_threshold }
    }
}

impl LayerParameters {
    fn on_host(&self) -> HostLayer<'_> {
        HostLayer {
            channels: self.channels,
            stride: self.stride,
            kernel: &self.kernel,
            gamma: &self.gamma,
            beta: &self.beta,
            epsilon: self.epsilon,
        }
    }
}

/// Numbers of a tensor on the host.
fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().expect("tensors hold 32-bit floats")
}
