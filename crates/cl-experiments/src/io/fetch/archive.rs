//! What is published: address, digest, files and sizes.

use crate::io::error::UserError;
use std::path::Path;

/// Allowance for what an archive holds besides its data files: class names, a page about the data set.
const EXTRAS_BYTE: u64 = 1 << 20;

/// Allowance for entries besides the data files.
const EXTRAS: usize = 16;

/// A published `.tar.gz` with one folder of data files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Archive<'a> {
    /// Name on the command line.
    pub name: &'a str,
    /// Official address; its last part names the file.
    pub url: &'a str,
    /// Published MD5, 32 lower-case hexadecimal digits.
    pub md5: &'a str,
    /// The one folder at the top of the archive.
    pub top_folder: &'a str,
    /// Data files in that folder with their sizes in bytes.
    pub files: &'a [(&'a str, u64)],
    /// Whether a folder of the user may hold the images in class folders, `train/<class>/` and `test/<class>/`, instead.
    pub or_class_folders: bool,
}

/// CIFAR-10 in its binary form: 10,000 records of 3,073 bytes per file.
///
/// Krizhevsky 2009, *Learning Multiple Layers of Features from Tiny Images*.
pub const CIFAR10: Archive<'static> = Archive {
    name: "cifar10",
    url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    md5: "c32a1d4ab5d03f1284b67883e8d87530",
    top_folder: "cifar-10-batches-bin",
    files: &[
        ("data_batch_1.bin", 30_730_000),
        ("data_batch_2.bin", 30_730_000),
        ("data_batch_3.bin", 30_730_000),
        ("data_batch_4.bin", 30_730_000),
        ("data_batch_5.bin", 30_730_000),
        ("test_batch.bin", 30_730_000),
    ],
    or_class_folders: true,
};

/// CIFAR-100 in its binary form: records of 3,074 bytes, 50,000 and 10,000 of them.
///
/// Krizhevsky 2009, *Learning Multiple Layers of Features from Tiny Images*.
pub const CIFAR100: Archive<'static> = Archive {
    name: "cifar100",
    url: "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    md5: "03b5dce01913d631647c71ecec9e9cb8",
    top_folder: "cifar-100-binary",
    files: &[("train.bin", 153_700_000), ("test.bin", 30_740_000)],
    or_class_folders: false,
};

impl Archive<'_> {
    /// The archive of a data set.
    ///
    /// # Errors
    /// [`UserError::Argument`] listing the available data sets.
    pub fn named(dataset: &str) -> Result<Archive<'static>, UserError> {
        [CIFAR10, CIFAR100].into_iter().find(|archive| archive.name == dataset).ok_or_else(|| {
            UserError::Argument(format!("there is no data set {dataset:?} to fetch; choose cifar10 or cifar100"))
        })
    }

    /// The last part of the official address.
    pub fn file_name(&self) -> String {
        self.url.rsplit('/').next().unwrap_or(self.name).to_string()
    }

    /// The environment variable that names a folder with these files, such as `CL_CIFAR10_DIR`.
    pub fn variable(&self) -> String {
        format!("CL_{}_DIR", self.name.to_uppercase())
    }

    /// Describes the first data file that a folder lacks or has in the wrong size; `None` when it is complete.
    pub fn flaw(&self, folder: &Path) -> Option<String> {
        if !folder.is_dir() {
            return Some("it is not a folder".into());
        }
        self.files.iter().find_map(|(name, size)| match std::fs::metadata(folder.join(name)) {
            Ok(found) if !found.is_file() => Some(format!("{name} is not a file")),
            Ok(found) if found.len() == *size => None,
            Ok(found) => Some(format!("{name} has {} bytes instead of {size}", found.len())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Some(format!("{name} is missing")),
            Err(e) => Some(format!("{name} cannot be read: {e}")),
        })
    }

    /// Maximum size of all files together in bytes: the data files plus 1 MiB. The archive itself, being compressed,
    /// has to be smaller as well; for both data sets that is far below 1 GiB.
    pub fn limit_byte(&self) -> u64 {
        self.files.iter().map(|(_, size)| size).sum::<u64>() + EXTRAS_BYTE
    }

    /// Maximum size of one file in bytes: that of the data file, or 1 MiB for any other.
    pub(super) fn file_limit_byte(&self, name: &Path) -> u64 {
        self.files.iter().find(|(known, _)| Path::new(known) == name).map_or(EXTRAS_BYTE, |(_, size)| *size)
    }

    /// Maximum number of entries.
    pub(super) fn limit_entries(&self) -> usize {
        self.files.len() + EXTRAS
    }
}
