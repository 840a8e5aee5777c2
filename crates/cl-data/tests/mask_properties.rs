//! What holds of masks whatever their parameters are.

use cl_config::Component;
use cl_data::{Augmentation, Matrix, Purpose, Rescaling, Stream};
use proptest::prelude::*;

fn rescalings() -> impl Strategy<Value = Rescaling> {
    prop_oneof![Just(Rescaling::Unbiased), Just(Rescaling::Off)]
}

/// Fractions of masked coordinates, the ends included.
fn fractions() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), Just(1.0), 0.0f64..=1.0]
}

/// How many of so many coordinates have a property of this probability: within six standard errors.
fn is_near(count: usize, of: usize, probability: f64) -> bool {
    let error = (of as f64 * probability * (1.0 - probability)).sqrt();
    (count as f64 - of as f64 * probability).abs() <= 6.0 * error + 1.0
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
        x in observations(), p in 0.01f64..0.99, s in fractions(), rescaling in rescalings(), seed in any::<u64>(), step in any::<u64>(),
    ) {
        let augmentation = Augmentation::ComplementaryMask { keep_probability: p, masked_fraction: s, rescaling };
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
            prop_assert!(s < 1.0 || in_first || in_second, "every coordinate is masked");
            prop_assert!(s > 0.0 || untouched, "no coordinate is masked");
        }
        prop_assert_eq!(augmentation.apply(x, stream, step), pair);
    }

    #[test]
    fn independent_masks_treat_each_view_alike(
        x in observations(), p in 0.01f64..=1.0, s in fractions(), rescaling in rescalings(), seed in any::<u64>(),
    ) {
        let augmentation = Augmentation::IndependentMasks { keep_probability: p, masked_fraction: s, rescaling };
        let pair = augmentation.apply(x.clone(), Stream::new(seed, Purpose::TrainingPairs), 3);
        let factor = if rescaling == Rescaling::Unbiased { 1.0 / p } else { 1.0 };
        for (x, view) in x.values.iter().chain(&x.values).zip(pair.x_plus.values.iter().chain(&pair.x_plus_plus.values)) {
            let kept = (f64::from(*view) - factor * f64::from(*x)).abs() <= 1e-5 * (factor * f64::from(*x)).abs();
            prop_assert!(*view == 0.0 || (view == x && s < 1.0) || kept, "{x} became {view}");
            prop_assert!(s > 0.0 || view == x, "no coordinate is masked");
        }
    }

    #[test]
    fn as_many_coordinates_are_masked_as_should_be(p in 0.05f64..0.95, s in fractions(), seed in any::<u64>()) {
        let (rows, cols) = (64, 128);
        let ones = || Matrix::from_values(rows, cols, vec![1.0; rows * cols]);
        let stream = Stream::new(seed, Purpose::TrainingPairs);
        let lost = |view: &Matrix| view.values.iter().filter(|v| **v == 0.0).count();
        let rescaling = Rescaling::Off;
        let pair = Augmentation::ComplementaryMask { keep_probability: p, masked_fraction: s, rescaling }.apply(ones(), stream, 0);
        prop_assert!(is_near(lost(&pair.x_plus), rows * cols, s * (1.0 - p)), "{} of x+", lost(&pair.x_plus));
        prop_assert!(is_near(lost(&pair.x_plus_plus), rows * cols, s * p), "{} of x++", lost(&pair.x_plus_plus));
        let pair = Augmentation::IndependentMasks { keep_probability: p, masked_fraction: s, rescaling }.apply(ones(), stream, 0);
        let both = pair.x_plus.values.iter().zip(&pair.x_plus_plus.values).filter(|(a, b)| **a == 0.0 && **b == 0.0).count();
        for view in [&pair.x_plus, &pair.x_plus_plus] {
            prop_assert!(is_near(lost(view), rows * cols, s * (1.0 - p)), "{} of a view", lost(view));
        }
        prop_assert!(is_near(both, rows * cols, (s * (1.0 - p)).powi(2)), "{both} in both views");
    }

    #[test]
    fn parameters_out_of_range_are_refused(p in prop_oneof![-1e9f64..=0.0, 1.0f64..1e9, Just(f64::NAN)]) {
        let augmentation = Augmentation::ComplementaryMask { keep_probability: p, masked_fraction: 1.0, rescaling: Rescaling::Off };
        prop_assert!(augmentation.checked().unwrap_err().to_string().contains("keep_probability"));
    }
}
