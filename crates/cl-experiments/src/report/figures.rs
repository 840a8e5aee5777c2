//! Which figures each claim gets.

use super::chart::{Bar, Bars, Heatmap, Heatmaps, Panel, Panels, Series};
use super::render::{Figure, draw};
use super::runs::{Run, TrainedPoint, trained_points};
use crate::claims::ClaimResult;
use crate::claims::linear_stage::Comparison;
use crate::claims::stages::Stages;
use crate::error::UserError;
use crate::experiment::Grid;
use crate::measure::Snapshot;
use crate::moments::DirectionMoment;
use crate::spec::{Objective, TrainingSpec};
use std::path::Path;

/// Draws the figures of a claim below `folder`.
///
/// # Errors
/// [`UserError`] when a run cannot be read or a figure not written.
pub fn of_claim(result: &ClaimResult, folder: &Path) -> Result<Vec<Figure>, UserError> {
    let claim = result.experiment.claim.as_str();
    let name = |what: &str| format!("{claim}-{what}");
    let points = trained_points(result)?;
    let mut figures = Vec::new();
    if let Some(chart) = moments(result)? {
        let caption = "Mean of the cross-view moment uᵀCu along the features and along directions in the complement: dots are seeds, bars the closed form.";
        figures.push(draw(&chart, folder, &name("moments"), caption)?);
    }
    if let Some(bound) = result.expected.parameters.get("similarity_bound") {
        let caption = "Norm of the weights inside span(M) and in its complement: dots measured (five seeds), solid predicted with gradient noise, dashed predicted for the mean.";
        figures.push(draw(&growth(&points, *bound), folder, &name("growth"), caption)?);
        return Ok(figures);
    }
    if result.expected.parameters.contains_key("stages") {
        for point in &points {
            let caption = "Share of each neuron's energy in span(M) (median, quartiles, 5 to 95 %), singletons and sparsity of one seed; vertical lines: decoupling, emergence, convergence.";
            figures.push(draw(&stages(point), folder, &name(&format!("stages-{}", point.name)), caption)?);
        }
    }
    if let Some(chart) = dimension(result) {
        let caption = "Gap between training with masks and without, over d: lines are means, dots seeds.";
        figures.push(draw(&chart, folder, &name("gaps"), caption)?);
    }
    for grid in &result.experiment.grids {
        if let Some(chart) = phase_diagrams(result, grid) {
            let caption = format!(
                "Coverage (mean over seeds) over {}.",
                grid.axes.iter().map(|(k, _)| short(k)).collect::<Vec<_>>().join(" and ")
            );
            figures.push(draw(&chart, folder, &name(&grid.name), &caption)?);
        }
    }
    if !result.experiment.grids.is_empty() && points.len() > 2 {
        let caption = "One departure from the set-up at a time: coverage, dots are seeds.";
        figures.push(draw(&attribution(&points), folder, &name("attribution"), caption)?);
    } else if !points.is_empty() && !["c5", "c7", "c8"].contains(&claim) {
        let caption = "The course of training: means over seeds, bands from the least to the largest seed. The vertical line is T1, when thresholds are set.";
        figures.push(draw(&courses(&points), folder, &name("courses"), caption)?);
        let caption = "|cos(w_i, M_j)| of one seed: each row a neuron, each column a feature; singletons first, in the order of their features.";
        figures.push(draw(&cosines(&points)?, folder, &name("cosines"), caption)?);
        let caption = "Number of features a neuron uses, |N_i|, as a share of all neurons and seeds.";
        figures.push(draw(&memberships(&points), folder, &name("memberships"), caption)?);
    }
    if points.iter().any(|p| p.runs.iter().any(|r| r.evaluation.baselines.is_some()))
        && result.experiment.grids.is_empty()
    {
        let caption = "R² and accuracy of linear heads on frozen features; dots are seeds.";
        figures.push(draw(&probes(&points, true), folder, &name("probe-regression"), caption)?);
        figures.push(draw(&probes(&points, false), folder, &name("probe-classification"), caption)?);
    }
    Ok(figures)
}

