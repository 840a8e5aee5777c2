//! C7: stages of training, found from the curves alone.
//!
//! Each curve is cut into pieces with a line through each, so as to minimise `n log(RSS/n) + 3 k log n` over the number
//! of pieces k ≤ 8 and their breakpoints (dynamic programming; a piece has two coefficients and a breakpoint). Stages
//! are read off the pieces:
//! * *decoupling*: the middle of the steepest piece of the energy in span(M);
//! * *emergence of singletons*: the middle of the steepest piece of the fraction of singletons;
//! * *convergence*: the last change point of the fraction of singletons.

use super::measure::{CompleteRun, Measure};
use crate::io::error::UserError;
use crate::spec::experiment::Point;
use crate::tasks::sparse_coding::snapshot::Snapshot;
use crate::tasks::sparse_coding::spec::TrainingSpec;
use cl_config::{Component, ConfigError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Maximum number of pieces.
const MAX_PIECES: usize = 8;

/// Minimum number of snapshots in a piece.
const MIN_POINTS: usize = 2;

/// The steps of the stages, as metrics.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StagesOfTraining {}

impl Component for StagesOfTraining {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        Ok(self)
    }
}

impl Measure for StagesOfTraining {
    fn check(&self, point: &Point) -> Result<(), String> {
        match point.spec.get::<TrainingSpec>() {
            Some(_) => Ok(()),
            None => Err("it trains nothing on sparse_coding, whose stages are looked for".into()),
        }
    }

    fn of_run(&self, run: &CompleteRun) -> Result<BTreeMap<String, f64>, UserError> {
        Ok(Stages::new(&run.folder.snapshots()?).metrics())
    }
}

/// Steps at which stages begin and end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stages {
    /// Middle of the steepest rise of the energy in span(M).
    pub decoupling: f64,
    /// Middle of the steepest rise of the fraction of singletons.
    pub emergence: f64,
    /// Last change point of the fraction of singletons; NaN when it has none.
    pub convergence: f64,
}

/// A piece of a curve: snapshots `from..to`, and the line through them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Piece {
    /// First snapshot.
    pub from: usize,
    /// One past the last.
    pub to: usize,
    /// Rise per step.
    pub slope: f64,
}

impl Stages {
    /// Finds the stages of a run.
    pub fn new(snapshots: &[Snapshot]) -> Self {
        let steps: Vec<f64> = snapshots.iter().map(|s| s.step as f64).collect();
        let energy: Vec<f64> = snapshots.iter().map(|s| s.energy_in_span).collect();
        let singletons: Vec<f64> = snapshots.iter().map(|s| s.singleton_fraction).collect();
        let middle = |piece: &Piece| (steps[piece.from] + steps[piece.to - 1]) / 2.0;
        let steepest = |pieces: &[Piece]| {
            let best = pieces.iter().max_by(|a, b| a.slope.total_cmp(&b.slope));
            best.map_or(f64::NAN, middle)
        };
        let pieces = segment(&steps, &singletons);
        let last = pieces.last().filter(|_| pieces.len() > 1);
        Self {
            decoupling: steepest(&segment(&steps, &energy)),
            emergence: steepest(&pieces),
            convergence: last.map_or(f64::NAN, |p| steps[p.from]),
        }
    }

    /// The steps, and the gaps between them.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        BTreeMap::from([
            ("decoupling_step".to_string(), self.decoupling),
            ("emergence_step".to_string(), self.emergence),
            ("convergence_step".to_string(), self.convergence),
            ("emergence_after_decoupling".to_string(), self.emergence - self.decoupling),
            ("convergence_after_emergence".to_string(), self.convergence - self.emergence),
        ])
    }
}

