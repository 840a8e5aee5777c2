//! C10 as a law: how far the sparse features have taken over without a mask, from the data, weight decay and learning rates alone.

use super::measure::{CompleteRun, Measure};
use crate::io::error::UserError;
use crate::judge::Metrics;
use crate::spec::experiment::Point;
use crate::tasks::sparse_coding::spec::TrainingSpec;
use cl_config::{Component, ConfigError, check, not_negative, positive};
use cl_model::{InfoNce, OptimizerConfig};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A predicted mean coverage, with six fitted numbers:
///
/// ```text
/// y = λ q/(q + σ²) · (q/σ²)^β · Σ_{t ≥ t₀} η_t,    p = min(1, p₀ (q/σ²)^γ),    coverage = p + (1 − p)/(1 + e^{−(y − a)/w}).
/// ```
///
/// `λ q/(q + σ²) Σ η_t` is by how much, in the exponent, decay has shrunk the complement of span(M) once growth along M balances it (see C10);
/// `q/σ²` is the share of a feature in the variance of a neuron that is still dense. What is not derived is fitted, elsewhere than it is judged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightDecayLaw {
    /// `t₀`, steps before decay begins to count, 0 or more.
    pub delay: u64,
    /// `β`, any finite number.
    pub exponent: f64,
    /// `p₀`, the coverage before the takeover where q = σ², in (0, 1).
    pub plateau: f64,
    /// `γ`, any finite number.
    pub plateau_exponent: f64,
    /// `a`, where half of the way has been made, larger than 0.
    pub takeover: f64,
    /// `w`, larger than 0.
    pub width: f64,
    /// The d of the runs that the numbers were fitted to; these do not count as predicted.
    pub fitted_at: usize,
    /// A prediction is right if it is off by no more than this, 0 or more.
    pub within: f64,
}

impl Component for WeightDecayLaw {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        for (key, value) in [("exponent", self.exponent), ("plateau_exponent", self.plateau_exponent)] {
            check(value.is_finite(), key, value, "a finite number")?;
        }
        check(self.plateau > 0.0 && self.plateau < 1.0, "plateau", self.plateau, "larger than 0 and smaller than 1")?;
        positive("takeover", self.takeover)?;
        positive("width", self.width)?;
        not_negative("within", self.within)?;
        Ok(self)
    }
}

/// What the law says of a run, and what it says it from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// `λ q/(q + σ²) Σ η_t` from the first step on.
    pub decay: f64,
    /// `y`.
    pub takeover: f64,
    /// `p`.
    pub plateau: f64,
    /// Mean coverage.
    pub coverage: f64,
}

impl WeightDecayLaw {
    /// The law for a run.
    pub fn predict(&self, spec: &TrainingSpec) -> Prediction {
        let (ratio, sum) = (feature_to_noise(spec), |from| sum_of_learning_rates(spec, from));
        let rate = spec.weight_decay() * ratio / (ratio + 1.0);
        let takeover = rate * ratio.powf(self.exponent) * sum(self.delay);
        let plateau = (self.plateau * ratio.powf(self.plateau_exponent)).min(1.0);
        Prediction { decay: rate * sum(0), takeover, plateau, coverage: self.coverage(plateau, takeover) }
    }

    /// Mean coverage at `y`, from a plateau.
    pub fn coverage(&self, plateau: f64, takeover: f64) -> f64 {
        plateau + (1.0 - plateau) / (1.0 + ((self.takeover - takeover) / self.width).exp())
    }

    /// Whether a run counts as predicted.
    pub fn is_predicted(&self, spec: &TrainingSpec) -> bool {
        spec.data.code_dim != self.fitted_at
    }
}

impl Measure for WeightDecayLaw {
    fn check(&self, point: &Point) -> Result<(), String> {
        unmasked(point).map(|_| ())
    }

    fn of_run(&self, run: &CompleteRun) -> Result<BTreeMap<String, f64>, UserError> {
        let spec = unmasked(run.point).map_err(UserError::Run)?;
        let prediction = self.predict(spec);
        let coverage = run.folder.snapshots::<crate::tasks::sparse_coding::snapshot::Snapshot>()?;
        let coverage = coverage.last().map_or(f64::NAN, |last| last.coverage_mean);
        let mut metrics = BTreeMap::from([
            ("decay_number".to_string(), prediction.decay),
            ("takeover_number".to_string(), prediction.takeover),
            ("coverage_predicted".to_string(), prediction.coverage),
        ]);
        if self.is_predicted(spec) {
            metrics.insert("coverage_minus_predicted".to_string(), coverage - prediction.coverage);
        }
        Ok(metrics)
    }

