//! Loops over rows of channels, written so that the compiler vectorises them at whatever width the processor has.

use pulp::Arch;

/// Count of rows; mean and sum of squared deviations of each channel, `[C]`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ChannelMoments {
    pub count: f64,
    pub mean: Vec<f64>,
    pub squares: Vec<f64>,
}

impl ChannelMoments {
    /// Of rows `[n, C]`, n ≥ 1.
    pub fn of(rows: &[f32], channels: usize) -> Self {
        let count = (rows.len() / channels) as f64;
        // Relative to the first row: channels that hardly vary around a large value lose no digits.
        let pivot = &rows[..channels];
        let (mut sums, mut squares) = (vec![0.0f64; channels], vec![0.0f64; channels]);
        // Sums of a few rows in single precision, and those in double.
        let (mut few_sums, mut few_squares) = (vec![0.0f32; channels], vec![0.0f32; channels]);
        for few in rows.chunks(64 * channels) {
            few_sums.fill(0.0);
            few_squares.fill(0.0);
            sums_of(few, pivot, &mut few_sums, &mut few_squares);
            for c in 0..channels {
                sums[c] += f64::from(few_sums[c]);
                squares[c] += f64::from(few_squares[c]);
            }
        }
        let mean = pivot.iter().zip(&sums).map(|(p, s)| f64::from(*p) + s / count).collect();
        // Of what is not a number, neither is the variance.
        let positive = |v: f64| if v < 0.0 { 0.0 } else { v };
        let squares = squares.iter().zip(&sums).map(|(q, s)| positive(q - s * s / count)).collect();
        Self { count, mean, squares }
    }

    /// Of both together (Chan et al. 1979).
    pub fn with(mut self, other: &Self) -> Self {
        let count = self.count + other.count;
        for c in 0..self.mean.len() {
            let difference = other.mean[c] - self.mean[c];
            self.mean[c] += difference * other.count / count;
            self.squares[c] += other.squares[c] + difference * difference * self.count * other.count / count;
        }
        Self { count, ..self }
    }
}

fn sums_of(rows: &[f32], pivot: &[f32], sums: &mut [f32], squares: &mut [f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        move || {
            let (sums, squares) = (sums, squares);
            let channels = pivot.len();
            let whole = channels - channels % LANES;
            for c in (0..whole).step_by(LANES) {
                add_columns::<LANES>(c, rows, pivot, sums, squares);
            }
            for c in whole..channels {
                add_columns::<1>(c, rows, pivot, sums, squares);
            }
        },
    );
}

/// Sums of N channels from `c` on.
#[inline(always)]
fn add_columns<const N: usize>(c: usize, rows: &[f32], pivot: &[f32], sums: &mut [f32], squares: &mut [f32]) {
    let some = |values: &[f32]| -> [f32; N] { values[c..c + N].try_into().expect("N of them") };
    let zero = some(pivot);
    let (mut of_rows, mut of_squares) = ([0.0f32; N], [0.0f32; N]);
    for row in rows.chunks_exact(pivot.len()) {
        let row = some(row);
        for k in 0..N {
            let d = row[k] - zero[k];
            of_rows[k] += d;
            of_squares[k] += d * d;
        }
    }
    for k in 0..N {
        sums[c + k] += of_rows[k];
        squares[c + k] += of_squares[k];
    }
}

/// 0 below 0; what is not a number stays so, unlike under `max`.
#[inline(always)]
fn relu(y: f32) -> f32 {
    if y <= 0.0 { 0.0 } else { y }
}

/// What a normalisation does to each channel: `scale · u + shift`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Affine {
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
}

/// What a number behind a normalisation becomes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Activation {
    /// `y`.
    Identity,
    /// `relu(y)`.
    Relu,
    /// `relu(y − b) − relu(−y − b)`.
    SymmetricRelu(f32),
}

