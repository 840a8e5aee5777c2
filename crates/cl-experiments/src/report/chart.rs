//! Charts by their data: line panels, heatmaps, bars. Each draws itself on any plotters backend.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Okabe and Ito's colours, told apart by colour-blind people.
pub const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(90, 90, 90),
];

/// What drawing can fail with.
pub type Drawn<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

/// Something that can be drawn.
pub trait Chart {
    /// Width and height in pixels.
    fn size(&self) -> (u32, u32);
    /// Draws on a white area of that size.
    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB>;
}

/// A curve, its band and its dots.
#[derive(Debug, Clone, Default)]
pub struct Series {
    /// Name for the legend; none when empty.
    pub name: String,
    /// Index into [`PALETTE`].
    pub color: usize,
    /// Dashed instead of solid.
    pub dashed: bool,
    /// The line.
    pub line: Vec<(f64, f64)>,
    /// Lower and upper end around the line.
    pub band: Vec<(f64, f64, f64)>,
    /// Single values.
    pub dots: Vec<(f64, f64)>,
}

/// One pair of axes with curves.
#[derive(Debug, Clone, Default)]
pub struct Panel {
    /// What is shown.
    pub title: String,
    /// Label of the horizontal axis.
    pub x_label: String,
    /// Logarithmic vertical axis.
    pub log_y: bool,
    /// The curves.
    pub series: Vec<Series>,
    /// Vertical lines with a word each.
    pub marks: Vec<(f64, String)>,
}

/// Panels side by side under one legend.
#[derive(Debug, Clone)]
pub struct Panels {
    /// Panels in a row.
    pub columns: usize,
    /// The panels, row by row.
    pub panels: Vec<Panel>,
}

const PANEL: (u32, u32) = (450, 290);
const LEGEND: u32 = 36;

impl Chart for Panels {
    fn size(&self) -> (u32, u32) {
        let columns = self.columns.min(self.panels.len()).max(1) as u32;
        let rows = self.panels.len().div_ceil(self.columns.max(1)) as u32;
        (columns * PANEL.0, rows * PANEL.1 + LEGEND)
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let (legend, body) = area.split_vertically(LEGEND);
        let mut entries: Vec<(String, usize, bool)> = Vec::new();
        for s in self.panels.iter().flat_map(|p| &p.series).filter(|s| !s.name.is_empty()) {
            if !entries.iter().any(|(name, ..)| *name == s.name) {
                entries.push((s.name.clone(), s.color, s.dashed));
            }
        }
        draw_legend(&legend, &entries)?;
        let columns = self.columns.min(self.panels.len()).max(1);
        let rows = self.panels.len().div_ceil(columns).max(1);
        for (cell, panel) in body.split_evenly((rows, columns)).iter().zip(&self.panels) {
            panel.draw(cell)?;
        }
        Ok(())
    }
}

/// Draws names with their strokes from left to right.
pub fn draw_legend<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, entries: &[(String, usize, bool)]) -> Drawn<DB> {
    let mut x = 16;
    for (name, color, dashed) in entries {
        let style = PALETTE[color % PALETTE.len()].stroke_width(3);
        if *dashed {
            area.draw(&PathElement::new(vec![(x, 18), (x + 10, 18)], style))?;
            area.draw(&PathElement::new(vec![(x + 16, 18), (x + 26, 18)], style))?;
        } else {
            area.draw(&PathElement::new(vec![(x, 18), (x + 26, 18)], style))?;
        }
        let text = ("sans-serif", 15).into_font().color(&BLACK).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(name.clone(), (x + 32, 17), text))?;
        x += 50 + (name.chars().count() as i32) * 8;
    }
    Ok(())
}

