//! How far backends diverge over training, compared with the effect of rounding alone.

use super::super::axis::Axis;
use super::super::chart::{Chart, Curve, Entry, FIGURE_WIDTH, Figure, PANEL, Panel, Plot, Swatch};
use super::super::palette::{MUTED, Style};
use super::in_words;
use crate::judge::certify::{BackendResult, Certificate, Distance, METRICS};

/// The value drawn where two numbers are equal.
const LEAST: f64 = 1e-9;

/// One panel per metric, one curve per backend.
pub fn figure(certificate: &Certificate) -> Figure {
    let others: Vec<&BackendResult> = certificate.backends.iter().filter(|b| !b.metrics.is_empty()).collect();
    let tolerance = Style::plain(MUTED);
    let panels = METRICS.iter().map(|(metric, _)| {
        let found = |b: &BackendResult| b.metrics.get(*metric).map_or(Vec::new(), |d| d.over_time.clone());
        let line = |backend: &BackendResult, read: fn(&Distance) -> f64| {
            found(backend).iter().map(|t| (t.step as f64, read(t).max(LEAST))).collect::<Vec<_>>()
        };
        let mut curves: Vec<Curve> =
            others.iter().enumerate().map(|(k, b)| Curve::line(Style::nth(k), line(b, |t| t.apart))).collect();
        curves.extend(others.iter().map(|b| Curve::line(tolerance, line(b, |t| t.tolerance))));
        let last = curves.iter().flat_map(|c| c.line.last()).map(|(x, _)| *x).fold(1.0, f64::max);
        let y = Axis::log("divergence", curves.iter().flat_map(Curve::heights));
        let plot = Plot { x: Axis::linear("step", 0.0, last), y, boxes: Vec::new(), curves, rules: Vec::new() };
        Panel { title: in_words(metric), size: PANEL, chart: Chart::Plot(plot) }
    });
    let panels = panels.collect();
    let mut legend: Vec<Entry> =
        others.iter().enumerate().map(|(k, b)| Entry::new(&b.name, Style::nth(k), Swatch::Line)).collect();
    legend.push(Entry::new("tolerance", tolerance, Swatch::Line));
    Figure {
        name: "certificate".into(),
        caption: format!(
            "How far backends lie from {} over training, of the run that is closest to its tolerance. Tolerance: {} Equal \
             numbers are drawn at {LEAST:.0e}.",
            certificate.reference, certificate.tolerance
        ),
        width: FIGURE_WIDTH,
        panels,
        legend,
    }
}
