//! t-SNE of the features of test images, coloured by class.

use super::super::super::axis::Axis;
use super::super::super::chart::{Chart, Curve, FIGURE_WIDTH, Figure, Panel, Plot};
use super::super::super::palette::Style;
use super::ImageRuns;
use crate::tasks::images::analysis::RepresentationAnalysis;

/// Classes are distinguished up to this number.
const MAX_CLASSES: usize = 20;

/// A map per point, of its first seed.
pub fn figure(claim: &str, all: &[ImageRuns]) -> Option<Figure> {
    let mut panels = Vec::new();
    let mut how = Vec::new();
    for runs in all.iter().filter(|r| r.class_names <= MAX_CLASSES) {
        let found = runs
            .seeds
            .iter()
            .find_map(|run| Some((run.seed, run.evaluation.analysis.as_ref().filter(|a| !a.map.is_empty())?)));
        let Some((seed, analysis)) = found else { continue };
        panels.push(panel(runs, analysis));
        how.push((seed, analysis.perplexity));
    }
    let (_, perplexity) = how.first()?;
    let mut seeds: Vec<String> = how.iter().map(|(seed, _)| seed.to_string()).collect();
    seeds.dedup();
    Some(Figure {
        name: format!("{claim}-maps"),
        caption: format!(
            "t-SNE of the features of test images (cosine distance, perplexity {perplexity}, seed {}), a colour and marker per \
             class. Distances between groups on such a map mean little.",
            seeds.join(", ")
        ),
        width: FIGURE_WIDTH,
        panels,
        legend: Vec::new(),
    })
}

fn panel(runs: &ImageRuns, analysis: &RepresentationAnalysis) -> Panel {
    let classes = runs.class_names;
    let of_class = |class: usize| {
        let dots = analysis.map.iter().filter(|p| p.2 == class).map(|p| (f64::from(p.0), f64::from(p.1))).collect();
        Curve { dots, ..Curve::line(Style::ordered(class, classes), Vec::new()) }
    };
    let ends = |values: Vec<f64>| Axis::around("", values).bare();
    let plot = Plot {
        x: ends(analysis.map.iter().map(|p| f64::from(p.0)).collect()),
        y: ends(analysis.map.iter().map(|p| f64::from(p.1)).collect()),
        boxes: Vec::new(),
        curves: (0..classes).map(of_class).collect(),
        rules: Vec::new(),
    };
    Panel { title: runs.label(), size: (306, 300), chart: Chart::Plot(plot) }
}