impl Panel {
    fn ranges(&self) -> Option<((f64, f64), (f64, f64))> {
        let mut x = (f64::INFINITY, f64::NEG_INFINITY);
        let mut y = x;
        let mut see = |px: f64, py: f64| {
            if px.is_finite() && py.is_finite() && (!self.log_y || py > 0.0) {
                x = (x.0.min(px), x.1.max(px));
                y = (y.0.min(py), y.1.max(py));
            }
        };
        for s in &self.series {
            s.line.iter().chain(&s.dots).for_each(|(px, py)| see(*px, *py));
            s.band.iter().for_each(|(px, low, high)| {
                see(*px, *low);
                see(*px, *high);
            });
        }
        // Nothing finite was seen.
        if x.0 > x.1 {
            return None;
        }
        let pad = |(low, high): (f64, f64), share: f64| {
            let room = if high > low { (high - low) * share } else { high.abs().max(1.0) * 0.1 };
            (low - room, high + room)
        };
        let y = if self.log_y { (y.0 * 0.8, y.1 * 1.25) } else { pad(y, 0.06) };
        Some((pad(x, 0.02), y))
    }

    /// Draws title, axes and curves.
    pub fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let Some(((x0, x1), (y0, y1))) = self.ranges() else { return Ok(()) };
        let mut builder = ChartBuilder::on(area);
        builder
            .caption(&self.title, ("sans-serif", 17))
            .margin(8)
            .margin_right(20)
            .x_label_area_size(44)
            .y_label_area_size(62);
        if self.log_y {
            let mut chart = builder.build_cartesian_2d(x0..x1, (y0..y1).log_scale())?;
            chart
                .configure_mesh()
                .light_line_style(TRANSPARENT)
                .bold_line_style(BLACK.mix(0.12))
                .x_labels(5)
                .y_labels(6)
                .label_style(("sans-serif", 14))
                .x_desc(&self.x_label)
                .x_label_formatter(&|v| plain(*v))
                .y_label_formatter(&|v| plain(*v))
                .draw()?;
            self.draw_marks(|mark| chart.draw_series(std::iter::once(mark)).map(|_| ()), y0, y1)?;
            for s in &self.series {
                let keep = |v: f64| v.max(y0);
                let band = s.polygon(&keep);
                if !band.is_empty() {
                    chart.draw_series(std::iter::once(Polygon::new(band, s.paint().mix(0.18))))?;
                }
                for stroke in s.strokes() {
                    let points: Vec<_> = stroke.iter().map(|(x, y)| (*x, keep(*y))).collect();
                    chart.draw_series(std::iter::once(PathElement::new(points, s.paint().stroke_width(2))))?;
                }
                chart.draw_series(
                    s.dots.iter().filter(|d| d.1 > 0.0).map(|d| Circle::new(*d, 3, s.paint().mix(0.55).filled())),
                )?;
            }
        } else {
            let mut chart = builder.build_cartesian_2d(x0..x1, y0..y1)?;
            chart
                .configure_mesh()
                .light_line_style(TRANSPARENT)
                .bold_line_style(BLACK.mix(0.12))
                .x_labels(5)
                .y_labels(6)
                .label_style(("sans-serif", 14))
                .x_label_formatter(&|v| plain(*v))
                .y_label_formatter(&|v| plain(*v))
                .x_desc(&self.x_label)
                .draw()?;
            self.draw_marks(|mark| chart.draw_series(std::iter::once(mark)).map(|_| ()), y0, y1)?;
            for s in &self.series {
                let band = s.polygon(&|v| v);
                if !band.is_empty() {
                    chart.draw_series(std::iter::once(Polygon::new(band, s.paint().mix(0.18))))?;
                }
                for stroke in s.strokes() {
                    chart.draw_series(std::iter::once(PathElement::new(stroke, s.paint().stroke_width(2))))?;
                }
                chart.draw_series(s.dots.iter().map(|d| Circle::new(*d, 3, s.paint().mix(0.55).filled())))?;
            }
        }
        Ok(())
    }

    fn draw_marks<E>(
        &self,
        mut draw: impl FnMut(PathElement<(f64, f64)>) -> Result<(), E>,
        y0: f64,
        y1: f64,
    ) -> Result<(), E> {
        for (x, _) in &self.marks {
            draw(PathElement::new(vec![(*x, y0), (*x, y1)], BLACK.mix(0.5).stroke_width(1)))?;
        }
        Ok(())
    }
}

