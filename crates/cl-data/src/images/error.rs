//! What can be wrong with images and the files they come from.

use super::CIFAR10_CLASSES;
use std::path::PathBuf;

/// A condition that images or their files do not meet, with the values that break it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// A size that has to be at least one is zero.
    #[error("{name} = 0, but it has to be at least 1")]
    Zero {
        /// Which size.
        name: &'static str,
    },
    /// A size lies above its bound.
    #[error("{name} = {value} is above the bound of {bound}")]
    AboveBound {
        /// Which size.
        name: &'static str,
        /// The value given.
        value: usize,
        /// The largest value taken.
        bound: usize,
    },
    /// The pixels do not fill the images that the labels announce.
    #[error(
        "{found} pixel values for {images} labels; images of [3, {height}, {width}] need {expected}, one image a label"
    )]
    WrongPixelCount {
        /// Pixel values given.
        found: usize,
        /// Labels given.
        images: usize,
        /// Rows of an image.
        height: usize,
        /// Columns of an image.
        width: usize,
        /// Pixel values that would be right.
        expected: usize,
    },
    /// A label names no class.
    #[error("image {image} (from 0) has label {label}; it has to be in 0..{num_classes}")]
    LabelWithoutClass {
        /// Index of the image.
        image: usize,
        /// Its label.
        label: usize,
        /// Number of class names.
        num_classes: usize,
    },
    /// Two classes have the same name.
    #[error("two classes are called {name:?}")]
    RepeatedClassName {
        /// The name.
        name: String,
    },
    /// A list of class names contains one twice.
    #[error("{}: the class name {name:?} stands there twice; each class has a name of its own", path.display())]
    RepeatedName {
        /// The list.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// A class holds fewer images than were asked for.
    #[error("class {class:?} has {found} images, {wanted} are asked for")]
    TooFewOfClass {
        /// Name of the class.
        class: String,
        /// Images it has.
        found: usize,
        /// Images asked for.
        wanted: usize,
    },

    /// The system refused to read something.
    #[error("{path}: {source}")]
    Io {
        /// What was read.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file or folder does not exist.
    #[error("{path} is missing; needed is {needed}")]
    Missing {
        /// What was looked for.
        path: PathBuf,
        /// What has to be there.
        needed: &'static str,
    },
    /// Something other than a folder is where a folder has to be.
    #[error("{path} is not a folder")]
    NotAFolder {
        /// What is there.
        path: PathBuf,
    },
    /// Something other than a file is where a file has to be.
    #[error("{path} is not a file")]
    NotAFile {
        /// What is there.
        path: PathBuf,
    },
    /// A file is larger than the limit.
    #[error("{path} has {bytes} bytes; files of this kind are read up to {limit} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
        /// The largest length that is read.
        limit: u64,
    },
    /// A file is empty.
    #[error("{path} is empty")]
    EmptyFile {
        /// The file.
        path: PathBuf,
    },
    /// A file of records ends inside one.
    #[error(
        "{path} has {bytes} bytes: {whole_records} whole records of {record_bytes} bytes and {left_over} bytes left over"
    )]
    PartialRecord {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: usize,
        /// Length of a record.
        record_bytes: usize,
        /// Whole records in the file.
        whole_records: usize,
        /// Bytes after the last whole record.
        left_over: usize,
    },
    /// A record's label names no class.
    #[error("{path}: record {record} (from 0) has {kind} {value} at byte {offset}; it has to be in 0..{num_classes}")]
    LabelOutOfRange {
        /// The file.
        path: PathBuf,
        /// The record, from 0.
        record: usize,
        /// Which of the record's labels.
        kind: &'static str,
        /// Place of the label in the file, from 0.
        offset: usize,
        /// The label.
        value: u8,
        /// Number of classes.
        num_classes: usize,
    },
    /// A list of class names does not have as many names as there are classes.
    #[error("{path} holds {found} class names, one a line; {expected} are needed")]
    WrongNumberOfNames {
        /// The file.
        path: PathBuf,
        /// Names found.
        found: usize,
        /// Names needed.
        expected: usize,
    },

    /// Class folders that are not those of CIFAR-10.
    #[error("the class folders of {path} are {}, those of CIFAR-10 are {}", found.join(", "), CIFAR10_CLASSES.join(", "))]
    NotCifar10Classes {
        /// The folder with the class folders.
        path: PathBuf,
        /// Their names.
        found: Vec<String>,
    },

    /// A folder that has to hold class folders holds none.
    #[error("{path} holds no class folder")]
    NoClasses {
        /// The folder.
        path: PathBuf,
    },
    /// A class folder holds no image.
    #[error("{path} holds no png, jpg or jpeg file")]
    EmptyClass {
        /// The folder.
        path: PathBuf,
    },
    /// A class is in one split and not in the other.
    #[error("class {class:?} is in {present_in} and not in {missing_in}; both need the same classes")]
    ClassMissing {
        /// Name of the class.
        class: String,
        /// The folder that has it.
        present_in: PathBuf,
        /// The folder that lacks it.
        missing_in: PathBuf,
    },
    /// A file among the images has none of the extensions that are read.
    #[error("{path} is not called .png, .jpg or .jpeg; other files in a class folder are left out only when hidden")]
    NotAnImageName {
        /// The file.
        path: PathBuf,
    },
    /// A name cannot be written as text.
    #[error("the name of {path} is not UTF-8")]
    NameNotUtf8 {
        /// The file or folder.
        path: PathBuf,
    },
    /// A symbolic link points outside the folder that is read.
    #[error("{path} links to {target}, outside {folder}; links are followed inside the folder only")]
    LinkLeavesFolder {
        /// The link.
        path: PathBuf,
        /// Where it points.
        target: PathBuf,
        /// The folder that is read.
        folder: PathBuf,
    },
    /// An image cannot be decoded within the limits.
    #[error("{path} cannot be decoded: {source}")]
    Undecodable {
        /// The file.
        path: PathBuf,
        /// The decoder's answer.
        source: image::ImageError,
    },
    /// A JPEG file ends inside its picture, where the decoder would fill in grey.
    #[error("{path} ends before its picture does: no end-of-image marker follows the last scan")]
    TruncatedJpeg {
        /// The file.
        path: PathBuf,
    },
    /// An image has a different size, and other sizes are refused.
    #[error("{path} is {width} x {height} pixels; {size} x {size} is needed")]
    WrongImageSize {
        /// The file.
        path: PathBuf,
        /// Its columns.
        width: u32,
        /// Its rows.
        height: u32,
        /// The side that would be right.
        size: usize,
    },
}
