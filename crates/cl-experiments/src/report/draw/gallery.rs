//! Small pictures side by side.

use super::{Area, Drawn, Pen};
use crate::report::chart::{Gallery, Picture};
use plotters::element::BitMapElement;
use plotters::prelude::DrawingBackend;

/// Gap between pictures, as a fraction of a picture.
const GAP: f64 = 0.06;

pub(super) fn draw<DB: DrawingBackend>(gallery: &Gallery, area: &Area<DB>, pen: Pen) -> Drawn<DB> {
    let (width, height) = area.dim_in_pixel();
    let rows = gallery.pictures.len().div_ceil(gallery.columns.max(1));
    let room = |length: u32, count: usize| (f64::from(length) - 2.0 * f64::from(pen.px(8.0))) / count.max(1) as f64;
    let cell = room(width, gallery.columns).min(room(height, rows));
    for (k, picture) in gallery.pictures.iter().enumerate() {
        let side = (cell * (1.0 - GAP)) as u32;
        let at = |index: usize| pen.px(8.0) + (index as f64 * cell) as i32;
        let place = (at(k % gallery.columns), at(k / gallery.columns));
        let element = BitMapElement::with_owned_buffer(place, (side, side), enlarged(picture, side as usize));
        if let Some(element) = element {
            area.draw(&element)?;
        }
    }
    Ok(())
}

/// The picture enlarged to a square of `side` pixels, by nearest neighbour.
fn enlarged(picture: &Picture, side: usize) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(3 * side * side);
    for y in 0..side {
        for x in 0..side {
            let at = (y * picture.height / side) * picture.width + x * picture.width / side;
            pixels.extend_from_slice(&picture.rgb[3 * at..3 * at + 3]);
        }
    }
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_grow_by_whole_pixels() {
        let picture = Picture::from_planes(2, 1, &[1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
        assert_eq!(picture.rgb, [255, 0, 0, 0, 255, 0]);
        let (red, green) = ([255, 0, 0], [0, 255, 0]);
        assert_eq!(enlarged(&picture, 4), [red, red, green, green].repeat(4).concat());
    }
}
