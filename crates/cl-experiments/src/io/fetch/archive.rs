//! What is published: address, digest, files and sizes.

use crate::io::error::UserError;
use cl_data::tokens::CLINC150_JSON;
use std::path::Path;

/// Allowance for what an archive holds besides its data files: class names, a page about the data set.
const EXTRAS_BYTE: u64 = 1 << 20;

/// Allowance for entries besides the data files.
const EXTRAS: usize = 16;

/// A published data set: a `.tar.gz` with one folder of data files, or a single file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Archive<'a> {
    /// Name on the command line.
    pub name: &'a str,
    /// Official address; its last part names the file.
    pub url: &'a str,
    /// Its published digest.
    pub digest: Digest<'a>,
    /// Whether it is one `.tar.gz` of the files, or the one file itself.
    pub is_packed: bool,
    /// The folder of the data files: the one at the top of the archive.
    pub top_folder: &'a str,
    /// Data files in that folder with their sizes in bytes.
    pub files: &'a [(&'a str, u64)],
    /// The data in another form that a folder of the user may hold instead.
    pub instead: Option<Instead<'a>>,
}

/// Another form of the same data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instead<'a> {
    /// The file or folder by which it is recognised.
    pub entry: &'a str,
    /// What it is, for messages.
    pub described: &'a str,
}

/// A digest in lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest<'a> {
    /// 32 of them.
    Md5(&'a str),
    /// 64 of them.
    Sha256(&'a str),
}

impl<'a> Digest<'a> {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5(_) => "MD5",
            Self::Sha256(_) => "SHA-256",
        }
    }

    /// Its digits.
    pub const fn digits(self) -> &'a str {
        match self {
            Self::Md5(digits) | Self::Sha256(digits) => digits,
        }
    }
}

impl std::fmt::Display for Digest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name(), self.digits())
    }
}

/// CIFAR-10 in its binary form: 10,000 records of 3,073 bytes per file.
///
/// Krizhevsky 2009, *Learning Multiple Layers of Features from Tiny Images*.
pub const CIFAR10: Archive<'static> = Archive {
    name: "cifar10",
    url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    digest: Digest::Md5("c32a1d4ab5d03f1284b67883e8d87530"),
    is_packed: true,
    top_folder: "cifar-10-batches-bin",
    files: &[
        ("data_batch_1.bin", 30_730_000),
        ("data_batch_2.bin", 30_730_000),
        ("data_batch_3.bin", 30_730_000),
        ("data_batch_4.bin", 30_730_000),
        ("data_batch_5.bin", 30_730_000),
        ("test_batch.bin", 30_730_000),
    ],
    instead: Some(Instead { entry: "train", described: "train/<class>/ and test/<class>/ with images" }),
};

/// CIFAR-100 in its binary form: records of 3,074 bytes, 50,000 and 10,000 of them.
///
/// Krizhevsky 2009, *Learning Multiple Layers of Features from Tiny Images*.
pub const CIFAR100: Archive<'static> = Archive {
    name: "cifar100",
    url: "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    digest: Digest::Md5("03b5dce01913d631647c71ecec9e9cb8"),
    is_packed: true,
    top_folder: "cifar-100-binary",
    files: &[("train.bin", 153_700_000), ("test.bin", 30_740_000)],
    instead: None,
};

/// CLINC150: 22,500 sentences with one of 150 intents, and some with none.
///
/// Larson et al. 2019, *An Evaluation Dataset for Intent Classification and Out-of-Scope Prediction*.
pub const CLINC150: Archive<'static> = Archive {
    name: "clinc150",
    url: "https://raw.githubusercontent.com/clinc/oos-eval/master/data/data_full.json",
    digest: Digest::Sha256("36923c3705a59e08fe9c3883d8bc2dd966ef93e22cb78ac41171782a698d56e0"),
    is_packed: false,
    top_folder: "clinc150",
    files: &[(CLINC150_JSON, 2_495_390)],
    instead: Some(Instead {
        entry: "clinc150-train.tsv",
        described: "clinc150-train.tsv and clinc150-test.tsv with intent and sentence",
    }),
};

impl Archive<'_> {
    /// The archive of a data set.
    ///
    /// # Errors
    /// [`UserError::Argument`] listing the available data sets.
    pub fn named(dataset: &str) -> Result<Archive<'static>, UserError> {
        [CIFAR10, CIFAR100, CLINC150].into_iter().find(|archive| archive.name == dataset).ok_or_else(|| {
            UserError::Argument(format!(
                "there is no data set {dataset:?} to fetch; choose cifar10, cifar100 or clinc150"
            ))
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
    /// has to be smaller as well; for all data sets that is far below 1 GiB.
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
