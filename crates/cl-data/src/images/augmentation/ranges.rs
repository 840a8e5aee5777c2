//! Range checks for pairs of values.

use cl_config::{ConfigError, check, positive};

/// Rejects an interval `key` whose ends are not positive finite numbers in order.
pub(super) fn positive_interval(key: &str, [low, high]: [f64; 2]) -> Result<(), ConfigError> {
    positive(&format!("{key}[1]"), high)?;
    check(low > 0.0 && low <= high, &format!("{key}[0]"), low, format!("larger than 0 and at most {key}[1]"))
}
