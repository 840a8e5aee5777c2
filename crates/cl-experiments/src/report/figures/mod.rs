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
use crate::io::error::UserError;
use crate::judge::measures::ClaimResult;
use crate::spec::experiment::Experiment;

/// A kind of figure.
struct Kind {
    /// Its name in `figures` of an experiment file.
    name: &'static str,
    draw: fn(&ClaimResult, &[Runs]) -> Result<Vec<Figure>, UserError>,
}

/// All kinds, in the order in which they stand in the report.
const KINDS: [Kind; 11] = [
    Kind { name: "images", draw: |result, _| images::figures(result) },
    Kind { name: "moments", draw: |result, _| Ok(decoupling::figure(result)?.into_iter().collect()) },
    Kind { name: "linear-stage", draw: |result, runs| Ok(growth::figure(result, runs).into_iter().collect()) },
    Kind { name: "probes", draw: |result, runs| Ok(downstream::figure(result, runs)?.into_iter().collect()) },
    Kind { name: "stages", draw: |result, runs| Ok(stages::figures(&result.experiment.claim, runs)) },
    Kind { name: "scaling", draw: |result, _| Ok(scaling::figure(result).into_iter().collect()) },
    Kind { name: "attribution", draw: |result, _| Ok(attribution::figure(result).into_iter().collect()) },
    Kind { name: "training", draw: |result, runs| Ok(training::figures(&result.experiment.claim, runs)) },
    Kind {
        name: "neurons",
        draw: |result, runs| Ok(neurons::figure(&result.experiment.claim, runs)?.into_iter().collect()),
    },
    Kind { name: "phases", draw: |result, _| Ok(phases::at_the_end(result)) },
    Kind { name: "phases-over-steps", draw: |result, _| phases::over_steps(result) },
];

/// What an experiment has that names no figures.
const BY_DEFAULT: [&str; 3] = ["images", "training", "neurons"];

/// All figures of a claim: of the kinds that its experiment file names.
///
/// # Errors
/// [`UserError`] when a complete run folder cannot be read.
pub fn of_claim(result: &ClaimResult) -> Result<Vec<Figure>, UserError> {
    let runs = Runs::single_points(result)?;
    let named = result.experiment.figures.as_ref();
    let is_wanted = |name: &str| match named {
        Some(named) => named.iter().any(|n| n == name),
        None => BY_DEFAULT.contains(&name),
    };
    let mut figures = Vec::new();
    for kind in KINDS.iter().filter(|kind| is_wanted(kind.name)) {
        figures.extend((kind.draw)(result, &runs)?);
    }
    figures.retain(|f| !f.panels.is_empty());
    Ok(figures)
}

/// Whether the figures that an experiment file names are there.
///
/// # Errors
/// [`UserError::File`] naming the one that is not, and those that are.
pub fn check_names(experiment: &Experiment) -> Result<(), UserError> {
    let unknown = |name: &&String| KINDS.iter().all(|kind| kind.name != **name);
    match experiment.figures.iter().flatten().find(unknown) {
        None => Ok(()),
        Some(name) => {
            let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
            let message = format!("figures: there is no {name:?}; choose among {}", names.join(", "));
            Err(UserError::file(experiment.folder.join("experiment.toml"), message))
        }
    }
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
