//! Numbers that may be undefined: `None` in the records of a run, NaN where verdicts and figures are made of them, and
//! `null` in JSON, which has no NaN.

/// A recorded number as verdicts and figures need it: an undefined one becomes NaN, which fails and is not drawn.
pub fn or_nan(value: Option<f64>) -> f64 {
    value.unwrap_or(f64::NAN)
}

/// The largest absolute value; NaN if any number is NaN, 0 if there are no numbers.
pub fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().map(f64::abs).max_by(f64::total_cmp).unwrap_or(0.0)
}

/// For fields of type `f64`: values that are not finite are written as `null`, which is read as NaN.
pub mod as_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes `null` for a value that is not finite.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        value.is_finite().then_some(*value).serialize(serializer)
    }

    /// Reads `null` as NaN.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Option::deserialize(deserializer).map(super::or_nan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_of_numbers_one_of_which_is_none_is_none() {
        assert_eq!(largest([1.0, -3.0, 2.0]), 3.0);
        assert_eq!(largest([]), 0.0);
        assert!(largest([f64::NAN, 1.0]).is_nan() && largest([1.0, -f64::NAN]).is_nan());
    }

    #[test]
    fn what_is_not_finite_is_null_and_comes_back() {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Field(#[serde(with = "as_null")] f64);
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(serde_json::to_string(&Field(value)).unwrap(), "null");
        }
        assert!(serde_json::from_str::<Field>("null").unwrap().0.is_nan());
        assert_eq!(serde_json::from_str::<Field>("0.25").unwrap().0, 0.25);
    }
}
