//! Which figures a claim has.

mod attribution;
pub mod cost;
mod decoupling;
pub mod divergence;
mod downstream;
mod drift;
mod growth;
mod images;
mod neurons;
mod objectives;
mod one_parameter;
mod overview;
mod phases;
mod predictor;
mod projector_geometry;
mod prototypes;
mod scaling;
mod stages;
mod text;
mod threshold_correlation;
mod training;
mod weight_decay_law;

use super::chart::{Entry, Figure, Swatch};
use super::series::Runs;
use crate::io::error::UserError;
use crate::judge::measures::ClaimResult;
use crate::spec::experiment::Experiment;
use std::sync::Arc;

type Draw = Arc<dyn Fn(&ClaimResult, &[Runs]) -> Result<Vec<Figure>, UserError> + Send + Sync>;

/// Kinds of figures by name, in the order of the report; experiment files choose some in `figures`.
#[derive(Clone)]
pub struct Figures {
    kinds: Vec<(String, Draw)>,
}

/// The figures of an experiment that names none.
const BY_DEFAULT: [&str; 3] = ["images", "training", "neurons"];

impl Figures {
    /// The kinds built into this program.
    pub fn standard() -> Self {
        let claim = |result: &ClaimResult| result.experiment.claim.clone();
        Self { kinds: Vec::new() }
            .with("images", |result, _| images::figures(result))
            .with("moments", |result, _| Ok(decoupling::figure(result)?.into_iter().collect()))
            .with("linear_stage", |result, runs| Ok(growth::figure(result, runs).into_iter().collect()))
            .with("drift", |result, runs| Ok(drift::figure(result, runs).into_iter().collect()))
            .with("probes", |result, runs| Ok(downstream::figure(result, runs)?.into_iter().collect()))
            .with("stages", move |result, runs| Ok(stages::figures(&claim(result), runs)))
            .with("scaling", |result, _| Ok(scaling::figure(result).into_iter().collect()))
            .with("attribution", |result, _| Ok(attribution::figure(result).into_iter().collect()))
            .with("training", move |result, runs| Ok(training::figures(&claim(result), runs)))
            .with("neurons", move |result, runs| Ok(neurons::figure(&claim(result), runs)?.into_iter().collect()))
            .with("objectives", objectives::figures)
            .with("one_parameter", |result, _| Ok(one_parameter::figure(result).into_iter().collect()))
            .with("threshold_correlation", |result, runs| {
                Ok(threshold_correlation::figure(result, runs).into_iter().collect())
            })
            .with("weight_decay_law", |result, runs| Ok(weight_decay_law::figure(result, runs).into_iter().collect()))
            .with("predictor", |result, runs| Ok(predictor::figure(result, runs).into_iter().collect()))
            .with("projector_geometry", |result, _| projector_geometry::figures(result))
            .with("text", |result, _| text::figures(result))
            .with("prototypes", |result, _| prototypes::figures(result))
            .with("phases", |result, _| Ok(phases::at_the_end(result)))
            .with("phases_over_steps", |result, _| phases::over_steps(result))
    }

    /// Adds a kind, or replaces the one of the same name. `draw` is given a claim after its runs; file names of figures
    /// are distinct if they begin with the claim's.
    #[must_use]
    pub fn with(
        mut self,
        name: &str,
        draw: impl Fn(&ClaimResult, &[Runs]) -> Result<Vec<Figure>, UserError> + Send + Sync + 'static,
    ) -> Self {
        let draw: Draw = Arc::new(draw);
        match self.kinds.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = draw,
            None => self.kinds.push((name.to_string(), draw)),
        }
        self
    }

    /// All figures of a claim, of the kinds that its experiment file names. Points that were not run are left out.
    ///
    /// # Errors
    /// [`UserError`] when a complete run folder cannot be read.
    pub fn of_claim(&self, result: &ClaimResult) -> Result<Vec<Figure>, UserError> {
        let runs = Runs::single_points(result)?;
        let named = result.experiment.figures.as_ref();
        let is_wanted = |name: &str| match named {
            Some(named) => named.iter().any(|n| n == name),
            None => BY_DEFAULT.contains(&name),
        };
        let mut figures = Vec::new();
        for (_, draw) in self.kinds.iter().filter(|(name, _)| is_wanted(name)) {
            figures.extend(draw(result, &runs)?);
        }
        figures.retain(|f| !f.panels.is_empty());
        Ok(figures)
    }

    /// Checks that the figures named by an experiment file exist.
    ///
    /// # Errors
    /// [`UserError::File`] naming the unknown one, and those there are.
    pub fn check(&self, experiment: &Experiment) -> Result<(), UserError> {
        let unknown = |name: &&String| self.kinds.iter().all(|(known, _)| known != *name);
        match experiment.figures.iter().flatten().find(unknown) {
            None => Ok(()),
            Some(name) => {
                let names: Vec<&str> = self.kinds.iter().map(|(name, _)| name.as_str()).collect();
                let message = format!("figures: there is no {name:?}; choose among {}", names.join(", "));
                Err(UserError::file(experiment.folder.join("experiment.toml"), message))
            }
        }
    }
}

impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.kinds.iter().map(|(name, _)| name)).finish()
    }
}

/// The figure that shows the paper's main point, from C3 and C4 together.
///
/// # Errors
/// [`UserError`] when a complete run folder cannot be read.
pub fn overview(results: &[ClaimResult]) -> Result<Option<Figure>, UserError> {
    overview::figure(results)
}

/// A legend with one line per point.
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
    if let Some((objective, views)) = objective_and_views(point) {
        return format!("{}, {views}", in_words(objective));
    }
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
        "info-nce" => "InfoNCE".into(),
        "nt-xent" => "NT-Xent".into(),
        "decoupled-nt-xent" => "decoupled NT-Xent".into(),
        "spectral" => "spectral contrastive".into(),
        "barlow-twins" => "Barlow Twins".into(),
        "vicreg" => "VICReg".into(),
        "negative-cosine" => "negative cosine".into(),
        "simsiam" => "SimSiam".into(),
        "simsiam-no-stop" => "… no stop-gradient".into(),
        "simsiam-no-head" => "… no head".into(),
        "byol" => "BYOL".into(),
        "moco" => "MoCo".into(),
        "contrast" => "contrast, style renewed".into(),
        "style-kept" => "… the words of style kept".into(),
        "same-style" => "… other words of the same style".into(),
        "in-batch" => "… negatives of the batch, no queue".into(),
        "random-pairs" => "… pairs of different sentences".into(),
        "never-filled" => "… a queue that is never filled".into(),
        "overwritten" => "… a queue overwritten with T".into(),
        "misaligned" => "… masks of other sentences".into(),
        "one-block" => "… a block of attention".into(),
        "class" => "positives of the class".into(),
        "any" => "positives of any class".into(),
        "tail" => "frequencies 1/rank".into(),
        "own" => "positives of the same observation".into(),
        "even" => "equal frequencies".into(),
        "reconstruction" => "masked reconstruction".into(),
        "alignment-uniformity" => "alignment, uniformity".into(),
        _ if point.starts_with("contrastive-") => format!("contrastive: {}", in_words(&point["contrastive-".len()..])),
        _ => with_parameter(point).unwrap_or_else(|| point.replace(['-', '_'], " ")),
    }
}

/// A point whose name ends in the value of a parameter.
fn with_parameter(point: &str) -> Option<String> {
    [("-d", "d"), ("-p", "p"), ("-tau", "τ"), ("-lr", "learning rate"), ("-a", "a"), ("-r", "r"), ("-t", "T")]
        .into_iter()
        .find_map(|(sign, symbol)| {
            let (rest, value) = point.rsplit_once(sign)?;
            value.parse::<f64>().ok()?;
            // In the names of a grid `masked` is not the augmentation of an objective.
            let rest = if symbol == "p" && rest.contains("masked") { rest.replace('-', " ") } else { in_words(rest) };
            Some(format!("{rest}, {symbol} = {value}"))
        })
}

/// A point that is named after an objective and an augmentation.
fn objective_and_views(point: &str) -> Option<(&str, &str)> {
    let (objective, views) = point.rsplit_once('-')?;
    let views = match views {
        "masked" | "independent" | "none" | "crop" => views,
        "ladder" => "whole ladder",
        _ => return None,
    };
    (objective != "contrastive").then_some((objective, views))
}

/// The explanation of a figure's band in captions.
const BAND: &str = "Lines are means over seeds, bands reach from the smallest to the largest seed.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_points_become_words() {
        assert_eq!(in_words("masked-d64"), "complementary masks, d = 64");
        assert_eq!(in_words("half-masked-p0.3"), "half masked, p = 0.3");
        assert_eq!(in_words("cosine-similarity"), "cosine similarity");
        assert_eq!(in_words("contrastive-crop-flip"), "contrastive: crop, flip");
        assert_eq!(in_words("nt-xent-independent"), "NT-Xent, independent");
        assert_eq!(in_words("byol-ladder"), "BYOL, whole ladder");
        assert_eq!(in_words("trained-bias-decay"), "trained bias decay");
        assert_eq!(in_words("nt-xent-tau0.05-masked"), "NT-Xent, τ = 0.05, masked");
        assert_eq!(in_words("info-nce-t24000-none"), "InfoNCE, T = 24000, none");
    }
}
