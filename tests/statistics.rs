//! Intervals have their nominal coverage, and many verdicts on means together err as rarely as one.

use cl_data::{Part, Purpose, Stream, standard_normal};
use cl_experiments::judge::{Expected, FAMILY_LEVEL, Interval, Metrics, Verdict};

/// Seeds of an experiment.
const SEEDS: usize = 5;

/// Standard normal numbers, `SEEDS` at a time.
fn samples(count: usize, address: u64) -> Vec<Vec<f64>> {
    let mut rng = Stream::new(address, Purpose::Tuning).rng(Part::Whole, 0);
    let numbers = standard_normal(&mut rng, count * SEEDS);
    numbers.chunks_exact(SEEDS).map(|s| s.iter().map(|v| f64::from(*v)).collect()).collect()
}

/// The fraction of intervals that contain `mean`, one interval per sample.
fn coverage(samples: &[Vec<f64>], mean: f64, level: f64) -> f64 {
    let covers = |s: &&Vec<f64>| {
        let interval = Interval::student(s, level);
        interval.low <= mean && mean <= interval.high
    };
    samples.iter().filter(covers).count() as f64 / samples.len() as f64
}

/// 40,000 samples: a fraction of 0.95 has a standard error of 0.0011, one of 0.995 of 0.00035.
#[test]
fn intervals_of_normal_values_cover_their_mean_as_often_as_they_say() {
    let samples = samples(40_000, 1);
    for (level, error) in [(0.95, 0.0045), (0.995, 0.0014)] {
        let found = coverage(&samples, 0.0, level);
        assert!((found - level).abs() < error, "{found} instead of {level}");
    }
}

/// Five values of a strongly skewed distribution: the interval covers less than it says, as is measured here.
#[test]
fn intervals_of_skewed_values_cover_less() {
    let samples: Vec<Vec<f64>> =
        samples(40_000, 2).into_iter().map(|s| s.into_iter().map(f64::exp).collect()).collect();
    let found = coverage(&samples, 0.5f64.exp(), 0.95);
    assert!((0.75..0.9).contains(&found), "a log-normal law is covered {found} of the time");
}

fn expected(expectations: usize) -> Expected {
    let one =
        |k: usize| format!("[[expect]]\nmetric = 'x{k}'\npoint = 'p'\nover = 'mean'\nmore_than = 0.0\nsource = 's'\n");
    toml::from_str(&(0..expectations).map(one).collect::<String>()).unwrap()
}

/// How often at least one of several expectations with means exactly at the bound is judged other than "undecided".
fn errors(expectations: usize, family: Option<usize>, trials: usize) -> f64 {
    let (expected, points) = (expected(expectations), ["p".to_string()]);
    let family = family.unwrap_or(expected.intervals(&points, false));
    let samples = samples(trials * expectations, 3 + expectations as u64);
    let errs = |trial: &&[Vec<f64>]| {
        let seeds = (0..SEEDS).map(|seed| {
            let values = trial.iter().enumerate().map(|(k, s)| (format!("x{k}"), s[seed]));
            (seed as u64, values.collect())
        });
        let metrics: Metrics = [("p".to_string(), seeds.collect())].into();
        expected.judge(&points, &metrics, false, family).iter().any(|j| j.verdict != Some(Verdict::Undecided))
    };
    samples.chunks_exact(expectations).filter(errs).count() as f64 / trials as f64
}

/// 4,000 trials: a fraction of 0.05 has a standard error of 0.0034.
#[test]
fn a_family_of_verdicts_errs_no_more_often_than_a_single_one() {
    for expectations in [1, 12] {
        let found = errors(expectations, None, 4000);
        assert!(found <= FAMILY_LEVEL + 0.012, "{expectations} expectations err in {found} of the trials");
        assert!(found >= FAMILY_LEVEL - 0.012, "{expectations} expectations err in {found} of the trials");
    }
    let uncorrected = errors(12, Some(1), 4000);
    assert!(uncorrected > 0.3, "without the correction 12 expectations err in {uncorrected} of the trials");
}
