//! Values as colours, with a scale beside them.

use super::{Area, Drawn, LABEL_SIZE, Pen, TICK_SIZE};
use crate::report::chart::Heat;
use crate::report::number::{decimal, significant};
use crate::report::palette::{GRID, INK, ink_on, viridis};
use plotters::element::{EmptyElement, PathElement, Rectangle, Text};
use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color, FontTransform};

/// Number of shades: neighbours of the same shade are drawn as one box.
const SHADES: f64 = 40.0;

/// Width of a character in units of the font size.
const CHARACTER_WIDTH: f64 = 0.52;

pub(super) fn draw<DB: DrawingBackend>(heat: &Heat, area: &Area<DB>, pen: Pen) -> Drawn<DB> {
    let area = match &heat.scale {
        Some(name) => {
            let (width, _) = area.dim_in_pixel();
            let (left, right) = area.split_horizontally(width as i32 - pen.px(72.0));
            let below = if heat.x.label.is_empty() { 29.0 } else { 53.0 };
            scale(heat, name, &right.margin(pen.px(8.0), pen.px(below), 0, 0), pen)?;
            left
        }
        None => area.clone(),
    };
    let mut chart = pen.axes(&area, &heat.x, &heat.y, (false, false), 6.0)?;
    let rows = heat.cells.len();
    let written = |cell: &Option<f64>| cell.map_or("–".into(), |v| decimal(v, 2));
    let longest = heat.cells.iter().flatten().map(|cell| written(cell).chars().count()).max().unwrap_or(1);
    let columns = heat.cells.iter().map(Vec::len).max().unwrap_or(1).max(1);
    let cell_width = f64::from(chart.plotting_area().dim_in_pixel().0) / columns as f64 / pen.scale;
    // A digit is about half as wide as its font size; a tenth of the cell stays free.
    let number_size = LABEL_SIZE.min(0.9 * cell_width / (CHARACTER_WIDTH * longest.max(1) as f64));
    for (r, row) in heat.cells.iter().enumerate() {
        let (low, high) = ((rows - r - 1) as f64, (rows - r) as f64);
        let shades: Vec<Option<f64>> = row.iter().map(|cell| cell.map(|v| shade(v, heat.ends))).collect();
        let boxes = runs(&shades).into_iter().map(|(from, to, shade)| {
            let color = shade.map_or(GRID, viridis);
            Rectangle::new([(from as f64, low), (to as f64, high)], color.filled())
        });
        chart.draw_series(boxes)?;
        if heat.has_numbers {
            let numbers = row.iter().enumerate().map(|(c, cell)| {
                let color = cell.map_or(INK, |v| ink_on(viridis(shade(v, heat.ends))));
                let style = pen.text(number_size, color, HPos::Center, VPos::Center);
                EmptyElement::at((c as f64 + 0.5, low + 0.5)) + Text::new(written(cell), (0, 0), style)
            });
            chart.draw_series(numbers)?;
        }
    }
    Ok(())
}

fn scale<DB: DrawingBackend>(heat: &Heat, name: &str, area: &Area<DB>, pen: Pen) -> Drawn<DB> {
    let height = area.dim_in_pixel().1 as i32;
    let (left, right) = (pen.px(2.0), pen.px(16.0));
    let steps = SHADES as i32;
    for k in 0..steps {
        let at = |k: i32| height - height * k / steps;
        let color = viridis(f64::from(k) / f64::from(steps - 1));
        area.draw(&Rectangle::new([(left, at(k + 1)), (right, at(k))], color.filled()))?;
    }
    let (low, high) = heat.ends;
    for fraction in [0.0, 0.5, 1.0] {
        let y = height - (f64::from(height) * fraction).round() as i32;
        area.draw(&PathElement::new(vec![(right, y), (right + pen.px(4.0), y)], pen.stroke(INK, 1)))?;
        let text = significant(low + fraction * (high - low), 2);
        area.draw_text(&text, &pen.text(TICK_SIZE - 2.0, INK, HPos::Left, VPos::Center), (right + pen.px(6.0), y))?;
    }
    let style = pen.text(TICK_SIZE, INK, HPos::Center, VPos::Top).transform(FontTransform::Rotate270);
    area.draw_text(name, &style, (pen.px(46.0), height / 2))
}

/// A shade from 0 to 1.
fn shade(value: f64, (low, high): (f64, f64)) -> f64 {
    let fraction = ((value - low) / (high - low)).clamp(0.0, 1.0);
    (fraction * (SHADES - 1.0)).round() / (SHADES - 1.0)
}

/// Runs of neighbours with the same value: from, to, value.
fn runs<T: PartialEq + Copy>(values: &[T]) -> Vec<(usize, usize, T)> {
    let mut runs: Vec<(usize, usize, T)> = Vec::new();
    for (i, value) in values.iter().enumerate() {
        match runs.last_mut() {
            Some((_, to, last)) if last == value => *to = i + 1,
            _ => runs.push((i, i + 1, *value)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_one_shade_are_one_box() {
        assert_eq!(runs(&[1, 1, 2, 1]), [(0, 2, 1), (2, 3, 2), (3, 4, 1)]);
        assert!(runs::<u8>(&[]).is_empty());
    }

    #[test]
    fn shades_end_at_the_ends() {
        assert_eq!([-1.0, 0.0, 1.0, 7.0].map(|v| shade(v, (0.0, 1.0))), [0.0, 0.0, 1.0, 1.0]);
    }
}
