//! C9: one departure from the paper's set-up at a time.

use super::super::axis::Axis;
use super::super::chart::{Chart, FIGURE_WIDTH, Figure, PANEL, Panel, Row, Rows, Rule, height_of_rows};
use super::super::palette::Style;
use super::super::series::mean;
use super::downstream::bar_row;
use super::{in_words, values};
use crate::judge::FAMILY_LEVEL;
use crate::judge::measures::ClaimResult;

const REFERENCE: &str = "paper";
const METRICS: [(&str, &str); 2] =
    [("coverage_mean", "Coverage of the features, mean"), ("probe_r_squared", "R² of y = ⟨w*, z⟩")];

/// Coverage and probe per departure, best first.
pub fn figure(result: &ClaimResult) -> Option<Figure> {
    let in_grid = |name: &String| result.experiment.grids.iter().any(|g| g.points.contains(name));
    let names = result.experiment.points.iter().map(|p| &p.name).filter(|n| !in_grid(n));
    let mut points: Vec<(&String, f64)> = names
        .map(|name| (name, values(result, name, METRICS[0].0)))
        .filter(|(_, coverage)| !coverage.is_empty())
        .map(|(name, coverage)| (name, mean(&coverage)))
        .collect();
    if points.is_empty() {
        return None;
    }
    // The reference first, the others by decreasing coverage.
    points.sort_by(|a, b| (b.0 == REFERENCE).cmp(&(a.0 == REFERENCE)).then(b.1.total_cmp(&a.1)));
    let panel = |(metric, title): (&str, &str)| {
        let style = |name: &str| if name == REFERENCE { Style::nth(0) } else { Style::nth(4) };
        let row = |(name, _): &(&String, f64)| bar_row(&in_words(name), style(name), values(result, name, metric));
        let rows: Vec<Row> = points.iter().map(row).collect();
        let lowest = rows.iter().flat_map(|r| r.marks[0].dots.clone()).fold(0.0, f64::min).max(-1.0);
        let at = values(result, REFERENCE, metric);
        let rules =
            if at.is_empty() { vec![] } else { vec![Rule { at: mean(&at), is_vertical: true, label: String::new() }] };
        let x = Axis::linear(if metric == METRICS[0].0 { "coverage" } else { "R²" }, lowest, 1.0);
        Panel {
            title: title.into(),
            size: (PANEL.0, height_of_rows(&rows)),
            chart: Chart::Rows(Rows { x, rows, rules }),
        }
    };
    Some(Figure {
        name: format!("{}-attribution", result.experiment.claim),
        caption: format!(
            "One departure from the paper's set-up at a time. Bars are means over seeds, dots single seeds, whiskers \
             Student intervals at {:.0} %; the broken line is the paper's set-up.",
            100.0 * (1.0 - FAMILY_LEVEL)
        ),
        width: FIGURE_WIDTH,
        panels: METRICS.map(panel).into(),
        legend: Vec::new(),
    })
}
