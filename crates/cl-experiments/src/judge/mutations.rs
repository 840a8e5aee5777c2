//! Mutation tests: mistakes made on purpose, and which claims notice them.
//!
//! A claim that holds whatever the program does says nothing. Each [`Change`] is a mistake such a program could have,
//! made by changing what runs are told to do; they are judged by the unchanged predictions.

use crate::io::error::UserError;
use crate::io::toml_file::read_toml;
use crate::judge::Verdict;
use crate::judge::measures::{ClaimResult, Judge};
use crate::run::plan::{Conditions, Plan, Planned};
use crate::run::queue::Ended;
use crate::spec::experiment::Experiment;
use crate::spec::mistake::Mistake;
use crate::spec::{Parts, RunSpec};
use crate::tasks::circular_signals::spec::SignalSpec;
use crate::tasks::class_features::spec::ClassSpec;
use crate::tasks::images::spec::ImageSpec;
use crate::tasks::sparse_coding::spec::{MomentsSpec, TrainingSpec, VectorViews};
use crate::tasks::text::spec::TextSpec;
use cl_data::{Augmentation, PositiveSource, Rescaling};
use cl_model::{
    BarlowTwins, Bias, InfoNce, KeyGradient, MaskedReconstruction, NegativeCosine, QueueFilling, SymmetricReluConfig,
    VicReg,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Complementary masks are left out, shifts of signals, and what changes words. (Independent masks decouple nothing, and stay.)
    MaskLeftOut,
    /// Masks are not rescaled.
    MasksNotRescaled,
    /// Thresholds stay at 0.
    ThresholdsLeftOut,
    /// Gradients flow through keys.
    GradientThroughKeys,
    /// Gradients flow through the targets of predictions.
    StopGradientLeftOut,
    /// Correlations between outputs cost nothing.
    CovarianceLeftOut,
    /// Classes and downstream targets belong to other observations.
    LabelsShuffled,
    /// Projectors keep their initial weights.
    ProjectorFrozen,
    /// On sentences: keys never get into a queue.
    QueueNeverFilled,
    /// On sentences: the keys in a queue are overwritten with the temperature.
    QueueOverwritten,
    /// One of the mistakes specific to images.
    #[serde(untagged)]
    OnImages(Mistake),
}

/// One mistake and what it must break.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutation {
    /// The mistake.
    pub change: Change,
    /// A description.
    pub title: String,
    /// Claims that must not hold with it; all others must.
    pub breaks: Vec<String>,
    /// Why these.
    pub why: String,
}

/// What a mistake did to each claim that was judged.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MutationResult {
    /// The mistake.
    #[serde(flatten)]
    pub mutation: Mutation,
    /// By claim.
    pub claims: Vec<ClaimUnderMutation>,
    /// Whether exactly the expected claims do not hold.
    pub as_expected: bool,
}

/// What a mistake did to one claim.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClaimUnderMutation {
    /// The claim.
    pub claim: String,
    /// Its verdict without the mistake.
    pub without: Verdict,
    /// Its verdict with it.
    pub with: Verdict,
    /// Expectations that do not hold with it, and what was found.
    pub by: Vec<String>,
}

/// `mutations.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MutationFile {
    /// Claims that mistakes are tested on.
    claims: Vec<String>,
    mutation: Vec<Mutation>,
}

impl MutationFile {
    fn load(path: &Path) -> Result<Self, UserError> {
        let file: Self = read_toml(path)?;
        for mutation in &file.mutation {
            if let Some(unknown) = mutation.breaks.iter().find(|claim| !file.claims.contains(claim)) {
                let message =
                    format!("{:?} breaks {unknown:?}, which is not among claims = {:?}", mutation.title, file.claims);
                return Err(UserError::file(path, message));
            }
        }
        Ok(file)
    }
}

