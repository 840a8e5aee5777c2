//! What is known about an encoder from its configuration alone.

use cl_model::{Encoder, EncoderConfig};

/// What is known about an encoder from its configuration alone; `S` is what must be known about its inputs.
pub trait EncoderInfo<S>: Send + Sync {
    /// Multiply-adds of the forward pass of one sample; 0 if the encoder does not report them.
    fn multiply_adds(&self, shape: S) -> f64;
}

impl<C: EncoderConfig> EncoderInfo<<C::Encoder as Encoder>::Shape> for C {
    fn multiply_adds(&self, shape: <C::Encoder as Encoder>::Shape) -> f64 {
        EncoderConfig::multiply_adds(self, shape)
    }
}
