//! Figures as SVG and PNG.

use super::chart::{Entry, Figure, Panel};
use super::draw;
use super::svg_canvas::SvgCanvas;
use crate::io::error::UserError;
use crate::io::files::write_whole;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use plotters::backend::BitMapBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::prelude::DrawingBackend;
use plotters::style::{FontStyle, WHITE, register_font};
use std::path::Path;
use std::sync::Once;

/// SVG coordinates are whole numbers; the finer the grid, the smoother the curves.
const SVG_SCALE: u32 = 4;

/// Pixels of a PNG per unit.
const PNG_SCALE: u32 = 2;

/// Pixels drawn per pixel of a PNG and averaged, in both directions.
const SUBPIXELS: u32 = 2;

/// Room at the left of a legend.
const INDENT: u32 = 14;

/// Makes DejaVu Sans the font of all figures, so that no system font is needed.
pub fn register_fonts() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let fonts = [(FontStyle::Normal, dejavu::sans::regular()), (FontStyle::Bold, dejavu::sans::bold())];
        for (style, font) in fonts {
            // A font built into the program can be read; otherwise figures would fail with their own error.
            let _ = register_font("sans-serif", style, font);
        }
    });
}

/// Upper left corners of panels that flow from left to right, and the height they need.
pub fn flow(sizes: &[(u32, u32)], width: u32) -> (Vec<(u32, u32)>, u32) {
    let (mut x, mut y, mut height) = (0, 0, 0);
    let mut corners = Vec::new();
    for &(w, h) in sizes {
        if x > 0 && x + w > width {
            (x, y, height) = (0, y + height, 0);
        }
        corners.push((x, y));
        x += w;
        height = height.max(h);
    }
    (corners, y + height)
}

/// A figure's size before scaling.
fn size(figure: &Figure) -> (u32, u32) {
    let sizes: Vec<_> = figure.panels.iter().map(|p| p.size).collect();
    let lines = draw::legend_lines(&figure.legend, figure.width - 2 * INDENT);
    let legend = if lines > 0 { lines * draw::LEGEND_LINE + 8 } else { 0 };
    (figure.width, flow(&sizes, figure.width).1 + legend)
}

fn draw_figure<DB: DrawingBackend>(figure: &Figure, root: &DrawingArea<DB, Shift>, scale: u32) -> draw::Drawn<DB> {
    root.fill(&WHITE)?;
    let sizes: Vec<_> = figure.panels.iter().map(|p| p.size).collect();
    let (corners, height) = flow(&sizes, figure.width);
    for (panel, (x, y)) in figure.panels.iter().zip(corners) {
        let area = root.clone().shrink((x * scale, y * scale), (panel.size.0 * scale, panel.size.1 * scale));
        draw::panel(panel, &area, f64::from(scale))?;
    }
    if !figure.legend.is_empty() {
        let (w, h) = size(figure);
        let area =
            root.clone().shrink((INDENT * scale, height * scale), ((w - 2 * INDENT) * scale, (h - height) * scale));
        draw::legend(&figure.legend, &area, f64::from(scale))?;
    }
    root.present()
}

/// The whole figure as an SVG file.
///
/// # Errors
/// The backend's message.
pub fn svg(figure: &Figure) -> Result<String, String> {
    let (w, h) = size(figure);
    let body = svg_body((w, h), |root| draw_figure(figure, root, SVG_SCALE))?;
    let open = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">",
        w * SVG_SCALE,
        h * SVG_SCALE,
        escaped(&figure.caption)
    );
    Ok(open + &body)
}

/// One panel as SVG to embed in a page, as wide as there is room.
///
/// # Errors
/// The backend's message.
pub fn inline_svg(panel: &Panel) -> Result<String, String> {
    let body = svg_body(panel.size, |root| {
        root.fill(&WHITE)?;
        draw::panel(panel, root, f64::from(SVG_SCALE))?;
        root.present()
    })?;
    Ok(opening(panel.size, &panel.title) + &body)
}

/// What precedes a legend entry, as SVG.
///
/// # Errors
/// The backend's message.
pub fn inline_swatch(entry: &Entry) -> Result<String, String> {
    let size = (40, 20);
    let body = svg_body(size, |root| {
        let middle = 10 * SVG_SCALE as i32;
        draw::swatch(entry, root, (2 * SVG_SCALE as i32, middle), f64::from(SVG_SCALE))?;
        root.present()
    })?;
    let open = format!(
        "<svg class=\"swatch\" viewBox=\"0 0 {} {}\" aria-hidden=\"true\">",
        size.0 * SVG_SCALE,
        size.1 * SVG_SCALE
    );
    Ok(open + &body)
}