impl Change {
    /// The specification with the mistake.
    pub fn made(self, spec: &RunSpec, parts: &Parts) -> RunSpec {
        if let Some(spec) = spec.get::<ImageSpec>() {
            let mistake = if let Self::OnImages(mistake) = self { Some(mistake) } else { spec.mistake };
            return RunSpec::new(ImageSpec { mistake, ..spec.clone() });
        }
        if let Some(spec) = spec.get::<MomentsSpec>() {
            let views = self.made_in_views(spec.views.augmentation());
            return RunSpec::new(MomentsSpec { views, ..spec.clone() });
        }
        if let Some(spec) = spec.get::<SignalSpec>() {
            return RunSpec::new(self.made_in_signals(spec.clone()));
        }
        if let Some(spec) = spec.get::<ClassSpec>() {
            return RunSpec::new(self.made_in_classes(spec.clone()));
        }
        if let Some(spec) = spec.get::<TextSpec>() {
            return RunSpec::new(self.made_in_text(spec.clone()));
        }
        match spec.get::<TrainingSpec>() {
            Some(spec) => RunSpec::new(self.made_in_training(spec.clone(), parts)),
            None => spec.clone(),
        }
    }

    fn made_in_signals(self, mut spec: SignalSpec) -> SignalSpec {
        match (self, &mut spec.model.projector) {
            (Self::MaskLeftOut, _) => spec.views.shift = 0.0,
            (Self::ProjectorFrozen, Some(projector)) => projector.frozen = true,
            _ => {}
        }
        spec
    }

    fn made_in_text(self, mut spec: TextSpec) -> TextSpec {
        let temperature = spec.objective.config::<InfoNce>().map(|loss| loss.temperature);
        match (self, &mut spec.model.projector, &mut spec.model.queue, temperature) {
            (Self::MaskLeftOut, ..) => spec.views.transform.clear(),
            (Self::LabelsShuffled, ..) => spec.evaluation.shuffled_labels = true,
            (Self::ProjectorFrozen, Some(projector), ..) => projector.frozen = true,
            (Self::QueueNeverFilled, _, Some(queue), _) => queue.filling = QueueFilling::Nothing,
            (Self::QueueOverwritten, _, Some(queue), Some(t)) => queue.filling = QueueFilling::Constant(t),
            _ => {}
        }
        spec
    }

    fn made_in_classes(self, mut spec: ClassSpec) -> ClassSpec {
        spec.views.transform = self.made_in_views(spec.views.augmentation()).transform;
        match (self, spec.views.positives, &mut spec.model.projector) {
            (Self::LabelsShuffled, PositiveSource::SameClass(p), _) => {
                spec.views.positives = PositiveSource::AnyClass(p);
            }
            (Self::ProjectorFrozen, _, Some(projector)) => projector.frozen = true,
            _ => {}
        }
        spec
    }

    fn made_in_views(self, augmentation: Augmentation) -> VectorViews {
        match (self, augmentation) {
            (Self::MaskLeftOut, Augmentation::ComplementaryMask { .. }) => VectorViews::default(),
            (Self::MasksNotRescaled, mut augmentation) => {
                if let Augmentation::ComplementaryMask { rescaling, .. }
                | Augmentation::IndependentMasks { rescaling, .. } = &mut augmentation
                {
                    *rescaling = Rescaling::Off;
                }
                augmentation.into()
            }
            (_, augmentation) => augmentation.into(),
        }
    }

