//! Draws panels and legends on any plotters backend, at any scale.

mod gallery;
mod heat;
mod plot;
mod rows;
mod text;

use super::axis::Axis;
use super::chart::{Chart, Entry, Panel, Swatch, marker_corners};
use super::palette::{Dash, GRID, INK, Style};
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind};
use plotters::element::{PathElement, Polygon, Rectangle};
use plotters::prelude::DrawingBackend;
use plotters::series::DashedLineSeries;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, IntoFont, RGBColor, ShapeStyle, TRANSPARENT, TextStyle};

/// The result of drawing.
pub type Drawn<DB, T = ()> = Result<T, DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

type Area<DB> = DrawingArea<DB, Shift>;
type Context<'a, DB> = ChartContext<'a, DB, Cartesian2d<Axis, Axis>>;

/// Font sizes; a size is about five quarters of the height that the same number of pixels has elsewhere.
const TICK_SIZE: f64 = 17.0;
const LABEL_SIZE: f64 = 18.0;
const TITLE_SIZE: f64 = 20.0;

/// Height of a line of a legend.
pub const LEGEND_LINE: u32 = 28;

/// Draws a panel into `area`, whose size is the panel's times `scale`.
pub fn panel<DB: DrawingBackend>(panel: &Panel, area: &Area<DB>, scale: f64) -> Drawn<DB> {
    let pen = Pen { scale };
    let below = pen.title(area, &panel.title)?;
    match &panel.chart {
        Chart::Plot(plot) => plot::draw(plot, &below, pen),
        Chart::Rows(rows) => rows::draw(rows, &below, pen),
        Chart::Heat(heat) => heat::draw(heat, &below, pen),
        Chart::Gallery(gallery) => gallery::draw(gallery, &below, pen),
        Chart::Text(lines) => text::draw(lines, &below, pen),
    }
}

/// Draws a legend into `area`, line by line from the left.
pub fn legend<DB: DrawingBackend>(entries: &[Entry], area: &Area<DB>, scale: f64) -> Drawn<DB> {
    let pen = Pen { scale };
    let style = pen.text(LABEL_SIZE, INK, HPos::Left, VPos::Center);
    for (entry, (x, y)) in entries.iter().zip(places(entries, area.dim_in_pixel().0, scale)) {
        swatch(entry, area, (x, y), scale)?;
        area.draw_text(&entry.label, &style, (x + pen.px(44.0), y))?;
    }
    Ok(())
}

/// Number of lines that a legend takes at a given width, before scaling.
pub fn legend_lines(entries: &[Entry], width: u32) -> u32 {
    places(entries, width, 1.0).last().map_or(0, |(_, y)| *y as u32 / LEGEND_LINE + 1)
}

/// Draws what precedes an entry's label, 36 wide, with the middle of its left edge at `(x, y)`.
pub fn swatch<DB: DrawingBackend>(entry: &Entry, area: &Area<DB>, (x, y): (i32, i32), scale: f64) -> Drawn<DB> {
    let pen = Pen { scale };
    let style = entry.style;
    let middle = (x + pen.px(18.0), y);
    match entry.swatch {
        Swatch::Line => {
            pen.dashes(area, &[(x, y), (x + pen.px(36.0), y)], style, 3)?;
            area.draw(&pen.marker(middle, style, 4.5))
        }
        Swatch::Dot => area.draw(&pen.marker(middle, style, 5.0)),
        Swatch::Area(opacity) => {
            let corners = [(x + pen.px(4.0), y - pen.px(7.0)), (x + pen.px(32.0), y + pen.px(7.0))];
            area.draw(&Rectangle::new(corners, style.color.mix(opacity).filled()))
        }
        Swatch::Whisker => {
            let stroke = pen.stroke(style.color, 2);
            let (left, right) = (x + pen.px(6.0), x + pen.px(30.0));
            area.draw(&PathElement::new(vec![(left, y), (right, y)], stroke))?;
            for end in [left, right] {
                area.draw(&PathElement::new(vec![(end, y - pen.px(5.0)), (end, y + pen.px(5.0))], stroke))?;
            }
            Ok(())
        }
        Swatch::Tick => {
            let ends = vec![(middle.0, y - pen.px(9.0)), (middle.0, y + pen.px(9.0))];
            area.draw(&PathElement::new(ends, pen.stroke(style.color, 3)))
        }
    }
}

/// Where entries of a legend begin: from left to right, on a new line when they would not fit.
fn places(entries: &[Entry], width: u32, scale: f64) -> Vec<(i32, i32)> {
    let (mut x, mut line) = (0.0, 0);
    let mut places = Vec::new();
    for entry in entries {
        // Wide enough for DejaVu Sans, whatever the letters.
        let needed = 44.0 + 9.3 * entry.label.chars().count() as f64 + 22.0;
        if x > 0.0 && (x + needed) * scale > f64::from(width) {
            (x, line) = (0.0, line + 1);
        }
        let y = (f64::from(line) + 0.5) * f64::from(LEGEND_LINE);
        places.push(((x * scale) as i32, (y * scale) as i32));
        x += needed;
    }
    places
}

/// Sizes and styles at one scale.
#[derive(Debug, Clone, Copy)]
struct Pen {
    scale: f64,
}

impl Pen {
    fn px(self, length: f64) -> i32 {
        (length * self.scale).round() as i32
    }

    fn stroke(self, color: RGBColor, width: u32) -> ShapeStyle {
        color.stroke_width(self.px(f64::from(width)).max(1) as u32)
    }

