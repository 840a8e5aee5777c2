//! What is drawn, as data.

use super::axis::Axis;
use super::palette::{Marker, Style};

/// A titled chart of a given size.
#[derive(Debug, Clone)]
pub struct Panel {
    /// Its title.
    pub title: String,
    /// Width and height before scaling.
    pub size: (u32, u32),
    /// What it contains.
    pub chart: Chart,
}

/// Kinds of charts.
#[derive(Debug, Clone)]
pub enum Chart {
    /// Curves, dots and boxes over two axes.
    Plot(Plot),
    /// A row per name, with bars, ticks and dots along one axis.
    Rows(Rows),
    /// Values as colours.
    Heat(Heat),
    /// Pictures side by side.
    Gallery(Gallery),
    /// Lines of text.
    Text(Vec<TextLine>),
}

/// Curves, dots and boxes over two axes.
#[derive(Debug, Clone)]
pub struct Plot {
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// Drawn first.
    pub boxes: Vec<Bin>,
    /// The curves.
    pub curves: Vec<Curve>,
    /// Reference lines.
    pub rules: Vec<Rule>,
}

/// A box of a histogram.
#[derive(Debug, Clone, Copy)]
pub struct Bin {
    /// Left and right end.
    pub from_to: (f64, f64),
    /// Height.
    pub height: f64,
    /// Its colour.
    pub style: Style,
}

/// A series of points.
#[derive(Debug, Clone)]
pub struct Curve {
    /// How it looks.
    pub style: Style,
    /// Thickness of the line; 0 for none.
    pub width: u32,
    /// The line.
    pub line: Vec<(f64, f64)>,
    /// x, lower and upper end.
    pub band: Vec<(f64, f64, f64)>,
    /// How opaque the band is.
    pub band_opacity: f64,
    /// Single dots.
    pub dots: Vec<(f64, f64)>,
    /// x, lower and upper end.
    pub whiskers: Vec<(f64, f64, f64)>,
    /// The label next to the line.
    pub label: String,
    /// Whether a few markers are set along the line.
    pub has_markers: bool,
}

impl Curve {
    /// A line and nothing else.
    pub fn line(style: Style, line: Vec<(f64, f64)>) -> Self {
        Self {
            style,
            width: 2,
            line,
            band: Vec::new(),
            band_opacity: 0.2,
            dots: Vec::new(),
            whiskers: Vec::new(),
            label: String::new(),
            has_markers: false,
        }
    }

    /// All values, for the range of an axis.
    pub fn heights(&self) -> impl Iterator<Item = f64> {
        let ends = self.band.iter().chain(&self.whiskers).flat_map(|(_, low, high)| [*low, *high]);
        self.line.iter().chain(&self.dots).map(|(_, y)| *y).chain(ends)
    }
}

/// A reference line.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Where it crosses its axis.
    pub at: f64,
    /// Whether it is vertical.
    pub is_vertical: bool,
    /// The label next to it.
    pub label: String,
}

/// A row per name.
#[derive(Debug, Clone)]
pub struct Rows {
    /// The axis along the rows.
    pub x: Axis,
    /// From top to bottom.
    pub rows: Vec<Row>,
    /// Vertical reference lines.
    pub rules: Vec<Rule>,
}

/// One name and its marks.
#[derive(Debug, Clone)]
pub struct Row {
    /// The name.
    pub label: String,
    /// A number or two, at the right.
    pub note: String,
    /// Marks, one below the other.
    pub marks: Vec<Mark>,
}

/// A mark in a row.
#[derive(Debug, Clone)]
pub struct Mark {
    /// How it looks.
    pub style: Style,
    /// End of a bar that begins at 0.
    pub bar: Option<f64>,
    /// Ends of an interval.
    pub interval: Option<(f64, f64)>,
    /// Single values.
    pub dots: Vec<f64>,
    /// A vertical tick, as for a predicted value, with its own style.
    pub tick: Option<(f64, Style)>,
}

/// Values as colours.
#[derive(Debug, Clone)]
pub struct Heat {
    /// Horizontal axis, one unit per column.
    pub x: Axis,
    /// Vertical axis, one unit per row from the top.
    pub y: Axis,
    /// Rows from the top; `None` where nothing is known.
    pub cells: Vec<Vec<Option<f64>>>,
    /// The values of the darkest and the lightest colour.
    pub ends: (f64, f64),
    /// Whether numbers are written into the cells.
    pub has_numbers: bool,
    /// Label of the colour scale; `None` for no scale.
    pub scale: Option<String>,
}

