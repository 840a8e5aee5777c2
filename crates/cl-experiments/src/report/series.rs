//! From run folders to curves over steps.

use super::chart::Curve;
use super::palette::{Style, styles_of};
use crate::io::error::UserError;
use crate::judge::measures::ClaimResult;
use crate::run::folder::RunFolder;
use crate::tasks::sparse_coding::snapshot::Snapshot;
use crate::tasks::sparse_coding::spec::TrainingSpec;

/// The complete training runs of one point.
#[derive(Debug, Clone)]
pub struct Runs {
    /// Name of the point.
    pub point: String,
    /// What was run.
    pub spec: TrainingSpec,
    /// Seed, folder and snapshots.
    pub seeds: Vec<(u64, RunFolder, Vec<Snapshot>)>,
    /// How the point is drawn.
    pub style: Style,
}

impl Runs {
    /// All points with a complete run that do not belong to a grid.
    ///
    /// # Errors
    /// [`UserError`] when a complete folder cannot be read.
    pub fn single_points(result: &ClaimResult) -> Result<Vec<Self>, UserError> {
        let in_grid = |name: &String| result.experiment.grids.iter().any(|g| g.points.contains(name));
        let names: Vec<&str> =
            result.experiment.points.iter().map(|p| &p.name).filter(|n| !in_grid(n)).map(String::as_str).collect();
        Self::of_points(result, &names)
    }

    /// Named points with a complete run, in the order given.
    ///
    /// # Errors
    /// [`UserError`] when a complete folder cannot be read.
    pub fn of_points(result: &ClaimResult, names: &[&str]) -> Result<Vec<Self>, UserError> {
        let mut all = Vec::new();
        for (name, style) in styles_of(names.iter().copied()) {
            let Some(point) = result.experiment.point(name) else { continue };
            let Some(spec) = point.spec.get::<TrainingSpec>() else { continue };
            let mut seeds = Vec::new();
            for &seed in &point.seeds {
                let folder = result.folders.get(&(name.to_string(), seed)).filter(|f| f.is_complete());
                if let Some(folder) = folder {
                    seeds.push((seed, folder.clone(), folder.snapshots()?));
                }
            }
            if !seeds.is_empty() {
                all.push(Self { point: name.to_string(), spec: spec.clone(), seeds, style });
            }
        }
        Ok(all)
    }

    /// A measure over steps: mean over seeds, and a band from the smallest to the largest.
    pub fn curve(&self, value: impl Fn(&Snapshot) -> f64) -> Curve {
        let rows: Vec<Vec<(f64, f64)>> = self
            .seeds
            .iter()
            .map(|(_, _, snapshots)| snapshots.iter().map(|s| (s.step as f64, value(s))).collect())
            .collect();
        let (line, band) = mean_and_band(&rows);
        Curve { band, has_markers: true, ..Curve::line(self.style, line) }
    }

    /// Last step of any seed.
    pub fn last_step(&self) -> f64 {
        let steps = self.seeds.iter().filter_map(|(_, _, snapshots)| snapshots.last());
        steps.map(|s| s.step as f64).fold(0.0, f64::max)
    }
}

/// Means over rows at each x of the first row, and the smallest and largest value there. Values that are not
/// finite, and rows without that x, are left out; the band is empty for a single row.
#[allow(clippy::type_complexity)]
pub fn mean_and_band(rows: &[Vec<(f64, f64)>]) -> (Vec<(f64, f64)>, Vec<(f64, f64, f64)>) {
    let mut line = Vec::new();
    let mut band = Vec::new();
    for (k, (x, _)) in rows.first().into_iter().flatten().enumerate() {
        let values: Vec<f64> = rows
            .iter()
            .filter_map(|row| row.get(k))
            .filter(|(at, y)| at == x && y.is_finite())
            .map(|(_, y)| *y)
            .collect();
        if values.is_empty() {
            continue;
        }
        line.push((*x, values.iter().sum::<f64>() / values.len() as f64));
        if rows.len() > 1 {
            let low = values.iter().copied().fold(f64::INFINITY, f64::min);
            let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            band.push((*x, low, high));
        }
    }
    (line, band)
}

/// The value below which a fraction of `sorted` lies, interpolated linearly between neighbours.
pub fn quantile(sorted: &[f64], fraction: f64) -> f64 {
    let place = fraction * sorted.len().saturating_sub(1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    match (sorted.get(below), sorted.get(above)) {
        (Some(a), Some(b)) => a + (b - a) * place.fract(),
        _ => f64::NAN,
    }
}

/// Mean of finite values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_reach_from_the_smallest_to_the_largest_seed() {
        let rows = [vec![(0.0, 1.0), (5.0, 2.0)], vec![(0.0, 3.0), (5.0, f64::NAN)], vec![(0.0, 2.0)]];
        let (line, band) = mean_and_band(&rows);
        assert_eq!(line, [(0.0, 2.0), (5.0, 2.0)]);
        assert_eq!(band, [(0.0, 1.0, 3.0), (5.0, 2.0, 2.0)]);
    }

    #[test]
    fn one_seed_has_no_band() {
        assert!(mean_and_band(&[vec![(0.0, 1.0)]]).1.is_empty());
        assert!(mean_and_band(&[]).0.is_empty());
    }

    #[test]
    fn quantiles_lie_between_neighbours() {
        let values = [0.0, 1.0, 2.0, 3.0];
        assert_eq!([0.0, 0.5, 1.0].map(|q| quantile(&values, q)), [0.0, 1.5, 3.0]);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
