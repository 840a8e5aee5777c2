//! From numbers to verdicts.
//!
//! An expectation is about one metric at one point, or about a linear combination of points taken seed by seed.
//! * `over = "every_seed"`: it holds when the value of each seed lies within the bounds and fails when one does not.
//!   This is a statement about the seeds that were run: five out of five imply, at 95 %, that more than 0.05^(1/5) = 55
//!   % of all seeds lie within.
//! * `over = "mean"`: a two-sided Student interval over seeds at level `1 − 0.05/k`, k the number of such expectations
//!   in all claims, requested or not, and whatever else is named (Bonferroni), has to lie within the bounds; the
//!   expectation fails if it lies outside, and is undecided if it straddles a bound. `more_than` excludes its bound.
//!   Exact for normal values; for strongly skewed ones five seeds cover less (tests say how much).
//!
//! With fewer seeds than [`MIN_SEEDS`] nothing holds: what does not fail is undecided. A claim holds when all
//! its judged expectations hold, and fails when one fails.

pub mod certify;
pub mod measures;
pub mod mutations;

use crate::io::error::UserError;
use crate::io::toml_file::read_toml;
use crate::io::undefined::as_null;
use crate::spec::experiment::Experiment;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};
use std::collections::BTreeMap;
use std::path::Path;

/// Minimum number of seeds for anything to hold.
pub const MIN_SEEDS: usize = 5;

/// Error probability of all the intervals that are judged together.
pub const FAMILY_LEVEL: f64 = 0.05;

/// `expected.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// What is expected.
    pub expect: Vec<Expectation>,
}

/// One expectation.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// Name of the metric.
    pub metric: String,
    /// The point, `*` for each point of the experiment, or none with `terms`.
    #[serde(default)]
    pub point: Option<String>,
    /// Weights of points in a combination taken seed by seed.
    #[serde(default)]
    pub terms: BTreeMap<String, f64>,
    /// A name for the combination.
    #[serde(default)]
    pub label: Option<String>,
    /// Lower bound, included.
    #[serde(default)]
    pub at_least: Option<f64>,
    /// Lower bound, excluded.
    #[serde(default)]
    pub more_than: Option<f64>,
    /// Upper bound, included.
    #[serde(default)]
    pub at_most: Option<f64>,
    /// What the bounds apply to.
    pub over: Over,
    /// Where the expectation comes from.
    pub source: String,
    /// Whether it counts towards the verdict.
    #[serde(default = "yes")]
    pub judged: bool,
    /// Whether it is about points of the full set.
    #[serde(default)]
    pub full_only: bool,
}

fn yes() -> bool {
    true
}

/// What the bounds of an expectation apply to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// The value of each seed.
    EverySeed,
    /// The mean over seeds, by means of an interval.
    Mean,
}

/// Whether something holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It does.
    Holds,
    /// The numbers do not decide it.
    Undecided,
    /// It does not.
    Fails,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Holds => "holds",
            Self::Undecided => "undecided",
            Self::Fails => "fails",
        })
    }
}

/// Metrics by point, seed and name.
pub type Metrics = BTreeMap<String, BTreeMap<u64, BTreeMap<String, f64>>>;

/// An expectation together with what was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// The metric.
    pub metric: String,
    /// The point or combination.
    pub subject: String,
    /// The bounds in words.
    pub bound: String,
    /// What they apply to.
    pub over: Over,
    /// Where the expectation comes from.
    pub source: String,
    /// Value per seed; NaN where undefined.
    #[serde(with = "values_as_null")]
    pub values: Vec<(u64, f64)>,
    /// Mean and interval over seeds.
    pub summary: Interval,
    /// The verdict; `None` if the expectation is only reported.
    pub verdict: Option<Verdict>,
}

/// A mean with a two-sided Student interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Mean; NaN if there are no values.
    #[serde(with = "as_null")]
    pub mean: f64,
    /// Lower end; −∞ for a single value, `null` in JSON.
    #[serde(with = "as_null")]
    pub low: f64,
    /// Upper end; ∞ for a single value, `null` in JSON.
    #[serde(with = "as_null")]
    pub high: f64,
    /// Confidence level.
    pub level: f64,
}

