//! Checks that name the key, the value and the range.

use crate::DataError;

/// Refuses a value that is not inside its range.
pub(super) fn require(inside: bool, name: &'static str, value: f64, range: &'static str) -> Result<(), DataError> {
    if inside { Ok(()) } else { Err(DataError::OutOfRange { name, value, range }) }
}

/// Refuses what is no probability.
pub(super) fn require_probability(name: &'static str, value: f64) -> Result<(), DataError> {
    require((0.0..=1.0).contains(&value), name, value, "[0, 1]")
}

/// Refuses an interval whose ends, with their keys, are not positive finite numbers in order.
pub(super) fn require_positive_interval(
    [low_name, high_name]: [&'static str; 2],
    [low, high]: [f64; 2],
    range_of_low: &'static str,
) -> Result<(), DataError> {
    require(high > 0.0 && high.is_finite(), high_name, high, "(0, ∞)")?;
    require(low > 0.0 && low <= high, low_name, low, range_of_low)
}
