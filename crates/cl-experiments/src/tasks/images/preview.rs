//! `images preview`: a sheet of images and their views, to look at before training.

use super::data::ImageData;
use super::spec::ImageSpec;
use crate::io::error::UserError;
use crate::io::files::write_whole;
use crate::spec::Parts;
use crate::tasks::choice::{Choice, choose};
use crate::tasks::task::Place;
use cl_data::Purpose;
use std::path::PathBuf;

/// Pixels of the sheet per pixel of an image, and the gap between images.
const SCALE: usize = 3;
const GAP: usize = 4;

/// Pairs of views per image.
pub const PAIRS: u64 = 4;

/// Which images to show, and where.
#[derive(Debug, Clone)]
pub struct Request {
    /// Folder of an experiment on images.
    pub experiment: PathBuf,
    /// The point; the first one when `None`.
    pub point: Option<String>,
    /// The seed; the first one of the point when `None`.
    pub seed: Option<u64>,
    /// Maximum number of images on the sheet.
    pub images: usize,
    /// The image folder, if given.
    pub data_dir: Option<PathBuf>,
    /// The file to write, which must not exist.
    pub output: PathBuf,
}

/// Writes a PNG, one image per row: the image, then pairs of views as in training. Returns the number of images.
///
/// # Errors
/// [`UserError`] when images cannot be read, or the file exists or cannot be written.
pub fn write(request: &Request, parts: &Parts) -> Result<usize, UserError> {
    let (output, data_dir) = (&request.output, request.data_dir.as_deref());
    if output.exists() {
        return Err(UserError::file(output, "the file exists and is not overwritten; give another --output"));
    }
    let Choice { point, seed, .. } =
        choose(&request.experiment, request.point.as_deref(), request.seed, data_dir, parts)?;
    let Some(spec) = point.spec.get::<ImageSpec>() else {
        return Err(UserError::Argument(format!("--point {}: it does not train on images", point.name)));
    };
    let place = Place { device_name: "flex", device: &crate::io::device::open("flex")?, data_dir };
    let (png, rows) = sheet(spec, seed, request.images, place)?;
    write_whole(output, &png)?;
    Ok(rows)
}

/// A PNG with at most `images` training images, and their number.
///
/// # Errors
/// [`UserError`] when images cannot be read.
pub fn sheet(spec: &ImageSpec, seed: u64, images: usize, place: Place) -> Result<(Vec<u8>, usize), UserError> {
    let data = ImageData::new(spec, seed, place)?;
    let train = &data.splits().train;
    let indices = data.part_of_train(images);
    let rows = indices.len();
    let plane = train.height() * train.width();
    let mut columns: Vec<Vec<f32>> = vec![train.tensor(indices, data.device()).into_data().iter::<f32>().collect()];
    for pair in 0..PAIRS {
        let views = data.views(train, indices, Purpose::ImageViews, pair);
        let views: Vec<f32> = data.statistics().denormalise(views).into_data().iter::<f32>().collect();
        let (first, second) = views.split_at(rows * 3 * plane);
        columns.extend([first.to_vec(), second.to_vec()]);
    }
    let (h, w) = (train.height() * SCALE + GAP, train.width() * SCALE + GAP);
    // A wider gap separates the image and each pair.
    let left = |column: usize| GAP + column * w + column.div_ceil(2) * 2 * GAP;
    let (sheet_w, sheet_h) = (left(columns.len()), rows * h + GAP);
    let mut sheet = image::RgbImage::from_pixel(sheet_w as u32, sheet_h as u32, image::Rgb([255; 3]));
    for (column, values) in columns.iter().enumerate() {
        for (row, values) in values.chunks_exact(3 * plane).enumerate() {
            for y in 0..train.height() * SCALE {
                for x in 0..train.width() * SCALE {
                    let at = (y / SCALE) * train.width() + x / SCALE;
                    let color = [0, 1, 2].map(|c| (values[c * plane + at].clamp(0.0, 1.0) * 255.0).round() as u8);
                    sheet.put_pixel((left(column) + x) as u32, (GAP + row * h + y) as u32, image::Rgb(color));
                }
            }
        }
    }
    let mut png = Vec::new();
    sheet
        .write_to(&mut std::io::Cursor::new(&mut png), image::ImageFormat::Png)
        .map_err(|e| UserError::Run(format!("the sheet of images cannot be encoded: {e}")))?;
    Ok((png, rows))
}
