//! Image runs: scores, curves, directions of the pixels, what is inside the encoders.

mod inside;
mod maps;
mod scores;

use super::super::chart::{Curve, Entry, Figure, Swatch};
use super::super::palette::Style;
use super::super::series::mean_and_band;
use super::in_words;
use crate::io::error::UserError;
use crate::judge::measures::ClaimResult;
use crate::run::folder::RunFolder;
use crate::tasks::images::evaluation::ImageEvaluation;
use crate::tasks::images::spec::ImageSpec;
use crate::tasks::images::training::ImageSnapshot;

/// The complete image runs of one point.
struct ImageRuns {
    point: String,
    style: Style,
    class_names: usize,
    seeds: Vec<ImageRun>,
}

/// One image run.
struct ImageRun {
    seed: u64,
    folder: RunFolder,
    snapshots: Vec<ImageSnapshot>,
    evaluation: ImageEvaluation,
}

impl ImageRuns {
    fn of(result: &ClaimResult) -> Result<Vec<Self>, UserError> {
        let mut all = Vec::new();
        let count = result.experiment.points.len();
        for (k, point) in result.experiment.points.iter().enumerate() {
            let Some(spec) = point.spec.get::<ImageSpec>() else { continue };
            let mut seeds = Vec::new();
            for &seed in &point.seeds {
                let folder = result.folders.get(&(point.name.clone(), seed)).filter(|f| f.is_complete());
                if let Some(folder) = folder {
                    let (snapshots, evaluation) = (folder.snapshots()?, folder.evaluation()?);
                    seeds.push(ImageRun { seed, folder: folder.clone(), snapshots, evaluation });
                }
            }
            if !seeds.is_empty() {
                let style = if count > 4 { Style::ordered(k, count) } else { Style::nth(k) };
                all.push(Self { point: point.name.clone(), style, class_names: spec.content().num_classes, seeds });
            }
        }
        Ok(all)
    }

    fn label(&self) -> String {
        in_words(&self.point)
    }

    /// A measure over epochs: mean over seeds, and a band from the smallest to the largest.
    fn curve(&self, value: impl Fn(&ImageSnapshot) -> Option<f64>) -> Curve {
        let row =
            |run: &ImageRun| run.snapshots.iter().filter_map(|s| Some((s.epoch as f64, value(s)?))).collect::<Vec<_>>();
        let rows: Vec<_> = self.seeds.iter().map(row).collect();
        let (line, band) = mean_and_band(&rows);
        Curve { band, has_markers: true, ..Curve::line(self.style, line) }
    }

    /// A number per seed.
    fn values(&self, value: impl Fn(&ImageEvaluation) -> Option<f64>) -> Vec<f64> {
        self.seeds.iter().filter_map(|run| value(&run.evaluation)).collect()
    }
}

fn legend(all: &[ImageRuns]) -> Vec<Entry> {
    all.iter().map(|r| Entry::new(&r.label(), r.style, Swatch::Line)).collect()
}

/// All figures of an experiment on images; none where there are no such runs.
///
/// # Errors
/// [`UserError`] when a complete run folder cannot be read.
pub fn figures(result: &ClaimResult) -> Result<Vec<Figure>, UserError> {
    let all = ImageRuns::of(result)?;
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let claim = result.experiment.claim.as_str();
    let mut figures = vec![scores::scores(claim, &all), scores::curves(claim, &all)];
    figures.extend(inside::layers(claim, &all));
    figures.extend(inside::directions(claim, &all));
    figures.extend(inside::galleries(claim, &all)?);
    figures.extend(maps::figure(claim, &all));
    Ok(figures)
}