/// A tick's number without zeros that say nothing.
fn plain(value: f64) -> String {
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

impl Series {
    fn paint(&self) -> RGBColor {
        PALETTE[self.color % PALETTE.len()]
    }

    fn polygon(&self, keep: &dyn Fn(f64) -> f64) -> Vec<(f64, f64)> {
        let upper = self.band.iter().map(|(x, _, high)| (*x, keep(*high)));
        let lower = self.band.iter().rev().map(|(x, low, _)| (*x, keep(*low)));
        upper.chain(lower).collect()
    }

    /// The line, or every other stretch of it.
    fn strokes(&self) -> Vec<Vec<(f64, f64)>> {
        if self.line.len() < 2 {
            return Vec::new();
        }
        if !self.dashed {
            return vec![self.line.clone()];
        }
        let pieces = 48;
        let (first, last) = (self.line[0].0, self.line[self.line.len() - 1].0);
        let at = |x: f64| {
            let after = self.line.partition_point(|p| p.0 < x).clamp(1, self.line.len() - 1);
            let (a, b) = (self.line[after - 1], self.line[after]);
            let share = if b.0 > a.0 { (x - a.0) / (b.0 - a.0) } else { 0.0 };
            (x, a.1 + share * (b.1 - a.1))
        };
        let step = (last - first) / f64::from(pieces);
        (0..pieces)
            .step_by(2)
            .map(|k| vec![at(first + step * f64::from(k)), at(first + step * f64::from(k + 1))])
            .collect()
    }
}

/// A matrix of colours, with numbers where they fit.
#[derive(Debug, Clone, Default)]
pub struct Heatmap {
    /// What is shown.
    pub title: String,
    /// Label of the columns.
    pub x_label: String,
    /// Label of the rows.
    pub y_label: String,
    /// A word per column; none for none.
    pub x_ticks: Vec<String>,
    /// A word per row; none for none.
    pub y_ticks: Vec<String>,
    /// Rows of values from the top; NaN is left grey.
    pub rows: Vec<Vec<f64>>,
}

/// Heatmaps of values in [0, 1] side by side.
#[derive(Debug, Clone)]
pub struct Heatmaps {
    /// Maps in a row.
    pub columns: usize,
    /// The maps.
    pub maps: Vec<Heatmap>,
}

impl Chart for Heatmaps {
    fn size(&self) -> (u32, u32) {
        let columns = self.columns.min(self.maps.len()).max(1);
        (columns as u32 * 450, self.maps.len().div_ceil(columns) as u32 * 400)
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let columns = self.columns.min(self.maps.len()).max(1);
        let rows = self.maps.len().div_ceil(columns).max(1);
        for (cell, map) in area.split_evenly((rows, columns)).iter().zip(&self.maps) {
            map.draw(cell)?;
        }
        Ok(())
    }
}

impl Heatmap {
    /// Draws the map with a scale from 0 to 1 beside it.
    pub fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let (width, height) = area.dim_in_pixel();
        let (left, top, right, bottom) = (76, 38, width as i32 - 66, height as i32 - 56);
        let centred =
            |size: u32| ("sans-serif", size).into_font().color(&BLACK).pos(Pos::new(HPos::Center, VPos::Center));
        area.draw(&Text::new(self.title.clone(), ((left + right) / 2, 18), centred(17)))?;
        let (n, m) = (self.rows.len() as i32, self.rows.first().map_or(0, Vec::len) as i32);
        if n == 0 || m == 0 {
            return Ok(());
        }
        let x = |c: i32| left + (right - left) * c / m;
        let y = |r: i32| top + (bottom - top) * r / n;
        for (r, row) in self.rows.iter().enumerate() {
            for (c, value) in row.iter().enumerate() {
                let (r, c) = (r as i32, c as i32);
                let color = if value.is_finite() { viridis(*value) } else { RGBColor(200, 200, 200) };
                area.draw(&Rectangle::new([(x(c), y(r)), (x(c + 1), y(r + 1))], color.filled()))?;
                if (right - left) / m >= 38 && (bottom - top) / n >= 18 && value.is_finite() {
                    let ink = if *value > 0.6 { BLACK } else { WHITE };
                    let place = ((x(c) + x(c + 1)) / 2, (y(r) + y(r + 1)) / 2);
                    let style = ("sans-serif", 15).into_font().color(&ink).pos(Pos::new(HPos::Center, VPos::Center));
                    area.draw(&Text::new(format!("{value:.2}"), place, style))?;
                }
            }
        }
        for (c, tick) in self.x_ticks.iter().enumerate() {
            let place = ((x(c as i32) + x(c as i32 + 1)) / 2, bottom + 14);
            area.draw(&Text::new(tick.clone(), place, centred(14)))?;
        }
        let right_aligned = ("sans-serif", 14).into_font().color(&BLACK).pos(Pos::new(HPos::Right, VPos::Center));
        for (r, tick) in self.y_ticks.iter().enumerate() {
            let place = (left - 6, (y(r as i32) + y(r as i32 + 1)) / 2);
            area.draw(&Text::new(tick.clone(), place, right_aligned.clone()))?;
        }
        area.draw(&Text::new(self.x_label.clone(), ((left + right) / 2, height as i32 - 18), centred(15)))?;
        let upright = ("sans-serif", 15).into_font().transform(FontTransform::Rotate270).color(&BLACK);
        let upright = upright.pos(Pos::new(HPos::Center, VPos::Center));
        area.draw(&Text::new(self.y_label.clone(), (16, (top + bottom) / 2), upright))?;
        for k in 0..100 {
            let at = |k: i32| bottom - (bottom - top) * k / 100;
            let color = viridis(f64::from(k) / 100.0);
            area.draw(&Rectangle::new([(right + 12, at(k + 1)), (right + 26, at(k))], color.filled()))?;
        }
        let left_aligned = ("sans-serif", 13).into_font().color(&BLACK).pos(Pos::new(HPos::Left, VPos::Center));
        for value in [0.0, 0.5, 1.0] {
            let place = (right + 30, bottom - ((bottom - top) as f64 * value) as i32);
            area.draw(&Text::new(format!("{value}"), place, left_aligned.clone()))?;
        }
        Ok(())
    }
}

