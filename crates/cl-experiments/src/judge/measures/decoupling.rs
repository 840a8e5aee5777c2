//! C1: cross-view moments against their closed forms, as one simultaneous test.

use super::measure::Measure;
use crate::io::undefined::largest;
use crate::judge::Metrics;
use crate::spec::experiment::Point;
use crate::tasks::sparse_coding::moments::MomentsReport;
use crate::tasks::sparse_coding::spec::MomentsSpec;
use cl_config::{Component, ConfigError, check};
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};
use std::collections::BTreeMap;

/// Largest deviation in standard errors, and how many directions were tested.
pub fn metrics(report: &MomentsReport) -> BTreeMap<String, f64> {
    let largest = largest(report.directions().map(|d| d.deviation()));
    let mean = |of: &[crate::tasks::sparse_coding::moments::DirectionMoment]| {
        of.iter().map(|d| d.estimate).sum::<f64>() / of.len() as f64
    };
    let mut values = BTreeMap::from([
        ("largest_deviation".to_string(), largest),
        ("tests".to_string(), report.directions().count() as f64),
        ("mean_along_features".to_string(), mean(&report.features)),
    ]);
    if !report.complement.is_empty() {
        values.insert("mean_in_complement".to_string(), mean(&report.complement));
    }
    values
}

/// Adds `largest_deviation_over_critical`: with K tests over all points and seeds, the critical value is the two-sided
/// normal quantile at `family_level / K` (Bonferroni). Estimates over 10⁵ pairs are normal far enough into the tails.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimultaneousTests {
    /// Probability that at least one test is significant if every prediction is right, in (0, 1).
    pub family_level: f64,
}

impl Component for SimultaneousTests {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        let level = self.family_level;
        check(level > 0.0 && level < 1.0, "family_level", level, "a probability between 0 and 1")?;
        Ok(self)
    }
}

impl Measure for SimultaneousTests {
    fn check(&self, point: &Point) -> Result<(), String> {
        match point.spec.get::<MomentsSpec>() {
            Some(_) => Ok(()),
            None => Err("it has no section `moments`, whose estimates are tested".into()),
        }
    }

    fn across_runs(&self, metrics: &mut Metrics) {
        let tests: f64 = metrics.values().flat_map(|seeds| seeds.values()).filter_map(|m| m.get("tests")).sum();
        let critical = Normal::standard().inverse_cdf(1.0 - self.family_level / (2.0 * tests));
        for values in metrics.values_mut().flat_map(|seeds| seeds.values_mut()) {
            if let Some(largest) = values.get("largest_deviation").copied() {
                values.insert("largest_deviation_over_critical".into(), largest / critical);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_that_is_no_number_does_not_agree() {
        let direction = |estimate| crate::tasks::sparse_coding::moments::DirectionMoment {
            predicted: 1.0,
            estimate,
            standard_error: 0.1,
        };
        let report =
            MomentsReport { samples: 8, features: vec![direction(1.0), direction(f64::NAN)], complement: Vec::new() };
        assert!(metrics(&report)["largest_deviation"].is_nan());
    }

    #[test]
    fn the_critical_value_counts_every_test() {
        let run =
            |largest: f64| BTreeMap::from([("largest_deviation".to_string(), largest), ("tests".to_string(), 50.0)]);
        let mut metrics: Metrics = [("a".to_string(), [(1, run(3.0)), (2, run(5.0))].into())].into();
        SimultaneousTests { family_level: 0.01 }.across_runs(&mut metrics);
        // Φ⁻¹(1 − 0.01/200) = 3.890592.
        assert!((metrics["a"][&1]["largest_deviation_over_critical"] - 3.0 / 3.890_592).abs() < 1e-5);
        assert!(metrics["a"][&2]["largest_deviation_over_critical"] > 1.0);
    }
}
