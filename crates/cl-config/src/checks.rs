//! Range checks for single values.

use crate::ConfigError;

/// Rejects `value` unless it is `right`; `wanted` says what would be.
///
/// # Errors
/// [`ConfigError`].
pub fn check(right: bool, key: &str, value: impl ToString, wanted: impl ToString) -> Result<(), ConfigError> {
    if right {
        return Ok(());
    }
    Err(ConfigError { key: key.into(), value: value.to_string(), right: wanted.to_string() })
}

/// Rejects a whole number below `least`.
///
/// # Errors
/// [`ConfigError`].
pub fn at_least(key: &str, value: u64, least: u64) -> Result<(), ConfigError> {
    check(value >= least, key, value, format!("at least {least}"))
}

/// Rejects a value that is not finite.
///
/// # Errors
/// [`ConfigError`].
pub fn finite(key: &str, value: f64) -> Result<(), ConfigError> {
    check(value.is_finite(), key, value, "a finite number")
}

/// Rejects a value that is not finite and larger than 0.
///
/// # Errors
/// [`ConfigError`].
pub fn positive(key: &str, value: f64) -> Result<(), ConfigError> {
    check(value.is_finite() && value > 0.0, key, value, "a finite number larger than 0")
}

/// Rejects a value that is not finite, or is negative.
///
/// # Errors
/// [`ConfigError`].
pub fn not_negative(key: &str, value: f64) -> Result<(), ConfigError> {
    check(value.is_finite() && value >= 0.0, key, value, "a finite number, 0 or larger")
}

/// Rejects a value that is not a probability.
///
/// # Errors
/// [`ConfigError`].
pub fn probability(key: &str, value: f64) -> Result<(), ConfigError> {
    check((0.0..=1.0).contains(&value), key, value, "a probability, from 0 to 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_ranges_belong_to_them_and_what_is_no_number_does_not() {
        assert!(at_least("n", 2, 2).is_ok() && at_least("n", 1, 2).is_err());
        assert!(not_negative("x", 0.0).is_ok() && positive("x", 0.0).is_err() && positive("x", 1e-300).is_ok());
        assert!(
            probability("p", 0.0).is_ok() && probability("p", 1.0).is_ok() && probability("p", 1.0 + 1e-9).is_err()
        );
        for broken in [f64::NAN, f64::INFINITY] {
            assert!(
                finite("x", broken).is_err() && positive("x", broken).is_err() && not_negative("x", broken).is_err()
            );
            assert!(probability("p", broken).is_err());
        }
        let error = at_least("n", 1, 2).unwrap_err().below("data.mine");
        assert_eq!(error.to_string(), "data.mine.n = 1 is out of range; it has to be at least 2");
    }
}