    fn made_in_training(self, mut spec: TrainingSpec, parts: &Parts) -> TrainingSpec {
        spec.views = self.made_in_views(spec.views.augmentation());
        if let (Self::ProjectorFrozen, Some(projector)) = (self, &mut spec.model.projector) {
            projector.frozen = true;
        }
        match (self, spec.symmetric_relu().copied(), spec.objective.config::<InfoNce>().copied()) {
            (Self::ThresholdsLeftOut, Some(encoder), _) => {
                let encoder = SymmetricReluConfig { bias: Bias::Zero, ..encoder };
                spec.model.encoder = parts.vector_encoders.part(spec.model.encoder.name(), &encoder);
            }
            (Self::GradientThroughKeys, _, Some(loss)) => {
                let loss = InfoNce { key_gradient: KeyGradient::Flows, ..loss };
                spec.objective = parts.objectives.part(spec.objective.name(), &loss);
            }
            (Self::LabelsShuffled, ..) => {
                spec.evaluation.shuffled_targets = true;
                if let Some(classes) = &mut spec.data.classes {
                    classes.shuffled = true;
                }
            }
            _ => self.made_in_objective(&mut spec, parts),
        }
        spec
    }

    fn made_in_objective(self, spec: &mut TrainingSpec, parts: &Parts) {
        let name = spec.objective.name();
        if let Some((_, factor)) = spec.objective.config::<MaskedReconstruction>().zip(spec.second_view_factor()) {
            // In the units of the views, whatever these have become.
            let loss = MaskedReconstruction { scale: f64::from(factor) };
            spec.objective = parts.objectives.part(name, &loss);
            return;
        }
        let negative_cosine = spec.objective.config::<NegativeCosine>().copied();
        let barlow_twins = spec.objective.config::<BarlowTwins>().copied();
        let vicreg = spec.objective.config::<VicReg>().copied();
        match (self, negative_cosine, barlow_twins, vicreg) {
            (Self::StopGradientLeftOut, Some(loss), ..) => {
                spec.objective = parts.objectives.part(name, &NegativeCosine { stop_gradient: false, ..loss });
            }
            (Self::CovarianceLeftOut, _, Some(loss), _) => {
                spec.objective = parts.objectives.part(name, &BarlowTwins { off_diagonal: 0.0, ..loss });
            }
            (Self::CovarianceLeftOut, .., Some(loss)) => {
                spec.objective = parts.objectives.part(name, &VicReg { covariance: 0.0, ..loss });
            }
            _ => {}
        }
    }
}

/// Makes every mistake of `file` in the experiments of `results`; `None` if stopped. The runs are stored below
/// `mutations/` in the folder of runs, so that they are not taken for others.
///
/// # Errors
/// [`UserError`] when the file names a claim it does not list, none of its claims is among the results, or runs failed.
pub fn test(
    results: &[ClaimResult],
    judge: Judge,
    file: &Path,
    conditions: &Conditions,
    stop: &AtomicBool,
) -> Result<Option<Vec<MutationResult>>, UserError> {
    let MutationFile { claims, mutation: mutations } = MutationFile::load(file)?;
    let results: Vec<&ClaimResult> = results.iter().filter(|r| claims.contains(&r.experiment.claim)).collect();
    if results.is_empty() {
        return Err(UserError::file(file, format!("none of its claims ({}) is asked for", claims.join(", "))));
    }
    let judged: Vec<Experiment> = results.iter().map(|r| judged_alone(r)).collect();
    let changed = |change: Change| {
        let mut judged = judged.clone();
        for point in judged.iter_mut().flat_map(|e| &mut e.points) {
            point.spec = change.made(&point.spec, judge.parts);
        }
        judged
    };
    // All at once, so that runs in common are executed once and cores are not idle in between.
    let all = mutations.iter().flat_map(|m| changed(m.change)).collect();
    let below = Conditions {
        runs: conditions.runs.join("mutations"),
        also: vec![conditions.runs.clone()],
        ..conditions.clone()
    };
    let plan = Plan::new(all, &below);
    crate::say_line!("\nMistakes on purpose, {}:", mutations.len());
    let Ended { failures, .. } = plan.carry_out(&plan.missing()?, stop, &mut |_| None);
    if !failures.is_empty() {
        return Err(UserError::Run(failures.join("\n")));
    }
    if stop.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let mut planned = plan.planned.into_iter();
    let mut tested = Vec::new();
    for mutation in mutations {
        let of_change: Vec<Planned> = planned.by_ref().take(judged.len()).collect();
        let mut claims = Vec::new();
        for (result, planned) in results.iter().zip(of_change) {
            // Points that are only reported have no runs here.
            let with = judge.judge(result.experiment.clone(), planned.folders)?;
            let missed = with.judgements.iter().filter(|j| j.verdict.is_some_and(|v| v != Verdict::Holds));
            claims.push(ClaimUnderMutation {
                claim: result.experiment.claim.clone(),
                without: result.verdict,
                with: with.verdict,
                by: missed
                    .map(|j| format!("{} of {} {} ({:.3})", j.metric, j.subject, j.bound, j.summary.mean))
                    .collect(),
            });
        }
        let as_expected = claims
            .iter()
            .all(|c| c.without == Verdict::Holds && (c.with == Verdict::Holds) != mutation.breaks.contains(&c.claim));
        tested.push(MutationResult { mutation, claims, as_expected });
    }
    Ok(Some(tested))
}

