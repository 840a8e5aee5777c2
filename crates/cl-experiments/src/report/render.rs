//! Charts to files: SVG for the page, PNG beside it.

use super::chart::Chart;
use crate::error::UserError;
use crate::record::write_whole;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};
use std::path::Path;
use std::sync::Once;

/// A chart that was drawn.
#[derive(Debug, Clone)]
pub struct Figure {
    /// What one sees.
    pub caption: String,
    /// The drawing.
    pub svg: String,
}

static FONTS: Once = Once::new();

/// Draws `chart` to `<folder>/<name>.svg` and `.png`.
///
/// # Errors
/// [`UserError::File`] when drawing or writing fails.
pub fn draw(chart: &impl Chart, folder: &Path, name: &str, caption: &str) -> Result<Figure, UserError> {
    FONTS.call_once(|| {
        // Without system fonts text would be missing; DejaVu is part of the binary and known to parse.
        let _ = register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular());
        let _ = register_font("sans-serif", FontStyle::Bold, dejavu::sans::bold());
    });
    let failed =
        |e: &dyn std::fmt::Display| UserError::file(folder.join(name), format!("the figure cannot be drawn: {e}"));
    std::fs::create_dir_all(folder).map_err(|e| UserError::file(folder, format!("the folder cannot be made: {e}")))?;
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, chart.size()).into_drawing_area();
        area.fill(&WHITE).map_err(|e| failed(&e))?;
        chart.draw(&area).map_err(|e| failed(&e))?;
        area.present().map_err(|e| failed(&e))?;
    }
    write_whole(&folder.join(format!("{name}.svg")), svg.as_bytes())?;
    let staged = folder.join(format!(".staged-{}-{name}.png", std::process::id()));
    {
        let area = BitMapBackend::new(&staged, chart.size()).into_drawing_area();
        area.fill(&WHITE).map_err(|e| failed(&e))?;
        chart.draw(&area).map_err(|e| failed(&e))?;
        area.present().map_err(|e| failed(&e))?;
    }
    std::fs::rename(&staged, folder.join(format!("{name}.png"))).map_err(|e| failed(&e))?;
    Ok(Figure { caption: caption.into(), svg: scalable(&svg, caption) })
}

/// The drawing as a page wants it: as wide as its place, with a label for those who cannot see it.
fn scalable(svg: &str, label: &str) -> String {
    let start = svg.find("<svg").unwrap_or(0);
    let body = &svg[start..];
    let end = body.find('>').unwrap_or(0);
    let tag = &body[..end];
    let view_box = tag.find("viewBox=").map_or("", |at| {
        let rest = &tag[at..];
        let close = rest[9..].find('"').map_or(rest.len(), |k| k + 10);
        &rest[..close]
    });
    let label: String = label.chars().filter(|c| !matches!(c, '<' | '>' | '&' | '"')).collect();
    format!("<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-label=\"{label}\" {view_box}{}", &body[end..])
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_scalable_drawing_keeps_its_view_box_and_loses_its_size() {
        let svg = "<svg width=\"9\" height=\"4\" viewBox=\"0 0 9 4\" xmlns=\"x\">\n<g/></svg>";
        let out = super::scalable(svg, "a < \"b\"");
        assert_eq!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-label=\"a  b\" viewBox=\"0 0 9 4\">\n<g/></svg>"
        );
    }
}
