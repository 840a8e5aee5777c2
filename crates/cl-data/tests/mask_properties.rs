//! What holds of masks whatever their parameters are.

use cl_data::{Augmentation, Matrix, Purpose, Rescaling, Stream};
use proptest::prelude::*;

fn rescalings() -> impl Strategy<Value = Rescaling> {
    prop_oneof![Just(Rescaling::Unbiased), Just(Rescaling::Off)]
}

/// Nonzero, so that what a mask takes away can be told.
fn observations() -> impl Strategy<Value = Matrix> {
    (1usize..6, 1usize..40).prop_flat_map(|(rows, cols)| {
        let value = prop_oneof![0.1f32..100.0, -100.0f32..-0.1];
        proptest::collection::vec(value, rows * cols).prop_map(move |values| Matrix::from_values(rows, cols, values))
    })
}

proptest! {
    #[test]
    fn complementary_masks_put_each_coordinate_into_one_view(
        x in observations(), p in 0.01f64..0.99, s in 0.0f64..=1.0, rescaling in rescalings(), seed in any::<u64>(), step in any::<u64>(),
    ) {
        let augmentation = Augmentation::ComplementaryMask { keep_probability: p, masked_share: s, rescaling };
        let stream = Stream::new(seed, Purpose::TrainingPairs);
        let pair = augmentation.apply(x.clone(), stream, step);
        let (a, b) = match rescaling {
            Rescaling::Unbiased => (1.0 / p, 1.0 / (1.0 - p)),
            Rescaling::Off => (1.0, 1.0),
        };
        for ((x, plus), plus_plus) in x.values.iter().zip(&pair.x_plus.values).zip(&pair.x_plus_plus.values) {
            let near = |found: f32, factor: f64| (f64::from(found) - factor * f64::from(*x)).abs() <= 1e-5 * (factor * f64::from(*x)).abs();
            let untouched = plus == x && plus_plus == x;
            let in_first = *plus_plus == 0.0 && near(*plus, a);
            let in_second = *plus == 0.0 && near(*plus_plus, b);
            prop_assert!(untouched || in_first || in_second, "{x} became {plus} and {plus_plus}");
            prop_assert!(s < 1.0 || !untouched, "every coordinate is masked");
        }
        prop_assert_eq!(augmentation.apply(x, stream, step), pair);
    }

    #[test]
    fn independent_masks_treat_each_view_alike(
        x in observations(), p in 0.01f64..=1.0, s in 0.0f64..=1.0, rescaling in rescalings(), seed in any::<u64>(),
    ) {
        let augmentation = Augmentation::IndependentMasks { keep_probability: p, masked_share: s, rescaling };
        let pair = augmentation.apply(x.clone(), Stream::new(seed, Purpose::TrainingPairs), 3);
        let factor = if rescaling == Rescaling::Unbiased { 1.0 / p } else { 1.0 };
        for (x, view) in x.values.iter().chain(&x.values).zip(pair.x_plus.values.iter().chain(&pair.x_plus_plus.values)) {
            let kept = (f64::from(*view) - factor * f64::from(*x)).abs() <= 1e-5 * (factor * f64::from(*x)).abs();
            prop_assert!(*view == 0.0 || view == x || kept, "{x} became {view}");
        }
    }

    #[test]
    fn parameters_out_of_range_are_refused(p in prop_oneof![-1e9f64..=0.0, 1.0f64..1e9, Just(f64::NAN)]) {
        let augmentation = Augmentation::ComplementaryMask { keep_probability: p, masked_share: 1.0, rescaling: Rescaling::Off };
        prop_assert!(augmentation.validate().unwrap_err().to_string().contains("keep_probability"));
    }
}
