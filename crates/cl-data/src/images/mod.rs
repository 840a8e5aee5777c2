//! Labelled images: sets in host memory, where they are read from, and how some are generated.
//!
//! An [`ImageSet`] holds `u8` pixels in channel planes, as CIFAR stores them. It is read from the
//! binary files of CIFAR ([`read_cifar10`], [`read_cifar100`]) or from a folder of PNG and JPEG files
//! ([`read_image_folder`]), or drawn by a [`ShapesModel`], which needs no files.
//!
//! In generated images the shape is the sparse feature one wants to learn, and the colours are the
//! dense feature that tells images apart and says nothing about the class.
//!
//! ```
//! use cl_data::images::ShapesModel;
//!
//! let splits = ShapesModel::default().splits(12, 6, 1);
//! assert_eq!(splits.train.len(), 12);
//! assert_eq!(splits.train.pixels(0).len(), 3 * 32 * 32);
//! assert_eq!(splits.test.class_names()[0], "circle");
//! ```

pub mod augmentation;
mod channel_statistics;
mod cifar;
mod error;
mod files;
mod folder;
mod image_set;
mod shapes;

pub use channel_statistics::ChannelStatistics;
pub use cifar::{CIFAR10_CLASSES, Cifar100Labels, MAX_FILE_BYTES, read_cifar10, read_cifar100};
pub use error::ImageError;
pub use folder::{
    ImageFolderOptions, MAX_DECODER_BYTES, MAX_IMAGE_FILE_BYTES, MAX_IMAGE_SIDE, OtherSizes, read_image_folder,
};
pub use image_set::{ImageSet, ImageSplits};
pub use shapes::{GeneratedImages, Shape, ShapeLatents, ShapesModel};
