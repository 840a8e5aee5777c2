//! How outputs are spread, where they are finite.

use burn::tensor::Tensor;
use cl_model::representation::OutputMeasures;

/// Pairs below which nothing is said of a spread.
const MIN_PAIRS: usize = 8;

/// Measures of the outputs for two views; `None` where one is not finite, and for fewer than [`MIN_PAIRS`] pairs.
pub fn output_measures([first, second]: [Tensor<2>; 2]) -> Option<OutputMeasures> {
    let is_measured = first.dims()[0] >= MIN_PAIRS && is_finite(&first) && is_finite(&second);
    is_measured.then(|| OutputMeasures::new(first, second))
}

/// Whether every value is.
pub fn is_finite(values: &Tensor<2>) -> bool {
    values.clone().is_finite().all().into_scalar()
}
