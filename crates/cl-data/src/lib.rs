//! What the network sees: sparse and dense features, and the augmentations that decouple them.
//!
//! The data model of Wen & Li (2021): an observation `x = M z + ξ` holds *sparse features* (the
//! columns of the dictionary `M`, switched on by the sparse code `z`) and *dense features* (`ξ`).
//! An [`Augmentation`] turns one observation into a [`PositivePair`].
//!
//! Every draw is a pure function of `(seed, purpose, part, step)`, see [`Stream`]: nothing depends
//! on what was drawn before, on the backend, or on the number of workers.
//!
//! ```
//! use cl_data::{Augmentation, Dictionary, Purpose, SparseCodeDistribution, SparseCodingModel, Stream};
//!
//! let dictionary = Dictionary::random(8, 32, Stream::new(1, Purpose::Dictionary))?;
//! let code = SparseCodeDistribution::Bernoulli { nonzero_probability: 0.2 };
//! let model = SparseCodingModel::new(dictionary, code, 0.1)?;
//! let step = 7;
//! let observations = model.sample(4, Stream::new(1, Purpose::TrainingPairs), step);
//! let pair = Augmentation::complementary().apply(observations.x.clone(), Stream::new(1, Purpose::TrainingPairs), step);
//! // Each coordinate survives, doubled, in exactly one of the two views.
//! for ((x, a), b) in observations.x.values.iter().zip(&pair.x_plus.values).zip(&pair.x_plus_plus.values) {
//!     assert_eq!(a + b, 2.0 * x);
//!     assert!(*a == 0.0 || *b == 0.0);
//! }
//! # Ok::<(), cl_data::DataError>(())
//! ```

mod augmentation;
mod batch;
mod circular_signals;
mod class_features;
mod device_sampling;
mod dictionary;
mod error;
pub mod images;
mod matrix;
mod normal;
mod order;
mod second_moments;
mod sparse_code;
mod sparse_coding;
mod stream;
pub mod tokens;

pub use augmentation::{Augmentation, PositivePair, Rescaling};
pub use batch::{ContrastiveBatch, Negatives, PairSampler};
pub use circular_signals::{CircularSignals, CircularSignalsConfig, SignalViews};
pub use class_features::{ClassFeatures, ClassFeaturesConfig, LabelledObservations, PositiveSource};
pub use device_sampling::DeviceSampler;
pub use dictionary::Dictionary;
pub use error::DataError;
pub use matrix::Matrix;
pub use normal::standard_normal;
pub use order::{epoch_order, stratified_order};
pub use second_moments::{CoordinateFactors, SecondMoments};
pub use sparse_code::{SparseCodeDistribution, default_nonzero_probability};
pub use sparse_coding::{Observations, SparseCodingModel, default_noise_variance};
pub use stream::{Part, Purpose, Stream, StreamRng};

/// Version of the numbers this crate draws. Raised whenever the same `(seed, purpose, part, step)` gives different
/// values, so that runs of two versions are never taken for one another.
pub const DATA_VERSION: u32 = 1;
