//! Losses with samples, with prototypes of samples and of classes over steps, and what they bound; bias and probe per point.

use super::super::axis::Axis;
use super::super::chart::{
    Chart, Curve, Entry, FIGURE_WIDTH, Figure, Mark, PANEL, Panel, Plot, Row, Rows, Swatch, height_of_rows,
};
use super::super::number::significant;
use super::super::palette::{Style, styles_of};
use super::super::series::{mean, mean_and_band};
use super::{BAND, in_words, values};
use crate::io::error::UserError;
use crate::judge::measures::ClaimResult;
use crate::tasks::class_features::spec::ClassSpec;
use crate::tasks::two_views::TwoViewSnapshot;
use cl_model::prototypes::PrototypeMeasures;

/// The curves of a point: steps with measures, per seed.
struct Point {
    name: String,
    seeds: Vec<Vec<(f64, PrototypeMeasures)>>,
}

/// All figures of an experiment on observations with a class.
///
/// # Errors
/// [`UserError`] when a complete run folder cannot be read.
pub fn figures(result: &ClaimResult) -> Result<Vec<Figure>, UserError> {
    let mut points = Vec::new();
    for point in result.experiment.points.iter().filter(|p| p.spec.get::<ClassSpec>().is_some()) {
        let mut seeds = Vec::new();
        for seed in &point.seeds {
            let folder = result.folders.get(&(point.name.clone(), *seed)).filter(|f| f.is_complete());
            let Some(folder) = folder else { continue };
            let snapshots = folder.snapshots::<TwoViewSnapshot>()?;
            seeds.push(snapshots.iter().filter_map(|s| Some((s.step as f64, s.prototypes?))).collect());
        }
        if !seeds.is_empty() {
            points.push(Point { name: point.name.clone(), seeds });
        }
    }
    if points.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![scores(result, &points), bounds(&result.experiment.claim, &points)])
}

type Read = fn(&PrototypeMeasures) -> f64;

const LOSSES: [(&str, Read); 3] = [
    ("InfoNCE", |p| p.contrastive_loss),
    ("with prototypes of samples", |p| p.surrogate_loss),
    ("with prototypes of classes", |p| p.supervised_loss),
];

fn curve(point: &Point, style: Style, read: Read) -> Curve {
    let rows: Vec<Vec<(f64, f64)>> =
        point.seeds.iter().map(|seed| seed.iter().map(|(step, p)| (*step, read(p))).collect()).collect();
    let (line, band) = mean_and_band(&rows);
    Curve { band, has_markers: true, ..Curve::line(style, line) }
}

fn bounds(claim: &str, points: &[Point]) -> Figure {
    let panels = points.iter().map(|point| {
        let mut curves: Vec<Curve> =
            LOSSES.iter().enumerate().map(|(i, (_, read))| curve(point, Style::nth(i), *read)).collect();
        // How far the supervised loss may be from the one with prototypes of samples.
        let ends = |read: Read| curve(point, Style::nth(2), read).line;
        let low = ends(|p| p.surrogate_loss - p.supervised_bound);
        let high = ends(|p| p.surrogate_loss + p.supervised_bound);
        let band = low.iter().zip(&high).map(|((x, low), (_, high))| (*x, *low, *high)).collect();
        curves.insert(0, Curve { band, band_opacity: 0.08, ..Curve::line(Style::nth(2), Vec::new()) });
        let most = curves.iter().flat_map(|c| c.line.iter().map(|(x, _)| *x)).fold(1.0, f64::max);
        Panel {
            title: in_words(&point.name),
            size: PANEL,
            chart: Chart::Plot(Plot {
                x: Axis::linear("step", 0.0, most),
                y: Axis::around("", curves.iter().flat_map(Curve::heights)),
                boxes: Vec::new(),
                curves,
                rules: Vec::new(),
            }),
        }
    });
    let mut legend: Vec<Entry> =
        LOSSES.iter().enumerate().map(|(i, (name, _))| Entry::new(name, Style::nth(i), Swatch::Line)).collect();
    legend.push(Entry::new("where the last may be", Style::nth(2), Swatch::Area(0.08)));
    Figure {
        name: format!("{claim}-bounds"),
        caption: format!(
            "InfoNCE on held-out observations, and the same loss with each observation's prototype, which is never above it, and with that of its class, which is never further from \
             the second than the shaded range. {BAND}"
        ),
        width: FIGURE_WIDTH,
        panels: panels.collect(),
        legend,
    }
}

fn scores(result: &ClaimResult, points: &[Point]) -> Figure {
    let styles = styles_of(points.iter().map(|p| p.name.as_str()));
    let panels = [
        ("Prototype bias over the distance of classes", "prototypes.relative_bias"),
        ("Prototype bias", "prototypes.bias"),
        ("Probe on features, accuracy", "features.accuracy"),
        ("Probe on features, rarer half of the classes", "features.rare_half"),
    ];
    let panel = |(title, metric): (&str, &str)| {
        let rows: Vec<Row> = styles
            .iter()
            .map(|(point, style)| {
                let values = values(result, point, metric);
                let bar = mean(&values);
                let mark = Mark { style: *style, bar: Some(bar), interval: None, dots: values, tick: None };
                Row { label: in_words(point), note: significant(bar, 2), marks: vec![mark] }
            })
            .collect();
        let largest = rows.iter().flat_map(|row| row.marks.iter().flat_map(|mark| mark.dots.iter().copied()));
        let x = Axis::from_zero("", largest);
        let size = (FIGURE_WIDTH / 2, height_of_rows(&rows));
        Panel { title: title.into(), size, chart: Chart::Rows(Rows { x, rows, rules: Vec::new() }) }
    };
    Figure {
        name: format!("{}-prototypes", result.experiment.claim),
        caption: "How far the prototypes of observations are from those of their classes at the end, and how well a linear probe tells classes. Bars are means over seeds, dots \
                  single seeds."
            .into(),
        width: FIGURE_WIDTH,
        panels: panels.map(panel).into(),
        legend: Vec::new(),
    }
}