/// Activations `[n, C]` of `scale · u + shift`, `u` `[n, C]`.
pub(super) fn activate(u: &[f32], affine: &Affine, activation: Activation, a: &mut [f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        move || {
            let a = a;
            let channels = affine.scale.len();
            for (u, a) in u.chunks_exact(channels).zip(a.chunks_exact_mut(channels)) {
                let each = a.iter_mut().zip(u).zip(&affine.scale).zip(&affine.shift);
                match activation {
                    Activation::Identity => each.for_each(|(((a, u), s), t)| *a = u * s + t),
                    Activation::Relu => each.for_each(|(((a, u), s), t)| *a = relu(u * s + t)),
                    Activation::SymmetricRelu(b) => each.for_each(|(((a, u), s), t)| {
                        let y = u * s + t;
                        *a = relu(y - b) - relu(-y - b);
                    }),
                }
            }
        },
    );
}

/// Adds `scale · u + shift`, `u` `[n, C]`, to `a`, `[n, C]`, and activates the sums.
pub(super) fn add_and_activate(u: &[f32], affine: &Affine, activation: Activation, a: &mut [f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        move || {
            let a = a;
            let channels = affine.scale.len();
            for (u, a) in u.chunks_exact(channels).zip(a.chunks_exact_mut(channels)) {
                let each = a.iter_mut().zip(u).zip(&affine.scale).zip(&affine.shift);
                match activation {
                    Activation::Identity => each.for_each(|(((a, u), s), t)| *a += u * s + t),
                    Activation::Relu => each.for_each(|(((a, u), s), t)| *a = relu(*a + (u * s + t))),
                    Activation::SymmetricRelu(b) => each.for_each(|(((a, u), s), t)| {
                        let y = *a + (u * s + t);
                        *a = relu(y - b) - relu(-y - b);
                    }),
                }
            }
        },
    );
}

/// Takes the gradient of activations `a` back to what was activated, in place: to 0 where they are 0, for either ReLU.
pub(super) fn pass_where_active(a: &[f32], gradient: &mut [f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        move || {
            let gradient = gradient;
            gradient.iter_mut().zip(a).for_each(|(g, a)| *g = if *a == 0.0 { 0.0 } else { *g });
        },
    );
}

/// `into ← into + from`.
pub(super) fn add(from: &[f32], into: &mut [f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        move || {
            let into = into;
            into.iter_mut().zip(from).for_each(|(a, b)| *a += b);
        },
    );
}

/// What the gradient of a normalisation's parameters and of its input is made of, per channel: sums of the gradients `d` of the normalised
/// numbers, and of `d (u − mean)`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sums {
    pub gradients: Vec<f64>,
    pub products: Vec<f64>,
}

/// Numbers of a row that are summed in registers.
const LANES: usize = 16;

impl Sums {
    /// Of several parts together; at least one.
    pub fn total<'s>(parts: impl Iterator<Item = &'s Self>) -> Self {
        let add = |into: &mut Vec<f64>, from: Vec<f64>| into.iter_mut().zip(from).for_each(|(a, b)| *a += b);
        let together = |mut all: Self, part: Self| {
            add(&mut all.gradients, part.gradients);
            add(&mut all.products, part.products);
            all
        };
        parts.cloned().reduce(together).expect("a part or more")
    }

    /// Over rows `u` `[n, C]` from the gradients of their activations, `[n, C]`.
    pub fn of(u: &[f32], affine: &Affine, activation: Activation, mean: &[f32], gradient: &[f32]) -> Self {
        let mut sums = Self { gradients: vec![0.0; mean.len()], products: vec![0.0; mean.len()] };
        let slope = Slope::of(activation);
        let into = &mut sums;
        Arch::new().dispatch(
            #[inline(always)]
            move || {
                let into = into;
                let channels = mean.len();
                let whole = channels - channels % LANES;
                for c in (0..whole).step_by(LANES) {
                    into.add_columns::<LANES>(c, u, affine, slope, mean, gradient);
                }
                for c in whole..channels {
                    into.add_columns::<1>(c, u, affine, slope, mean, gradient);
                }
            },
        );
        sums
    }

    /// Adds those of N channels from `c` on.
    #[inline(always)]
    fn add_columns<const N: usize>(
        &mut self,
        c: usize,
        u: &[f32],
        affine: &Affine,
        slope: Slope,
        mean: &[f32],
        gradient: &[f32],
    ) {
        let some = |values: &[f32]| -> [f32; N] { values[c..c + N].try_into().expect("N of them") };
        let (scale, shift, mean) = (some(&affine.scale), some(&affine.shift), some(mean));
        let (mut gradients, mut products) = ([0.0f32; N], [0.0f32; N]);
        for (u, g) in u.chunks_exact(affine.scale.len()).zip(gradient.chunks_exact(affine.scale.len())) {
            let (u, g) = (some(u), some(g));
            for k in 0..N {
                let d = g[k] * slope.at(u[k] * scale[k] + shift[k]);
                gradients[k] += d;
                products[k] += d * (u[k] - mean[k]);
            }
        }
        for k in 0..N {
            self.gradients[c + k] += f64::from(gradients[k]);
            self.products[c + k] += f64::from(products[k]);
        }
    }
}