fn opening((w, h): (u32, u32), label: &str) -> String {
    let (w, h) = (w * SVG_SCALE, h * SVG_SCALE);
    format!("<svg width=\"100%\" viewBox=\"0 0 {w} {h}\" role=\"img\" aria-label=\"{}\">", escaped(label))
}

type SvgDrawn<'a> = draw::Drawn<SvgCanvas<'a>>;

/// Everything after `<svg …>`, including `</svg>`.
fn svg_body(
    (w, h): (u32, u32),
    draw: impl for<'a, 'b> FnOnce(&'b DrawingArea<SvgCanvas<'a>, Shift>) -> SvgDrawn<'a>,
) -> Result<String, String> {
    register_fonts();
    let (mut text, mut pictures) = (String::new(), String::new());
    {
        let size = (w * SVG_SCALE, h * SVG_SCALE);
        let root = SvgCanvas::new(&mut text, &mut pictures, size).into_drawing_area();
        draw(&root).map_err(|e| e.to_string())?;
    }
    let body = text.split_once('>').map_or("", |(_, body)| body);
    // Defaults need not be repeated for each element.
    let body = body.replace(" opacity=\"1\"", "").replace(" stroke=\"none\"", "");
    Ok(match body.rsplit_once("</svg>") {
        Some((shapes, end)) => format!("{shapes}{pictures}</svg>{end}"),
        None => body,
    })
}

/// Writes the figure into `folder`, as SVG and as PNG.
///
/// # Errors
/// [`UserError::File`] naming the file.
pub fn write(figure: &Figure, folder: &Path) -> Result<(), UserError> {
    let path = folder.join(format!("{}.svg", figure.name));
    write_whole(&path, svg(figure).map_err(|e| UserError::file(&path, e))?.as_bytes())?;
    let path = folder.join(format!("{}.png", figure.name));
    let bytes = png(figure).map_err(|e| UserError::file(&path, e))?;
    write_whole(&path, &bytes)
}

/// The figure as PNG.
fn png(figure: &Figure) -> Result<Vec<u8>, String> {
    register_fonts();
    let (w, h) = size(figure);
    let (w, h) = (w * PNG_SCALE, h * PNG_SCALE);
    let fine = (w * SUBPIXELS, h * SUBPIXELS);
    let mut pixels = vec![255; 3 * fine.0 as usize * fine.1 as usize];
    {
        let root = BitMapBackend::with_buffer(&mut pixels, fine).into_drawing_area();
        draw_figure(figure, &root, PNG_SCALE * SUBPIXELS).map_err(|e| e.to_string())?;
    }
    let pixels = averaged(&pixels, fine.0 as usize, SUBPIXELS as usize);
    let mut bytes = Vec::new();
    let encoded = PngEncoder::new(&mut bytes).write_image(&pixels, w, h, ExtendedColorType::Rgb8);
    encoded.map_err(|e| e.to_string())?;
    Ok(bytes)
}

/// Means over squares of `n` × `n` pixels of three bytes each.
fn averaged(pixels: &[u8], width: usize, n: usize) -> Vec<u8> {
    let (columns, rows) = (width / n, pixels.len() / 3 / width / n);
    let mut means = Vec::with_capacity(3 * columns * rows);
    for r in 0..rows {
        for c in 0..columns {
            for channel in 0..3 {
                let of_row = |y: usize| {
                    (0..n).map(move |x| usize::from(pixels[3 * ((r * n + y) * width + c * n + x) + channel]))
                };
                let sum: usize = (0..n).flat_map(of_row).sum();
                means.push(((sum + n * n / 2) / (n * n)) as u8);
            }
        }
    }
    means
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_flow_and_break_like_words() {
        let (corners, height) = flow(&[(400, 300), (400, 200), (400, 250)], 900);
        assert_eq!(corners, [(0, 0), (400, 0), (0, 300)]);
        assert_eq!(height, 550);
        assert_eq!(flow(&[], 900).1, 0);
        assert_eq!(flow(&[(1000, 10)], 900).0, [(0, 0)]);
    }

    #[test]
    fn pixels_are_averaged_per_channel() {
        let pixels = [0, 10, 20, 2, 10, 20, 4, 10, 20, 6, 10, 22];
        assert_eq!(averaged(&pixels, 2, 2), [3, 10, 21]);
    }

    #[test]
    fn labels_cannot_leave_their_attribute() {
        assert_eq!(escaped("a \"b\" <c> & d"), "a &quot;b&quot; &lt;c&gt; &amp; d");
    }
}
