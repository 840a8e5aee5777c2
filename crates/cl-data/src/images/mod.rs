//! Labelled images: sets in host memory and where they are read from.
//!
//! An [`ImageSet`] holds `u8` pixels in channel planes, as CIFAR stores them. It is read from the
//! binary files of CIFAR ([`read_cifar10`], [`read_cifar100`]) or from a folder of PNG and JPEG files
//! ([`read_image_folder`]).

mod cifar;
mod error;
mod files;
mod folder;
mod image_set;

pub use cifar::{CIFAR10_CLASSES, Cifar100Labels, MAX_FILE_BYTES, read_cifar10, read_cifar100};
pub use error::ImageError;
pub use folder::{
    ImageFolderOptions, MAX_DECODER_BYTES, MAX_IMAGE_FILE_BYTES, MAX_IMAGE_SIDE, OtherSizes, read_image_folder,
};
pub use image_set::{ImageSet, ImageSplits};
