//! What two views of a sample have in common behind a threshold, direction by direction.

use super::measure::{CompleteRun, Measure};
use crate::io::error::UserError;
use crate::spec::experiment::Point;
use crate::tasks::sparse_coding::moments::directions;
use crate::tasks::sparse_coding::spec::TrainingSpec;
use cl_config::{Component, ConfigError, at_least, check};
use cl_data::{Purpose, Stream};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Observations that are drawn at a time.
const ROWS: usize = 2048;

/// The correlation of two views of a sample after the threshold of a neuron with weights w of length 1,
///
/// ```text
/// ρ_φ = E φ(⟨w, x⁺⟩) φ(⟨w, x⁺⁺⟩) / √(E φ(⟨w, x⁺⟩)² E φ(⟨w, x⁺⁺⟩)²),    φ(u) = relu(u − c) − relu(−u − c),
/// ```
///
/// over thresholds c (NaN where nothing passes), for w one feature, the sum of two and of four features, and directions outside span(M).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThresholdCorrelation {
    /// c, 0 or more each, at least one.
    pub thresholds: Vec<f64>,
    /// Observations that a correlation is estimated from, a multiple of 2,048.
    pub samples: usize,
    /// Weights of each kind that are averaged over, at least 1, no more than a quarter of the features or the dimensions outside span(M).
    pub directions: usize,
}

impl Component for ThresholdCorrelation {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        at_least("thresholds", self.thresholds.len() as u64, 1)?;
        for c in &self.thresholds {
            check(c.is_finite() && *c >= 0.0, "thresholds", *c, "finite numbers, 0 or larger")?;
        }
        let whole = self.samples >= ROWS && self.samples.is_multiple_of(ROWS);
        check(whole, "samples", self.samples, format!("a multiple of {ROWS}, at least that"))?;
        at_least("directions", self.directions as u64, 1)?;
        Ok(self)
    }
}

/// A kind of direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weights {
    /// The sum of so many features.
    Features(usize),
    /// A random direction outside span(M).
    Complement,
}

/// The kinds that are compared, with their names in metrics.
pub const KINDS: [(Weights, &str); 4] = [
    (Weights::Features(1), "one_feature"),
    (Weights::Features(2), "two_features"),
    (Weights::Features(4), "four_features"),
    (Weights::Complement, "complement"),
];

impl ThresholdCorrelation {
    /// Mean ρ_φ over the directions of each kind, by kind and threshold.
    pub fn by_kind(&self, spec: &TrainingSpec, seed: u64) -> Vec<Vec<f64>> {
        let weights: Vec<Vec<f32>> =
            KINDS.iter().flat_map(|(kind, _)| directions_of(*kind, self.directions, spec, seed)).collect();
        let correlations = self.of_directions(spec, seed, &weights);
        let mean =
            |of: &[Vec<f64>], t: usize| of.iter().map(|by_threshold| by_threshold[t]).sum::<f64>() / of.len() as f64;
        let by_kind = correlations.chunks_exact(self.directions);
        by_kind.map(|of_kind| (0..self.thresholds.len()).map(|t| mean(of_kind, t)).collect()).collect()
    }

    /// ρ_φ of each direction of length 1 at each threshold.
    fn of_directions(&self, spec: &TrainingSpec, seed: u64, weights: &[Vec<f32>]) -> Vec<Vec<f64>> {
        let (data, augmentation) = (spec.data.model(seed), spec.views.augmentation());
        let stream = Stream::new(seed, Purpose::Moments);
        let mut sums = vec![vec![[0.0f64; 3]; self.thresholds.len()]; weights.len()];
        for batch in 0..self.samples.div_ceil(ROWS) as u64 {
            let pair = augmentation.apply(data.sample_inputs(ROWS, stream, batch), stream, batch);
            for (x, y) in pair.x_plus.iter_rows().zip(pair.x_plus_plus.iter_rows()) {
                for (w, sums) in weights.iter().zip(&mut sums) {
                    let (u, v) = (dot(w, x), dot(w, y));
                    for (c, [uv, uu, vv]) in self.thresholds.iter().zip(sums) {
                        let (u, v) = (beyond(u, *c), beyond(v, *c));
                        *uv += u * v;
                        *uu += u * u;
                        *vv += v * v;
                    }
                }
            }
        }
        sums.into_iter().map(|of| of.into_iter().map(|[uv, uu, vv]| uv / (uu * vv).sqrt()).collect()).collect()
    }
}

impl Measure for ThresholdCorrelation {
    fn check(&self, point: &Point) -> Result<(), String> {
        let spec = trained(point)?;
        let outside = spec.data.input_dim - spec.data.code_dim;
        if self.directions > outside {
            return Err(format!("directions = {}: only {outside} are outside span(M)", self.directions));
        }
        if self.directions > spec.data.code_dim / 4 {
            return Err(format!(
                "directions = {} mixtures of four features need four times as many features",
                self.directions
            ));
        }
        Ok(())
    }

