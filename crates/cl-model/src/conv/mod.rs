//! Convolutional encoders of RGB images.
//!
//! Every encoder maps images `[B, 3, H, W]` to features `[B, feature_dim]`, the mean over positions of its last
//! activation. Convolutions have no bias and are followed (in the Wide-ResNet: preceded) by batch normalisation. An
//! autodiff device normalises with batch statistics and updates running statistics; any other normalises with running
//! statistics. The running variance is the mean of biased batch variances, `Σ(a − ā)²/n`, where PyTorch divides by n −
//! 1.
//!
//! Initial weights are made from standard normal numbers that the caller supplies, so that a seed determines them on
//! every device: kernels are `N(0, 2/(k² C_out))` (He et al. 2015, fan-out), norms start at scale 1 and shift 0.

mod activation;
mod image_encoder;
mod layers;
mod on_host;
mod resnet18;
mod small;
mod wide_resnet;

pub use activation::LastActivation;
pub use image_encoder::{ImageEncoder, ImageShape};
pub use layers::ConvNorm;
pub(crate) use layers::{batch_norm, normal};
pub use on_host::{ConvAndNorm, ConvStack, StackParameters};
pub use resnet18::{BasicBlock, ResNet18, ResNet18Config};
pub use small::{SmallConvNet, SmallConvNetConfig};
pub use wide_resnet::{PreActivationBlock, WideResNet, WideResNetConfig};
