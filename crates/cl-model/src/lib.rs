//! What is trained, and how it is measured: the symmetrised-ReLU encoder, InfoNCE, the bias rule, and the measures of
//! learned features.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use cl_model::{Encoder, InfoNce, SymmetricReluEncoder};
//!
//! let device = Device::flex().autodiff();
//! let weights = Tensor::from_data([[3.0, 0.0], [0.0, 1.0]], &device);
//! let encoder = SymmetricReluEncoder::new(weights);
//! let x = Tensor::from_data([[1.0, -2.0]], &device);
//! // Without a threshold the symmetrised ReLU is the identity: f(x) = W x.
//! let f_x = encoder.forward(x);
//! assert_eq!(f_x.to_data().try_to_vec::<f32>().unwrap(), [3.0, -2.0]);
//! // A negative that looks like the positive costs τ log 2.
//! let out = InfoNce::paper(1.0).forward(f_x.clone(), f_x.clone(), Some(f_x));
//! assert!((out.loss.into_scalar::<f32>() - 2f32.ln()).abs() < 1e-6);
//! ```

pub mod activations;
mod bias;
pub mod closed_form;
pub mod conv;
pub mod decoders;
pub mod drift;
pub mod encoders;
pub mod features;
pub mod geometry;
mod gradient_clipping;
mod host;
pub mod host_conv;
mod independent_copy;
pub mod knn;
mod lars;
mod learning_rate;
pub mod linear_stage;
pub mod moments;
mod momentum_copy;
pub mod objectives;
mod optimizer;
mod predictor;
mod principal;
pub mod probe;
mod projector;
pub mod prototypes;
mod queue;
pub mod replicas;
pub mod representation;
mod siamese;
mod softmax_regression;

pub use bias::{Bias, BiasRule};
pub use cl_config::{Component, ConfigError};
pub use encoders::{
    Encoder, EncoderConfig, MeanPool, MeanPoolConfig, Mlp, MlpConfig, Normalization, StandardNormals,
    SymmetricReluConfig, SymmetricReluEncoder, TokenEncoder, TokenShape, Tokens, Transformer, TransformerConfig,
    VectorEncoder, VectorShape,
};
pub use gradient_clipping::{clip_to_norm, gradient_norm};
pub use independent_copy::{independent_copy, settle_running_statistics};
pub use lars::Lars;
pub use learning_rate::LearningRate;
pub use momentum_copy::{MomentumCopy, MomentumCopyConfig};
pub use objectives::{
    AlignmentUniformity, BalancedNtXent, BarlowTwins, DecoupledNtXent, InfoNce, InfoNceOutput, KeyGradient, LossScale,
    MaskedReconstruction, MaskedTokens, NegativeCosine, NtXent, Objective, Outputs, Reconstructed, Similarity,
    Spectral, VicReg, nt_xent,
};
pub use optimizer::{GroupConfig, OptimizerConfig, is_norm_or_bias};
pub use predictor::{Predictor, PredictorConfig, PredictorNetwork};
pub use principal::{PrincipalDirections, principal_directions};
pub use projector::{Projector, ProjectorConfig};
pub use queue::{KeyQueue, QueueConfig, QueueFilling};
pub use siamese::Siamese;

/// Version of the arithmetic of a training step and of the measures. Raised whenever the same specification and data
/// give different numbers.
pub const ALGORITHM_VERSION: u32 = 6;
