//! How sparse activations are, and how much units and filters depend on colour.
//!
//! Measures over many images are accumulated batch by batch; how the images are split does not matter. An image counts
//! the same at any scale: small means small relative to the image's largest value.

use crate::host::to_f64;
use burn::tensor::Tensor;

/// A value is negligible when its magnitude is at most this fraction of the largest in its image.
pub const NEGLIGIBLE: f64 = 1e-6;

/// How many entries of a layer's activations are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ActivationSparsity {
    entries: u64,
    zeros: u64,
    negligible: u64,
}

impl ActivationSparsity {
    /// No activations yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the activations `[B, C, H, W]` of a batch.
    pub fn add(&mut self, activations: Tensor<4>) {
        let sizes = per_image(activations);
        self.entries += sizes.dims().iter().product::<usize>() as u64;
        self.zeros += count(sizes.clone().equal_scalar(0.0));
        self.negligible += count(negligible(sizes));
    }

    /// Fraction of entries that are exactly 0, in [0, 1].
    pub fn zero_fraction(&self) -> f64 {
        self.zeros as f64 / self.entries as f64
    }

    /// Fraction of entries that are at most [`NEGLIGIBLE`] relative to the largest of their image, in [0, 1], including
    /// zeros.
    pub fn negligible_fraction(&self) -> f64 {
        self.negligible as f64 / self.entries as f64
    }
}

/// How many coordinates of a representation an image uses.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct FeatureDensity {
    images: u64,
    active: f64,
    participation: f64,
}

impl FeatureDensity {
    /// No features yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the features `[B, m]` of a batch.
    pub fn add(&mut self, features: Tensor<2>) {
        let [b, m] = features.dims();
        let sizes = scaled(features.detach().abs());
        let negligible = negligible(sizes.clone());
        self.images += b as u64;
        self.active += b as f64 - count(negligible) as f64 / m as f64;
        let sums = to_f64(sizes.clone().sum_dim(1));
        let squares = to_f64(sizes.square().sum_dim(1));
        let ratio = |(s, q): (&f64, &f64)| if *q > 0.0 { s * s / (q * m as f64) } else { 0.0 };
        self.participation += sums.iter().zip(&squares).map(ratio).sum::<f64>();
    }

    /// Fraction of units that are not negligible, mean over images, in [0, 1].
    pub fn active_fraction(&self) -> f64 {
        self.active / self.images as f64
    }

    /// `(Σ|f_i|)² / (m Σ f_i²)` over the m units, mean over images (Rolls & Tovee 1995).
    ///
    /// `k/m` when k units are equally large and the others 0, 2/π for Gaussian features, 1 when all are
    /// equally large; an image without features counts 0.
    pub fn participation_ratio(&self) -> f64 {
        self.participation / self.images as f64
    }
}

/// How much each unit's response depends on the colour of an image.
///
/// With `a` the activation of a unit at a position, on an image `x` and on its greyscaled copy `g`, summed
/// over images and positions: `Σ|a(x) − a(g)| / Σ(|a(x)| + |a(g)|)`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ColorSelectivity {
    changed: Vec<f64>,
    total: Vec<f64>,
}

impl ColorSelectivity {
    /// No activations yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the activations `[B, C, H, W]` of a batch and of its greyscaled copy; features `[B, C]` as
    /// `[B, C, 1, 1]`.
    ///
    /// # Panics
    /// When shapes differ, or the number of units from batch to batch.
    pub fn add(&mut self, colour: Tensor<4>, grey: Tensor<4>) {
        assert_eq!(colour.dims(), grey.dims(), "an image and its greyscaled copy must have the same shape");
        let (colour, grey) = (colour.detach(), grey.detach());
        let per_unit = |t: Tensor<4>| to_f64(t.abs().sum_dims(&[0, 2, 3]));
        let changed = per_unit(colour.clone() - grey.clone());
        let total = per_unit(colour.abs() + grey.abs());
        if self.total.is_empty() {
            (self.changed, self.total) = (vec![0.0; total.len()], vec![0.0; total.len()]);
        }
        assert_eq!(self.total.len(), total.len(), "all batches must be of the same layer");
        self.changed.iter_mut().zip(changed).for_each(|(sum, v)| *sum += v);
        self.total.iter_mut().zip(total).for_each(|(sum, v)| *sum += v);
    }

    /// Per unit, in [0, 1]: 0 when colour does not matter, 1 when the responses to an image and its copy never have the
    /// same sign. A unit that never responds has 0.
    pub fn per_unit(&self) -> Vec<f64> {
        let fraction = |(changed, total): (&f64, &f64)| if *total > 0.0 { changed / total } else { 0.0 };
        self.changed.iter().zip(&self.total).map(fraction).collect()
    }
}

/// Per filter, the fraction of the squared norm that is orthogonal to the grey direction `(1, 1, 1)/√3` over
/// channels, in [0, 1]; 2/3 for random filters, 0 for a filter of zeros.
///
/// # Shapes
/// `[C, 3, k, k]`; the result has length C.
///
/// # Panics
/// When the filters do not have three channels.
pub fn color_fraction_of_filters(filters: Tensor<4>) -> Vec<f64> {
    let [c, channels, ..] = filters.dims();
    assert_eq!(channels, 3, "filters must be [C, 3, k, k], not {:?}", filters.dims());
    let values = to_f64(filters);
    values.chunks_exact(values.len() / c.max(1)).map(color_fraction).collect()
}

