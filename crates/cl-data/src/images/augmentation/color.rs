//! Arithmetic on the three colour planes: blending towards grey, and rotating the hue.

use super::rows::per_image;
use burn::tensor::{Device, Tensor};

/// Red, green and blue, `[n, 1, h, w]` each.
pub(super) struct Planes([Tensor<4>; 3]);

impl Planes {
    /// Splits images of shape `[n, 3, h, w]`.
    pub(super) fn of(images: Tensor<4>) -> Self {
        let dims = images.dims();
        assert_eq!(dims[1], 3, "images of shape {dims:?}, but colours need [n, 3, h, w]");
        Self([0, 1, 2].map(|channel| images.clone().narrow(1, channel, 1)))
    }

    /// Puts the planes together again, `[n, 3, h, w]`.
    pub(super) fn into_images(self) -> Tensor<4> {
        Tensor::cat(self.0.into(), 1)
    }

    /// `0.2989 r + 0.587 g + 0.114 b`, `[n, 1, h, w]`.
    pub(super) fn grey(&self) -> Tensor<4> {
        let [r, g, b] = &self.0;
        r.clone() * 0.2989 + g.clone() * 0.587 + b.clone() * 0.114
    }

    /// Blends each image with what its [`Blend`] names, and clamps to [0, 1].
    pub(super) fn blended(self, blends: &[Blend]) -> Self {
        let factors = |of: fn(&Blend) -> f32| blends.iter().map(of).collect::<Vec<_>>();
        let device = self.0[0].device();
        let factor = per_image(factors(|blend| blend.factor), &device);
        let other = self.other(blends, &device);
        Self(self.0.map(|plane| {
            let scaled = plane * factor.clone();
            let sum = if let Some(other) = &other { scaled + other.clone() } else { scaled };
            sum.clamp(0.0, 1.0)
        }))
    }

    /// `(1 − f)` times what is blended in; `None` if all blends are with black.
    fn other(&self, blends: &[Blend], device: &Device) -> Option<Tensor<4>> {
        let weights = |target: BlendTarget| {
            let weight = |blend: &Blend| if blend.target == target { 1.0 - blend.factor } else { 0.0 };
            let present = blends.iter().any(|blend| blend.target == target);
            present.then(|| per_image(blends.iter().map(weight).collect(), device))
        };
        let (of_grey, of_mean) = (weights(BlendTarget::Grey), weights(BlendTarget::MeanGrey));
        if of_grey.is_none() && of_mean.is_none() {
            return None;
        }
        let grey = self.grey();
        let mean = of_mean.map(|weight| {
            let [count, _, height, width] = grey.dims();
            grey.clone().reshape([count, height * width]).mean_dim(1).reshape([count, 1, 1, 1]) * weight
        });
        match (of_grey.map(|weight| grey * weight), mean) {
            (Some(grey), Some(mean)) => Some(grey + mean),
            (grey, mean) => grey.or(mean),
        }
    }

    /// Rotates the hue of each image by a fraction of the full circle, in [−½, ½].
    ///
    /// In HSV only the hue moves, so the largest and the smallest channel keep their values. With
    /// `c = max − min` and the hue `h` in sixths of the circle,
    /// `h = ±(1 + (g + b − r − min) / c)`, plus where `g ≥ b`, and back
    /// `r = min + c u(h − 3)`, `g = max − c u(h − 2)`, `b = max − c u(h − 4)`
    /// with `u(x) = clamp(|x| − 1, 0, 1)` and `h` in [0, 6). A grey pixel stays as it is.
    pub(super) fn turned(self, turns: &[f32]) -> Self {
        let [r, g, b] = self.0;
        // In [0, 6), so that one subtraction brings the sum of two hues back into the circle.
        let turns: Vec<f32> =
            turns.iter().map(|turn| if *turn < 0.0 { 6.0 + 6.0 * turn } else { 6.0 * turn }).collect();
        let turn = per_image(turns, &r.device());

        let excess = (r.clone() - g.clone()).clamp_min(0.0);
        let larger = g.clone() + excess.clone();
        let smaller = r.clone() - excess;
        let max = (larger - b.clone()).clamp_min(0.0) + b.clone();
        let min = b.clone() - (b.clone() - smaller).clamp_min(0.0);
        let chroma = max.clone() - min.clone();

        let greener = g.clone().greater_equal(b.clone());
        let upper = (g + b - r - min.clone()) / chroma.clone().clamp_min(f32::MIN_POSITIVE) + 1.0;
        let lower = upper.clone().neg() + 6.0;
        let hue = lower.mask_where(greener, upper) + turn;
        let hue = hue.clone().mask_where(hue.clone().greater_equal_elem(6.0), hue - 6.0);

        let bump = |centre: f32| ((hue.clone() - centre).abs() - 1.0).clamp(0.0, 1.0) * chroma.clone();
        Self([min + bump(3.0), max.clone() - bump(2.0), max - bump(4.0)])
    }
}

/// `clamp(f x + (1 − f) y)` with another image `y`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Blend {
    /// `f`, from 0; 1 leaves the image as it is.
    pub(super) factor: f32,
    /// What `y` is.
    pub(super) target: BlendTarget,
}

/// The image that is blended in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlendTarget {
    /// Black: the brightness changes.
    Black,
    /// The mean of the image in grey: the contrast changes.
    MeanGrey,
    /// The image in grey: the saturation changes.
    Grey,
}
