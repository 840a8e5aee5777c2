//! Encoders: from what the network sees to features.
//!
//! An encoder is a Burn module with [`Encoder`]; one that files can choose has a configuration with [`EncoderConfig`].

mod mean_pool;
mod mlp;
mod symmetric_relu;
mod tokens;
mod transformer;

pub use mean_pool::{MeanPool, MeanPoolConfig};
pub use mlp::{Mlp, MlpConfig};
pub(crate) use symmetric_relu::symmetric_relu;
pub use symmetric_relu::{Normalization, SymmetricReluConfig, SymmetricReluEncoder};
pub use tokens::{TokenEncoder, TokenShape, Tokens};
pub use transformer::{Transformer, TransformerConfig};

use crate::Component;
use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Device, Tensor};

/// A source of independent `N(0, 1)` numbers: asked for `n`, it gives the next `n`.
pub type StandardNormals<'a> = dyn FnMut(usize) -> Vec<f32> + 'a;

/// What is done to an encoder after an update has moved it.
pub type AfterUpdate<E> = Box<dyn FnOnce(E) -> E>;

/// An encoder `f`.
pub trait Encoder: Module + ModuleDisplay + Sync + 'static {
    /// A batch of what it sees: `[n, d1]` for vectors, `[n, 3, h, w]` for images, [`Tokens`] for sentences.
    type Input: Clone + Send + 'static;
    /// What must be known about inputs before there are weights.
    type Shape: Copy + Send + Sync + 'static;

    /// `f(x)`, `[n, feature_dim]`.
    fn forward(&self, x: Self::Input) -> Tensor<2>;

    /// `f(x)` outside the gradient.
    fn forward_detached(&self, x: Self::Input) -> Tensor<2> {
        self.forward(x).detach()
    }

    /// Number of features.
    fn feature_dim(&self) -> usize;

    /// What to do after the update at `step`, counted from 0, has moved the encoder; asked before it. Usually nothing.
    fn after_update(&self, _step: u64) -> Option<AfterUpdate<Self>> {
        None
    }
}

/// The configuration of an encoder, as files hold it.
pub trait EncoderConfig: Component {
    /// What it configures.
    type Encoder: Encoder;

    /// An encoder with initial weights from `normals`, used in an order that is always the same.
    ///
    /// Burn's initialisers may be used as well: the caller seeds the device.
    ///
    /// # Panics
    /// When the configuration has not been checked.
    fn init(
        &self,
        shape: <Self::Encoder as Encoder>::Shape,
        normals: &mut StandardNormals<'_>,
        device: &Device,
    ) -> Self::Encoder;

    /// Multiply-adds of the forward pass of one sample, for estimates of time and of a step's cost; 0 if unknown.
    fn multiply_adds(&self, _shape: <Self::Encoder as Encoder>::Shape) -> f64 {
        0.0
    }
}

/// What is known about vectors before there are weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VectorShape {
    /// `d1`, coordinates of an observation.
    pub dim: usize,
    /// `d`, the number of sparse features behind it.
    pub code_dim: usize,
}

/// An encoder of vectors `[n, d1]`.
pub trait VectorEncoder: Encoder<Input = Tensor<2>, Shape = VectorShape> {
    /// Weights `[m, d1]` whose row `i` is the direction that output `i` responds to, if the encoder has such weights.
    /// Measures of features use them, or else the mean gradient of each output.
    fn neuron_weights(&self) -> Option<Tensor<2>> {
        None
    }

    /// The encoder itself if it is the paper's, whose gradient is known in closed form.
    fn as_symmetric_relu(&self) -> Option<&SymmetricReluEncoder> {
        None
    }
}