/// The same for one filter, given as red, green and blue one after the other.
fn color_fraction(filter: &[f64]) -> f64 {
    let positions = filter.len() / 3;
    let total: f64 = filter.iter().map(|w| w * w).sum();
    // Around the mean of the three channels, rather than as a difference of two large sums.
    let colour: f64 = (0..positions)
        .map(|p| {
            let rgb = [filter[p], filter[p + positions], filter[p + 2 * positions]];
            let grey = rgb.iter().sum::<f64>() / 3.0;
            rgb.iter().map(|w| (w - grey).powi(2)).sum::<f64>()
        })
        .sum();
    if total > 0.0 { colour / total } else { 0.0 }
}

/// Magnitudes of an image's entries in a row, relative to the largest: `[B, C, H, W]` to `[B, C H W]`.
fn per_image(activations: Tensor<4>) -> Tensor<2> {
    let [b, c, h, w] = activations.dims();
    scaled(activations.detach().abs().reshape([b, c * h * w]))
}

/// Rows divided by their largest entry; a row of zeros is unchanged.
fn scaled(sizes: Tensor<2>) -> Tensor<2> {
    let largest = sizes.clone().max_dim(1);
    let none = largest.clone().equal_scalar(0.0);
    sizes / largest.mask_fill(none, 1.0)
}

fn negligible(scaled: Tensor<2>) -> Tensor<2, burn::tensor::Bool> {
    scaled.lower_equal_scalar(NEGLIGIBLE)
}

fn count(mask: Tensor<2, burn::tensor::Bool>) -> u64 {
    mask.int().sum().into_scalar::<i64>() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution};

    #[test]
    fn sparsity_counts_zeros_and_what_is_negligible_in_its_image() {
        let device = Device::flex();
        let a = Tensor::<4>::from_data(
            [[[[0.0, 2.0], [-1e-9, 1e-5]]], [[[0.0, 0.0], [1e-9, 1e-12]]], [[[0.0, 0.0], [0.0, 0.0]]]],
            &device,
        );
        let mut whole = ActivationSparsity::new();
        whole.add(a.clone());
        // Image 1: one zero, and 1e-9 next to 2; image 2: two zeros, but 1e-12 next to 1e-9 is not; image 3: all.
        assert_eq!(whole.zero_fraction(), 7.0 / 12.0);
        assert_eq!(whole.negligible_fraction(), 8.0 / 12.0);
        let mut split = ActivationSparsity::new();
        split.add(a.clone().slice_dim(0, 0..1));
        split.add(a.slice_dim(0, 1..3));
        assert_eq!(split, whole);
    }

    #[test]
    fn density_is_the_fraction_of_units_in_use() {
        let device = Device::flex();
        let features = Tensor::<2>::from_data(
            [[3.0, -3.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0], [3.0, 1.0, 0.0, 0.0]],
            &device,
        );
        let mut density = FeatureDensity::new();
        density.add(features.clone().slice_dim(0, 0..1));
        assert!((density.participation_ratio() - 0.5).abs() < 1e-6);
        density.add(features.slice_dim(0, 1..4));
        assert!((density.active_fraction() - (0.5 + 1.0 + 0.0 + 0.5) / 4.0).abs() < 1e-12);
        // The last row: 16/(4·10).
        assert!((density.participation_ratio() - (0.5 + 1.0 + 0.0 + 0.4) / 4.0).abs() < 1e-6);
    }

    #[test]
    fn gaussian_features_have_a_participation_ratio_of_two_over_pi() {
        // 256 × 4096 draws: the ratio of a row has a standard deviation below 0.01, the mean below 7e-4.
        let mut density = FeatureDensity::new();
        density.add(Tensor::random([256, 4096], Distribution::Normal(0.0, 1.0), &Device::flex()));
        assert!((density.participation_ratio() - std::f64::consts::FRAC_2_PI).abs() < 4e-3);
    }

    #[test]
    fn color_selectivity_is_the_fraction_of_the_response_that_grey_changes() {
        let device = Device::flex();
        // Three units at two positions, then one more image.
        let colour = Tensor::<4>::from_data([[[[1.0, 2.0]], [[1.0, 0.0]], [[0.0, 0.0]]]], &device);
        let grey = Tensor::<4>::from_data([[[[1.0, 2.0]], [[0.0, 0.0]], [[0.0, 0.0]]]], &device);
        let mut selectivity = ColorSelectivity::new();
        selectivity.add(colour.clone(), grey.clone());
        assert_eq!(selectivity.per_unit(), [0.0, 1.0, 0.0]);
        selectivity.add(grey.clone() * 3.0, grey + 1.0);
        // Unit 1: |3−2| + |6−3| over 3 + 3 + (9 + 5); unit 2: 1 + 2 over 1 + 2; unit 3: 2/2.
        assert_eq!(selectivity.per_unit(), [4.0 / 20.0, 1.0, 1.0]);
    }

    #[test]
    fn color_fractions_of_grey_opponent_and_mixed_filters() {
        // Channels (1, 1, 1), (1, −1, 0), (1, 0, 0) at both positions: 0, 1 and 2/3 are off the grey direction.
        let filters = Tensor::<4>::from_data(
            [
                [[[1.0, -2.0]], [[1.0, -2.0]], [[1.0, -2.0]]],
                [[[1.0, 2.0]], [[-1.0, -2.0]], [[0.0, 0.0]]],
                [[[1.0, 5.0]], [[0.0, 0.0]], [[0.0, 0.0]]],
                [[[0.0, 0.0]], [[0.0, 0.0]], [[0.0, 0.0]]],
            ],
            &Device::flex(),
        );
        let fractions = color_fraction_of_filters(filters);
        for (found, expected) in fractions.iter().zip([0.0, 1.0, 2.0 / 3.0, 0.0]) {
            assert!((found - expected).abs() < 1e-12, "{fractions:?}");
        }
    }
}