    fn text(self, size: f64, color: RGBColor, h: HPos, v: VPos) -> TextStyle<'static> {
        let font = ("sans-serif", size * self.scale).into_font();
        font.color(&color).pos(Pos::new(h, v))
    }

    /// Writes the title at the top left and returns what is left below.
    fn title<DB: DrawingBackend>(self, area: &Area<DB>, title: &str) -> Drawn<DB, Area<DB>> {
        let font = FontDesc::new(FontFamily::SansSerif, TITLE_SIZE * self.scale, FontStyle::Bold);
        let style = font.color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
        let room = f64::from(area.dim_in_pixel().0) - 2.0 * 10.0 * self.scale;
        let width = |text: &str| area.estimate_text_size(text, &style).map_or(0.0, |(w, _)| f64::from(w));
        let lines = wrapped(title, room, width);
        for (i, line) in lines.iter().enumerate() {
            area.draw_text(line, &style, (self.px(10.0), self.px(18.0 + 24.0 * i as f64)))?;
        }
        Ok(area.margin(self.px(12.0 + 24.0 * lines.len() as f64), 0, 0, 0))
    }

    /// Axes, ticks and grid.
    fn axes<'a, DB: DrawingBackend + 'a>(
        self,
        area: &Area<DB>,
        x: &Axis,
        y: &Axis,
        has_grid: (bool, bool),
        top: f64,
    ) -> Drawn<DB, Context<'a, DB>> {
        let ticks = self.text(TICK_SIZE, INK, HPos::Center, VPos::Center);
        let width = |label: &str| area.estimate_text_size(label, &ticks).map_or(0, |(w, _)| w as i32);
        let widest = y.tick_labels().map(width).max().unwrap_or(0);
        let label_room = |label: &str| if label.is_empty() { 0 } else { self.px(24.0) };
        let tick_room = if x.tick_labels().next().is_some() { self.px(25.0) } else { self.px(6.0) };
        let mut chart = ChartBuilder::on(area)
            .margin_right(self.px(24.0))
            .margin_left(self.px(6.0))
            .margin_top(self.px(top))
            .margin_bottom(self.px(4.0))
            .x_label_area_size(tick_room + label_room(&x.label))
            .y_label_area_size(widest + self.px(15.0) + label_room(&y.label))
            .build_cartesian_2d(x.clone(), y.clone())?;
        let grid = self.stroke(GRID, 1);
        let mut mesh = chart.configure_mesh();
        mesh.light_line_style(TRANSPARENT)
            .bold_line_style(grid)
            .axis_style(self.stroke(INK, 1))
            .label_style(self.text(TICK_SIZE, INK, HPos::Center, VPos::Center))
            .axis_desc_style(self.text(LABEL_SIZE, INK, HPos::Center, VPos::Center))
            .set_all_tick_mark_size(self.px(4.0))
            .x_desc(x.label.as_str())
            .y_desc(y.label.as_str());
        if !has_grid.0 {
            mesh.disable_x_mesh();
        }
        if !has_grid.1 {
            mesh.disable_y_mesh();
        }
        mesh.draw()?;
        Ok(chart)
    }

    /// A dash pattern: lengths of a dash and of the gap after it; `None` for a solid line.
    fn pattern(self, dash: Dash) -> Option<(i32, i32)> {
        match dash {
            Dash::Solid => None,
            Dash::Long => Some((self.px(11.0), self.px(5.0))),
            Dash::Dots => Some((self.px(3.0), self.px(4.0))),
            Dash::Short => Some((self.px(6.0), self.px(4.0))),
        }
    }

    /// A dashed line in pixels.
    fn dashes<DB: DrawingBackend>(self, area: &Area<DB>, points: &[(i32, i32)], style: Style, width: u32) -> Drawn<DB> {
        let stroke = self.stroke(style.color, width);
        match self.pattern(style.dash) {
            None => area.draw(&PathElement::new(points.to_vec(), stroke)),
            Some((size, spacing)) => {
                for element in DashedLineSeries::new(points.iter().copied(), size, spacing, stroke) {
                    area.draw(&element)?;
                }
                Ok(())
            }
        }
    }

    /// A marker centred at a position in pixels.
    fn marker(self, (x, y): (i32, i32), style: Style, radius: f64) -> Polygon<(i32, i32)> {
        let corners = marker_corners(style.marker, radius * self.scale);
        let corners: Vec<(i32, i32)> =
            corners.into_iter().map(|(dx, dy)| (x + dx.round() as i32, y + dy.round() as i32)).collect();
        Polygon::new(corners, style.color.filled())
    }
}

/// Breaks a text between words so that no line is wider than `room`, if possible.
fn wrapped(text: &str, room: f64, width: impl Fn(&str) -> f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width(&format!("{line} {word}")) <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_break_between_words() {
        let width = |text: &str| text.chars().count() as f64;
        assert_eq!(wrapped("one two three", 8.0, width), ["one two", "three"]);
        assert_eq!(wrapped("incomprehensibilities", 8.0, width), ["incomprehensibilities"]);
        assert!(wrapped("", 8.0, width).is_empty());
    }

    #[test]
    fn a_legend_goes_on_in_a_new_line() {
        let entries: Vec<Entry> =
            ["a", "b", "a long name of a point"].map(|n| Entry::new(n, Style::nth(0), Swatch::Line)).into();
        assert_eq!(legend_lines(&entries, 900), 1);
        assert_eq!(legend_lines(&entries, 260), 2);
        assert_eq!(legend_lines(&[], 260), 0);
    }
}
