//! Lines of text.

use super::{Area, Drawn, LABEL_SIZE, Pen};
use crate::report::chart::TextLine;
use crate::report::palette::{INK, MUTED};
use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::{HPos, VPos};

pub(super) fn draw<DB: DrawingBackend>(lines: &[TextLine], area: &Area<DB>, pen: Pen) -> Drawn<DB> {
    for (place, line) in lines.iter().enumerate() {
        let style = pen.text(LABEL_SIZE, if line.is_muted { MUTED } else { INK }, HPos::Left, VPos::Center);
        let x = pen.px(10.0 + 24.0 * f64::from(line.indent));
        let y = pen.px((place as f64 + 0.5) * f64::from(TextLine::HEIGHT));
        area.draw_text(&line.text, &style, (x, y))?;
    }
    Ok(())
}
