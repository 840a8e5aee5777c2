//! A row per name: the name is above its marks, so that nothing is cut off on a narrow screen.

use super::{Area, Drawn, LABEL_SIZE, Pen, TICK_SIZE};
use crate::report::axis::Axis;
use crate::report::chart::{Row, Rows, marker_corners};
use crate::report::palette::{Dash, INK, MUTED};
use plotters::element::{EmptyElement, PathElement, Polygon, Rectangle, Text};
use plotters::prelude::DrawingBackend;
use plotters::series::DashedLineSeries;
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

pub(super) fn draw<DB: DrawingBackend>(rows: &Rows, area: &Area<DB>, pen: Pen) -> Drawn<DB> {
    let height: u32 = rows.rows.iter().map(Row::height).sum();
    let y = Axis::linear("", 0.0, f64::from(height.max(1))).bare();
    let mut chart = pen.axes(area, &rows.x, &y, (true, false), 6.0)?;
    let (left, right) = rows.x.ends();
    let top = f64::from(height);
    let mut above = top;
    for row in &rows.rows {
        let at = above - 0.55 * f64::from(Row::LABEL);
        let text = |text: &str, x: f64, dx: f64, h: HPos, color| {
            let style = pen.text(if matches!(h, HPos::Left) { LABEL_SIZE } else { TICK_SIZE }, color, h, VPos::Center);
            EmptyElement::at((x, at)) + Text::new(text.to_string(), (pen.px(dx), 0), style)
        };
        chart.draw_series([
            text(&row.label, left, 4.0, HPos::Left, INK),
            text(&row.note, right, 0.0, HPos::Right, MUTED),
        ])?;
        // Lines end below the names, so that they do not run through them.
        let from_to = (above - f64::from(Row::LABEL), above - f64::from(row.height()));
        for rule in &rows.rules {
            let (size, spacing) = pen.pattern(Dash::Short).unwrap_or((1, 1));
            let ends = [(rule.at, from_to.0), (rule.at, from_to.1)];
            chart.draw_series(DashedLineSeries::new(ends, size, spacing, pen.stroke(MUTED, 2)))?;
        }
        for (k, mark) in row.marks.iter().enumerate() {
            let middle = above - f64::from(Row::LABEL) - (k as f64 + 0.5) * f64::from(Row::MARK);
            let (low, high) = (middle - 7.0, middle + 7.0);
            let color = mark.style.color;
            if let Some(end) = mark.bar {
                chart.draw_series([Rectangle::new([(0.0, low), (end, high)], color.mix(0.55).filled())])?;
            }
            if let Some((tick, style)) = mark.tick {
                let ends = vec![(tick, middle - 10.0), (tick, middle + 10.0)];
                chart.draw_series([PathElement::new(ends, pen.stroke(style.color, 3))])?;
            }
            if let Some((from, to)) = mark.interval.filter(|(from, to)| from.is_finite() && to.is_finite()) {
                let stroke = pen.stroke(INK, 2);
                let cap = |x| PathElement::new(vec![(x, middle - 5.0), (x, middle + 5.0)], stroke);
                let stem = PathElement::new(vec![(from, middle), (to, middle)], stroke);
                chart.draw_series([stem, cap(from), cap(to)])?;
            }
            let corners = marker_corners(mark.style.marker, 3.2 * pen.scale);
            let corners: Vec<(i32, i32)> = corners.iter().map(|(x, y)| (x.round() as i32, y.round() as i32)).collect();
            let dots = mark.dots.iter().filter(|v| v.is_finite());
            let dot = |v: &f64| EmptyElement::at((*v, middle)) + Polygon::new(corners.clone(), color.filled());
            chart.draw_series(dots.map(dot))?;
        }
        above -= f64::from(row.height());
    }
    Ok(())
}