    fn of_run(&self, run: &CompleteRun) -> Result<BTreeMap<String, f64>, UserError> {
        let spec = trained(run.point).map_err(UserError::Run)?;
        let mut metrics = BTreeMap::new();
        for ((_, kind), correlations) in KINDS.iter().zip(self.by_kind(spec, run.seed)) {
            for (c, correlation) in self.thresholds.iter().zip(correlations) {
                metrics.insert(metric(kind, *c), correlation);
            }
        }
        for c in &self.thresholds {
            let lead = metrics[&metric("one_feature", *c)] - metrics[&metric("complement", *c)];
            metrics.insert(metric("one_feature_minus_complement", *c), lead);
        }
        Ok(metrics)
    }
}

/// The metric of a kind of weights at a threshold.
pub fn metric(kind: &str, threshold: f64) -> String {
    format!("threshold_correlation:{kind}@{threshold}")
}

fn trained(point: &Point) -> Result<&TrainingSpec, String> {
    let spec = point.spec.get::<TrainingSpec>().filter(|spec| spec.symmetric_relu().is_some());
    spec.ok_or_else(|| "it does not train the encoder symmetric_relu on sparse_coding".into())
}

/// `count` weights of a kind, of length 1 each.
fn directions_of(kind: Weights, count: usize, spec: &TrainingSpec, seed: u64) -> Vec<Vec<f32>> {
    let data = spec.data.model(seed);
    let all = directions(data.dictionary(), count, seed);
    match kind {
        Weights::Complement => all.iter_rows().skip(spec.data.code_dim).map(<[f32]>::to_vec).collect(),
        Weights::Features(size) => {
            let weight = 1.0 / (size as f32).sqrt();
            let mixture = |k: usize| {
                let mut sum = vec![0.0; spec.data.input_dim];
                for feature in (k * size..(k + 1) * size).map(|j| all.row(j)) {
                    sum.iter_mut().zip(feature).for_each(|(s, m)| *s += weight * m);
                }
                sum
            };
            (0..count).map(mixture).collect()
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    f64::from(a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>())
}

/// `φ(u)`.
fn beyond(u: f64, c: f64) -> f64 {
    (u - c).max(0.0) - (-u - c).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::catalog::Catalog;
    use crate::spec::RunSpec;

    fn spec(transform: &str) -> RunSpec {
        let text = format!(
            "data.sparse_coding = {{ code_dim = 16, input_dim = 64, noise_std = 0.2 }}\nviews.transform = [{transform}]\n\
             objective = \"spectral\"\nmodel.encoder.symmetric_relu = {{ num_neurons = 4, initial_scale = 0.1, normalization = \"none\", bias = \"zero\" }}\n\
             optimization = {{ steps = 1, batch_size = 8, optimizer = {{ sgd = {{ weight_decay = 0.0 }} }}, learning_rate = {{ constant = {{ rate = 0.1 }} }}, \
             snapshot_every = 1 }}\nevaluation = {{ samples = 8, probe_samples = 8, baselines = false }}"
        );
        RunSpec::from_table(toml::from_str(&text).unwrap(), Catalog::standard().parts()).unwrap()
    }

    const MEASURE: fn(f64) -> ThresholdCorrelation =
        |c| ThresholdCorrelation { thresholds: vec![0.0, c], samples: 32_768, directions: 2 };

    /// Without a threshold ρ_φ is a ratio of second moments; the same views have nothing to differ in.
    #[test]
    fn without_a_threshold_it_is_a_ratio_of_second_moments() {
        let masks =
            "{ independent_masks = { keep_probability = 0.5, masked_fraction = 1.0, rescaling = \"unbiased\" } }";
        let spec = spec(masks);
        let spec = spec.get::<TrainingSpec>().unwrap();
        let found = MEASURE(0.3).by_kind(spec, 1);
        let moments = cl_data::SecondMoments::new(&spec.data.model(1), &spec.views.augmentation());
        for ((kind, name), correlations) in KINDS.iter().zip(&found) {
            let expected: f64 = directions_of(*kind, 2, spec, 1)
                .iter()
                .map(|w| {
                    let form = |matrix: &[f64]| -> f64 {
                        let row = |r: usize| -> f64 {
                            w.iter().enumerate().map(|(c, v)| matrix[r * w.len() + c] * f64::from(*v)).sum()
                        };
                        w.iter().enumerate().map(|(r, v)| f64::from(*v) * row(r)).sum()
                    };
                    form(&moments.cross_view) / form(&moments.plus) / 2.0
                })
                .sum();
            assert!((correlations[0] - expected).abs() < 0.03, "{name}: {} instead of {expected}", correlations[0]);
        }
        // A threshold keeps what is rare and large, one feature, and loses what is many small things.
        assert!(found[0][1] - found[3][1] > 0.1 + found[0][0] - found[3][0], "{found:?}");
        let same = self::spec("");
        for correlations in MEASURE(0.3).by_kind(same.get::<TrainingSpec>().unwrap(), 1) {
            assert!(correlations.iter().all(|c| (c - 1.0).abs() < 1e-9), "{correlations:?}");
        }
    }

    #[test]
    fn ranges_are_checked() {
        let key = |measure: ThresholdCorrelation| measure.checked().unwrap_err().key;
        assert_eq!(key(ThresholdCorrelation { thresholds: Vec::new(), ..MEASURE(0.1) }), "thresholds");
        assert_eq!(key(MEASURE(-0.1)), "thresholds");
        assert_eq!(key(ThresholdCorrelation { samples: 10, ..MEASURE(0.1) }), "samples");
    }
}
