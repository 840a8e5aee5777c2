//! `images preview`: a sheet of images and their views, because people look before they train.

use super::training::ImageTraining;
use crate::cli::Preview;
use crate::error::UserError;
use crate::export::{Choice, choose};
use crate::record::write_whole;
use crate::spec::RunSpec;
use cl_data::Purpose;

/// Pixels of the sheet per pixel of an image, and the gap between images.
const SCALE: usize = 3;
const GAP: usize = 4;

/// Pairs of views per image.
const PAIRS: u64 = 4;

/// Writes a PNG with one image a row: the image, then pairs of views as training would draw them.
///
/// # Errors
/// [`UserError`] when images cannot be read or the file is there or cannot be written.
pub fn write(arguments: &Preview) -> Result<(), UserError> {
    let (output, data_dir) = (&arguments.output, arguments.data_dir.as_deref());
    if output.exists() {
        return Err(UserError::file(output, "the file exists and is not overwritten; give another --output"));
    }
    let Choice { point, seed, .. } =
        choose(&arguments.experiment, arguments.point.as_deref(), arguments.seed, data_dir)?;
    let RunSpec::Images(spec) = &point.spec else {
        return Err(UserError::Argument(format!("--point {}: it does not train on images", point.name)));
    };
    let training = ImageTraining::new(spec, seed, data_dir, "flex", &crate::device::open("flex")?)?;
    let train = &training.splits().train;
    let indices = training.part_of_train(arguments.images);
    let rows = indices.len();
    let plane = train.height() * train.width();
    let mut columns: Vec<Vec<f32>> = vec![train.tensor(indices, training.device()).into_data().iter::<f32>().collect()];
    for pair in 0..PAIRS {
        let views = training.views(train, indices, Purpose::ImageViews, pair);
        let views: Vec<f32> = training.statistics().denormalise(views).into_data().iter::<f32>().collect();
        let (first, second) = views.split_at(rows * 3 * plane);
        columns.extend([first.to_vec(), second.to_vec()]);
    }
    let (h, w) = (train.height() * SCALE + GAP, train.width() * SCALE + GAP);
    // A wider gap stands between the image and each pair.
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
        .map_err(|e| UserError::file(output, format!("the sheet cannot be encoded: {e}")))?;
    write_whole(output, &png)?;
    crate::say_line!("{}: {rows} images, each with {PAIRS} pairs of views", output.display());
    Ok(())
}
