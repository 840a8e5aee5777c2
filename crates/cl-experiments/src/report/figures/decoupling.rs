//! Estimated cross-view moments compared with their closed forms.

use super::super::axis::Axis;
use super::super::chart::{
    Bin, Chart, Curve, Entry, FIGURE_WIDTH, Figure, Mark, PANEL, Panel, Plot, Row, Rows, Rule, Swatch, height_of_rows,
};
use super::super::number::significant;
use super::super::palette::{INK, Style};
use super::super::series::mean;
use super::{in_words, values};
use crate::io::error::UserError;
use crate::judge::measures::ClaimResult;
use crate::tasks::sparse_coding::moments::{DirectionMoment, MomentsReport};
use statrs::distribution::{Continuous, Normal};

/// Both families of directions, and all deviations together.
pub fn figure(result: &ClaimResult) -> Result<Option<Figure>, UserError> {
    let mut points: Vec<(String, Vec<MomentsReport>)> = Vec::new();
    for point in &result.experiment.points {
        let folders = point.seeds.iter().filter_map(|s| result.folders.get(&(point.name.clone(), *s)));
        let reports = folders.filter(|f| f.is_complete()).map(|f| f.moments()).collect::<Result<Vec<_>, _>>()?;
        if !reports.is_empty() {
            points.push((point.name.clone(), reports));
        }
    }
    if points.is_empty() {
        return Ok(None);
    }
    let along = moments("Cross-view moment uᵀCu along the features", &points, |r| &r.features);
    let complement = moments("Cross-view moment uᵀCu in the complement of span(M)", &points, |r| &r.complement);
    let mut panels = vec![along, complement, largest(result, &points)];
    let deviations: Vec<f64> = points
        .iter()
        .flat_map(|(_, reports)| reports)
        .flat_map(|r| r.directions().map(DirectionMoment::deviation))
        .collect();
    panels.push(all_deviations(&deviations));
    let style = Style::nth(0);
    Ok(Some(Figure {
        name: format!("{}-moments", result.experiment.claim),
        caption: format!(
            "Monte-Carlo estimates against the closed forms, nothing fitted. Moments: means over directions, a dot per \
             seed; the upright tick, and the number in brackets, is the closed form; whiskers reach over the middle 90 % \
             of the single directions. Deviations: the largest of each run, with the critical value of the simultaneous \
             test over all {} directions as a broken line; then all of them, with the density of a standard normal \
             variable.",
            deviations.len()
        ),
        width: FIGURE_WIDTH,
        panels,
        legend: vec![
            Entry::new("estimate, one seed", style, Swatch::Dot),
            Entry::new("single directions, 5–95 %", Style::plain(INK), Swatch::Whisker),
            Entry::new("closed form", Style::nth(1), Swatch::Tick),
        ],
    }))
}

fn moments(
    title: &str,
    points: &[(String, Vec<MomentsReport>)],
    of: fn(&MomentsReport) -> &Vec<DirectionMoment>,
) -> Panel {
    let row = |(name, reports): &(String, Vec<MomentsReport>)| {
        let directions = || reports.iter().flat_map(of);
        let dots: Vec<f64> =
            reports.iter().filter(|r| !of(r).is_empty()).map(|r| mean_of(of(r), |d| d.estimate)).collect();
        if dots.is_empty() {
            return None;
        }
        let predicted = mean(&directions().map(|d| d.predicted).collect::<Vec<_>>());
        let mut sorted: Vec<f64> = directions().map(|d| d.estimate).collect();
        sorted.sort_by(f64::total_cmp);
        let quantile = |fraction| super::super::series::quantile(&sorted, fraction);
        let note = format!("{} ({})", significant(mean(&dots), 3), significant(predicted, 3));
        let mark = Mark {
            style: Style::nth(0),
            bar: None,
            interval: Some((quantile(0.05), quantile(0.95))),
            dots,
            tick: Some((predicted, Style::nth(1))),
        };
        Some(Row { label: in_words(name), note, marks: vec![mark] })
    };
    let rows: Vec<Row> = points.iter().filter_map(row).collect();
    let ends = rows.iter().flat_map(|r| &r.marks).flat_map(|m| {
        let (low, high) = m.interval.unwrap_or((0.0, 0.0));
        [low, high, m.tick.map_or(0.0, |(at, _)| at)]
    });
    let x = Axis::around("uᵀCu", ends.chain([0.0]));
    let rules = vec![Rule { at: 0.0, is_vertical: true, label: String::new() }];
    Panel { title: title.into(), size: (PANEL.0, height_of_rows(&rows)), chart: Chart::Rows(Rows { x, rows, rules }) }
}

fn mean_of(directions: &[DirectionMoment], value: fn(&DirectionMoment) -> f64) -> f64 {
    mean(&directions.iter().map(value).collect::<Vec<_>>())
}

fn largest(result: &ClaimResult, points: &[(String, Vec<MomentsReport>)]) -> Panel {
    let row = |(name, _): &(String, Vec<MomentsReport>)| {
        let dots = values(result, name, "largest_deviation");
        let highest = dots.iter().copied().fold(0.0, f64::max);
        let mark = Mark { style: Style::nth(0), bar: None, interval: None, dots, tick: None };
        Row { label: in_words(name), note: format!("at most {}", significant(highest, 3)), marks: vec![mark] }
    };
    let rows: Vec<Row> = points.iter().map(row).collect();
    let critical = points.iter().find_map(|(name, _)| {
        let first = |metric| values(result, name, metric).first().copied().filter(|v| *v > 0.0);
        Some(first("largest_deviation")? / first("largest_deviation_over_critical")?)
    });
    let rules: Vec<Rule> =
        critical.map(|at| Rule { at, is_vertical: true, label: String::new() }).into_iter().collect();
    let ends = rows.iter().flat_map(|r| r.marks[0].dots.clone()).chain(critical);
    let x = Axis::from_zero("standard errors", ends.filter(|v| v.is_finite() && *v < 1e3));
    let title = match critical {
        Some(v) => format!("Largest deviation, critical value {}", significant(v, 3)),
        None => "Largest deviation".into(),
    };
    Panel { title, size: (PANEL.0, height_of_rows(&rows)), chart: Chart::Rows(Rows { x, rows, rules }) }
}

fn all_deviations(deviations: &[f64]) -> Panel {
    const BINS: usize = 40;
    const END: f64 = 5.0;
    let width = 2.0 * END / BINS as f64;
    let mut counts = [0usize; BINS];
    for v in deviations {
        counts[(((v + END) / width).max(0.0) as usize).min(BINS - 1)] += 1;
    }
    let density = |n: usize| n as f64 / (deviations.len() as f64 * width);
    let boxes: Vec<Bin> = (0..BINS)
        .map(|k| {
            let from = -END + k as f64 * width;
            Bin { from_to: (from, from + 0.92 * width), height: density(counts[k]), style: Style::nth(0) }
        })
        .collect();
    let normal = Normal::standard();
    let curve = (0..=100).map(|k| -END + 0.1 * f64::from(k)).map(|x| (x, normal.pdf(x))).collect();
    let highest = boxes.iter().map(|b| b.height).chain([0.4]);
    Panel {
        title: format!("All {} deviations and the standard normal density", deviations.len()),
        size: (PANEL.0, 360),
        chart: Chart::Plot(Plot {
            x: Axis::linear("deviation / standard error", -END, END),
            y: Axis::from_zero("density", highest),
            boxes,
            curves: vec![Curve::line(Style::plain(INK), curve)],
            rules: Vec::new(),
        }),
    }
}
