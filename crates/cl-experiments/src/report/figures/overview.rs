//! The paper's main point in one figure: with complementary masks every feature gets a neuron, without a mask none.

use super::super::axis::Axis;
use super::super::chart::{Chart, Curve, Figure, Panel};
use super::super::series::Runs;
use super::neurons::alignment;
use super::training::over_steps;
use crate::io::error::UserError;
use crate::judge::measures::ClaimResult;

/// Heat maps of both arms, and coverage over steps.
pub fn figure(results: &[ClaimResult]) -> Result<Option<Figure>, UserError> {
    let arm = |claim: &str, point: &str| -> Result<Option<Runs>, UserError> {
        match results.iter().find(|r| r.experiment.claim == claim) {
            Some(result) => Ok(Runs::of_points(result, &[point])?.into_iter().next()),
            None => Ok(None),
        }
    };
    let (Some(masked), Some(none)) = (arm("c3", "masked")?, arm("c4", "none")?) else { return Ok(None) };
    let height = 500;
    let heat = |title: &str, runs: &Runs, scale: Option<&str>| -> Result<Panel, UserError> {
        let width = if scale.is_some() { 372 } else { 300 };
        Ok(Panel { title: title.into(), size: (width, height), chart: Chart::Heat(alignment(runs, false, scale)?) })
    };
    let curves: Vec<Curve> = [&masked, &none]
        .map(|r| Curve { width: 3, label: super::in_words(&r.point), ..r.curve(|s| s.coverage_mean) })
        .into();
    let coverage = over_steps(
        "Best |cos| per feature, mean over features",
        &[masked.clone(), none.clone()],
        Axis::linear("", 0.0, 1.0),
        curves,
    );
    let coverage = Panel { size: (460, height), ..coverage };
    Ok(Some(Figure {
        name: "main".into(),
        caption: "What neurons learn from the same data with the same network: |cos(wᵢ, Mⱼ)| of neurons and features \
                  after training on views under complementary masks, then without a mask; each feature's best neuron \
                  comes first. Last, how well features are covered over training, mean and range over seeds."
            .into(),
        width: 1140,
        panels: vec![
            heat("Complementary masks", &masked, None)?,
            heat("No mask", &none, Some("|cos(wᵢ, Mⱼ)|"))?,
            coverage,
        ],
        legend: Vec::new(),
    }))
}
