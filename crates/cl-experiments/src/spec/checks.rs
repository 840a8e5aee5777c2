//! Ranges of values, checked with the key named.

use crate::io::error::SpecError;

pub(super) fn at_least(key: &str, value: u64, least: u64) -> Result<(), SpecError> {
    if value >= least {
        return Ok(());
    }
    Err(SpecError::Range { key: key.into(), value: value.to_string(), right: format!("at least {least}") })
}

pub(super) fn finite(key: &str, value: f64) -> Result<(), SpecError> {
    range(key, value, value.is_finite(), "a finite number")
}

pub(super) fn not_negative(key: &str, value: f64) -> Result<(), SpecError> {
    range(key, value, value.is_finite() && value >= 0.0, "a finite number, 0 or larger")
}

pub(super) fn positive(key: &str, value: f64) -> Result<(), SpecError> {
    range(key, value, value.is_finite() && value > 0.0, "a finite number larger than 0")
}

pub(super) fn range(key: &str, value: f64, right: bool, wanted: &str) -> Result<(), SpecError> {
    if right {
        return Ok(());
    }
    Err(SpecError::Range { key: key.into(), value: value.to_string(), right: wanted.into() })
}
