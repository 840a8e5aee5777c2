//! SVG with embedded pictures.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use plotters::backend::SVGBackend;
use plotters::prelude::DrawingBackend;
use plotters_backend::{BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingErrorKind};
use std::fmt::Write;
use std::io::Error;

/// Draws like [`SVGBackend`], but embeds pictures as PNG, where that would draw one rectangle per pixel.
pub struct SvgCanvas<'a> {
    shapes: SVGBackend<'a>,
    pictures: &'a mut String,
}

type Drawn = Result<(), DrawingErrorKind<Error>>;

impl<'a> SvgCanvas<'a> {
    /// Draws into `shapes`, a whole `<svg>` element; `pictures` are the elements to be inserted before its end.
    pub fn new(shapes: &'a mut String, pictures: &'a mut String, size: (u32, u32)) -> Self {
        Self { shapes: SVGBackend::with_string(shapes, size), pictures }
    }
}

impl DrawingBackend for SvgCanvas<'_> {
    type ErrorType = Error;

    fn get_size(&self) -> (u32, u32) {
        self.shapes.get_size()
    }

    fn ensure_prepared(&mut self) -> Drawn {
        self.shapes.ensure_prepared()
    }

    fn present(&mut self) -> Drawn {
        self.shapes.present()
    }

    fn draw_pixel(&mut self, point: BackendCoord, color: BackendColor) -> Drawn {
        self.shapes.draw_pixel(point, color)
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Drawn {
        self.shapes.draw_line(from, to, style)
    }

    fn draw_rect<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S, fill: bool) -> Drawn {
        self.shapes.draw_rect(from, to, style, fill)
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Drawn {
        self.shapes.draw_path(path, style)
    }

    fn draw_circle<S: BackendStyle>(&mut self, center: BackendCoord, radius: u32, style: &S, fill: bool) -> Drawn {
        self.shapes.draw_circle(center, radius, style, fill)
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, vertices: I, style: &S) -> Drawn {
        self.shapes.fill_polygon(vertices, style)
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, at: BackendCoord) -> Drawn {
        self.shapes.draw_text(text, style, at)
    }

    fn estimate_text_size<S: BackendTextStyle>(
        &self,
        text: &str,
        style: &S,
    ) -> Result<(u32, u32), DrawingErrorKind<Error>> {
        self.shapes.estimate_text_size(text, style)
    }

    fn blit_bitmap(&mut self, (x, y): BackendCoord, (width, height): (u32, u32), rgb: &[u8]) -> Drawn {
        let mut png = Vec::new();
        let encoded = PngEncoder::new(&mut png).write_image(rgb, width, height, ExtendedColorType::Rgb8);
        encoded.map_err(|error| DrawingErrorKind::DrawingError(Error::other(error)))?;
        let data = BASE64_STANDARD.encode(&png);
        let _ = writeln!(
            self.pictures,
            "<image x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" href=\"data:image/png;base64,{data}\"/>"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plotters::drawing::IntoDrawingArea;
    use plotters::element::BitMapElement;

    #[test]
    fn a_picture_is_a_png_at_its_place() {
        let (mut shapes, mut pictures) = (String::new(), String::new());
        let pixels = vec![255, 0, 0, 0, 255, 0];
        {
            let root = SvgCanvas::new(&mut shapes, &mut pictures, (20, 10)).into_drawing_area();
            root.draw(&BitMapElement::with_owned_buffer((3, 4), (2, 1), pixels.clone()).unwrap()).unwrap();
            root.present().unwrap();
        }
        let data = pictures
            .strip_prefix("<image x=\"3\" y=\"4\" width=\"2\" height=\"1\" href=\"data:image/png;base64,")
            .and_then(|rest| rest.strip_suffix("\"/>\n"))
            .unwrap();
        let picture = image::load_from_memory(&BASE64_STANDARD.decode(data).unwrap()).unwrap();
        assert_eq!(picture.into_rgb8().into_raw(), pixels);
        assert!(!shapes.contains("rect"), "{shapes}");
    }
}
