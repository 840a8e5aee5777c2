//! Objectives against augmentations: what neurons have learned, one cell each.

use super::super::axis::Axis;
use super::super::chart::{Chart, FIGURE_WIDTH, Figure, Heat, Panel};
use super::super::series::{Runs, mean};
use super::neurons::alignment;
use super::{in_words, values};
use crate::io::error::UserError;
use crate::judge::measures::ClaimResult;

/// Cells side by side.
const COLUMNS: u32 = 3;

/// Coverage of every objective under every augmentation as a table, and a heat map of cosines for each. Points are named
/// `<objective>-<augmentation>`; others have a heat map alone.
pub fn figures(result: &ClaimResult, runs: &[Runs]) -> Result<Vec<Figure>, UserError> {
    let coverage = |point: &str| {
        let of_seeds = values(result, point, "coverage_mean");
        (!of_seeds.is_empty()).then(|| mean(&of_seeds))
    };
    let mut cells = Vec::new();
    for runs in runs {
        let (row, column) = split(&runs.point).unwrap_or((&runs.point, ""));
        let of_all = coverage(&runs.point).map_or(String::new(), |c| format!(": {c:.2}"));
        let mut heat = alignment(runs, true, None)?;
        heat.x.label = if column.is_empty() { "neurons".into() } else { format!("neurons, {}", in_words(column)) };
        cells.push(Panel {
            title: format!("{}{of_all}", in_words(row)),
            size: (FIGURE_WIDTH / COLUMNS, 180),
            chart: Chart::Heat(heat),
        });
    }
    let figure = |name: &str, caption: &str, panels: Vec<Panel>| Figure {
        name: format!("{}-{name}", result.experiment.claim),
        caption: caption.into(),
        width: FIGURE_WIDTH,
        panels,
        legend: Vec::new(),
    };
    let table = table(runs, &coverage).into_iter().collect();
    Ok(vec![
        figure("coverage", "Coverage of the features by objective and augmentation.", table),
        figure(
            "cosines",
            "|cos(wᵢ, Mⱼ)| of every neuron with every feature, first seed of each, with the coverage over all seeds: each feature's best \
             neuron comes first, so that learned features form a diagonal.",
            cells,
        ),
    ])
}

fn split(point: &str) -> Option<(&str, &str)> {
    point.rsplit_once('-')
}

fn table(runs: &[Runs], coverage: &dyn Fn(&str) -> Option<f64>) -> Option<Panel> {
    let (mut rows, mut columns) = (Vec::new(), Vec::new());
    for (row, column) in runs.iter().filter_map(|r| split(&r.point)) {
        push_new(&mut rows, row);
        push_new(&mut columns, column);
    }
    let in_words = |names: &[&str]| names.iter().map(|name| in_words(name)).collect::<Vec<_>>();
    let cell = |row: &str, column: &str| coverage(&format!("{row}-{column}"));
    let heat = Heat {
        x: Axis::names("", &in_words(&columns)),
        y: Axis::names("", &in_words(&rows)).counted_from_top(),
        cells: rows.iter().map(|row| columns.iter().map(|column| cell(row, column)).collect()).collect(),
        ends: (0.0, 1.0),
        has_numbers: true,
        scale: Some("coverage".into()),
    };
    (!rows.is_empty()).then(|| Panel {
        title: "Best |cos| per feature, mean over features and seeds".into(),
        size: (FIGURE_WIDTH, 70 + 30 * rows.len() as u32),
        chart: Chart::Heat(heat),
    })
}

fn push_new<'a>(names: &mut Vec<&'a str>, name: &'a str) {
    if !names.contains(&name) {
        names.push(name);
    }
}