    /// `fraction_predicted`: of the points outside the fit that a seed was run at, how many have a coverage within the bound. The same at all of them.
    fn across_runs(&self, metrics: &mut Metrics) {
        let mut by_seed: BTreeMap<u64, (usize, usize)> = BTreeMap::new();
        for (seed, values) in metrics.values().flatten() {
            if let Some(off) = values.get("coverage_minus_predicted") {
                let (right, all) = by_seed.entry(*seed).or_default();
                *right += usize::from(off.abs() <= self.within);
                *all += 1;
            }
        }
        for (seed, values) in metrics.values_mut().flatten().filter(|(_, v)| v.contains_key("coverage_minus_predicted"))
        {
            let (right, all) = by_seed[seed];
            values.insert("fraction_predicted".into(), right as f64 / all as f64);
        }
    }
}

/// What the law is about.
fn unmasked(point: &Point) -> Result<&TrainingSpec, String> {
    let spec = point.spec.get::<TrainingSpec>().filter(|spec| {
        let is_plain = matches!(spec.optimization.optimizer, OptimizerConfig::Sgd { momentum: 0.0, .. })
            && spec.optimization.gradient_clip.is_none();
        let is_papers = spec.symmetric_relu().is_some()
            && spec.model.is_encoder_alone()
            && spec.objective.config::<InfoNce>().is_some();
        is_plain && is_papers && spec.views.transform.is_empty() && spec.data.noise_std.is_some_and(|s| s > 0.0)
    });
    spec.ok_or_else(|| {
        "the law is about the encoder symmetric_relu under info_nce on sparse_coding with noise and without a transform, trained by plain, \
         unclipped gradient descent".into()
    })
}

/// `q/σ²`, q the mean of `E z_j²` over features.
fn feature_to_noise(spec: &TrainingSpec) -> f64 {
    let moments = spec.data.model(0).code_moments();
    let q = moments.iter().sum::<f64>() / moments.len() as f64;
    q / spec.data.noise_std.unwrap_or(f64::NAN).powi(2)
}

fn sum_of_learning_rates(spec: &TrainingSpec, from: u64) -> f64 {
    let schedule = spec.schedule();
    (from..schedule.steps).map(|step| schedule.learning_rate.at(step)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAW: WeightDecayLaw = WeightDecayLaw {
        delay: 0,
        exponent: 1.0,
        plateau: 0.3,
        plateau_exponent: 0.0,
        takeover: 1.5,
        width: 0.5,
        fitted_at: 32,
        within: 0.1,
    };

    #[test]
    fn half_of_the_way_is_made_at_the_takeover() {
        assert!((LAW.coverage(0.3, 1.5) - 0.65).abs() < 1e-12);
        assert!(LAW.coverage(0.3, 0.0) < 0.34 && LAW.coverage(0.3, 5.0) > 0.99);
    }

    #[test]
    fn each_seed_has_its_own_fraction() {
        let point = |off: [Option<f64>; 2]| -> BTreeMap<u64, BTreeMap<String, f64>> {
            let of_seed = |off: f64| BTreeMap::from([("coverage_minus_predicted".to_string(), off)]);
            [1, 2].into_iter().zip(off).map(|(seed, off)| (seed, off.map(of_seed).unwrap_or_default())).collect()
        };
        let mut metrics = Metrics::from([
            ("a".to_string(), point([Some(0.05), Some(-0.2)])),
            ("b".to_string(), point([Some(-0.1), Some(0.0)])),
            ("fitted".to_string(), point([None, None])),
        ]);
        LAW.across_runs(&mut metrics);
        let fraction = |point: &str, seed: u64| metrics[point][&seed].get("fraction_predicted").copied();
        assert_eq!((fraction("a", 1), fraction("b", 1)), (Some(1.0), Some(1.0)));
        assert_eq!((fraction("a", 2), fraction("b", 2)), (Some(0.5), Some(0.5)));
        assert_eq!(fraction("fitted", 1), None);
    }

    #[test]
    fn a_number_that_is_none_is_not_predicted() {
        let off = |value: f64| BTreeMap::from([("coverage_minus_predicted".to_string(), value)]);
        let mut metrics = Metrics::from([("a".to_string(), BTreeMap::from([(1, off(f64::NAN))]))]);
        LAW.across_runs(&mut metrics);
        assert_eq!(metrics["a"][&1]["fraction_predicted"], 0.0);
    }

    #[test]
    fn ranges_are_checked() {
        let key = |law: WeightDecayLaw| law.checked().unwrap_err().key;
        assert_eq!(key(WeightDecayLaw { plateau: 1.0, ..LAW }), "plateau");
        assert_eq!(key(WeightDecayLaw { width: 0.0, ..LAW }), "width");
        assert_eq!(key(WeightDecayLaw { exponent: f64::NAN, ..LAW }), "exponent");
        assert!(LAW.checked().is_ok());
    }
}
