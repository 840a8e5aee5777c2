//! Second moments of observations and of the two views of a positive pair, in closed form.

use crate::{Augmentation, SparseCodingModel};

/// Second moments over the data and the augmentation, each `[d1, d1]` row by row.
///
/// With `a`, `b` the factors that a coordinate gets in `x⁺` and `x⁺⁺`, drawn independently for different
/// coordinates, `C_rs = E[a_r b_s] (Σ_x)_rs`: off the diagonal `E[a] E[b] Σ_x`, on it `E[a b] Σ_x`.
/// Not in this form in the paper: one line of algebra from its set-up. For complementary masks on a fraction s of the
/// coordinates this is `C = Σ_x − s·diag(Σ_x)` at every keep probability.
#[derive(Debug, Clone, PartialEq)]
pub struct SecondMoments {
    /// `C = E[x⁺ x⁺⁺ᵀ]`.
    pub cross_view: Vec<f64>,
    /// `E[x⁺ x⁺ᵀ]`.
    pub plus: Vec<f64>,
    /// `E[x⁺⁺ x⁺⁺ᵀ]`.
    pub plus_plus: Vec<f64>,
}

/// Moments of the pair of factors that one coordinate gets in the two views.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CoordinateFactors {
    /// `E a`.
    pub mean_plus: f64,
    /// `E b`.
    pub mean_plus_plus: f64,
    /// `E a²`.
    pub square_plus: f64,
    /// `E b²`.
    pub square_plus_plus: f64,
    /// `E a b`.
    pub product: f64,
}

impl Augmentation {
    /// Moments of the factors that this augmentation multiplies a coordinate by.
    pub fn coordinate_factors(&self) -> CoordinateFactors {
        match *self {
            Self::None => CoordinateFactors {
                mean_plus: 1.0,
                mean_plus_plus: 1.0,
                square_plus: 1.0,
                square_plus_plus: 1.0,
                product: 1.0,
            },
            Self::ComplementaryMask { keep_probability: p, masked_fraction: s, rescaling } => {
                let (a, b) = (f64::from(rescaling.factor(p)), f64::from(rescaling.factor(1.0 - p)));
                CoordinateFactors {
                    mean_plus: s * p * a + (1.0 - s),
                    mean_plus_plus: s * (1.0 - p) * b + (1.0 - s),
                    square_plus: s * p * a * a + (1.0 - s),
                    square_plus_plus: s * (1.0 - p) * b * b + (1.0 - s),
                    product: 1.0 - s,
                }
            }
            Self::IndependentMasks { keep_probability: p, masked_fraction: s, rescaling } => {
                let a = f64::from(rescaling.factor(p));
                let (mean, square) = (s * p * a + (1.0 - s), s * p * a * a + (1.0 - s));
                CoordinateFactors {
                    mean_plus: mean,
                    mean_plus_plus: mean,
                    square_plus: square,
                    square_plus_plus: square,
                    product: mean * mean,
                }
            }
        }
    }
}

impl SecondMoments {
    /// The moments of observations of `data` under `augmentation`.
    pub fn new(data: &SparseCodingModel, augmentation: &Augmentation) -> Self {
        Self::of(&moment(data, &data.code_moments()), data, augmentation)
    }

    /// The moments of the dense features alone.
    pub fn of_dense_noise(data: &SparseCodingModel, augmentation: &Augmentation) -> Self {
        Self::of(&moment(data, &vec![0.0; data.dictionary().code_dim()]), data, augmentation)
    }

    fn of(sigma_x: &[f64], data: &SparseCodingModel, augmentation: &Augmentation) -> Self {
        let f = augmentation.coordinate_factors();
        let d1 = data.dictionary().input_dim();
        let scaled = |off_diagonal: f64, diagonal: f64| {
            let factor = |index: usize| if index.is_multiple_of(d1 + 1) { diagonal } else { off_diagonal };
            sigma_x.iter().enumerate().map(|(index, value)| factor(index) * value).collect()
        };
        Self {
            cross_view: scaled(f.mean_plus * f.mean_plus_plus, f.product),
            plus: scaled(f.mean_plus * f.mean_plus, f.square_plus),
            plus_plus: scaled(f.mean_plus_plus * f.mean_plus_plus, f.square_plus_plus),
        }
    }
}

