//! Loops over entries, written so that the compiler vectorises them at whatever width the processor has.
//!
//! Each closure takes its slice by value (`let row = row`): that makes it callable once only, and such a closure is
//! compiled into the vectorised caller. Others are called through a shim that is not, and run at the narrowest width.

use super::product::Rows;
use pulp::Arch;

/// Number of partial sums that are kept side by side.
const LANES: usize = 16;

/// `f = relu(u − b) − relu(−u − b)` row by row, `b` along the columns.
pub(super) fn symmetric_relu(u: &[f32], b: &[f32], f: &mut [f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        move || {
            let f = f;
            for (u, f) in u.chunks_exact(b.len()).zip(f.chunks_exact_mut(b.len())) {
                for ((f, u), b) in f.iter_mut().zip(u).zip(b) {
                    // Unlike under `max`, what is not a number stays so.
                    let relu = |v: f32| if v <= 0.0 { 0.0 } else { v };
                    *f = relu(u - b) - relu(-u - b);
                }
            }
        },
    );
}

/// Propagates the gradient from `f` back to `u`, in place, and adds the part for `b` to `biases`.
pub(super) fn symmetric_relu_backward(u: &[f32], b: &[f32], gradient: &mut [f32], biases: &mut [f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        move || {
            let gradient = gradient;
            for (u, g) in u.chunks_exact(b.len()).zip(gradient.chunks_exact_mut(b.len())) {
                for (((g, u), b), sum) in g.iter_mut().zip(u).zip(b).zip(biases.iter_mut()) {
                    let upper = if *u > *b { *g } else { 0.0 };
                    let lower = if -*u > *b { *g } else { 0.0 };
                    *sum += lower - upper;
                    *g = upper + lower;
                }
            }
        },
    );
}

/// Turns a row of logits into `e^{logit − max}`, the maximum over them and `at_least`; returns maximum and sum.
pub(super) fn exponentials(row: &mut [f32], at_least: f32) -> (f32, f32) {
    Arch::new().dispatch(
        #[inline(always)]
        move || {
            let row = row;
            let max = side_by_side(row, at_least, |a, b| if b > a { b } else { a });
            row.iter_mut().for_each(|v| *v = exp_nonpositive(*v - max));
            (max, side_by_side(row, 0.0, |a, b| a + b))
        },
    )
}

/// Folds values in several lanes and then the lanes; in a single lane each operation would wait for the last.
#[inline(always)]
fn side_by_side(values: &[f32], initial: f32, fold: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [initial; LANES];
    let (blocks, rest) = values.as_chunks::<LANES>();
    for block in blocks {
        for i in 0..LANES {
            lanes[i] = fold(lanes[i], block[i]);
        }
    }
    lanes.iter().chain(rest).fold(initial, |a, b| fold(a, *b))
}

/// `row *= factor`.
pub(super) fn scale(row: &mut [f32], factor: f32) {
    Arch::new().dispatch(
        #[inline(always)]
        move || {
            let row = row;
            row.iter_mut().for_each(|v| *v *= factor);
        },
    );
}

/// `row += factor · other`.
pub(super) fn add_scaled(row: &mut [f32], factor: f32, other: &[f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        move || {
            let row = row;
            row.iter_mut().zip(other).for_each(|(r, o)| *r += factor * o);
        },
    );
}

/// `row += Σ c B[i]` over column and factor `(i, c)`, for each row. Four rows of `B` at a time.
pub(super) fn add_combinations<'a>(rows: impl Iterator<Item = (&'a mut [f32], &'a [(usize, f32)])>, b: Rows) {
    Arch::new().dispatch(
        #[inline(always)]
        move || {
            for (row, terms) in rows {
                let (fours, rest) = terms.as_chunks::<4>();
                for &[(i0, c0), (i1, c1), (i2, c2), (i3, c3)] in fours {
                    let others = b.row(i0).iter().zip(b.row(i1)).zip(b.row(i2)).zip(b.row(i3));
                    for (r, (((b0, b1), b2), b3)) in row.iter_mut().zip(others) {
                        *r += c0 * b0 + c1 * b1 + (c2 * b2 + c3 * b3);
                    }
                }
                for (i, c) in rest {
                    row.iter_mut().zip(b.row(*i)).for_each(|(r, b)| *r += c * b);
                }
            }
        },
    );
}

/// `⟨a, b⟩`.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            let mut sums = [0.0f32; LANES];
            let (a_blocks, a_rest) = a.as_chunks::<LANES>();
            let (b_blocks, b_rest) = b.as_chunks::<LANES>();
            for (a, b) in a_blocks.iter().zip(b_blocks) {
                for ((s, a), b) in sums.iter_mut().zip(a).zip(b) {
                    *s += a * b;
                }
            }
            sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
        },
    )
}

/// `eˣ` for `x ≤ 0`, relative error below 3e-7; 0 below −87, where single precision underflows.
#[inline(always)]
fn exp_nonpositive(x: f32) -> f32 {
    // Adding 1.5 · 2²³ rounds to integers and leaves them in the lowest bits.
    const SHIFT: f32 = 12_582_912.0;
    let shifted = x * std::f32::consts::LOG2_E + SHIFT;
    let whole = shifted - SHIFT;
    // ln 2 in two parts, the first with few bits, so that its product with a small integer is exact.
    let r = x - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    let series =
        1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0))))));
    let scaled = f32::from_bits(series.to_bits().wrapping_add(shifted.to_bits() << 23));
    if x < -87.0 { 0.0 } else { scaled }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_agree_with_double_precision() {
        for i in 0..200_000 {
            let x = -87.0 * i as f32 / 200_000.0;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp_nonpositive(x)) - exact).abs() / exact;
            assert!(error < 3e-7, "e^{x}: relative error {error}");
        }
        assert_eq!(exp_nonpositive(0.0), 1.0);
        for x in [-87.1, -1e10, -1e30, f32::NEG_INFINITY] {
            assert_eq!(exp_nonpositive(x), 0.0, "e^{x}");
        }
    }

    #[test]
    fn sums_and_maxima_reach_into_the_rest_of_a_row() {
        for length in [1, 15, 16, 17, 40] {
            let logits: Vec<f32> = (0..length).map(|i| (i as f32 * 0.7).sin() + i as f32 * 0.01).collect();
            let mut row = logits.clone();
            let (max, sum) = exponentials(&mut row, -10.0);
            let expected: f64 = logits.iter().map(|l| f64::from(l - max).exp()).sum();
            assert_eq!(max, logits.iter().copied().fold(f32::MIN, f32::max));
            assert!((f64::from(sum) - expected).abs() < 1e-5 * expected);
            let squares: f32 = logits.iter().map(|l| l * l).sum();
            assert!((dot(&logits, &logits) - squares).abs() < 1e-5 * squares.max(1.0));
        }
        assert_eq!(exponentials(&mut [1.0, 2.0], 5.0).0, 5.0);
    }
}