impl Interval {
    /// Student's interval of the mean of `values`; infinitely wide for a single value.
    pub fn student(values: &[f64], level: f64) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        if values.len() < 2 {
            return Self { mean, low: f64::NEG_INFINITY, high: f64::INFINITY, level };
        }
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let quantile = StudentsT::new(0.0, 1.0, n - 1.0).map_or(f64::INFINITY, |t| t.inverse_cdf(0.5 + level / 2.0));
        let half = if variance > 0.0 { quantile * (variance / n).sqrt() } else { 0.0 };
        Self { mean, low: mean - half, high: mean + half, level }
    }
}

impl Expected {
    /// Reads `<folder>/expected.toml`; where there is no such file nothing is expected, and nothing holds.
    ///
    /// # Errors
    /// [`UserError::File`] naming file and key.
    pub fn load(folder: &Path) -> Result<Self, UserError> {
        let path = folder.join("expected.toml");
        if matches!(path.try_exists(), Ok(false)) {
            return Ok(Self { expect: Vec::new() });
        }
        let expected: Self = read_toml(&path)?;
        for (number, e) in expected.expect.iter().enumerate() {
            let wrong = |message: &str| Err(UserError::file(&path, format!("expect number {}: {message}", number + 1)));
            if e.point.is_none() == e.terms.is_empty() {
                return wrong("give either point or terms");
            }
            if e.judged && e.at_least.is_none() && e.more_than.is_none() && e.at_most.is_none() {
                return wrong("a judged expectation needs at_least, more_than or at_most");
            }
            if e.at_least.is_some() && e.more_than.is_some() {
                return wrong("give either at_least or more_than");
            }
        }
        Ok(expected)
    }

    /// Number of intervals that are judged in an experiment with these points.
    pub fn intervals(&self, points: &[String], full: bool) -> usize {
        let judged = self.wanted(full).filter(|e| e.judged && e.over == Over::Mean);
        judged.map(|e| e.subjects(points).len()).sum()
    }

    /// Number of intervals that are judged in several experiments together.
    ///
    /// # Errors
    /// [`UserError`] when an `expected.toml` cannot be read.
    pub fn intervals_of(experiments: &[Experiment], full: bool) -> Result<usize, UserError> {
        experiments.iter().map(|e| Ok(Self::load(&e.folder)?.intervals(&e.point_names(), full))).sum()
    }

    /// Checks that expectations are about existing points, and about metrics that runs have.
    ///
    /// # Errors
    /// [`UserError::File`] naming the expectation, the point or metric, and the closest match.
    pub fn check(&self, path: &Path, points: &[String], metrics: &Metrics, full: bool) -> Result<(), UserError> {
        for (number, e) in self.expect.iter().enumerate().filter(|(_, e)| full || !e.full_only) {
            let wrong = |what: &str, name: &str, among: Vec<&String>| {
                let nearest = among.into_iter().max_by(|a, b| strsim::jaro(a, name).total_cmp(&strsim::jaro(b, name)));
                let hint = nearest.map_or(String::new(), |n| format!("; did you mean {n:?}?"));
                Err(UserError::file(path, format!("expect number {}: there is no {what} {name:?}{hint}", number + 1)))
            };
            let subjects = e.subjects(points);
            let named = subjects.iter().flat_map(|s| s.terms.keys());
            if let Some(unknown) = named.clone().find(|point| !points.contains(point)) {
                return wrong("point", unknown, points.iter().collect());
            }
            let of_runs: Vec<&BTreeMap<String, f64>> =
                named.filter_map(|point| metrics.get(point)).flat_map(|seeds| seeds.values()).collect();
            if !of_runs.is_empty() && !of_runs.iter().any(|values| values.contains_key(&e.metric)) {
                return wrong("metric", &e.metric, of_runs.iter().flat_map(|values| values.keys()).collect());
            }
        }
        Ok(())
    }

    /// Compares metrics with the expectations. `points` are those of the experiment, `family` is the number of
    /// intervals that are judged together, including those of other claims.
    pub fn judge(&self, points: &[String], metrics: &Metrics, full: bool, family: usize) -> Vec<Judgement> {
        let level = 1.0 - FAMILY_LEVEL / family.max(1) as f64;
        let wanted: Vec<&Expectation> = self.wanted(full).collect();
        wanted.iter().flat_map(|e| e.subjects(points).into_iter().map(|s| e.judge(&s, metrics, level))).collect()
    }
}

impl Expected {
    fn wanted(&self, full: bool) -> impl Iterator<Item = &Expectation> {
        self.expect.iter().filter(move |e| full || !e.full_only)
    }
}