/// Pictures in rows from the top left.
#[derive(Debug, Clone)]
pub struct Gallery {
    /// The pictures.
    pub pictures: Vec<Picture>,
    /// Pictures in a row.
    pub columns: usize,
}

/// A small picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Columns of pixels.
    pub width: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Red, green and blue of each pixel, row by row.
    pub rgb: Vec<u8>,
}

impl Picture {
    /// A picture of three planes of values in [0, 1].
    pub fn from_planes(width: usize, height: usize, planes: &[f32]) -> Self {
        let plane = width * height;
        let byte = |v: f32| (v.clamp(0.0, 1.0) * 255.0).round() as u8;
        let rgb = (0..plane).flat_map(|k| [0, 1, 2].map(|c| byte(planes[c * plane + k]))).collect();
        Self { width, height, rgb }
    }
}

/// A line of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextLine {
    /// What it says.
    pub text: String,
    /// How far it is moved to the right.
    pub indent: u32,
    /// Whether it is grey.
    pub is_muted: bool,
}

impl TextLine {
    /// Height of a line.
    pub const HEIGHT: u32 = 25;

    /// A line, cut at a number of letters.
    pub fn new(text: &str, indent: u32, is_muted: bool, letters: usize) -> Self {
        let cut: String = text.chars().take(letters).collect();
        let text = if cut.len() < text.len() { format!("{}…", cut.trim_end()) } else { cut };
        Self { text, indent, is_muted }
    }
}

/// How an entry of a legend looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Swatch {
    /// A line with a marker.
    Line,
    /// A dot.
    Dot,
    /// A filled box.
    Area(f64),
    /// An interval.
    Whisker,
    /// A vertical tick.
    Tick,
}

/// An entry of a legend.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What it stands for.
    pub label: String,
    /// How it looks.
    pub style: Style,
    /// What it is shown as.
    pub swatch: Swatch,
}

impl Entry {
    /// An entry.
    pub fn new(label: &str, style: Style, swatch: Swatch) -> Self {
        Self { label: label.into(), style, swatch }
    }
}

/// Panels side by side under one caption.
#[derive(Debug, Clone)]
pub struct Figure {
    /// File name without extension.
    pub name: String,
    /// What the figure shows, in a sentence or two.
    pub caption: String,
    /// Width of the drawing in a file.
    pub width: u32,
    /// The panels, which flow from left to right.
    pub panels: Vec<Panel>,
    /// What colours and dashes stand for.
    pub legend: Vec<Entry>,
}

/// Usual width of a figure: two panels.
pub const FIGURE_WIDTH: u32 = 920;

/// Usual size of a panel.
pub const PANEL: (u32, u32) = (460, 320);

/// Height of a [`Rows`] panel.
pub fn height_of_rows(rows: &[Row]) -> u32 {
    90 + rows.iter().map(Row::height).sum::<u32>()
}

impl Row {
    /// Height of the line with the label.
    pub const LABEL: u32 = 25;
    /// Height of a mark.
    pub const MARK: u32 = 20;
    /// Room below.
    pub const GAP: u32 = 7;

    /// Height of the whole row.
    pub fn height(&self) -> u32 {
        Self::LABEL + Self::MARK * self.marks.len() as u32 + Self::GAP
    }
}

/// Corners of a marker of radius `r` around the origin.
pub fn marker_corners(marker: Marker, r: f64) -> Vec<(f64, f64)> {
    let unit: &[(f64, f64)] = match marker {
        Marker::Circle => {
            return (0..16)
                .map(|k| f64::from(k) * std::f64::consts::TAU / 16.0)
                .map(|a| (r * a.cos(), r * a.sin()))
                .collect();
        }
        Marker::Square => &[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        Marker::Triangle => &[(0.0, -1.2), (1.1, 0.8), (-1.1, 0.8)],
        Marker::Diamond => &[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)],
        Marker::Cross => &[
            (0.0, -0.4),
            (0.8, -1.2),
            (1.2, -0.8),
            (0.4, 0.0),
            (1.2, 0.8),
            (0.8, 1.2),
            (0.0, 0.4),
            (-0.8, 1.2),
            (-1.2, 0.8),
            (-0.4, 0.0),
            (-1.2, -0.8),
            (-0.8, -1.2),
        ],
    };
    unit.iter().map(|(x, y)| (x * r, y * r)).collect()
}
