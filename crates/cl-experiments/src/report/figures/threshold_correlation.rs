//! What two views have in common behind a threshold, and where the neurons of a run have ended up.

use super::super::axis::Axis;
use super::super::chart::{Chart, Curve, Entry, FIGURE_WIDTH, Figure, PANEL, Panel, Plot, Rule, Swatch};
use super::super::palette::Style;
use super::super::series::{Runs, mean};
use super::{in_words, values};
use crate::judge::measures::ClaimResult;
use crate::judge::measures::threshold_correlation::{KINDS, ThresholdCorrelation, metric};

/// Per point: ρ_φ over the threshold for each kind of weights, with the mean threshold of the trained neurons, and the coverage that they
/// reach in the title.
pub fn figure(result: &ClaimResult, runs: &[Runs]) -> Option<Figure> {
    let measure = result.measure::<ThresholdCorrelation>()?;
    let styles: Vec<Style> = (0..KINDS.len()).map(Style::nth).collect();
    let panels = runs.iter().map(|runs| panel(result, measure, runs, &styles)).collect();
    let names = KINDS.iter().zip(&styles);
    Some(Figure {
        name: format!("{}-threshold-correlation", result.experiment.claim),
        caption: "Correlation of two views of a sample behind a threshold, by what a neuron's weights are on. Lines are means over seeds, dots single seeds; \
                  the upright line is the mean threshold of the trained neurons."
            .into(),
        width: FIGURE_WIDTH,
        panels,
        legend: names.map(|((_, name), style)| Entry::new(&in_words(name), *style, Swatch::Line)).collect(),
    })
}

fn panel(result: &ClaimResult, measure: &ThresholdCorrelation, runs: &Runs, styles: &[Style]) -> Panel {
    let curves = KINDS.iter().zip(styles).map(|((_, kind), style)| {
        let by_threshold = || measure.thresholds.iter().map(|c| (*c, values(result, &runs.point, &metric(kind, *c))));
        Curve {
            dots: by_threshold().flat_map(|(c, values)| values.into_iter().map(move |v| (c, v))).collect(),
            ..Curve::line(*style, by_threshold().filter(|(_, v)| !v.is_empty()).map(|(c, v)| (c, mean(&v))).collect())
        }
    });
    let reached: Vec<f64> =
        runs.seeds.iter().filter_map(|(_, _, snapshots)| Some(snapshots.last()?.threshold_ratio)).collect();
    let rule = Rule { at: mean(&reached), is_vertical: true, label: "neurons".into() };
    let coverage = mean(&values(result, &runs.point, "coverage_mean"));
    Panel {
        title: format!("{}: coverage {coverage:.2}", in_words(&runs.point)),
        size: PANEL,
        chart: Chart::Plot(Plot {
            x: Axis::around("threshold c, for weights of length 1", measure.thresholds.iter().copied()),
            y: Axis::linear("ρ_φ", 0.0, 1.0),
            boxes: Vec::new(),
            curves: curves.collect(),
            rules: vec![rule],
        }),
    }
}
