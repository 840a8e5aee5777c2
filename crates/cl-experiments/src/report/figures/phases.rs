//! Phase diagrams, and how their cells got there.

use super::super::axis::Axis;
use super::super::chart::{Chart, Curve, Entry, FIGURE_WIDTH, Figure, Heat, PANEL, Panel, Plot, Swatch};
use super::super::number::significant;
use super::super::palette::Style;
use super::super::series::{Runs, mean};
use super::{BAND, values};
use crate::io::error::UserError;
use crate::judge::measures::ClaimResult;
use crate::spec::experiment::Grid;
use toml::Value;

/// Horizons at which a map over time is drawn.
const HORIZONS: usize = 4;

/// Maps of every grid at the end of training.
pub fn at_the_end(result: &ClaimResult) -> Vec<Figure> {
    drawn(result).map(|grid| ends(result, grid)).collect()
}

/// Maps of every grid at several horizons, and curves over steps.
///
/// # Errors
/// [`UserError`] when a complete run folder cannot be read.
pub fn over_steps(result: &ClaimResult) -> Result<Vec<Figure>, UserError> {
    let mut figures = Vec::new();
    for grid in drawn(result) {
        figures.push(horizons(result, grid));
        figures.extend(curves(result, grid)?);
    }
    Ok(figures)
}

/// The grids that have runs.
fn drawn(result: &ClaimResult) -> impl Iterator<Item = &Grid> {
    let has_runs = |grid: &&Grid| grid.points.iter().any(|p| !values(result, p, "coverage_mean").is_empty());
    result.experiment.grids.iter().filter(|grid| !grid.axes.is_empty()).filter(has_runs)
}

/// Coverage and probe at the end of training.
fn ends(result: &ClaimResult, grid: &Grid) -> Figure {
    let metrics = [("coverage_mean", "Coverage of the features"), ("probe_r_squared", "R² of the probe")];
    let panels = metrics.iter().flat_map(|(metric, title)| maps(result, grid, metric, title)).collect();
    figure(result, grid, panels, "at the end of training")
}

/// Coverage at a few horizons within the runs.
fn horizons(result: &ClaimResult, grid: &Grid) -> Figure {
    let steps = equally_spaced(&common_steps(result, grid), HORIZONS);
    let panels = steps
        .iter()
        .flat_map(|step| maps(result, grid, &format!("coverage_mean@{step}"), &format!("Coverage after {step} steps")))
        .collect();
    figure(result, grid, panels, "at several horizons")
}

fn figure(result: &ClaimResult, grid: &Grid, panels: Vec<Panel>, when: &str) -> Figure {
    let names: Vec<String> = grid.axes.iter().map(|(key, _)| axis_words(key)).collect();
    Figure {
        name: format!("{}-{}", result.experiment.claim, grid.name),
        caption: format!(
            "Phase diagram over {} {when}. Coverage is the mean over features of the largest |cos(wᵢ, Mⱼ)|; numbers are \
             means over seeds.",
            names.join(" and ")
        ),
        width: FIGURE_WIDTH,
        panels,
        legend: Vec::new(),
    }
}

/// A map over the last two axes for every combination of values of the axes before them.
fn maps(result: &ClaimResult, grid: &Grid, metric: &str, title: &str) -> Vec<Panel> {
    let (slices, plane) = grid.axes.split_at(grid.axes.len().saturating_sub(2));
    let (rows, columns) = match plane {
        [rows, columns] => (Some(rows), columns),
        [columns] => (None, columns),
        _ => return Vec::new(),
    };
    let count = |axis: &(String, Vec<Value>)| axis.1.len();
    let (height, width) = (rows.map_or(1, count), count(columns));
    let cells_of_slice = (height * width).max(1);
    let panel = |(slice, points): (usize, &[String])| {
        let cell = |point: &String| Some(values(result, point, metric)).filter(|v| !v.is_empty()).map(|v| mean(&v));
        let cells: Vec<Vec<Option<f64>>> =
            points.chunks(width.max(1)).map(|row| row.iter().map(cell).collect()).collect();
        let labels = |axis: &(String, Vec<Value>)| axis.1.iter().map(value_words).collect::<Vec<_>>();
        let y = rows.map_or_else(|| Axis::names("", &[""]), |axis| Axis::names(&axis_words(&axis.0), &labels(axis)));
        // Many columns leave no room for numbers.
        let has_numbers = width <= 7;
        let mut titled = title.to_string();
        let mut rest = slice;
        for (key, of_axis) in slices.iter().rev() {
            titled.push_str(&format!(", {} {}", axis_words(key), value_words(&of_axis[rest % of_axis.len()])));
            rest /= of_axis.len();
        }
        Panel {
            title: titled,
            size: (PANEL.0, 130 + 48 * (height as u32).clamp(3, 9)),
            chart: Chart::Heat(Heat {
                x: Axis::names(&axis_words(&columns.0), &labels(columns)),
                y: y.counted_from_top(),
                cells,
                ends: (0.0, 1.0),
                has_numbers,
                scale: Some(String::new()),
            }),
        }
    };
    grid.points.chunks(cells_of_slice).enumerate().map(panel).collect()
}

