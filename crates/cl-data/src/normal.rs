//! Standard normal numbers, the same bits on every machine.
//!
//! A training step draws two normal numbers per coordinate of each pair, so this is a hot loop. The
//! Box–Muller transform is written with plain multiplications, additions and a correctly rounded
//! square root, in one fixed order: it vectorises at whatever width the machine has, and gives the same
//! values at every width. (A library's transform calls the system's `ln` and `cos`, whose last bit
//! differs between machines; ziggurat does not vectorise.)

use pulp::Arch;
use rand::Rng;

/// Numbers made per block: half of them by cosines, half by sines.
const BLOCK: usize = 512;

/// A vector of `count` independent `N(0, 1)` numbers; `|value| ≤ 6.8`.
pub fn standard_normal(rng: &mut impl Rng, count: usize) -> Vec<f32> {
    scaled_normal(rng, count, 1.0)
}

/// A vector of `count` independent `N(0, std²)` numbers.
pub(crate) fn scaled_normal(rng: &mut impl Rng, count: usize, std: f32) -> Vec<f32> {
    let arch = Arch::new();
    let mut words = [0u32; BLOCK];
    let mut values = [0f32; BLOCK];
    // Grown block by block: memory that is about to be overwritten need not be zeroed first.
    let mut out = Vec::with_capacity(count);
    while out.len() < count {
        fill_words(rng, &mut words);
        let (filled, made) = (&words, &mut values);
        arch.dispatch(
            #[inline(always)]
            move || {
                // Taken by value, so that the closure can be called only once; others go through a shim that is
                // compiled for the narrowest width.
                let made = made;
                box_muller(filled, std, made);
            },
        );
        out.extend_from_slice(&values[..BLOCK.min(count - out.len())]);
    }
    out
}

/// Fills `words` with random bits, little-endian on every machine.
pub(crate) fn fill_words<const N: usize>(rng: &mut impl Rng, words: &mut [u32; N]) {
    let mut bytes = [[0u8; 4]; N];
    rng.fill_bytes(bytes.as_flattened_mut());
    for (word, bytes) in words.iter_mut().zip(bytes) {
        *word = u32::from_le_bytes(bytes);
    }
}

#[inline(always)]
fn box_muller(words: &[u32; BLOCK], std: f32, values: &mut [f32; BLOCK]) {
    let (radius_words, angle_words) = words.split_at(BLOCK / 2);
    let (first, second) = values.split_at_mut(BLOCK / 2);
    for i in 0..BLOCK / 2 {
        let radius = (-2.0 * ln_unit(radius_words[i])).sqrt();
        let (sin, cos) = sin_cos_turn(angle_words[i]);
        first[i] = radius * cos * std;
        second[i] = radius * sin * std;
    }
}

/// `ln((word + ½) / 2³²)`, error below 2e-7 relative to the larger of 1 and the value.
#[inline(always)]
fn ln_unit(word: u32) -> f32 {
    // 24 bits fit a float exactly. The largest word rounds up to 1, where the logarithm is 0.
    let u = (f64::from(word) + 0.5) as f32;
    let bits = u.to_bits();
    // u = mantissa · 2^exponent with mantissa in [√½, √2).
    let shifted = bits.wrapping_sub(0x3f35_04f3);
    let exponent = (shifted as i32) >> 23;
    let mantissa = f32::from_bits((shifted & 0x007f_ffff).wrapping_add(0x3f35_04f3));
    // ln(m) = 2 atanh(s), s = (m − 1)/(m + 1), |s| ≤ 0.1716.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let s2 = s * s;
    let series = 2.0 + s2 * (2.0 / 3.0 + s2 * (2.0 / 5.0 + s2 * (2.0 / 7.0 + s2 * (2.0 / 9.0))));
    (exponent - 32) as f32 * std::f32::consts::LN_2 + s * series
}

