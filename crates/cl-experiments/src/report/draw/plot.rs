//! Curves, dots and boxes.

use super::{Area, Context, Drawn, LABEL_SIZE, Pen, TICK_SIZE};
use crate::report::chart::{Curve, Plot, Rule, marker_corners};
use crate::report::palette::{Dash, MUTED, Style};
use plotters::element::{EmptyElement, PathElement, Polygon, Rectangle, Text};
use plotters::prelude::DrawingBackend;
use plotters::series::DashedLineSeries;
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

pub(super) fn draw<DB: DrawingBackend>(plot: &Plot, area: &Area<DB>, pen: Pen) -> Drawn<DB> {
    let is_named = plot.rules.iter().any(|r| r.is_vertical && !r.label.is_empty());
    let mut chart = pen.axes(area, &plot.x, &plot.y, (false, true), if is_named { 22.0 } else { 6.0 })?;
    let boxes = plot.boxes.iter().map(|b| {
        let corners = [(b.from_to.0, 0.0), (b.from_to.1, b.height)];
        Rectangle::new(corners, b.style.color.mix(0.75).filled())
    });
    chart.draw_series(boxes)?;
    for curve in &plot.curves {
        band(&mut chart, curve)?;
    }
    rules(&mut chart, &plot.rules, plot, pen)?;
    for curve in &plot.curves {
        lines(&mut chart, curve, pen)?;
        label(&mut chart, curve, plot, pen)?;
    }
    Ok(())
}

fn band<DB: DrawingBackend>(chart: &mut Context<DB>, curve: &Curve) -> Drawn<DB> {
    if curve.band.len() < 2 {
        return Ok(());
    }
    let there = curve.band.iter().map(|(x, low, _)| (*x, *low));
    let back = curve.band.iter().rev().map(|(x, _, high)| (*x, *high));
    let outline: Vec<(f64, f64)> = there.chain(back).collect();
    chart.draw_series([Polygon::new(outline, curve.style.color.mix(curve.band_opacity).filled())])?;
    Ok(())
}

fn lines<DB: DrawingBackend>(chart: &mut Context<DB>, curve: &Curve, pen: Pen) -> Drawn<DB> {
    let style = curve.style;
    let points = curve.line.iter().copied().filter(|(_, y)| y.is_finite());
    let points: Vec<(f64, f64)> = points.collect();
    if curve.width > 0 && points.len() > 1 {
        let stroke = pen.stroke(style.color, curve.width);
        match pen.pattern(style.dash) {
            None => chart.draw_series([PathElement::new(points.clone(), stroke)])?,
            Some((size, gap)) => chart.draw_series(DashedLineSeries::new(points.iter().copied(), size, gap, stroke))?,
        };
    }
    let caps = curve.whiskers.iter().flat_map(|&(x, low, high)| {
        let half = pen.px(4.0);
        let stroke = pen.stroke(style.color, 2);
        [low, high].map(|y| EmptyElement::at((x, y)) + PathElement::new(vec![(-half, 0), (half, 0)], stroke))
    });
    chart.draw_series(caps)?;
    let stems = curve
        .whiskers
        .iter()
        .map(|&(x, low, high)| PathElement::new(vec![(x, low), (x, high)], pen.stroke(style.color, 2)));
    chart.draw_series(stems)?;
    markers(chart, &curve.dots, style, if curve.dots.len() > 60 { 2.4 } else { 3.6 }, pen)?;
    if curve.has_markers {
        markers(chart, &spread(&points, style), style, 4.5, pen)?;
    }
    Ok(())
}

fn markers<DB: DrawingBackend>(
    chart: &mut Context<DB>,
    at: &[(f64, f64)],
    style: Style,
    radius: f64,
    pen: Pen,
) -> Drawn<DB> {
    let corners = marker_corners(style.marker, radius * pen.scale);
    let corners: Vec<(i32, i32)> = corners.iter().map(|(x, y)| (x.round() as i32, y.round() as i32)).collect();
    let finite = at.iter().filter(|(_, y)| y.is_finite());
    let marker = |at: &(f64, f64)| EmptyElement::at(*at) + Polygon::new(corners.clone(), style.color.filled());
    chart.draw_series(finite.map(marker))?;
    Ok(())
}

/// Four points of a line, at different places for each marker, so that markers of close lines do not overlap.
fn spread(points: &[(f64, f64)], style: Style) -> Vec<(f64, f64)> {
    const MARKERS: usize = 4;
    let shift = style.marker as usize;
    let count = points.len();
    let place = |k: usize| (k * 8 + 2 + 2 * (shift % 4)) * count / (MARKERS * 8 + 2);
    (0..MARKERS).map(place).filter_map(|i| points.get(i).copied()).collect()
}

/// Dashed reference lines; vertical ones are named above the chart, horizontal ones at the left.
fn rules<DB: DrawingBackend>(chart: &mut Context<DB>, rules: &[Rule], plot: &Plot, pen: Pen) -> Drawn<DB> {
    let ((left, right), (bottom, top)) = (plot.x.ends(), plot.y.ends());
    let stroke = pen.stroke(MUTED, 1);
    let gap = pen.px(4.0);
    for rule in rules {
        let (from, to) =
            if rule.is_vertical { ((rule.at, bottom), (rule.at, top)) } else { ((left, rule.at), (right, rule.at)) };
        let (size, spacing) = pen.pattern(Dash::Short).unwrap_or((1, 1));
        chart.draw_series(DashedLineSeries::new([from, to], size, spacing, stroke))?;
        let (at, shift, h) =
            if rule.is_vertical { (to, (0, -gap), HPos::Center) } else { (from, (gap, -gap), HPos::Left) };
        let style = pen.text(TICK_SIZE - 1.0, MUTED, h, VPos::Bottom);
        chart.draw_series([EmptyElement::at(at) + Text::new(rule.label.clone(), shift, style)])?;
    }
    Ok(())
}

/// Writes a curve's name beside it: above, or below where the curve runs near the top.
fn label<DB: DrawingBackend>(chart: &mut Context<DB>, curve: &Curve, plot: &Plot, pen: Pen) -> Drawn<DB> {
    let Some(at) = curve.line.get(curve.line.len() * 3 / 5).filter(|_| !curve.label.is_empty()) else { return Ok(()) };
    let (bottom, top) = plot.y.ends();
    let is_high = at.1 > bottom + 0.8 * (top - bottom);
    let (dy, v) = if is_high { (12.0, VPos::Top) } else { (-12.0, VPos::Bottom) };
    let style = pen.text(LABEL_SIZE, curve.style.color, HPos::Center, v);
    chart.draw_series([EmptyElement::at(*at) + Text::new(curve.label.clone(), (0, pen.px(dy)), style)])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_of_neighbouring_styles_stand_apart() {
        let points: Vec<(f64, f64)> = (0..60).map(|i| (f64::from(i), 0.0)).collect();
        let at = |n: usize| spread(&points, Style::nth(n));
        assert_eq!(at(0).len(), 4);
        assert!(at(0).iter().all(|p| !at(1).contains(p)));
        assert!(spread(&[], Style::nth(0)).is_empty());
    }
}
