//! Neurons over time, and when the stages of training happen.

use super::super::axis::Axis;
use super::super::chart::{
    Chart, Curve, Entry, FIGURE_WIDTH, Figure, Mark, PANEL, Panel, Plot, Row, Rows, Rule, Swatch, height_of_rows,
};
use super::super::number::significant;
use super::super::palette::{Dash, INK, MUTED, Style};
use super::super::series::{Runs, quantile};
use super::in_words;
use super::training::over_steps;
use crate::judge::measures::stages::Stages;
use crate::tasks::sparse_coding::snapshot::Snapshot;

/// Fractions of neurons below the edges of a ribbon, and its opacity.
const RIBBONS: [(f64, f64, f64); 2] = [(0.05, 0.95, 0.16), (0.25, 0.75, 0.3)];

/// Number of neurons that have their own lines.
const SINGLE_NEURONS: usize = 6;

const STAGES: [&str; 3] = ["decoupling", "emergence of singletons", "convergence"];

/// One figure per point.
pub fn figures(claim: &str, runs: &[Runs]) -> Vec<Figure> {
    runs.iter().filter_map(|runs| figure(claim, runs)).collect()
}

fn figure(claim: &str, runs: &Runs) -> Option<Figure> {
    let (seed, _, snapshots) = runs.seeds.first()?;
    let stages = Stages::new(snapshots);
    let rules = rules(&stages);
    let one = std::slice::from_ref(runs);
    let measure = |title: &str, value: fn(&Snapshot) -> f64| {
        let curve = Curve { has_markers: false, ..runs.curve(value) };
        with_rules(over_steps(title, one, Axis::linear("", 0.0, 1.0), vec![curve]), &rules)
    };
    let panels = vec![
        with_rules(ribbons(&format!("Energy in span(M) of single neurons, seed {seed}"), runs, snapshots), &rules),
        measure("Energy in span(M), all seeds", |s| s.energy_in_span),
        measure("Fraction of neurons that are singletons, all seeds", |s| s.singleton_fraction),
        measure("Fraction of active outputs, all seeds", |s| s.active_fraction),
        order(runs),
    ];
    let neuron = Style::nth(0);
    let legend = vec![
        Entry::new("90 % of the neurons", neuron, Swatch::Area(0.25)),
        Entry::new("half of the neurons", neuron, Swatch::Area(0.55)),
        Entry::new("median neuron; mean over seeds", Style { dash: Dash::Solid, ..neuron }, Swatch::Line),
        Entry::new("single neurons", Style::plain(MUTED), Swatch::Line),
    ];
    Some(Figure {
        name: format!("{claim}-stages-{}", runs.point),
        caption: format!(
            "Stages of training with {}, found from the curves alone. Ribbons show how the neurons of one seed spread; \
             bands reach from the smallest to the largest seed. Upright lines: decoupling (D), emergence of singletons (E) and convergence (C) of seed {seed}. Last: the stages of \
             every seed.",
            in_words(&runs.point)
        ),
        width: FIGURE_WIDTH,
        panels,
        legend,
    })
}

fn steps(stages: &Stages) -> [f64; 3] {
    [stages.decoupling, stages.emergence, stages.convergence]
}

fn rules(stages: &Stages) -> Vec<Rule> {
    let rule = |(at, name): (f64, &str)| Rule { at, is_vertical: true, label: name[..1].to_uppercase() };
    steps(stages).into_iter().zip(STAGES).filter(|(at, _)| at.is_finite()).map(rule).collect()
}

fn with_rules(mut panel: Panel, rules: &[Rule]) -> Panel {
    if let Chart::Plot(plot) = &mut panel.chart {
        plot.rules = rules.to_vec();
    }
    panel
}

fn ribbons(title: &str, runs: &Runs, snapshots: &[Snapshot]) -> Panel {
    let sorted: Vec<(f64, Vec<f64>)> = snapshots
        .iter()
        .map(|s| {
            let mut energies: Vec<f64> = s.neuron_energies.iter().map(|e| f64::from(*e)).collect();
            energies.sort_by(f64::total_cmp);
            (s.step as f64, energies)
        })
        .collect();
    let style = Style::plain(runs.style.color);
    let mut curves: Vec<Curve> = RIBBONS
        .iter()
        .map(|(low, high, opacity)| {
            let band = sorted.iter().map(|(x, e)| (*x, quantile(e, *low), quantile(e, *high))).collect();
            Curve { band, band_opacity: *opacity, width: 0, ..Curve::line(style, Vec::new()) }
        })
        .collect();
    let neurons = snapshots.first().map_or(0, |s| s.neuron_energies.len());
    let every = (neurons / SINGLE_NEURONS).max(1);
    curves.extend((0..neurons).step_by(every).take(SINGLE_NEURONS).map(|i| {
        let line =
            snapshots.iter().filter_map(|s| Some((s.step as f64, f64::from(*s.neuron_energies.get(i)?)))).collect();
        Curve { width: 1, ..Curve::line(Style::plain(MUTED), line) }
    }));
    let median = sorted.iter().map(|(x, e)| (*x, quantile(e, 0.5))).collect();
    curves.push(Curve { width: 3, ..Curve::line(style, median) });
    let x = Axis::linear("step", 0.0, snapshots.last().map_or(1.0, |s| s.step as f64));
    let y = Axis::linear("", 0.0, 1.0);
    Panel {
        title: title.into(),
        size: PANEL,
        chart: Chart::Plot(Plot { x, y, boxes: Vec::new(), curves, rules: Vec::new() }),
    }
}

/// The stages of every seed along one axis.
fn order(runs: &Runs) -> Panel {
    let row = |(k, name): (usize, &str)| {
        let at: Vec<f64> =
            runs.seeds.iter().map(|(_, _, s)| steps(&Stages::new(s))[k]).filter(|v| v.is_finite()).collect();
        let ends = at.iter().copied().fold(f64::INFINITY, f64::min)..at.iter().copied().fold(0.0, f64::max);
        let note = if at.is_empty() {
            "not found".into()
        } else if ends.start == ends.end {
            format!("step {}", significant(ends.start, 4))
        } else {
            format!("steps {} to {}", significant(ends.start, 4), significant(ends.end, 4))
        };
        let mark =
            Mark { style: Style { color: INK, ..Style::nth(k) }, bar: None, interval: None, dots: at, tick: None };
        Row { label: name.into(), note, marks: vec![mark] }
    };
    let rows: Vec<Row> = STAGES.into_iter().enumerate().map(row).collect();
    let x = Axis::linear("step", 0.0, runs.last_step().max(1.0));
    Panel {
        title: "When the stages happen, one mark per seed".into(),
        size: (PANEL.0, height_of_rows(&rows)),
        chart: Chart::Rows(Rows { x, rows, rules: Vec::new() }),
    }
}