/// What an expectation is about: a label and weights of points.
struct Subject {
    label: String,
    terms: BTreeMap<String, f64>,
}

impl Expectation {
    fn subjects(&self, points: &[String]) -> Vec<Subject> {
        let single = |point: &str| Subject { label: point.into(), terms: [(point.to_string(), 1.0)].into() };
        match self.point.as_deref() {
            Some("*") => points.iter().map(|point| single(point)).collect(),
            Some(point) => vec![single(point)],
            None => {
                let sum = self.terms.iter().map(|(point, weight)| match *weight {
                    1.0 => format!("+ {point}"),
                    -1.0 => format!("− {point}"),
                    weight => format!("{weight:+} {point}"),
                });
                let sum = sum.collect::<Vec<_>>().join(" ");
                let label = self.label.clone().unwrap_or_else(|| sum.trim_start_matches("+ ").to_string());
                vec![Subject { label, terms: self.terms.clone() }]
            }
        }
    }

    fn judge(&self, subject: &Subject, metrics: &Metrics, level: f64) -> Judgement {
        let value = |seed: u64| {
            let term =
                |(point, weight): (&String, &f64)| Some(weight * metrics.get(point)?.get(&seed)?.get(&self.metric)?);
            subject.terms.iter().map(term).sum::<Option<f64>>()
        };
        let seeds = subject.terms.keys().next().and_then(|point| metrics.get(point));
        let seeds = seeds.into_iter().flat_map(|by_seed| by_seed.keys());
        let values: Vec<(u64, f64)> = seeds.filter_map(|&seed| Some((seed, value(seed)?))).collect();
        let plain: Vec<f64> = values.iter().map(|(_, v)| *v).collect();
        let summary = Interval::student(&plain, level);
        let verdict = self.judged.then(|| self.verdict(&plain, &summary));
        let bounds = [("≥", self.at_least), (">", self.more_than), ("≤", self.at_most)];
        let bounds = bounds.iter().filter_map(|(sign, bound)| Some(format!("{sign} {}", (*bound)?)));
        let bounds = bounds.collect::<Vec<_>>().join(", ");
        let bound = if bounds.is_empty() { "reported".into() } else { bounds };
        Judgement {
            metric: self.metric.clone(),
            subject: subject.label.clone(),
            bound,
            over: self.over,
            source: self.source.clone(),
            values,
            summary,
            verdict,
        }
    }

    fn verdict(&self, values: &[f64], summary: &Interval) -> Verdict {
        let low = self.at_least.or(self.more_than).unwrap_or(f64::NEG_INFINITY);
        let high = self.at_most.unwrap_or(f64::INFINITY);
        let inside = |v: f64| v >= low && v <= high && self.more_than.is_none_or(|bound| v > bound);
        if values.iter().any(|v| !v.is_finite()) {
            return Verdict::Fails;
        }
        let (holds, fails) = match self.over {
            Over::EverySeed => (values.iter().all(|v| inside(*v)), values.iter().any(|v| !inside(*v))),
            Over::Mean => (
                inside(summary.low) && inside(summary.high),
                values.len() > 1 && (!inside(summary.high) && summary.high <= low || summary.low > high),
            ),
        };
        match (fails, holds && values.len() >= MIN_SEEDS) {
            (true, _) => Verdict::Fails,
            (false, true) => Verdict::Holds,
            (false, false) => Verdict::Undecided,
        }
    }
}

