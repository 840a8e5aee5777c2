//! Norms while thresholds are 0, measured on top of what the drift of the objective predicts.

use super::super::axis::Axis;
use super::super::chart::{Chart, Curve, Entry, FIGURE_WIDTH, Figure, Panel, Plot, Swatch};
use super::super::palette::{Marker, Style};
use super::super::series::Runs;
use super::in_words;
use crate::judge::measures::ClaimResult;
use crate::judge::measures::drift::{DriftGrowth, Trajectory};
use cl_model::linear_stage::PredictedNorms;

/// Panels side by side.
const COLUMNS: u32 = 3;

/// One of the norms.
type Side = fn(&PredictedNorms) -> f64;

/// Per point: both norms over their first values. Empty if the experiment does not measure the drift.
pub fn figure(result: &ClaimResult, runs: &[Runs]) -> Option<Figure> {
    result.measure::<DriftGrowth>()?;
    let sides: [(&str, Style, Side); 2] = [
        ("in span(M)", Style::nth(0), |n| n.in_span),
        ("in the complement", Style { marker: Marker::Square, ..Style::nth(1) }, |n| n.complement),
    ];
    let panels = runs.iter().map(|runs| panel(runs, &sides));
    Some(Figure {
        name: format!("{}-drift", result.experiment.claim),
        caption: "Norms of the weights over those at the start: measured (dots, one per seed and snapshot) on top of the trajectory that \
                  starts at the weights of the first seed and follows the predicted drift. Nothing is fitted."
            .into(),
        width: FIGURE_WIDTH,
        panels: panels.collect(),
        legend: sides.map(|(name, style, _)| Entry::new(name, style, Swatch::Line)).into(),
    })
}

fn panel(runs: &Runs, sides: &[(&str, Style, Side)]) -> Panel {
    let all: Vec<Trajectory> =
        runs.seeds.iter().map(|(seed, _, snapshots)| Trajectory::new(&runs.spec, *seed, snapshots)).collect();
    let over_first = |steps: &[u64], norms: &[PredictedNorms], side: Side| -> Vec<(f64, f64)> {
        let first = norms.first().map_or(1.0, side);
        steps.iter().zip(norms).map(|(step, n)| (*step as f64, side(n) / first)).collect()
    };
    let curves: Vec<Curve> = sides
        .iter()
        .map(|(_, style, side)| {
            let line = all.first().map(|t| over_first(&t.steps, &t.predicted, *side)).unwrap_or_default();
            let dots = all.iter().flat_map(|t| over_first(&t.steps, &t.measured, *side)).collect();
            Curve { dots, ..Curve::line(*style, line) }
        })
        .collect();
    let y = Axis::log("", curves.iter().flat_map(Curve::heights));
    Panel {
        title: in_words(&runs.point),
        size: (FIGURE_WIDTH / COLUMNS, 220),
        chart: Chart::Plot(Plot {
            x: Axis::linear("step", 0.0, runs.last_step()),
            y,
            boxes: Vec::new(),
            curves,
            rules: Vec::new(),
        }),
    }
}
