//! Whether the bounds between contrast with samples and contrast with classes hold at every checkpoint.

use super::measure::{CompleteRun, Measure};
use crate::io::error::UserError;
use crate::spec::experiment::Point;
use crate::tasks::class_features::spec::ClassSpec;
use crate::tasks::two_views::TwoViewSnapshot;
use cl_config::{Component, ConfigError};
use cl_model::prototypes::PrototypeMeasures;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Over all snapshots: `smallest_jensen_gap` and `smallest_bound_slack`, which are proved to be at least 0, and `largest_jensen_gap_of_own_queries`, of
/// which nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrototypeBounds {}

impl Component for PrototypeBounds {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        Ok(self)
    }
}

impl Measure for PrototypeBounds {
    fn check(&self, point: &Point) -> Result<(), String> {
        match point.spec.get::<ClassSpec>() {
            Some(_) => Ok(()),
            None => Err("it takes data.class_features: other data have no classes with prototypes".into()),
        }
    }

    fn of_run(&self, run: &CompleteRun) -> Result<BTreeMap<String, f64>, UserError> {
        let snapshots = run.folder.snapshots::<TwoViewSnapshot>()?;
        let measured: Vec<PrototypeMeasures> = snapshots.iter().filter_map(|s| s.prototypes).collect();
        let of = |name: &str, read: fn(&PrototypeMeasures) -> f64, pick: fn(f64, f64) -> f64| {
            (name.to_string(), measured.iter().map(read).reduce(pick).unwrap_or(f64::NAN))
        };
        Ok([
            of("smallest_jensen_gap", |p| p.jensen_gap, f64::min),
            of("smallest_bound_slack", |p| p.supervised_bound - p.supervised_difference, f64::min),
            of("largest_jensen_gap_of_own_queries", |p| p.jensen_gap_of_own_queries, f64::max),
        ]
        .into())
    }
}