/// Values by seed, with `null` for those that are not finite.
mod values_as_null {
    use crate::io::undefined::as_null;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Value(u64, #[serde(with = "as_null")] f64);

    pub fn serialize<S: Serializer>(values: &[(u64, f64)], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(|(seed, value)| Value(*seed, *value)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(u64, f64)>, D::Error> {
        let values = Vec::<Value>::deserialize(deserializer)?;
        Ok(values.into_iter().map(|Value(seed, value)| (seed, value)).collect())
    }
}

/// The verdict of a claim: the worst of its judged expectations.
pub fn overall(judgements: &[Judgement]) -> Verdict {
    judgements.iter().filter_map(|j| j.verdict).max().unwrap_or(Verdict::Undecided)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(values: &[f64]) -> Metrics {
        let seeds = values.iter().enumerate().map(|(s, v)| (s as u64, [("x".to_string(), *v)].into()));
        [("p".to_string(), seeds.collect())].into()
    }

    fn verdict(values: &[f64], bounds: &str) -> Verdict {
        let text = format!("[[expect]]\nmetric = 'x'\npoint = 'p'\nsource = 's'\n{bounds}");
        let expected: Expected = toml::from_str(&text).unwrap();
        overall(&expected.judge(&["p".into()], &metrics(values), false, 1))
    }

    #[test]
    fn every_seed_means_every_seed() {
        let bounds = "over = 'every_seed'\nat_least = 1.0";
        assert_eq!(verdict(&[1.0, 2.0, 1.5, 1.1, 1.2], bounds), Verdict::Holds);
        assert_eq!(verdict(&[1.0, 2.0, 1.5, 1.1, 0.99], bounds), Verdict::Fails);
        assert_eq!(verdict(&[1.0, 2.0, 1.5, 1.1], bounds), Verdict::Undecided);
        assert_eq!(verdict(&[f64::NAN; 5], bounds), Verdict::Fails);
        assert_eq!(verdict(&[f64::INFINITY; 5], bounds), Verdict::Fails);
        assert_eq!(verdict(&[], bounds), Verdict::Undecided);
    }

    #[test]
    fn a_mean_holds_when_its_interval_does() {
        let bounds = "over = 'mean'\nat_least = 1.0";
        assert_eq!(verdict(&[2.0, 2.1, 1.9, 2.0, 2.0], bounds), Verdict::Holds);
        assert_eq!(verdict(&[2.0, 3.0, 0.0, 2.0, 0.5], bounds), Verdict::Undecided);
        assert_eq!(verdict(&[0.0, 0.1, -0.1, 0.0, 0.0], bounds), Verdict::Fails);
    }

    #[test]
    fn a_point_that_was_not_run_leaves_all_points_undecided() {
        let text = "[[expect]]\nmetric = 'x'\npoint = '*'\nsource = 's'\nover = 'every_seed'\nat_least = 1.0";
        let expected: Expected = toml::from_str(text).unwrap();
        let judged = |points: &[&str]| {
            let points: Vec<String> = points.iter().map(|p| p.to_string()).collect();
            overall(&expected.judge(&points, &metrics(&[2.0; 5]), false, 1))
        };
        assert_eq!(judged(&["p"]), Verdict::Holds);
        assert_eq!(judged(&["p", "q"]), Verdict::Undecided);
    }

    #[test]
    fn what_is_not_there_is_named_with_what_comes_nearest() {
        let error = |expect: &str| {
            let text = format!("[[expect]]\n{expect}\nover = 'mean'\njudged = false\nsource = 's'");
            let expected: Expected = toml::from_str(&text).unwrap();
            let checked = expected.check(Path::new("e.toml"), &["p".into()], &metrics(&[1.0]), false);
            checked.map_err(|e| e.to_string()).err()
        };
        assert_eq!(error("metric = 'x'\npoint = 'p'"), None);
        assert_eq!(error("metric = 'x'\npoint = '*'"), None);
        let expected = |what: &str| Some(format!("e.toml: expect number 1: there is no {what}?"));
        assert_eq!(error("metric = 'x1'\npoint = 'p'"), expected("metric \"x1\"; did you mean \"x\""));
        assert_eq!(error("metric = 'x'\npoint = 'q'"), expected("point \"q\"; did you mean \"p\""));
    }

    #[test]
    fn intervals_are_students() {
        // Mean 3, standard error √0.5, t(4, 0.975) = 2.776445.
        let i = Interval::student(&[1.0, 2.0, 3.0, 4.0, 5.0], 0.95);
        assert!((i.high - 3.0 - 2.776_445 * 0.5f64.sqrt()).abs() < 1e-5);
    }

    #[test]
    fn combinations_are_taken_seed_by_seed() {
        let mut m = metrics(&[5.0, 7.0]);
        m.insert("q".into(), metrics(&[1.0, 2.0]).remove("p").unwrap());
        let expected: Expected = toml::from_str(
            "[[expect]]\nmetric = 'x'\nterms = { p = 1, q = -1 }\nover = 'mean'\nat_least = 0\nsource = 's'",
        )
        .unwrap();
        let judgement = &expected.judge(&["p".into(), "q".into()], &m, false, 1)[0];
        assert_eq!(judgement.values, [(0, 4.0), (1, 5.0)]);
        assert_eq!(judgement.subject, "p − q");
    }
}