/// Derivative of an activation: 1 above a threshold, and below its negative where the activation is symmetric.
#[derive(Debug, Clone, Copy)]
struct Slope {
    threshold: f32,
    below: f32,
}

impl Slope {
    fn of(activation: Activation) -> Self {
        let (threshold, below) = match activation {
            Activation::Identity => (f32::NEG_INFINITY, 0.0),
            Activation::Relu => (0.0, 0.0),
            Activation::SymmetricRelu(threshold) => (threshold, 1.0),
        };
        Self { threshold, below }
    }

    /// What is not a number passes.
    #[inline(always)]
    fn at(self, y: f32) -> f32 {
        let above = if y <= self.threshold { 0.0 } else { 1.0 };
        above + if -y <= self.threshold { 0.0 } else { self.below }
    }
}

/// `first · d + second · u + third`, where `d` is the gradient of the normalised numbers, from `gradient`, that of their activations. Rows
/// `[n, C]`; factors `[C]`.
pub(super) fn normalization_backward(
    u: &[f32],
    affine: &Affine,
    activation: Activation,
    [first, second, third]: [&[f32]; 3],
    gradient: &[f32],
    into: &mut [f32],
) {
    let slope = Slope::of(activation);
    Arch::new().dispatch(
        #[inline(always)]
        move || {
            let into = into;
            let channels = first.len();
            let (scale, shift) = (&affine.scale[..channels], &affine.shift[..channels]);
            let (second, third) = (&second[..channels], &third[..channels]);
            let rows = u.chunks_exact(channels).zip(gradient.chunks_exact(channels));
            for ((u, g), into) in rows.zip(into.chunks_exact_mut(channels)) {
                for c in 0..channels {
                    let d = g[c] * slope.at(u[c] * scale[c] + shift[c]);
                    into[c] = first[c] * d + second[c] * u[c] + third[c];
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_all_rows_and_constants_have_none() {
        let rows: Vec<f32> = (0..300).flat_map(|i| [1000.0, (i % 7) as f32, -(i as f32)]).collect();
        let parts = rows.chunks(3 * 100).map(|part| ChannelMoments::of(part, 3));
        let all = parts.reduce(|a, b| a.with(&b)).unwrap();
        assert_eq!((all.count, all.mean[0], all.squares[0]), (300.0, 1000.0, 0.0));
        for c in 1..3 {
            let of: Vec<f64> = rows.iter().skip(c).step_by(3).map(|v| f64::from(*v)).collect();
            let mean = of.iter().sum::<f64>() / 300.0;
            let squares: f64 = of.iter().map(|v| (v - mean).powi(2)).sum();
            assert!((all.mean[c] - mean).abs() < 1e-9 && (all.squares[c] / squares - 1.0).abs() < 1e-6);
        }
    }
}
