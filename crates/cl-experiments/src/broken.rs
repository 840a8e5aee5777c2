//! The program broken on purpose: which claims notice.
//!
//! A claim that holds whatever the program does says nothing. Each [`Change`] is a mistake that a program like this one could have;
//! the runs that a claim is judged by are made with it and held against what is expected and predicted without it.

use crate::claims::ClaimResult;
use crate::error::UserError;
use crate::experiment::{Experiment, read_toml};
use crate::judge::{Expected, Verdict};
use crate::plan::{Conditions, Plan, Planned};
use crate::schedule::Ended;
use crate::spec::{Objective, RunSpec};
use cl_data::{Augmentation, Rescaling};
use cl_model::{Bias, KeyGradient};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Complementary masks are left out. (Independent ones decouple nothing, and stay.)
    MaskLeftOut,
    /// Masks are not rescaled.
    MasksNotRescaled,
    /// Thresholds stay at 0.
    ThresholdsLeftOut,
    /// Keys pass a gradient.
    GradientThroughKeys,
    /// Classes and downstream targets belong to other observations.
    LabelsShuffled,
}

/// One mistake and what it must break.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broken {
    /// The mistake.
    pub change: Change,
    /// What it is, in words.
    pub title: String,
    /// Claims that must not hold with it; all others must.
    pub breaks: Vec<String>,
    /// Why these.
    pub why: String,
}

/// What a mistake did to each claim that was judged.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Noticed {
    /// The mistake.
    #[serde(flatten)]
    pub broken: Broken,
    /// Claim, and verdict with the mistake.
    pub verdicts: Vec<(String, Verdict)>,
    /// Whether exactly those claims do not hold that must not.
    pub as_expected: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BrokenFile {
    broken: Vec<Broken>,
}

impl Change {
    /// The specification with the mistake.
    pub fn made(self, mut spec: RunSpec) -> RunSpec {
        let data = match &mut spec {
            RunSpec::Training(spec) => &mut spec.data,
            RunSpec::Moments(spec) => &mut spec.data,
            RunSpec::Images(_) => return spec,
        };
        match (self, &mut data.augmentation) {
            (Self::MaskLeftOut, augmentation @ Augmentation::ComplementaryMask { .. }) => {
                *augmentation = Augmentation::None;
            }
            (
                Self::MasksNotRescaled,
                Augmentation::ComplementaryMask { rescaling, .. } | Augmentation::IndependentMasks { rescaling, .. },
            ) => *rescaling = Rescaling::Off,
            _ => {}
        }
        if let RunSpec::Training(spec) = &mut spec {
            match (self, &mut spec.objective) {
                (Self::ThresholdsLeftOut, _) => spec.encoder.bias = Bias::Zero,
                (Self::GradientThroughKeys, Objective::Contrastive(c)) => c.key_gradient = KeyGradient::Flows,
                (Self::LabelsShuffled, objective) => {
                    spec.measurement.shuffled_targets = true;
                    if let Objective::Supervised(s) = objective {
                        s.shuffled_labels = true;
                    }
                }
                _ => {}
            }
        }
        spec
    }
}

