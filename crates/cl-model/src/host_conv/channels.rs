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
            for row in rows.chunks_exact(pivot.len()) {
                for (((v, p), sum), square) in row.iter().zip(pivot).zip(sums.iter_mut()).zip(squares.iter_mut()) {
                    let d = v - p;
                    *sum += d;
                    *square += d * d;
                }
            }
        },
    );
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

/// Activations `[n, C]` of `y = scale · u + shift`, `u` `[n, C]`: `relu(y − b) − relu(−y − b)` if there is a threshold b, `relu(y)` otherwise.
pub(super) fn activate(u: &[f32], affine: &Affine, threshold: Option<f32>, a: &mut [f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        move || {
            let a = a;
            let channels = affine.scale.len();
            for (u, a) in u.chunks_exact(channels).zip(a.chunks_exact_mut(channels)) {
                let each = a.iter_mut().zip(u).zip(&affine.scale).zip(&affine.shift);
                match threshold {
                    None => each.for_each(|(((a, u), s), t)| *a = relu(u * s + t)),
                    Some(b) => each.for_each(|(((a, u), s), t)| {
                        let y = u * s + t;
                        *a = relu(y - b) - relu(-y - b);
                    }),
                }
            }
        },
    );
}

/// Takes the gradient with respect to activations `[n, C]` back to the normalised numbers, in place, and adds the result and its products
/// with `u − mean` to `sums` and `products`, `[C]`.
pub(super) fn activation_backward(
    u: &[f32],
    affine: &Affine,
    threshold: Option<f32>,
    mean: &[f32],
    gradient: &mut [f32],
    sums: &mut [f32],
    products: &mut [f32],
) {
    let b = threshold.unwrap_or(0.0);
    // A ReLU passes nothing below; the symmetrised one does.
    let below = if threshold.is_some() { 1.0f32 } else { 0.0 };
    Arch::new().dispatch(
        #[inline(always)]
        move || {
            let (gradient, sums, products) = (gradient, sums, products);
            let channels = affine.scale.len();
            for (u, g) in u.chunks_exact(channels).zip(gradient.chunks_exact_mut(channels)) {
                for c in 0..channels {
                    let y = u[c] * affine.scale[c] + affine.shift[c];
                    let passes = if y <= b { 0.0 } else { 1.0 } + if -y <= b { 0.0 } else { below };
                    let d = g[c] * passes;
                    g[c] = d;
                    sums[c] += d;
                    products[c] += d * (u[c] - mean[c]);
                }
            }
        },
    );
}

/// `gradient ← first · gradient + second · u + third`; `gradient` and `u` are `[n, C]`, the factors `[C]`.
pub(super) fn combine(u: &[f32], [first, second, third]: [&[f32]; 3], gradient: &mut [f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        move || {
            let gradient = gradient;
            let channels = first.len();
            for (u, g) in u.chunks_exact(channels).zip(gradient.chunks_exact_mut(channels)) {
                for c in 0..channels {
                    g[c] = first[c] * g[c] + second[c] * u[c] + third[c];
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
