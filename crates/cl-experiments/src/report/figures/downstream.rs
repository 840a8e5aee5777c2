//! Probes compared with the oracle, the input and the untrained encoder.

use super::super::axis::Axis;
use super::super::chart::{Chart, FIGURE_WIDTH, Figure, Mark, PANEL, Panel, Row, Rows, Rule, height_of_rows};
use super::super::number::decimal;
use super::super::palette::{MUTED, Style};
use super::super::series::{Runs, mean};
use super::in_words;
use crate::io::error::UserError;
use crate::judge::measures::ClaimResult;
use crate::judge::{FAMILY_LEVEL, Interval};
use crate::tasks::sparse_coding::evaluation::{Baselines, Evaluation, ProbeScore};

/// One of the baselines.
type OfBaselines = fn(&Baselines) -> ProbeScore;

/// `R²` and accuracy per representation.
pub fn figure(result: &ClaimResult, runs: &[Runs]) -> Result<Option<Figure>, UserError> {
    let mut representations: Vec<(String, Style, Vec<ProbeScore>)> = Vec::new();
    let mut baselines: Vec<Baselines> = Vec::new();
    for runs in runs {
        let evaluations: Vec<Evaluation> =
            runs.seeds.iter().map(|(_, folder, _)| folder.evaluation()).collect::<Result<_, _>>()?;
        representations.push((
            format!("trained: {}", in_words(&runs.point)),
            runs.style,
            evaluations.iter().map(|e| e.probe).collect(),
        ));
        if baselines.is_empty() {
            baselines = evaluations.into_iter().filter_map(|e| e.baselines).collect();
        }
    }
    let others: [(&str, OfBaselines); 3] = [
        ("oracle: soft-thresholded Mᵀx", |b| b.oracle),
        ("input x itself", |b| b.input),
        ("untrained encoder", |b| b.untrained),
    ];
    if !baselines.is_empty() {
        representations.extend(
            others.map(|(name, of)| (name.to_string(), Style::plain(MUTED), baselines.iter().map(of).collect())),
        );
    }
    if representations.is_empty() {
        return Ok(None);
    }
    let oracle = |value: fn(&ProbeScore) -> Option<f64>| {
        let of_seeds: Vec<f64> = baselines.iter().filter_map(|b| value(&b.oracle)).collect();
        (!of_seeds.is_empty()).then(|| mean(&of_seeds))
    };
    Ok(Some(Figure {
        name: format!("{}-probes", result.experiment.claim),
        caption: format!(
            "A linear head on frozen representations. Bars are means over seeds, dots single seeds, whiskers Student \
             intervals at {:.0} %; the broken line is the oracle.",
            100.0 * (1.0 - FAMILY_LEVEL)
        ),
        width: FIGURE_WIDTH,
        panels: vec![
            panel("R² of y = ⟨w*, z⟩", &representations, |s| s.r_squared, oracle(|s| s.r_squared), false),
            panel("Accuracy of sign⟨w*, z⟩ over z ≠ 0", &representations, |s| s.accuracy, oracle(|s| s.accuracy), true),
        ],
        legend: Vec::new(),
    }))
}

fn panel(
    title: &str,
    representations: &[(String, Style, Vec<ProbeScore>)],
    value: fn(&ProbeScore) -> Option<f64>,
    oracle: Option<f64>,
    is_accuracy: bool,
) -> Panel {
    let row = |(name, style, scores): &(String, Style, Vec<ProbeScore>)| {
        bar_row(name, *style, scores.iter().filter_map(value).collect())
    };
    let rows: Vec<Row> = representations.iter().map(row).collect();
    let lowest = rows.iter().flat_map(|r| r.marks[0].dots.clone()).fold(0.0, f64::min);
    let x = Axis::linear(if is_accuracy { "fraction right; 0.5 is chance" } else { "R²" }, lowest, 1.0);
    let mut rules: Vec<Rule> =
        oracle.map(|at| Rule { at, is_vertical: true, label: String::new() }).into_iter().collect();
    if is_accuracy {
        rules.push(Rule { at: 0.5, is_vertical: true, label: String::new() });
    }
    Panel { title: title.into(), size: (PANEL.0, height_of_rows(&rows)), chart: Chart::Rows(Rows { x, rows, rules }) }
}

/// A row with a bar to the mean, an interval and a dot per seed.
pub fn bar_row(label: &str, style: Style, dots: Vec<f64>) -> Row {
    let interval = Interval::student(&dots, 1.0 - FAMILY_LEVEL);
    let mark = Mark {
        style,
        bar: Some(interval.mean),
        interval: (dots.len() > 1).then_some((interval.low, interval.high)),
        dots,
        tick: None,
    };
    Row { label: label.into(), note: decimal(interval.mean, 3), marks: vec![mark] }
}
