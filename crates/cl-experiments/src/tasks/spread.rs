//! How outputs are spread, and how far views are apart, where they are finite.

use burn::tensor::Tensor;
use cl_model::geometry::view_distance;
use cl_model::representation::OutputMeasures;
use serde::{Deserialize, Serialize};

/// Pairs below which nothing is said of a spread or a distance.
const MIN_PAIRS: usize = 8;

/// How far the two views of a sample are apart, relative to those of different samples: see [`view_distance`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ViewDistances {
    /// Of features, `I_h`.
    pub features: f64,
    /// Of outputs before any predictor, `I_g`.
    pub outputs: f64,
}

impl ViewDistances {
    /// Of the features and of the outputs for two views; `None` where one is not finite or all are alike, and for fewer than 8 pairs.
    pub fn measure(features: [Tensor<2>; 2], outputs: [Tensor<2>; 2]) -> Option<Self> {
        let of = |[first, second]: [Tensor<2>; 2]| {
            let is_measured = first.dims()[0] >= MIN_PAIRS && is_finite(&first) && is_finite(&second);
            is_measured.then(|| view_distance(first, second)).flatten()
        };
        Some(Self { features: of(features)?, outputs: of(outputs)? })
    }
}

/// Measures of the outputs for two views; `None` where one is not finite, and for fewer than 8 pairs.
pub fn output_measures([first, second]: [Tensor<2>; 2]) -> Option<OutputMeasures> {
    let is_measured = first.dims()[0] >= MIN_PAIRS && is_finite(&first) && is_finite(&second);
    is_measured.then(|| OutputMeasures::new(first, second))
}

/// Whether every value is.
pub fn is_finite(values: &Tensor<2>) -> bool {
    values.clone().is_finite().all().into_scalar()
}
