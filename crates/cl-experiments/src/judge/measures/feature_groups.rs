//! What was learned of some features beside others, where features differ in frequency or amplitude.

use super::measure::{CompleteRun, Measure};
use crate::io::error::UserError;
use crate::spec::experiment::Point;
use crate::tasks::sparse_coding::spec::TrainingSpec;
use burn::tensor::{Device, Tensor, TensorData};
use cl_config::{Component, ConfigError, at_least, check};
use cl_model::features::Decomposition;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Coverage and neurons of equally large groups of features, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureGroups {
    /// Number of groups, at least 2; it divides d.
    pub groups: usize,
    /// A feature counts as covered from this cosine on, in (0, 1]. Default 0.9.
    #[serde(default = "covered_from")]
    pub covered_from: f64,
}

const fn covered_from() -> f64 {
    0.9
}

impl Component for FeatureGroups {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        at_least("groups", self.groups as u64, 2)?;
        let in_range = self.covered_from > 0.0 && self.covered_from <= 1.0;
        check(in_range, "covered_from", self.covered_from, "larger than 0 and at most 1")?;
        Ok(self)
    }
}

impl Measure for FeatureGroups {
    fn check(&self, point: &Point) -> Result<(), String> {
        let spec = point.spec.get::<TrainingSpec>().ok_or("it trains nothing on sparse_coding")?;
        match spec.data.code_dim.is_multiple_of(self.groups) {
            true => Ok(()),
            false => Err(format!("its {} features do not make {} equal groups", spec.data.code_dim, self.groups)),
        }
    }

    fn of_run(&self, run: &CompleteRun) -> Result<BTreeMap<String, f64>, UserError> {
        let Some(spec) = run.point.spec.get::<TrainingSpec>() else { return Ok(BTreeMap::new()) };
        let device = Device::flex();
        let features = spec.data.model(run.seed).dictionary().features().to_tensor(&device);
        let weights = run.folder.weights()?;
        let values: Vec<f32> = weights.iter().flatten().map(|v| *v as f32).collect();
        let weights = Tensor::from_data(TensorData::new(values, [weights.len(), spec.data.input_dim]), &device);
        Ok(self.metrics(&Decomposition::new(weights, features)))
    }
}

impl FeatureGroups {
    /// The metrics of neurons that have been decomposed, groups counted from 1.
    fn metrics(&self, neurons: &Decomposition) -> BTreeMap<String, f64> {
        let coverage = neurons.coverage();
        let size = coverage.len() / self.groups;
        let members: Vec<Vec<usize>> = (0..neurons.alpha.len()).map(|i| neurons.members(i)).collect();
        let singletons: Vec<usize> = (0..neurons.alpha.len()).filter_map(|i| neurons.singleton(i)).collect();
        let mut metrics = BTreeMap::new();
        for (g, coverage) in coverage.chunks_exact(size).enumerate() {
            let of_group = |j: &usize| (g * size..(g + 1) * size).contains(j);
            let with_members = members.iter().filter(|members| members.iter().any(of_group)).count();
            let mut with_singleton: Vec<usize> = singletons.iter().copied().filter(of_group).collect();
            with_singleton.sort_unstable();
            with_singleton.dedup();
            for (name, value) in [
                ("coverage_mean", coverage.iter().sum::<f64>() / size as f64),
                ("features_covered", coverage.iter().filter(|c| **c >= self.covered_from).count() as f64),
                ("features_with_singleton", with_singleton.len() as f64),
                ("neurons", with_members as f64),
            ] {
                metrics.insert(format!("{name}_group_{}", g + 1), value);
            }
        }
        metrics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three neurons on four features: one on the first, one on the second and the third alike, one on the last with some of the first.
    #[test]
    fn groups_count_their_own_features_and_neurons() {
        let neurons = Decomposition {
            alpha: vec![vec![2.0, 0.0, 0.0, 0.0], vec![0.0, 1.0, 1.0, 0.0], vec![0.3, 0.0, 0.0, 0.954]],
            norms: vec![2.0, 2f64.sqrt(), 1.0],
        };
        let metrics = FeatureGroups { groups: 2, covered_from: 0.9 }.metrics(&neurons);
        let expected = [
            ("coverage_mean_group_1", (1.0 + 0.5f64.sqrt()) / 2.0),
            ("features_covered_group_1", 1.0),
            ("features_with_singleton_group_1", 1.0),
            ("neurons_group_1", 3.0),
            ("coverage_mean_group_2", (0.5f64.sqrt() + 0.954) / 2.0),
            ("features_covered_group_2", 1.0),
            // The neuron on the last feature has the first one as a member, too.
            ("features_with_singleton_group_2", 0.0),
            ("neurons_group_2", 2.0),
        ];
        for (name, value) in expected {
            assert!((metrics[name] - value).abs() < 1e-12, "{name}: {} instead of {value}", metrics[name]);
        }
        assert_eq!(metrics.len(), expected.len());
    }

    #[test]
    fn ranges_are_checked() {
        let read = |groups, covered_from| FeatureGroups { groups, covered_from }.checked().map_err(|e| e.key);
        assert_eq!(read(1, 0.9), Err("groups".into()));
        assert_eq!(read(4, 0.0), Err("covered_from".into()));
        assert!(read(4, 1.0).is_ok());
    }
}
