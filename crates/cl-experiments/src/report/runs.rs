//! What the figures need from run folders, read once per claim.

use crate::claims::ClaimResult;
use crate::error::UserError;
use crate::measure::{Evaluation, Snapshot};
use crate::record::RunFolder;
use crate::spec::{RunSpec, TrainingSpec};

/// A point with its finished training runs.
#[derive(Debug, Clone)]
pub struct TrainedPoint {
    /// Its name.
    pub name: String,
    /// Its specification.
    pub spec: TrainingSpec,
    /// Its runs.
    pub runs: Vec<Run>,
}

/// One finished training run.
#[derive(Debug, Clone)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// Where it is.
    pub folder: RunFolder,
    /// Its course.
    pub snapshots: Vec<Snapshot>,
    /// Its end.
    pub evaluation: Evaluation,
}

/// The trained points of a claim that are not cells of a map.
///
/// # Errors
/// [`UserError`] when a run folder cannot be read.
pub fn trained_points(result: &ClaimResult) -> Result<Vec<TrainedPoint>, UserError> {
    let in_grid = |name: &str| result.experiment.grids.iter().any(|g| g.points.iter().any(|p| p == name));
    let mut points = Vec::new();
    for point in result.experiment.points.iter().filter(|p| !in_grid(&p.name)) {
        let RunSpec::Training(spec) = &point.spec else { continue };
        let mut runs = Vec::new();
        for &seed in &point.seeds {
            let folder = result.folders.get(&(point.name.clone(), seed)).filter(|f| f.is_complete());
            if let Some(folder) = folder {
                runs.push(Run {
                    seed,
                    folder: folder.clone(),
                    snapshots: folder.snapshots()?,
                    evaluation: folder.evaluation()?,
                });
            }
        }
        if !runs.is_empty() {
            points.push(TrainedPoint { name: point.name.clone(), spec: spec.clone(), runs });
        }
    }
    Ok(points)
}

/// A number over the steps of several runs.
#[derive(Debug, Clone, Default)]
pub struct Course {
    /// Step and mean over seeds.
    pub mean: Vec<(f64, f64)>,
    /// Step, least and largest value.
    pub range: Vec<(f64, f64, f64)>,
}

impl TrainedPoint {
    /// Mean over seeds at each snapshot, and the least and largest value.
    pub fn course(&self, read: impl Fn(&Snapshot) -> f64) -> Course {
        let length = self.runs.iter().map(|r| r.snapshots.len()).min().unwrap_or(0);
        let mut course = Course::default();
        for k in 0..length {
            let values: Vec<f64> = self.runs.iter().map(|r| read(&r.snapshots[k])).filter(|v| v.is_finite()).collect();
            if values.is_empty() {
                continue;
            }
            let step = self.runs[0].snapshots[k].step as f64;
            course.mean.push((step, values.iter().sum::<f64>() / values.len() as f64));
            let (low, high) =
                values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
            course.range.push((step, low, high));
        }
        course
    }
}
