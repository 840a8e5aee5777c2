//! Which figures a claim has. A point that was not run is left out of its figure.

mod attribution;
pub mod cost;
mod decoupling;
pub mod divergence;
mod downstream;
mod growth;
mod images;
mod neurons;
mod overview;
mod phases;
mod scaling;
mod stages;
mod training;

use super::chart::{Entry, Figure, Swatch};
use super::series::Runs;
use crate::claims::ClaimResult;
use crate::error::UserError;

/// All figures of a claim.
///
/// # Errors
/// [`UserError`] when a complete run folder cannot be read.
pub fn of_claim(result: &ClaimResult) -> Result<Vec<Figure>, UserError> {
    let claim = result.experiment.claim.as_str();
    let mut figures = images::figures(result)?;
    let runs = Runs::single_points(result)?;
    match claim {
        "c1" => figures.extend(decoupling::figure(result)?),
        "c2" => figures.extend(growth::figure(result, &runs)),
        "c5" => figures.extend(downstream::figure(result, &runs)?),
        "c7" => figures.extend(stages::figures(&runs)),
        "c8" => figures.extend(scaling::figure(result)),
        "c9" => {
            figures.extend(attribution::figure(result));
            figures.extend(phases::figures(result)?);
        }
        "c10" => {
            figures.extend(training::figures(claim, &runs));
            figures.extend(phases::figures(result)?);
        }
        _ => {
            figures.extend(training::figures(claim, &runs));
            figures.extend(neurons::figure(claim, &runs)?);
        }
    }
    figures.retain(|f| !f.panels.is_empty());
    Ok(figures)
}

/// The figure that shows the paper's main point, from C3 and C4 together.
///
/// # Errors
/// [`UserError`] when a complete run folder cannot be read.
pub fn overview(results: &[ClaimResult]) -> Result<Option<Figure>, UserError> {
    overview::figure(results)
}

/// A legend with a line per point.
fn legend_of(runs: &[Runs]) -> Vec<Entry> {
    runs.iter().map(|r| Entry::new(&in_words(&r.point), r.style, Swatch::Line)).collect()
}

/// A metric's value per seed at a point.
fn values(result: &ClaimResult, point: &str, metric: &str) -> Vec<f64> {
    let seeds = result.metrics.get(point).into_iter().flat_map(|seeds| seeds.values());
    seeds.filter_map(|metrics| metrics.get(metric)).copied().filter(|v| v.is_finite()).collect()
}

/// A point's name as words.
pub fn in_words(point: &str) -> String {
    match point {
        "masked" => "complementary masks".into(),
        "none" => "no mask".into(),
        "no-augmentation" => "no augmentation".into(),
        "crop-flip" => "crop, flip".into(),
        "crop-flip-jitter" => "crop, flip, jitter".into(),
        "crop-flip-jitter-gray" => "… and greyscale".into(),
        "crop-flip-jitter-gray-blur" => "… and blur".into(),
        "random-mask" => "RandomMask".into(),
        "none-long" => "no mask, longer".into(),
        "none-no-decay" => "no mask, λ = 0".into(),
        "independent" => "independent masks".into(),
        "supervised" => "supervised, no mask".into(),
        "paper" => "as in the paper".into(),
        _ if point.starts_with("contrastive-") => format!("contrastive: {}", in_words(&point["contrastive-".len()..])),
        _ => match point.rsplit_once("-d") {
            Some((rest, d)) if d.parse::<u32>().is_ok() => format!("{}, d = {d}", in_words(rest)),
            _ => match point.rsplit_once("-p") {
                Some((rest, p)) if p.parse::<f64>().is_ok() => format!("{}, p = {p}", rest.replace('-', " ")),
                _ => point.replace(['-', '_'], " "),
            },
        },
    }
}

/// What a figure's band is, said in captions.
const BAND: &str = "Lines are means over seeds, bands reach from the smallest to the largest seed.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_points_become_words() {
        assert_eq!(in_words("masked-d64"), "complementary masks, d = 64");
        assert_eq!(in_words("half-share-p0.3"), "half share, p = 0.3");
        assert_eq!(in_words("cosine-similarity"), "cosine similarity");
        assert_eq!(in_words("contrastive-crop-flip"), "contrastive: crop, flip");
        assert_eq!(in_words("trained-bias-decay"), "trained bias decay");
    }
}
