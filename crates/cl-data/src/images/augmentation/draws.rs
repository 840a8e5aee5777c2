//! Numbers in intervals and on grids, one 64-bit word each.

use rand::Rng;

/// A number in [0, 1), on a grid of 2⁻⁵³.
pub(super) fn unit(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 * 2f64.powi(-53)
}

/// A number in `[low, high)`; `low` itself where both are equal.
pub(super) fn uniform(rng: &mut impl Rng, [low, high]: [f64; 2]) -> f64 {
    low + (high - low) * unit(rng)
}

/// Whether an event of the given probability takes place.
pub(super) fn happens(rng: &mut impl Rng, probability: f64) -> bool {
    unit(rng) < probability
}

/// A whole number in `0..count`.
pub(super) fn index(rng: &mut impl Rng, count: usize) -> usize {
    (unit(rng) * count as f64) as usize
}