fn viridis(value: f64) -> RGBColor {
    ViridisRGB.get_color(value.clamp(0.0, 1.0) as f32)
}

/// A bar with its interval and the values of single seeds.
#[derive(Debug, Clone)]
pub struct Bar {
    /// What it stands for.
    pub label: String,
    /// Index into [`PALETTE`].
    pub color: usize,
    /// Single values.
    pub values: Vec<f64>,
    /// Length of the bar; the mean of the values when not given.
    pub mean: Option<f64>,
}

/// Horizontal bars, one under the other.
#[derive(Debug, Clone)]
pub struct Bars {
    /// What is shown.
    pub title: String,
    /// Label of the axis.
    pub x_label: String,
    /// The bars from the top.
    pub bars: Vec<Bar>,
}

impl Chart for Bars {
    fn size(&self) -> (u32, u32) {
        (900, 96 + 30 * self.bars.len() as u32)
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let all = self.bars.iter().flat_map(|b| &b.values).filter(|v| v.is_finite());
        let (low, high) = all.fold((0.0f64, 0.0f64), |(l, h), v| (l.min(*v), h.max(*v)));
        let n = self.bars.len() as f64;
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 17))
            .margin(8)
            .margin_right(24)
            .x_label_area_size(44)
            .y_label_area_size(280)
            .build_cartesian_2d(low * 1.05..(high * 1.05).max(1e-9), 0.0..n)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .label_style(("sans-serif", 14))
            .x_desc(&self.x_label)
            .draw()?;
        for (k, bar) in self.bars.iter().enumerate() {
            let y = n - 0.5 - k as f64;
            let mean = bar.mean.unwrap_or(bar.values.iter().sum::<f64>() / bar.values.len().max(1) as f64);
            let paint = PALETTE[bar.color % PALETTE.len()];
            chart.draw_series(std::iter::once(Rectangle::new(
                [(0.0, y - 0.3), (mean, y + 0.3)],
                paint.mix(0.75).filled(),
            )))?;
            chart.draw_series(bar.values.iter().map(|v| Circle::new((*v, y), 3, BLACK.mix(0.6).filled())))?;
            let (x0, py) = chart.backend_coord(&(low * 1.05, y));
            let place = (x0 - 8, py);
            let style = ("sans-serif", 15).into_font().color(&BLACK).pos(Pos::new(HPos::Right, VPos::Center));
            area.draw(&Text::new(bar.label.clone(), place, style))?;
        }
        Ok(())
    }
}