/// `(sin 2πt, cos 2πt)` for `t = word / 2³²`, each within 2e-7.
#[inline(always)]
pub(crate) fn sin_cos_turn(word: u32) -> (f32, f32) {
    // Quarter turns, and the rest in [−⅛, ⅛) of a turn.
    let quarter = word.wrapping_add(1 << 29) >> 30;
    let rest = word.wrapping_sub(quarter << 30) as i32;
    let a = rest as f32 * (std::f32::consts::TAU / 4_294_967_296.0);
    let a2 = a * a;
    let sin = a * (1.0 + a2 * (-1.0 / 6.0 + a2 * (1.0 / 120.0 + a2 * (-1.0 / 5040.0))));
    let cos = 1.0 + a2 * (-0.5 + a2 * (1.0 / 24.0 + a2 * (-1.0 / 720.0 + a2 * (1.0 / 40320.0))));
    let (s, c) = if quarter & 1 == 1 { (cos, sin) } else { (sin, cos) };
    let sin_sign = if quarter & 2 == 2 { -1.0 } else { 1.0 };
    let cos_sign = if (quarter + 1) & 2 == 2 { -1.0 } else { 1.0 };
    (sin_sign * s, cos_sign * c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Part, Purpose, Stream};

    #[test]
    fn logarithm_agrees_with_double_precision() {
        for i in 0..100_000u32 {
            let word = i.wrapping_mul(42_949).wrapping_add(i);
            let exact = ((f64::from(word) + 0.5) / 4_294_967_296.0).ln();
            let error = (f64::from(ln_unit(word)) - exact).abs() / exact.abs().max(1.0);
            assert!(error < 3e-7, "word {word}: error {error}");
        }
        assert!(ln_unit(u32::MAX) <= 0.0);
        assert!((f64::from(ln_unit(0)) - (0.5f64 / 4_294_967_296.0).ln()).abs() < 3e-6);
    }

    #[test]
    fn sine_and_cosine_agree_with_double_precision() {
        for i in 0..100_000u32 {
            let word = i.wrapping_mul(42_949).wrapping_add(i);
            let angle = f64::from(word) / 4_294_967_296.0 * std::f64::consts::TAU;
            let (sin, cos) = sin_cos_turn(word);
            assert!((f64::from(sin) - angle.sin()).abs() < 4e-7, "word {word}");
            assert!((f64::from(cos) - angle.cos()).abs() < 4e-7, "word {word}");
        }
    }

    /// Moments of 4 million numbers against their standard errors; each of the five checks is at 4.9
    /// standard errors (two-sided false-alarm probability 1e-6).
    #[test]
    fn moments_are_those_of_a_standard_normal() {
        let n = 4_000_000;
        let x = standard_normal(&mut Stream::new(3, Purpose::Moments).rng(Part::Whole, 0), n);
        let moment = |k: i32| x.iter().map(|v| f64::from(*v).powi(k)).sum::<f64>() / n as f64;
        let standard_error = |variance: f64| (variance / n as f64).sqrt();
        for (k, mean, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
            let z = (moment(k) - mean) / standard_error(variance);
            assert!(z.abs() < 4.9, "moment {k} is {z} standard errors off");
        }
        // Cosine and sine halves of a block come from the same radius: they must be uncorrelated.
        let (mut sum, mut count) = (0.0, 0);
        for block in x.chunks_exact(BLOCK) {
            let (first, second) = block.split_at(BLOCK / 2);
            sum += first.iter().zip(second).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            count += BLOCK / 2;
        }
        assert!((sum / (count as f64).sqrt()).abs() < 4.9);
    }

    /// Kolmogorov–Smirnov at 1e-6: critical value √(−½ ln(α/2))/√n = 2.69/√n.
    #[test]
    fn distribution_is_standard_normal() {
        let n = 1_000_000;
        let mut x = standard_normal(&mut Stream::new(4, Purpose::Moments).rng(Part::Whole, 0), n);
        x.sort_by(f32::total_cmp);
        // Φ on a grid by Simpson's rule, against the empirical distribution at the grid points.
        let density = |t: f64| (-0.5 * t * t).exp() / std::f64::consts::TAU.sqrt();
        let h = 0.01;
        let (mut t, mut cdf, mut worst) = (-8.0, 0.0, 0.0f64);
        while t < 8.0 {
            cdf += h / 6.0 * (density(t) + 4.0 * density(t + h / 2.0) + density(t + h));
            t += h;
            let below = x.partition_point(|v| f64::from(*v) <= t);
            worst = worst.max((below as f64 / n as f64 - cdf).abs());
        }
        assert!(worst < 2.69 / (n as f64).sqrt(), "distance {worst}");
    }

    #[test]
    fn golden_values_do_not_change() {
        let x = standard_normal(&mut Stream::new(1, Purpose::Moments).rng(Part::Whole, 5), 3);
        assert_eq!(x.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), GOLDEN);
    }

    const GOLDEN: [u32; 3] = [3_206_967_056, 1_070_942_907, 3_212_007_458];
}