/// The best piecewise-linear fit, by dynamic programming over breakpoints.
pub fn segment(x: &[f64], y: &[f64]) -> Vec<Piece> {
    let n = x.len();
    let line = Lines::new(x, y);
    let most = MAX_PIECES.min(n / MIN_POINTS);
    // best[k][to]: least sum of squares of 0..to in k + 1 pieces, and where the last one begins.
    let mut best: Vec<Vec<(f64, usize)>> = vec![(0..=n).map(|to| (line.fit(0, to).1, 0)).collect()];
    for k in 1..most {
        let row = (0..=n).map(|to| {
            let starts = (k * MIN_POINTS)..to.saturating_sub(MIN_POINTS - 1);
            let costs = starts.map(|from| (best[k - 1][from].0 + line.fit(from, to).1, from));
            costs.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((f64::INFINITY, 0))
        });
        let row: Vec<(f64, usize)> = row.collect();
        best.push(row);
    }
    // A floor on the residual keeps exact fits from winning by the logarithm of zero.
    let spread = y.iter().fold(f64::NEG_INFINITY, |a, v| a.max(*v)) - y.iter().fold(f64::INFINITY, |a, v| a.min(*v));
    let floor = n as f64 * (1e-3 * spread).powi(2) + f64::MIN_POSITIVE;
    let score = |k: usize| n as f64 * ((best[k][n].0 + floor) / n as f64).ln() + 3.0 * (k + 1) as f64 * (n as f64).ln();
    let pieces = (0..best.len()).min_by(|a, b| score(*a).total_cmp(&score(*b))).unwrap_or(0);
    let mut result = Vec::new();
    let mut to = n;
    for k in (0..=pieces).rev() {
        let from = best[k][to].1;
        result.push(Piece { from, to, slope: line.fit(from, to).0 });
        to = from;
    }
    result.reverse();
    result
}

/// Least-squares lines through any run of points, from prefix sums.
struct Lines {
    sums: Vec<[f64; 5]>,
}

impl Lines {
    fn new(x: &[f64], y: &[f64]) -> Self {
        let scale = x.last().copied().filter(|v| *v != 0.0).unwrap_or(1.0);
        let mut sums = vec![[0.0; 5]];
        for (x, y) in x.iter().map(|x| x / scale).zip(y) {
            let last = sums[sums.len() - 1];
            let add = [x, *y, x * x, x * y, y * y];
            sums.push(std::array::from_fn(|i| last[i] + add[i]));
        }
        sums[0][0] = 0.0;
        Self {
            sums: sums.into_iter().map(|s| [s[0] * scale, s[1], s[2] * scale * scale, s[3] * scale, s[4]]).collect(),
        }
    }

    /// Slope and sum of squared residuals of points `from..to`.
    fn fit(&self, from: usize, to: usize) -> (f64, f64) {
        let n = to.saturating_sub(from) as f64;
        if n < MIN_POINTS as f64 {
            return (0.0, f64::INFINITY);
        }
        let s: [f64; 5] = std::array::from_fn(|i| self.sums[to][i] - self.sums[from][i]);
        let (xx, xy, yy) = (s[2] - s[0] * s[0] / n, s[3] - s[0] * s[1] / n, s[4] - s[1] * s[1] / n);
        let slope = if xx > 0.0 { xy / xx } else { 0.0 };
        (slope, (yy - slope * xy).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_of_a_broken_line_are_found() {
        let x: Vec<f64> = (0..60).map(|i| i as f64 * 50.0).collect();
        let wiggle = |i: usize| 0.002 * ((i * 7919 % 13) as f64 / 13.0 - 0.5);
        let y: Vec<f64> = (0..60)
            .map(|i| {
                wiggle(i)
                    + if i < 20 {
                        0.1
                    } else if i < 40 {
                        0.1 + 0.04 * (i - 20) as f64
                    } else {
                        0.9
                    }
            })
            .collect();
        let pieces = segment(&x, &y);
        assert_eq!(pieces.len(), 3, "{pieces:?}");
        assert!(pieces[1].from.abs_diff(20) <= 1 && pieces[1].to.abs_diff(40) <= 1, "{pieces:?}");
        assert!((pieces[1].slope - 0.04 / 50.0).abs() < 1e-5);
    }

    #[test]
    fn a_straight_line_is_one_piece() {
        let x: Vec<f64> = (0..40).map(f64::from).collect();
        let y: Vec<f64> = x.iter().map(|v| 3.0 * v + 1.0).collect();
        assert_eq!(segment(&x, &y).len(), 1);
    }
}