/// Coverage over steps: one panel per value of the last axis, one line per value of the axis before.
fn curves(result: &ClaimResult, grid: &Grid) -> Result<Option<Figure>, UserError> {
    let [.., (row_key, row_values), (column_key, column_values)] = &grid.axes[..] else { return Ok(None) };
    if grid.axes.len() > 2 {
        return Ok(None);
    }
    let style = |row: usize| Style::ordered(row, row_values.len());
    let mut panels = Vec::new();
    for (column, value) in column_values.iter().enumerate() {
        let mut drawn = Vec::new();
        let mut last = 1.0f64;
        for row in 0..row_values.len() {
            let Some(name) = grid.points.get(row * column_values.len() + column) else { continue };
            for runs in Runs::of_points(result, &[name.as_str()])? {
                last = last.max(runs.last_step());
                drawn.push(Curve { style: style(row), ..runs.curve(|s| s.coverage_mean) });
            }
        }
        if !drawn.is_empty() {
            panels.push(Panel {
                title: format!("Coverage, {} = {}", axis_words(column_key), value_words(value)),
                size: PANEL,
                chart: Chart::Plot(Plot {
                    x: Axis::linear("step", 0.0, last),
                    y: Axis::linear("", 0.0, 1.0),
                    boxes: Vec::new(),
                    curves: drawn,
                    rules: Vec::new(),
                }),
            });
        }
    }
    let name = axis_words(row_key);
    let entry = |(row, value): (usize, &Value)| {
        Entry::new(&format!("{name} = {}", value_words(value)), style(row), Swatch::Line)
    };
    Ok(Some(Figure {
        name: format!("{}-{}-over-steps", result.experiment.claim, grid.name),
        caption: format!("Coverage of the features over steps in every cell of the map. {BAND}"),
        width: FIGURE_WIDTH,
        panels,
        legend: row_values.iter().enumerate().map(entry).collect(),
    }))
}

/// Steps after the start with a snapshot in every run of the grid.
fn common_steps(result: &ClaimResult, grid: &Grid) -> Vec<u64> {
    let mut common: Option<Vec<u64>> = None;
    for metrics in grid.points.iter().filter_map(|p| result.metrics.get(p)).flat_map(|seeds| seeds.values()) {
        let steps = metrics.keys().filter_map(|k| k.strip_prefix("coverage_mean@")?.parse::<u64>().ok());
        let steps: Vec<u64> = steps.filter(|s| *s > 0).collect();
        match &mut common {
            Some(common) => common.retain(|s| steps.contains(s)),
            None => common = Some(steps),
        }
    }
    let mut common = common.unwrap_or_default();
    common.sort_unstable();
    common
}

/// At most `count` of the steps, evenly spaced, including the last one.
fn equally_spaced(steps: &[u64], count: usize) -> Vec<u64> {
    let mut chosen: Vec<u64> =
        (1..=count).filter_map(|k| steps.get((k * steps.len() / count).checked_sub(1)?)).copied().collect();
    chosen.dedup();
    chosen
}

/// The last part of a key, as words and with its symbol.
fn axis_words(key: &str) -> String {
    match key.rsplit('.').next().unwrap_or(key) {
        "noise_std" => "noise std σ".into(),
        "keep_probability" => "keep probability p".into(),
        "masked_fraction" => "fraction masked s".into(),
        "growth" => "bias growth g".into(),
        "cap_ratio" => "bias cap C".into(),
        "initial_ratio" => "first bias c".into(),
        "weight_decay" => "weight decay λ".into(),
        "temperature" => "temperature τ".into(),
        last => last.replace('_', " "),
    }
}

fn value_words(value: &Value) -> String {
    match value {
        Value::Integer(v) => v.to_string(),
        Value::Float(v) => significant(*v, 3),
        Value::String(v) => v.replace('_', " "),
        Value::Table(table) => table.keys().cloned().collect::<Vec<_>>().join(", ").replace('_', " "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn horizons_are_equally_far_apart_and_end_at_the_end() {
        let steps: Vec<u64> = (1..=60).map(|k| 50 * k).collect();
        assert_eq!(equally_spaced(&steps, 4), [750, 1500, 2250, 3000]);
        assert_eq!(equally_spaced(&[10, 20], 4), [10, 20]);
        assert!(equally_spaced(&[], 4).is_empty());
    }

    #[test]
    fn axes_are_named_after_the_last_part_of_their_key() {
        assert_eq!(axis_words("training.weight_decay"), "weight decay λ");
        assert_eq!(axis_words("training.batch_size"), "batch size");
        assert_eq!(value_words(&Value::Float(0.001)), "0.001");
    }
}
