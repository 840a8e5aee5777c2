//! `images`: images and their views.

use crate::io::error::UserError;
use crate::run::catalog::Catalog;
use crate::tasks::images::preview;
use clap::Subcommand;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// What there is to do with images.
#[derive(Debug, Subcommand)]
pub enum Images {
    /// Write a PNG sheet of images with pairs of views as training would draw them
    Preview(Preview),
}

/// Arguments of `images preview`.
#[derive(Debug, clap::Args)]
pub struct Preview {
    /// Folder of an experiment on images
    pub experiment: PathBuf,
    /// The point; the first one of the file when not given
    #[arg(long)]
    pub point: Option<String>,
    /// The seed; the first one of the point when not given
    #[arg(long)]
    pub seed: Option<u64>,
    /// Images on the sheet
    #[arg(long, default_value = "10")]
    pub images: NonZeroUsize,
    /// Folder of images; CL_CIFAR10_DIR or what `data fetch` brought when not given
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// The file to write; an existing one is not overwritten
    #[arg(long)]
    pub output: PathBuf,
}

/// Writes a sheet.
///
/// # Errors
/// [`UserError`] as for [`preview::write`].
pub fn run(images: Images, catalog: &Catalog) -> Result<(), UserError> {
    let Images::Preview(Preview { experiment, point, seed, images, data_dir, output }) = images;
    let (path, pairs) = (output.clone(), preview::PAIRS);
    let rows = preview::write(
        &preview::Request { experiment, point, seed, images: images.get(), data_dir, output },
        catalog.parts(),
    )?;
    crate::say_line!("{}: {rows} images, each with {pairs} pairs of views", path.display());
    Ok(())
}
