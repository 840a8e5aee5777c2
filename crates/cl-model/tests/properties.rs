//! What holds of encoder and measures whatever the numbers are.

use burn::tensor::{Device, Tensor, TensorData};
use cl_model::features::{Decomposition, FeatureMeasures, MEMBERSHIP_FRACTION, SINGLETON_COSINE};
use cl_model::{Encoder, SymmetricReluEncoder};
use proptest::prelude::*;

const D: usize = 3;
const D1: usize = 6;

fn tensor(values: &[f32], columns: usize) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len() / columns, columns]), &Device::flex())
}

fn numbers(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// The first unit vectors are an orthonormal dictionary.
fn features() -> Tensor<2> {
    tensor(&(0..D * D1).map(|i| if i / D1 == i % D1 { 1.0 } else { 0.0 }).collect::<Vec<_>>(), D1)
}

fn measures(weights: &[f32]) -> FeatureMeasures {
    Decomposition::new(tensor(weights, D1), features()).measures()
}

fn weights() -> impl Strategy<Value = Vec<f32>> {
    (1usize..8).prop_flat_map(|m| proptest::collection::vec(-10.0f32..10.0, m * D1))
}

proptest! {
    #[test]
    fn the_encoder_is_odd_and_soft_thresholds(
        w in weights(), x in proptest::collection::vec(-10.0f32..10.0, 4 * D1), b in 0.0f64..20.0,
    ) {
        let encoder = SymmetricReluEncoder::new(tensor(&w, D1)).with_trained_bias(b);
        let f = |x: Tensor<2>| numbers(encoder.forward(x));
        let (there, back) = (f(tensor(&x, D1)), f(-tensor(&x, D1)));
        let inner = numbers(tensor(&x, D1).matmul(tensor(&w, D1).transpose()));
        for ((f, odd), h) in there.iter().zip(&back).zip(&inner) {
            prop_assert_eq!(*f, -*odd);
            let expected = h.signum() * (h.abs() - b as f32).max(0.0);
            prop_assert!((f - expected).abs() <= 1e-4 * (1.0 + h.abs()), "{f} instead of {expected}");
        }
    }

    #[test]
    fn measures_lie_in_their_range(w in weights()) {
        let m = measures(&w);
        let fractions = [m.energy_in_span, m.coverage_mean, m.coverage_min, m.coverage_median, m.coverage_max, m.singleton_fraction];
        prop_assert!(fractions.iter().all(|v| (0.0..=1.0 + 1e-6).contains(v)), "{m:?}");
        prop_assert!(m.coverage_min <= m.coverage_mean && m.coverage_mean <= m.coverage_max + 1e-12);
        prop_assert_eq!(m.membership_histogram.iter().sum::<usize>(), w.len() / D1);
        prop_assert!(m.features_with_singleton <= D);
    }

    #[test]
    fn measures_do_not_see_the_size_sign_or_order_of_neurons(w in weights(), size in -6.0f32..6.0, flip in any::<bool>()) {
        let sign = if flip { -1.0 } else { 1.0 };
        let moved: Vec<f32> = w.rchunks_exact(D1).flatten().map(|v| v * 10f32.powf(size) * sign).collect();
        let (a, b) = (measures(&w), measures(&moved));
        prop_assert!((a.energy_in_span - b.energy_in_span).abs() < 1e-5, "{a:?} {b:?}");
        prop_assert!((a.coverage_mean - b.coverage_mean).abs() < 1e-5 && (a.coverage_min - b.coverage_min).abs() < 1e-5);
        // A cosine at the edge of membership may fall to either side.
        let decomposition = Decomposition::new(tensor(&w, D1), features());
        let at_edge = (0..w.len() / D1).any(|i| {
            (0..D).any(|j| [MEMBERSHIP_FRACTION, SINGLETON_COSINE].iter().any(|edge| (decomposition.cosine(i, j) - edge).abs() < 1e-5))
        });
        prop_assert!(at_edge || (a.singleton_fraction, &a.membership_histogram) == (b.singleton_fraction, &b.membership_histogram));
    }

    #[test]
    fn dead_neurons_count_as_nothing(w in weights()) {
        let dead: Vec<f32> = w.iter().copied().chain([0.0; D1]).collect();
        let (a, b) = (measures(&w), measures(&dead));
        prop_assert_eq!(a.coverage_mean, b.coverage_mean);
        let neurons = (w.len() / D1) as f64;
        prop_assert!((a.energy_in_span * neurons - b.energy_in_span * (neurons + 1.0)).abs() < 1e-9);
    }
}