/// The picture of the main result: cosines with and without masks, and coverage over time.
pub fn main_result(results: &[ClaimResult], folder: &Path) -> Result<Option<Figure>, UserError> {
    let find = |claim: &str, name: &str| -> Result<Option<TrainedPoint>, UserError> {
        let Some(result) = results.iter().find(|r| r.experiment.claim == claim) else { return Ok(None) };
        Ok(trained_points(result)?.into_iter().find(|p| p.name == name))
    };
    let (Some(masked), Some(none)) = (find("c3", "masked")?, find("c4", "none")?) else { return Ok(None) };
    let mut maps = Vec::new();
    for (point, title) in [(&masked, "with complementary masks"), (&none, "without augmentation")] {
        maps.push(Heatmap { title: title.into(), ..cosine_map(&point.spec, &point.runs[0])? });
    }
    let mut panel = Panel { title: "coverage of the features".into(), x_label: "step".into(), ..Panel::default() };
    for (color, (point, label)) in
        [(&masked, "with complementary masks"), (&none, "without augmentation")].into_iter().enumerate()
    {
        panel.series.push(curve(point, label, color, |s| s.coverage_mean));
    }
    let chart = MainResult { maps, panel };
    let caption =
        "Cosines of neurons (rows) with sparse features (columns) after training, and coverage over time (five seeds).";
    draw(&chart, folder, "main", caption).map(Some)
}

struct MainResult {
    maps: Vec<Heatmap>,
    panel: Panel,
}

impl super::chart::Chart for MainResult {
    fn size(&self) -> (u32, u32) {
        (1380, 430)
    }

    fn draw<DB: plotters::prelude::DrawingBackend>(
        &self,
        area: &plotters::prelude::DrawingArea<DB, plotters::coord::Shift>,
    ) -> super::chart::Drawn<DB> {
        let cells = area.split_evenly((1, 3));
        for (cell, map) in cells.iter().zip(&self.maps) {
            map.draw(cell)?;
        }
        let (legend, body) = cells[2].split_vertically(36);
        let entries: Vec<_> = self.panel.series.iter().map(|s| (s.name.clone(), s.color, s.dashed)).collect();
        super::chart::draw_legend(&legend, &entries)?;
        self.panel.draw(&body)
    }
}

fn curve(point: &TrainedPoint, name: &str, color: usize, read: impl Fn(&Snapshot) -> f64) -> Series {
    let course = point.course(read);
    Series { name: name.into(), color, line: course.mean, band: course.range, ..Series::default() }
}

fn loss_scale(spec: &TrainingSpec) -> f64 {
    match spec.objective {
        Objective::Contrastive(_) => (spec.num_negatives() as f64).ln_1p(),
        Objective::Supervised(s) => (s.num_classes as f64).ln(),
    }
}

