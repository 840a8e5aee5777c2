//! Accuracies of kNN and of a linear probe, and what is measured over epochs.

use super::super::super::axis::Axis;
use super::super::super::chart::{
    Chart, Curve, FIGURE_WIDTH, Figure, PANEL, Panel, Plot, Row, Rows, Rule, height_of_rows,
};
use super::super::super::series::mean;
use super::super::BAND;
use super::super::downstream::bar_row;
use super::{ImageRuns, legend};
use crate::judge::FAMILY_LEVEL;
use crate::tasks::images::evaluation::{ImageBaselines, ImageEvaluation, Scores};
use crate::tasks::images::training::ImageSnapshot;

/// Accuracy of each point, compared with what it has to beat.
pub fn scores(claim: &str, all: &[ImageRuns]) -> Figure {
    let panels = vec![
        panel("kNN on frozen features", all, |s| s.knn.accuracy),
        panel("Linear probe on frozen features", all, |s| s.probe.accuracy),
    ];
    Figure {
        name: format!("{claim}-scores"),
        caption: format!(
            "Accuracy on test images at the end of training. Bars are means over seeds, dots single seeds, whiskers Student \
             intervals at {:.0} %; broken lines are the encoder before training and the pixels.",
            100.0 * (1.0 - FAMILY_LEVEL)
        ),
        width: FIGURE_WIDTH,
        panels,
        legend: Vec::new(),
    }
}

fn panel(title: &str, all: &[ImageRuns], value: fn(&Scores) -> f64) -> Panel {
    let of_baseline = |baseline: fn(&ImageBaselines) -> &Scores| {
        let found = |e: &ImageEvaluation| e.baselines.as_ref().map(|b| value(baseline(b)));
        all.iter().flat_map(|runs| runs.values(found)).collect::<Vec<f64>>()
    };
    let mut rows: Vec<Row> =
        all.iter().map(|r| bar_row(&r.label(), r.style, r.values(|e| Some(value(&e.last))))).collect();
    let mut rules = Vec::new();
    let baselines = [("before training", of_baseline(|b| &b.untrained)), ("pixels", of_baseline(|b| &b.pixels))];
    for (name, values) in baselines.into_iter().filter(|(_, v)| !v.is_empty()) {
        rules.push(Rule { at: mean(&values), is_vertical: true, label: String::new() });
        rows.push(bar_row(
            name,
            super::super::super::palette::Style::plain(super::super::super::palette::MUTED),
            values,
        ));
    }
    let highest = rows.iter().flat_map(|r| r.marks[0].dots.clone()).fold(0.0, f64::max);
    Panel {
        title: title.into(),
        size: (PANEL.0, height_of_rows(&rows)),
        chart: Chart::Rows(Rows { x: Axis::linear("accuracy", 0.0, (1.1 * highest).min(1.0)), rows, rules }),
    }
}

/// What is measured over epochs.
pub fn curves(claim: &str, all: &[ImageRuns]) -> Figure {
    type Value = fn(&ImageSnapshot) -> Option<f64>;
    let measures: [(&str, Value); 7] = [
        ("kNN accuracy", |s| s.knn_accuracy),
        ("Held-out loss", |s| Some(s.loss)),
        ("Cosine of two views of an image", |s| s.positive_similarity),
        ("Cosine of views of different images", |s| s.negative_similarity),
        ("Effective rank of the features", |s| s.feature_rank),
        ("Spread of the outputs: 1 in all directions, 0 alike", |s| Some(s.outputs?.spread)),
        ("Norm of the gradient", |s| s.gradient_norm),
    ];
    let panels = measures.into_iter().filter_map(|(title, value)| {
        let curves: Vec<Curve> = all.iter().map(|r| r.curve(value)).filter(|c| !c.line.is_empty()).collect();
        let last = curves.iter().flat_map(|c| c.line.last()).map(|(x, _)| *x).fold(1.0, f64::max);
        let y = Axis::around("", curves.iter().flat_map(Curve::heights));
        let plot = Plot { x: Axis::linear("epoch", 0.0, last), y, boxes: Vec::new(), curves, rules: Vec::new() };
        (!plot.curves.is_empty()).then(|| Panel { title: title.into(), size: PANEL, chart: Chart::Plot(plot) })
    });
    Figure {
        name: format!("{claim}-curves"),
        caption: format!("Over training, on augmented test images and on frozen features. {BAND}"),
        width: FIGURE_WIDTH,
        panels: panels.collect(),
        legend: legend(all),
    }
}