/// The experiment with only the points that its verdict depends on, and without its maps.
fn judged_alone(result: &ClaimResult) -> Experiment {
    let mut judged = result.experiment.clone();
    let in_maps: BTreeSet<&String> = result.experiment.grids.iter().flat_map(|g| &g.points).collect();
    judged.points.retain(|point| {
        result.expected.expect.iter().filter(|e| !e.full_only).any(|e| {
            let is_any = e.point.as_deref() == Some("*") && !in_maps.contains(&point.name);
            e.judged && (is_any || e.point.as_ref() == Some(&point.name) || e.terms.contains_key(&point.name))
        })
    });
    judged.grids.clear();
    judged
}

/// The table for the terminal.
pub fn table(results: &[MutationResult]) -> String {
    let mut text = String::new();
    for n in results {
        let word = if n.as_expected { "noticed" } else { "NOT AS EXPECTED" };
        text.push_str(&format!("\n{word:<16} {}; must break {}\n", n.mutation.title, n.mutation.breaks.join(" ")));
        for claim in n.claims.iter().filter(|c| c.with != Verdict::Holds || c.without != Verdict::Holds) {
            let without = if claim.without == Verdict::Holds { "" } else { " also without it" };
            text.push_str(&format!(
                "                 {:<4} {}{without}: {}\n",
                claim.claim,
                claim.with,
                claim.by.join("; ")
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_touches_what_it_names_and_nothing_else() {
        let catalog = crate::run::catalog::Catalog::standard();
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../experiments/recipe-d16.toml"));
        let spec = RunSpec::from_table(toml::from_str(&text.unwrap()).unwrap(), catalog.parts()).unwrap();
        let plain = spec.get::<TrainingSpec>().unwrap().clone();
        let changed = |change: Change| change.made(&spec, catalog.parts()).get::<TrainingSpec>().unwrap().clone();
        let expected = TrainingSpec { views: VectorViews::default(), ..plain.clone() };
        assert_eq!(changed(Change::MaskLeftOut), expected);
        let without_thresholds = changed(Change::ThresholdsLeftOut);
        assert_eq!(without_thresholds.symmetric_relu().unwrap().bias, Bias::Zero);
        let mut expected = plain.clone();
        expected.model = without_thresholds.model.clone();
        assert_eq!(without_thresholds, expected);
        let mut expected = plain.clone();
        expected.evaluation.shuffled_targets = true;
        assert_eq!(changed(Change::LabelsShuffled), expected);
        assert!(matches!(
            changed(Change::MasksNotRescaled).views.augmentation(),
            Augmentation::ComplementaryMask { rescaling: Rescaling::Off, .. }
        ));
        let changed = changed(Change::GradientThroughKeys);
        assert_eq!(changed.objective.config::<InfoNce>().unwrap().key_gradient, KeyGradient::Flows);
    }
}
