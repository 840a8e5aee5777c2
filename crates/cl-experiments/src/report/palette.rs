//! Colours, dashes and markers that can be told apart without colour vision.

use plotters::style::RGBColor;
use plotters::style::colors::colormaps::ViridisRGB;

/// Text and axes.
pub const INK: RGBColor = RGBColor(32, 33, 36);
/// Notes and reference lines.
pub const MUTED: RGBColor = RGBColor(95, 99, 104);
/// Grid lines.
pub const GRID: RGBColor = RGBColor(226, 228, 231);

/// Okabe and Ito's colours, without yellow, which is too light on white.
const OKABE_ITO: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(40, 40, 40),
];

/// How a line is dashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dash {
    /// Not at all.
    Solid,
    /// Long dashes.
    Long,
    /// Dots.
    Dots,
    /// Short dashes.
    Short,
}

/// The shape of a dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    /// A disc.
    Circle,
    /// A square.
    Square,
    /// A triangle that points up.
    Triangle,
    /// A square on its corner.
    Diamond,
    /// A cross.
    Cross,
}

/// What tells one series from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Colour.
    pub color: RGBColor,
    /// Dash.
    pub dash: Dash,
    /// Marker.
    pub marker: Marker,
}

impl Style {
    /// The style for a position in a list.
    pub fn nth(index: usize) -> Self {
        Self::with_color(OKABE_ITO[index % OKABE_ITO.len()], index)
    }

    /// The style for a position in an ordered list of `count`, from dark to light.
    pub fn ordered(index: usize, count: usize) -> Self {
        Self::with_color(viridis(0.85 * index as f64 / count.saturating_sub(1).max(1) as f64), index)
    }

    /// A solid line of one colour.
    pub fn plain(color: RGBColor) -> Self {
        Self { color, dash: Dash::Solid, marker: Marker::Circle }
    }

    fn with_color(color: RGBColor, index: usize) -> Self {
        let dashes = [Dash::Solid, Dash::Long, Dash::Dots, Dash::Short];
        let markers = [Marker::Circle, Marker::Square, Marker::Triangle, Marker::Diamond, Marker::Cross];
        Self { color, dash: dashes[index % dashes.len()], marker: markers[index % markers.len()] }
    }
}

/// Styles of named points: runs with a mask and runs without look the same in all figures.
pub fn styles_of<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<(&'a str, Style)> {
    let mut next = 2;
    let style = |name: &'a str| {
        let index = match name {
            "masked" | "paper" => 0,
            "none" => 1,
            _ => {
                next += 1;
                next - 1
            }
        };
        (name, Style::nth(index))
    };
    names.into_iter().map(style).collect()
}

/// Viridis, from 0 (dark) to 1 (light).
pub fn viridis(fraction: f64) -> RGBColor {
    ViridisRGB::get_color(fraction.clamp(0.0, 1.0))
}

/// Black or white, whichever stands out more on `color`.
pub fn ink_on(color: RGBColor) -> RGBColor {
    let linear = |v: u8| {
        let v = f64::from(v) / 255.0;
        if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
    };
    let luminance = 0.2126 * linear(color.0) + 0.7152 * linear(color.1) + 0.0722 * linear(color.2);
    if luminance > 0.179 { RGBColor(0, 0, 0) } else { RGBColor(255, 255, 255) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_keeps_its_style_beside_others() {
        let alone = styles_of(["none"]);
        let among = styles_of(["supervised", "none", "independent"]);
        assert_eq!(alone[0].1, among[1].1);
        assert!(among[0].1 != among[2].1 && among[0].1 != among[1].1);
    }

    #[test]
    fn ink_stands_out_at_both_ends_of_viridis() {
        assert_eq!(ink_on(viridis(0.0)), RGBColor(255, 255, 255));
        assert_eq!(ink_on(viridis(1.0)), RGBColor(0, 0, 0));
    }
}
