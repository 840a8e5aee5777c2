//! Measured norms on top of predicted ones.

use super::super::axis::Axis;
use super::super::chart::{Chart, Curve, Entry, FIGURE_WIDTH, Figure, PANEL, Panel, Plot, Rule, Swatch};
use super::super::palette::{Dash, Marker, Style};
use super::super::series::Runs;
use super::in_words;
use crate::judge::measures::ClaimResult;
use crate::judge::measures::linear_stage::{Comparison, LinearStageGrowth};
use cl_model::linear_stage::PredictedNorms;

/// The bound if the experiment does not measure the linear stage.
const SIMILARITY_BOUND: f64 = 0.1;

/// One of the norms.
type Side = fn(&PredictedNorms) -> f64;

/// Maximum number of dots per seed.
const MAX_DOTS: usize = 30;

/// Per point: the norms over steps, and how far the measured ones are from the prediction.
pub fn figure(result: &ClaimResult, runs: &[Runs]) -> Option<Figure> {
    let bound = result.measure::<LinearStageGrowth>().map_or(SIMILARITY_BOUND, |m| m.similarity_bound);
    let (span, complement) = (Style::nth(0), Style { marker: Marker::Square, ..Style::nth(1) });
    let mut panels = Vec::new();
    for runs in runs {
        let all: Vec<Comparison> = runs
            .seeds
            .iter()
            .map(|(seed, _, snapshots)| Comparison::new(&runs.spec, *seed, snapshots, bound))
            .collect();
        let Some(first) = all.first().filter(|c| c.steps.len() > 1) else { continue };
        panels.push(norms(runs, first, &all, (span, complement)));
        panels.push(errors(runs, &all, (span, complement)));
    }
    if panels.is_empty() {
        return None;
    }
    let solid = |style: Style| Style { dash: Dash::Solid, ..style };
    Some(Figure {
        name: format!("{}-growth", result.experiment.claim),
        caption: format!(
            "Norms: measured (dots, one per seed and some snapshots) on top of what is predicted for the first seed; solid \
             with gradient noise, broken for the mean weights alone. Nothing is fitted. Beside them, measured over \
             predicted with noise, minus one, each seed against its own prediction. The upright line marks where \
             max |Sim|/τ passes {bound} in the first seed; one snapshot beyond is shown."
        ),
        width: FIGURE_WIDTH,
        panels,
        legend: vec![
            Entry::new("in span(M)", solid(span), Swatch::Line),
            Entry::new("in the complement", solid(complement), Swatch::Line),
            Entry::new("in span(M), mean weights alone", Style { dash: Dash::Long, ..span }, Swatch::Line),
            Entry::new("in the complement, mean weights alone", Style { dash: Dash::Long, ..complement }, Swatch::Line),
        ],
    })
}

fn points(c: &Comparison, of: &[PredictedNorms], value: Side) -> Vec<(f64, f64)> {
    c.steps.iter().zip(of).map(|(step, norms)| (*step as f64, value(norms))).collect()
}

/// At most [`MAX_DOTS`], evenly spaced.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let every = points.len().div_ceil(MAX_DOTS).max(1);
    points.into_iter().step_by(every).collect()
}

/// Where the bound is crossed: between the last snapshot within and the first beyond.
fn rule(c: &Comparison) -> Vec<Rule> {
    let at = |k: usize| c.steps.get(k).map(|s| *s as f64);
    let passed = c.within_bound.checked_sub(1).and_then(at).zip(at(c.within_bound));
    passed.map(|(a, b)| Rule { at: (a + b) / 2.0, is_vertical: true, label: "bound".into() }).into_iter().collect()
}

fn norms(runs: &Runs, first: &Comparison, all: &[Comparison], (span, complement): (Style, Style)) -> Panel {
    let sides: [(Style, Side); 2] = [(span, |n| n.in_span), (complement, |n| n.complement)];
    let curves: Vec<Curve> = sides
        .into_iter()
        .flat_map(|(style, value)| {
            let line = |dash, of: &[PredictedNorms]| Curve::line(Style { dash, ..style }, points(first, of, value));
            let dots = all.iter().flat_map(|c| thinned(points(c, &c.measured, value))).collect();
            [line(Dash::Long, &first.mean), Curve { dots, ..line(Dash::Solid, &first.with_noise) }]
        })
        .collect();
    let last = all.iter().filter_map(|c| c.steps.last()).max().copied().unwrap_or(1);
    let y = Axis::log("Frobenius norm", curves.iter().flat_map(Curve::heights));
    Panel {
        title: format!("Norms of the weights: {}", in_words(&runs.point)),
        size: PANEL,
        chart: Chart::Plot(Plot {
            x: Axis::linear("step", 0.0, last as f64),
            y,
            boxes: Vec::new(),
            curves,
            rules: rule(first),
        }),
    }
}

fn errors(runs: &Runs, all: &[Comparison], (span, complement): (Style, Style)) -> Panel {
    let sides: [(Style, Side); 2] = [(span, |n| n.in_span), (complement, |n| n.complement)];
    let curves: Vec<Curve> = sides
        .into_iter()
        .flat_map(|(style, value)| {
            all.iter().map(move |c| {
                let error = |((step, m), p): ((&u64, &PredictedNorms), &PredictedNorms)| {
                    (*step as f64, 100.0 * (value(m) / value(p) - 1.0))
                };
                let line: Vec<_> = c.steps.iter().zip(&c.measured).zip(&c.with_noise).map(error).collect();
                let style = Style { dash: Dash::Solid, ..style };
                Curve { dots: thinned(line.clone()), width: 1, ..Curve::line(style, line) }
            })
        })
        .collect();
    let last = all.iter().filter_map(|c| c.steps.last()).max().copied().unwrap_or(1);
    // The 3 % that the claim allows are always visible.
    let y =
        Axis::around("percent", curves.iter().flat_map(Curve::heights).filter(|v| v.abs() < 40.0).chain([-4.0, 4.0]));
    let mut rules: Vec<Rule> = [3.0, -3.0]
        .map(|at| Rule { at, is_vertical: false, label: if at > 0.0 { "3 %".into() } else { "−3 %".into() } })
        .into();
    rules.extend(all.first().map(rule).into_iter().flatten().map(|r| Rule { label: String::new(), ..r }));
    Panel {
        title: format!("Measured / predicted − 1: {}", in_words(&runs.point)),
        size: PANEL,
        chart: Chart::Plot(Plot { x: Axis::linear("step", 0.0, last as f64), y, boxes: Vec::new(), curves, rules }),
    }
}