/// Makes every mistake of `<experiments>/broken.toml` in the given experiments; `None` where it was asked to stop.
///
/// # Errors
/// [`UserError`] when the file names a claim that is not there, or runs failed.
pub fn notice(
    experiments: &[Experiment],
    file: &Path,
    conditions: &Conditions,
    stop: &AtomicBool,
) -> Result<Option<Vec<Noticed>>, UserError> {
    let BrokenFile { broken } = read_toml(file)?;
    let judged: Vec<Experiment> = experiments.iter().map(judged_alone).collect::<Result<_, _>>()?;
    let family = Expected::intervals_of(&judged, false)?;
    let changed = |change: Change| {
        let mut judged = judged.clone();
        for point in judged.iter_mut().flat_map(|e| &mut e.points) {
            point.spec = change.made(point.spec.clone());
        }
        judged
    };
    // All at once, so that what several have in common is run once and cores do not wait between them.
    let all = broken.iter().flat_map(|b| changed(b.change)).collect();
    let plan = Plan::new(all, conditions);
    println!("Broken on purpose, {} mistakes:", broken.len());
    let Ended { failures, .. } = plan.carry_out(&plan.missing(), stop);
    if !failures.is_empty() {
        return Err(UserError::Run(failures.join("\n")));
    }
    if stop.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let mut planned = plan.planned.into_iter();
    let mut noticed = Vec::new();
    for broken in broken {
        let of_change: Vec<Planned> = planned.by_ref().take(judged.len()).collect();
        let mut verdicts = Vec::new();
        for (experiment, planned) in judged.iter().zip(of_change) {
            let result = ClaimResult::judge(experiment.clone(), planned.folders, false, family)?;
            verdicts.push((experiment.claim.clone(), result.verdict));
        }
        let as_expected = verdicts.iter().all(|(claim, v)| (*v == Verdict::Holds) != broken.breaks.contains(claim));
        noticed.push(Noticed { broken, verdicts, as_expected });
    }
    Ok(Some(noticed))
}

/// The experiment with the points that its verdict hangs on, and without its maps.
fn judged_alone(experiment: &Experiment) -> Result<Experiment, UserError> {
    let expected = Expected::load(&experiment.folder)?;
    let in_maps: BTreeSet<&String> = experiment.grids.iter().flat_map(|g| &g.points).collect();
    let asked = |name: &String| {
        expected.expect.iter().filter(|e| e.judged && !e.full_only).any(|e| {
            e.terms.contains_key(name) || e.point.as_ref().is_some_and(|p| p == name || p == "*" && !in_maps.contains(name))
        })
    };
    let mut judged = experiment.clone();
    judged.points.retain(|point| asked(&point.name));
    judged.grids.clear();
    Ok(judged)
}

/// The table for a terminal.
pub fn table(noticed: &[Noticed]) -> String {
    let mut text = String::new();
    for n in noticed {
        let word = if n.as_expected { "noticed" } else { "NOT AS EXPECTED" };
        text.push_str(&format!("\n{:<16} {}\n", word, n.broken.title));
        let names = |holds: bool| {
            let those = n.verdicts.iter().filter(|(_, v)| (*v == Verdict::Holds) == holds);
            those.map(|(claim, _)| claim.as_str()).collect::<Vec<_>>().join(" ")
        };
        text.push_str(&format!("                 breaks {}; must break {}; holds {}\n", names(false), n.broken.breaks.join(" "), names(true)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_touches_what_it_names_and_nothing_else() {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../experiments/recipe-d16.toml"));
        let spec = RunSpec::from_table(toml::from_str(&text.unwrap()).unwrap()).unwrap();
        let RunSpec::Training(plain) = spec.clone() else { panic!("a training") };
        let changed = |change: Change| match change.made(spec.clone()) {
            RunSpec::Training(spec) => spec,
            _ => panic!("a training"),
        };
        let mut expected = plain.clone();
        expected.data.augmentation = Augmentation::None;
        assert_eq!(changed(Change::MaskLeftOut), expected);
        let mut expected = plain.clone();
        expected.encoder.bias = Bias::Zero;
        assert_eq!(changed(Change::ThresholdsLeftOut), expected);
        let mut expected = plain.clone();
        expected.measurement.shuffled_targets = true;
        assert_eq!(changed(Change::LabelsShuffled), expected);
        assert!(matches!(
            changed(Change::MasksNotRescaled).data.augmentation,
            Augmentation::ComplementaryMask { rescaling: Rescaling::Off, .. }
        ));
        assert!(matches!(
            changed(Change::GradientThroughKeys).objective,
            Objective::Contrastive(c) if c.key_gradient == KeyGradient::Flows
        ));
    }
}
