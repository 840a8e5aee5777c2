//! Activations, colour-selective units, directions of the pixels, filters and top-activating images.

use super::super::super::axis::Axis;
use super::super::super::chart::{Chart, Curve, FIGURE_WIDTH, Figure, Gallery, Heat, PANEL, Panel, Picture, Plot};
use super::super::super::series::{mean, mean_and_band};
use super::super::BAND;
use super::{ImageRun, ImageRuns, legend};
use crate::io::error::UserError;
use crate::tasks::images::analysis::{LayerActivity, SELECTIVE};
use crate::tasks::images::directions::Direction;

/// Sparsity, density and colour per layer.
pub fn layers(claim: &str, all: &[ImageRuns]) -> Option<Figure> {
    type Value = fn(&LayerActivity) -> f64;
    let first = all.iter().flat_map(|r| &r.seeds).find_map(|run| run.evaluation.analysis.as_ref())?;
    let names: Vec<&str> = first.layers.iter().map(|l| l.name.as_str()).collect();
    let measures: [(&str, Value); 3] = [
        ("Fraction of activations that are zero", |l| l.zero_fraction),
        ("Density of features (participation ratio)", |l| l.density),
        ("Fraction of colour-selective units", |l| l.color_selective_fraction),
    ];
    let curve = |runs: &ImageRuns, value: Value| {
        let row = |run: &ImageRun| {
            let layers = run.evaluation.analysis.iter().flat_map(|a| &a.layers);
            layers.enumerate().map(|(k, l)| (k as f64 + 0.5, value(l))).collect::<Vec<_>>()
        };
        let rows: Vec<_> = runs.seeds.iter().map(row).filter(|row| !row.is_empty()).collect();
        let (line, band) = mean_and_band(&rows);
        Curve { band, has_markers: true, ..Curve::line(runs.style, line) }
    };
    let panels = measures.map(|(title, value)| {
        let curves: Vec<Curve> = all.iter().map(|r| curve(r, value)).filter(|c| !c.line.is_empty()).collect();
        let y = Axis::linear("", 0.0, 1.0);
        let plot = Plot { x: Axis::names("", &names), y, boxes: Vec::new(), curves, rules: Vec::new() };
        Panel { title: title.into(), size: PANEL, chart: Chart::Plot(plot) }
    });
    Some(Figure {
        name: format!("{claim}-layers"),
        caption: format!(
            "How layers respond to test images, from the first to the last. A unit is colour-selective when its response \
             changes by more than {SELECTIVE} of its size once colour is taken away. {BAND}"
        ),
        width: FIGURE_WIDTH,
        panels: panels.into(),
        legend: legend(all),
    })
}

/// Which directions of the pixels the augmentation decouples, and which the encoder keeps.
pub fn directions(claim: &str, all: &[ImageRuns]) -> Option<Figure> {
    let measured: Vec<&ImageRuns> =
        all.iter().filter(|r| r.seeds.iter().any(|s| s.evaluation.directions.is_some())).collect();
    let names: Vec<String> = measured
        .first()?
        .seeds
        .iter()
        .find_map(|s| s.evaluation.directions.as_ref())?
        .iter()
        .map(|d| d.name.clone())
        .collect();
    let heat = |title: &str, value: fn(&Direction) -> Option<f64>, scale: &str| {
        let cells = (0..names.len()).map(|k| {
            let of_runs = |runs: &&ImageRuns| {
                let values = runs.values(|e| e.directions.as_ref().and_then(|d| d.get(k)).and_then(value));
                (!values.is_empty()).then(|| mean(&values))
            };
            measured.iter().map(of_runs).collect::<Vec<_>>()
        });
        let columns: Vec<String> = (1..=measured.len()).map(|k| k.to_string()).collect();
        let heat = Heat {
            x: Axis::names("", &columns),
            y: Axis::names("", &names).counted_from_top(),
            cells: cells.collect(),
            ends: (0.0, 1.0),
            has_numbers: true,
            scale: Some(scale.into()),
        };
        Panel { title: title.into(), size: (PANEL.0, 60 + 24 * names.len() as u32), chart: Chart::Heat(heat) }
    };
    let columns = measured.iter().enumerate().map(|(k, r)| format!("{} {}", k + 1, r.label())).collect::<Vec<_>>();
    Some(Figure {
        name: format!("{claim}-directions"),
        caption: format!(
            "Directions of the pixels: mean colours, then principal directions by falling variance. Left, before any \
             training: correlation of the two views of an image along each; 0 is decoupled. Right: R² of the same direction \
             predicted linearly from the features of the trained encoder. Means over seeds. Columns: {}.",
            columns.join(", ")
        ),
        width: FIGURE_WIDTH,
        panels: vec![
            heat("Correlation of two views", |d| d.view_correlation, "correlation"),
            heat("What the encoder kept", |d| d.kept_r_squared, "R²"),
        ],
        legend: Vec::new(),
    })
}

/// First filters, and top-activating images of units of the last layer, of the first seed of each point.
pub fn galleries(claim: &str, all: &[ImageRuns]) -> Result<Vec<Figure>, UserError> {
    let (mut filters, mut activating) = (Vec::new(), Vec::new());
    for runs in all {
        let Some(run) = runs.seeds.iter().find(|run| run.evaluation.analysis.is_some()) else { continue };
        let panel = |pictures: Vec<Picture>, columns: usize| {
            let title = runs.label();
            let rows = pictures.len().div_ceil(columns) as u32;
            let size = (306, 50 + rows * (290 / columns as u32));
            Panel { title, size, chart: Chart::Gallery(Gallery { pictures, columns }) }
        };
        // An encoder need not expose its filters.
        if run.evaluation.analysis.as_ref().is_some_and(|analysis| !analysis.filter_color_fractions.is_empty()) {
            let (shape, values) = run.folder.tensor("analysis.safetensors", "first_layer_filters")?;
            filters.push(panel(filter_pictures(&shape, &values), 8));
        }
        let (shape, values) = run.folder.tensor("analysis.safetensors", "top_activating_images")?;
        activating.push(panel(image_pictures(&shape, &values), shape.get(1).copied().unwrap_or(1).max(1)));
    }
    let figure = |name: &str, caption: &str, panels| Figure {
        name: format!("{claim}-{name}"),
        caption: caption.into(),
        width: FIGURE_WIDTH,
        panels,
        legend: Vec::new(),
    };
    let figures = vec![
        figure(
            "filters",
            "Filters of the first layer in colour, each scaled to its largest weight; grey is zero. First seed of each point.",
            filters,
        ),
        figure(
            "top-activating-images",
            "Units of the last layer whose largest response stands out most over their mean, a row each, with the test images \
             that activate them most, from the left. First seed of each point.",
            activating,
        ),
    ];
    Ok(figures.into_iter().filter(|figure| !figure.panels.is_empty()).collect())
}

fn filter_pictures(shape: &[usize], values: &[f32]) -> Vec<Picture> {
    let [_, _, height, width] = *shape else { return Vec::new() };
    let picture = |filter: &[f32]| {
        let largest = filter.iter().fold(1e-12f32, |m, v| m.max(v.abs()));
        let scaled: Vec<f32> = filter.iter().map(|v| 0.5 + 0.5 * v / largest).collect();
        Picture::from_planes(width, height, &scaled)
    };
    values.chunks_exact(3 * height * width).map(picture).collect()
}

fn image_pictures(shape: &[usize], values: &[f32]) -> Vec<Picture> {
    let [_, _, _, height, width] = *shape else { return Vec::new() };
    values.chunks_exact(3 * height * width).map(|planes| Picture::from_planes(width, height, planes)).collect()
}
