//! What a linear prediction head takes from other outputs, over steps, and the neurons that it leaves to groups of features.

use super::super::axis::Axis;
use super::super::chart::{Chart, Curve, FIGURE_WIDTH, Figure, Mark, Panel, Row, Rows, height_of_rows};
use super::super::series::{Runs, mean};
use super::training::over_steps;
use super::{BAND, in_words, legend_of, values};
use crate::io::undefined::or_nan;
use crate::judge::measures::ClaimResult;
use crate::judge::measures::feature_groups::FeatureGroups;

/// The norm of the head's off-diagonal entries and, if the experiment groups features, neurons per group.
pub fn figure(result: &ClaimResult, runs: &[Runs]) -> Option<Figure> {
    let has_head = |runs: &&Runs| {
        runs.seeds.iter().flat_map(|(_, _, snapshots)| snapshots).any(|s| s.predictor_off_diagonal.is_some())
    };
    let with_head: Vec<Runs> = runs.iter().filter(has_head).cloned().collect();
    let curves: Vec<Curve> = with_head.iter().map(|r| r.curve(|s| or_nan(s.predictor_off_diagonal))).collect();
    if curves.is_empty() {
        return None;
    }
    let y = Axis::from_zero("", curves.iter().flat_map(Curve::heights));
    let mut panels = vec![over_steps("Norm of the head's off-diagonal entries", &with_head, y, curves)];
    let groups = result.measure::<FeatureGroups>().map_or(0, |measure| measure.groups);
    panels.extend((1..=groups).map(|group| neurons(result, runs, group)));
    Some(Figure {
        name: format!("{}-predictor", result.experiment.claim),
        caption: format!(
            "What a prediction head takes from other outputs. {BAND} Beside it the neurons that use a feature of a group: bars are means over seeds, dots single seeds."
        ),
        width: FIGURE_WIDTH,
        panels,
        legend: legend_of(runs),
    })
}

fn neurons(result: &ClaimResult, runs: &[Runs], group: usize) -> Panel {
    let rows: Vec<Row> = runs
        .iter()
        .map(|runs| {
            let counts = values(result, &runs.point, &format!("neurons_group_{group}"));
            let bar = mean(&counts);
            let mark = Mark { style: runs.style, bar: Some(bar), interval: None, dots: counts, tick: None };
            Row { label: in_words(&runs.point), note: super::super::number::decimal(bar, 1), marks: vec![mark] }
        })
        .collect();
    let largest = rows.iter().flat_map(|row| row.marks.iter().flat_map(|mark| mark.dots.iter().copied()));
    let x = Axis::from_zero("neurons", largest);
    let size = (FIGURE_WIDTH / 2, height_of_rows(&rows));
    Panel {
        title: format!("Neurons that use a feature of group {group}"),
        size,
        chart: Chart::Rows(Rows { x, rows, rules: Vec::new() }),
    }
}