/// `M diag(E z_j²) Mᵀ + σ_ξ² I`, `[d1, d1]`.
fn moment(data: &SparseCodingModel, code_moments: &[f64]) -> Vec<f64> {
    let d1 = data.dictionary().input_dim();
    let noise_variance = data.noise_std().powi(2);
    let mut sigma = vec![0.0; d1 * d1];
    for (feature, q) in data.dictionary().features().iter_rows().zip(code_moments) {
        for (row, a) in sigma.chunks_exact_mut(d1).zip(feature) {
            row.iter_mut().zip(feature).for_each(|(s, b)| *s += q * f64::from(*a) * f64::from(*b));
        }
    }
    sigma.iter_mut().step_by(d1 + 1).for_each(|s| *s += noise_variance);
    sigma
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dictionary, Purpose, Rescaling, SparseCodeDistribution, Stream};

    fn data() -> SparseCodingModel {
        let dictionary = Dictionary::random(4, 24, Stream::new(2, Purpose::Dictionary)).unwrap();
        SparseCodingModel::new(dictionary, SparseCodeDistribution::Bernoulli { nonzero_probability: 0.25 }, 0.5)
            .unwrap()
    }

    fn along(moment: &[f64], u: &[f32]) -> f64 {
        moment
            .chunks_exact(u.len())
            .zip(u)
            .map(|(row, a)| f64::from(*a) * row.iter().zip(u).map(|(m, b)| m * f64::from(*b)).sum::<f64>())
            .sum()
    }

    #[test]
    fn complementary_masks_remove_the_diagonal_at_every_keep_probability() {
        let data = data();
        let h = data.dictionary().leverages();
        let u = data.dictionary().feature(1);
        let overlap: f64 = u.iter().zip(&h).map(|(u, h)| f64::from(*u).powi(2) * h).sum();
        for s in [0.0, 0.5, 1.0] {
            for p in [0.3, 0.5, 0.7] {
                let mask = Augmentation::ComplementaryMask {
                    keep_probability: p,
                    masked_fraction: s,
                    rescaling: Rescaling::Unbiased,
                };
                let found = along(&SecondMoments::new(&data, &mask).cross_view, u);
                // uᵀ(q(MMᵀ − s·diag h) + (1−s)σ²I)u; factors 1/p are kept in f32.
                let expected = 0.25 * (1.0 - s * overlap) + (1.0 - s) * 0.25;
                assert!((found - expected).abs() < 1e-6, "s {s} p {p}: {found} {expected}");
            }
        }
    }

    #[test]
    fn independent_masks_leave_the_full_moment() {
        let data = data();
        let full = SecondMoments::new(&data, &Augmentation::None);
        let masked = SecondMoments::new(&data, &Augmentation::independent());
        for (a, b) in full.cross_view.iter().zip(&masked.cross_view) {
            assert!((a - b).abs() < 1e-12);
        }
    }

    /// What a loss of cosines is driven by under independent masks that keep p and scale by 1/p: with `ρ̄ = tr C/tr G = p`, `C − ρ̄G` is
    /// `(1 − p)(Σ_x − diag Σ_x)`, which is (1 − p) times what complementary masks give.
    #[test]
    fn cosines_under_independent_masks_are_driven_as_under_complementary_ones() {
        let data = data();
        let decoupled = SecondMoments::new(&data, &Augmentation::complementary()).cross_view;
        for p in [0.25, 0.5, 0.75] {
            let masks = Augmentation::IndependentMasks {
                keep_probability: p,
                masked_fraction: 1.0,
                rescaling: Rescaling::Unbiased,
            };
            let moments = SecondMoments::new(&data, &masks);
            let trace = |moment: &[f64]| moment.iter().step_by(25).sum::<f64>();
            let rho = trace(&moments.cross_view) / trace(&moments.plus);
            assert!((rho - p).abs() < 1e-6, "{rho} {p}");
            for ((c, g), expected) in moments.cross_view.iter().zip(&moments.plus).zip(&decoupled) {
                assert!((c - rho * g - (1.0 - p) * expected).abs() < 1e-6, "p = {p}");
            }
        }
    }

    #[test]
    fn a_half_mask_doubles_the_diagonal_of_each_view() {
        let data = data();
        let full = SecondMoments::new(&data, &Augmentation::None).plus;
        let masked = SecondMoments::new(&data, &Augmentation::complementary());
        assert!((masked.plus[0] - 2.0 * full[0]).abs() < 1e-12);
        assert!((masked.plus[1] - full[1]).abs() < 1e-12);
        assert_eq!(masked.plus, masked.plus_plus);
    }
}
