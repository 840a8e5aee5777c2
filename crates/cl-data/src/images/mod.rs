//! Labelled images: sets in host memory and where they are read from.
//!
//! An [`ImageSet`] holds `u8` pixels in channel planes, as CIFAR stores them. It is read from the
//! binary files of CIFAR ([`read_cifar10`], [`read_cifar100`]).

mod cifar;
mod error;
mod files;
mod image_set;

pub use cifar::{CIFAR10_CLASSES, Cifar100Labels, MAX_FILE_BYTES, read_cifar10, read_cifar100};
pub use error::ImageError;
pub use image_set::{ImageSet, ImageSplits};