type Reading = (&'static str, fn(&Snapshot) -> f64);

fn courses(points: &[TrainedPoint]) -> Panels {
    let readings: [Reading; 8] = [
        ("energy in span(M)", |s| s.energy_in_span),
        ("coverage, mean over features", |s| s.coverage_mean),
        ("coverage, least feature", |s| s.coverage_min),
        ("share of singletons", |s| s.singleton_share),
        ("corr(f(x), f(Mz))", |s| s.correlation_sparse),
        ("corr(f(x), f(ξ))", |s| s.correlation_dense),
        ("active share of f(x)", |s| s.active_share),
        ("R² of a quick probe", |s| s.probe_r_squared.max(-0.2)),
    ];
    let mut loss = Panel {
        title: "held-out loss over its uniform value".into(),
        x_label: "step".into(),
        log_y: true,
        ..Panel::default()
    };
    for (color, point) in points.iter().enumerate() {
        let scale = loss_scale(&point.spec);
        loss.series.push(curve(point, &point.name, color, move |s| s.loss / scale));
    }
    if let Some(start) = points[0].spec.bias_start() {
        loss.marks.push((start as f64, "T1".into()));
    }
    let mut panels = vec![loss];
    for (title, read) in readings {
        let series = points.iter().enumerate().map(|(color, p)| curve(p, &p.name, color, read)).collect();
        panels.push(Panel { title: title.into(), x_label: "step".into(), series, ..Panel::default() });
    }
    Panels { columns: 3, panels }
}

fn cosines(points: &[TrainedPoint]) -> Result<Heatmaps, UserError> {
    let maps = points
        .iter()
        .map(|p| {
            Ok(Heatmap { title: format!("{}, seed {}", p.name, p.runs[0].seed), ..cosine_map(&p.spec, &p.runs[0])? })
        })
        .collect::<Result<Vec<_>, UserError>>()?;
    Ok(Heatmaps { columns: 3, maps })
}

/// `|cos(w_i, M_j)|` with neurons ordered by their best feature, the best neuron of each feature first.
fn cosine_map(spec: &TrainingSpec, run: &Run) -> Result<Heatmap, UserError> {
    let weights = run.folder.weights()?;
    let data = spec.data.model(run.seed);
    let rows: Vec<Vec<f64>> = weights
        .iter()
        .map(|w| {
            let norm = w.iter().map(|v| v * v).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
            let cosine = |f: &[f32]| (w.iter().zip(f).map(|(a, b)| a * f64::from(*b)).sum::<f64>() / norm).abs();
            data.dictionary().features().iter_rows().map(cosine).collect()
        })
        .collect();
    Ok(Heatmap {
        x_label: "feature M_j".into(),
        y_label: "neuron w_i".into(),
        rows: diagonal_order(&rows).into_iter().map(|i| rows[i].clone()).collect(),
        ..Heatmap::default()
    })
}

/// The best neuron of each feature in the order of features (each neuron once), then the rest by their best feature.
fn diagonal_order(rows: &[Vec<f64>]) -> Vec<usize> {
    let features = rows.first().map_or(0, Vec::len);
    let cosine = |neuron: usize, feature: usize| rows[neuron][feature];
    let mut left: Vec<usize> = (0..rows.len()).collect();
    let mut order = Vec::new();
    for j in 0..features {
        let best = left.iter().enumerate().max_by(|a, b| cosine(*a.1, j).total_cmp(&cosine(*b.1, j)));
        if let Some((place, _)) = best {
            order.push(left.remove(place));
        }
    }
    left.sort_by_key(|&i| (0..features).max_by(|a, b| cosine(i, *a).total_cmp(&cosine(i, *b))));
    order.extend(left);
    order
}

fn memberships(points: &[TrainedPoint]) -> Panels {
    let mut panel = Panel { title: "features per neuron".into(), x_label: "|N_i|".into(), ..Panel::default() };
    let mut use_panel =
        Panel { title: "neurons per feature".into(), x_label: "neurons that use a feature".into(), ..Panel::default() };
    for (color, point) in points.iter().enumerate() {
        let shares = |counts: Vec<usize>| {
            let most = counts.iter().copied().max().unwrap_or(0);
            let n = counts.len().max(1) as f64;
            (0..=most).map(|k| (k as f64, counts.iter().filter(|c| **c == k).count() as f64 / n)).collect::<Vec<_>>()
        };
        let features: Vec<usize> = point
            .runs
            .iter()
            .flat_map(|r| r.evaluation.features.membership_histogram.iter().enumerate().flat_map(|(k, n)| vec![k; *n]))
            .collect();
        let neurons: Vec<usize> =
            point.runs.iter().flat_map(|r| r.evaluation.features.neurons_per_feature.clone()).collect();
        for (panel, counts) in [(&mut panel, features), (&mut use_panel, neurons)] {
            let line = shares(counts);
            panel.series.push(Series {
                name: point.name.clone(),
                color,
                dots: line.clone(),
                line,
                ..Series::default()
            });
        }
    }
    Panels { columns: 2, panels: vec![panel, use_panel] }
}

fn probes(points: &[TrainedPoint], regression: bool) -> Bars {
    let pick = |score: &crate::measure::ProbeScore| if regression { score.r_squared } else { score.accuracy };
    let mut bars = Vec::new();
    for (color, point) in points.iter().enumerate() {
        let values = point.runs.iter().map(|r| pick(&r.evaluation.probe)).collect();
        bars.push(Bar { label: format!("f(x), {}", point.name), color, values, mean: None });
    }
    if let Some(point) = points.iter().find(|p| p.runs[0].evaluation.baselines.is_some()) {
        let baseline = |label: &str, read: fn(&crate::measure::Baselines) -> crate::measure::ProbeScore| Bar {
            label: label.into(),
            color: 6,
            values: point.runs.iter().filter_map(|r| r.evaluation.baselines.as_ref()).map(|b| pick(&read(b))).collect(),
            mean: None,
        };
        bars.push(baseline("oracle code", |b| b.oracle));
        bars.push(baseline("x itself", |b| b.input));
        bars.push(baseline("untrained encoder", |b| b.untrained));
    }
    let (title, x_label) = if regression {
        ("regression of ⟨w*, z⟩ on frozen features", "R² on held-out observations")
    } else {
        ("sign of ⟨w*, z⟩ on frozen features", "accuracy on held-out observations with z ≠ 0")
    };
    Bars { title: title.into(), x_label: x_label.into(), bars }
}

fn moments(result: &ClaimResult) -> Result<Option<Bars>, UserError> {
    let mut bars = Vec::new();
    for point in &result.experiment.points {
        let (mut features, mut complement, mut predicted) = (Vec::new(), Vec::new(), (0.0, 0.0));
        for &seed in &point.seeds {
            let Some(folder) = result.folders.get(&(point.name.clone(), seed)) else { continue };
            if !folder.is_complete() || !matches!(point.spec, crate::spec::RunSpec::Moments(_)) {
                continue;
            }
            let report = folder.moments()?;
            let mean = |of: &[DirectionMoment], read: fn(&DirectionMoment) -> f64| {
                of.iter().map(read).sum::<f64>() / of.len().max(1) as f64
            };
            features.push(mean(&report.features, |d| d.estimate));
            complement.push(mean(&report.complement, |d| d.estimate));
            predicted.0 += mean(&report.features, |d| d.predicted) / point.seeds.len() as f64;
            predicted.1 += mean(&report.complement, |d| d.predicted) / point.seeds.len() as f64;
        }
        if features.is_empty() {
            continue;
        }
        // The bar is the closed form; single values are drawn as dots on it.
        for (place, values, expected, color) in
            [("along M", features, predicted.0, 0), ("complement", complement, predicted.1, 1)]
        {
            bars.push((format!("{}, {place}", point.name), color, values, expected));
        }
    }
    if bars.is_empty() {
        return Ok(None);
    }
    let bars = bars
        .into_iter()
        .map(|(label, color, values, expected)| Bar { label, color, values, mean: Some(expected) })
        .collect();
    Ok(Some(Bars {
        title: "cross-view moments against their closed forms".into(),
        x_label: "uᵀ E[x⁺x⁺⁺ᵀ] u".into(),
        bars,
    }))
}

fn growth(points: &[TrainedPoint], bound: f64) -> Panels {
    let mut panels = Vec::new();
    for point in points {
        let mut panel = Panel { title: point.name.clone(), x_label: "step".into(), log_y: true, ..Panel::default() };
        for (color, inside) in [(0, true), (1, false)] {
            let part = if inside { "inside span(M)" } else { "complement" };
            let read = |n: &cl_model::linear_stage::PredictedNorms| if inside { n.in_span } else { n.complement };
            let mut dots = Vec::new();
            for (k, run) in point.runs.iter().enumerate() {
                let c = Comparison::new(&point.spec, run.seed, &run.snapshots, bound);
                let against = |curve: &[cl_model::linear_stage::PredictedNorms]| {
                    c.steps
                        .iter()
                        .zip(curve)
                        .take(c.within_bound)
                        .map(|(s, n)| (*s as f64, read(n)))
                        .collect::<Vec<_>>()
                };
                let measured = against(&c.measured);
                dots.extend(measured.iter().step_by(measured.len().div_ceil(14).max(1)));
                if k == 0 {
                    panel.series.push(Series {
                        name: format!("{part}, with noise"),
                        color,
                        line: against(&c.with_noise),
                        ..Series::default()
                    });
                    panel.series.push(Series {
                        name: format!("{part}, mean"),
                        color,
                        dashed: true,
                        line: against(&c.mean),
                        ..Series::default()
                    });
                }
            }
            panel.series.push(Series { color, dots, ..Series::default() });
        }
        panels.push(panel);
    }
    Panels { columns: 2, panels }
}

fn stages(point: &TrainedPoint) -> Panels {
    let run = &point.runs[0];
    let found = Stages::new(&run.snapshots);
    let marks = vec![
        (found.decoupling, "decoupling".to_string()),
        (found.emergence, "emergence".to_string()),
        (found.convergence, "convergence".to_string()),
    ];
    let quantile = |s: &Snapshot, share: f64| {
        let mut energies = s.neuron_energies.clone();
        energies.sort_by(f32::total_cmp);
        f64::from(energies[((energies.len() - 1) as f64 * share) as usize])
    };
    let band = |low: f64, high: f64, name: &str| Series {
        name: name.into(),
        color: 0,
        line: run.snapshots.iter().map(|s| (s.step as f64, quantile(s, 0.5))).collect(),
        band: run.snapshots.iter().map(|s| (s.step as f64, quantile(s, low), quantile(s, high))).collect(),
        ..Series::default()
    };
    let course = |title: &str, color: usize, read: fn(&Snapshot) -> f64| Panel {
        title: title.into(),
        x_label: "step".into(),
        series: vec![Series {
            color,
            line: run.snapshots.iter().map(|s| (s.step as f64, read(s))).collect(),
            ..Series::default()
        }],
        marks: marks.clone(),
        ..Panel::default()
    };
    let energies = Panel {
        title: "energy of single neurons in span(M)".into(),
        x_label: "step".into(),
        series: vec![band(0.05, 0.95, "median over neurons"), band(0.25, 0.75, "")],
        marks: marks.clone(),
        ..Panel::default()
    };
    let panels = vec![
        energies,
        course("energy in span(M)", 0, |s| s.energy_in_span),
        course("share of singletons", 2, |s| s.singleton_share),
        course("active share of f(x)", 1, |s| s.active_share),
    ];
    Panels { columns: 2, panels }
}

fn dimension(result: &ClaimResult) -> Option<Panels> {
    let mut panels = Vec::new();
    for (metric, title) in [
        ("probe_r_squared_over_oracle", "gap in probe R² over the oracle's"),
        ("coverage_corrected", "gap in coverage corrected for chance"),
    ] {
        let mut series = Series::default();
        for (name, masked) in &result.metrics {
            let Some(d) = name.strip_prefix("masked-d").and_then(|d| d.parse::<f64>().ok()) else { continue };
            let Some(none) = result.metrics.get(&name.replacen("masked", "none", 1)) else { continue };
            let gap = |seed: &u64| Some(masked.get(seed)?.get(metric)? - none.get(seed)?.get(metric)?);
            let gaps: Vec<f64> = masked.keys().filter_map(gap).collect();
            series.dots.extend(gaps.iter().map(|g| (d.log2(), *g)));
            series.line.push((d.log2(), gaps.iter().sum::<f64>() / gaps.len().max(1) as f64));
        }
        series.line.sort_by(|a, b| a.0.total_cmp(&b.0));
        if !series.line.is_empty() {
            panels.push(Panel {
                title: title.into(),
                x_label: "log₂ d".into(),
                series: vec![series],
                ..Panel::default()
            });
        }
    }
    (!panels.is_empty()).then_some(Panels { columns: 2, panels })
}

/// The last part of a key's path.
fn short(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

fn phase_diagrams(result: &ClaimResult, grid: &Grid) -> Option<Heatmaps> {
    let [(row_key, row_values), (column_key, column_values)] = &grid.axes[..] else { return None };
    let mean = |point: &str, metric: &str| {
        let values: Vec<f64> = result.metrics.get(point)?.values().filter_map(|m| m.get(metric).copied()).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let map = |metric: &str, title: &str| Heatmap {
        title: title.into(),
        x_label: short(column_key).into(),
        y_label: short(row_key).into(),
        x_ticks: column_values.iter().map(ToString::to_string).collect(),
        y_ticks: row_values.iter().map(ToString::to_string).collect(),
        rows: grid
            .points
            .chunks(column_values.len())
            .map(|row| row.iter().map(|p| mean(p, metric).unwrap_or(f64::NAN)).collect())
            .collect(),
    };
    let mut maps = vec![map("coverage_mean", "coverage at the end")];
    if grid.name.starts_with("decay") {
        let horizons = result.metrics.get(&grid.points[0])?.values().next()?;
        let mut steps: Vec<u64> =
            horizons.keys().filter_map(|k| k.strip_prefix("coverage_mean@")?.parse().ok()).collect();
        steps.sort_unstable();
        let last = *steps.last()?;
        for share in [6, 3] {
            let step = *steps.iter().min_by_key(|s| s.abs_diff(last / share))?;
            maps.insert(maps.len() - 1, map(&format!("coverage_mean@{step}"), &format!("coverage after {step} steps")));
        }
    }
    Some(Heatmaps { columns: 3, maps })
}

fn attribution(points: &[TrainedPoint]) -> Bars {
    let mut points: Vec<&TrainedPoint> = points.iter().collect();
    points.sort_by_key(|p| p.name != "paper");
    let bars = points
        .iter()
        .map(|p| Bar {
            label: p.name.clone(),
            color: usize::from(p.name != "paper"),
            values: p.runs.iter().map(|r| r.evaluation.features.coverage_mean).collect(),
            mean: None,
        })
        .collect();
    Bars {
        title: "coverage, one departure at a time".into(),
        x_label: "mean over features of max |cos(w_i, M_j)|".into(),
        bars,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neurons_of_single_features_form_a_diagonal() {
        let rows = vec![vec![0.1, 0.9], vec![0.2, 0.3], vec![0.8, 0.1]];
        assert_eq!(diagonal_order(&rows), [2, 0, 1]);
    }
}
