//! Stacks of convolutions with batch normalisation, ReLUs and shortcuts on the host: forward and backward.
//!
//! [`SmallConvNet`](crate::conv::SmallConvNet) and [`ResNet18`](crate::conv::ResNet18) define what is computed, on any backend; this module
//! computes the same numbers without a graph, several times as fast on a CPU:
//!
//! * activations lie channels last, so that what a kernel covers in a row of pixels is one stretch of memory;
//! * convolutions are products of matrices over blocks of images that stay in the cache: of 3×3 kernels at stride 1 by tiles, with 16
//!   multiplications instead of 36; of others by what lies under the kernel, and where it reaches over the edge, only with the part inside;
//! * activations of layers are never stored: a block makes them from what the convolution before gave, in both passes, and what a gradient is
//!   summed up for is summed while it is in the cache;
//! * memory is used again from block to block and from step to step.
//!
//! Images are split into blocks that do not depend on the number of threads: the same bits for any.

mod buffer;
mod by_patches;
mod by_tiles;
mod channels;
mod convolution;
mod geometry;
mod layer;
mod patches;
mod stack;
mod stage;
mod way;

pub use layer::{HostLayer, LayerGradient, Moments};
pub use stack::{HostStack, Pass};
pub use stage::Stage;
