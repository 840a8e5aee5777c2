//! Finds images, reads them once, and identifies them.

use crate::io::error::UserError;
use crate::io::fetch;
use cl_data::images::{
    Cifar100Labels, ImageFolderOptions, ImageSplits, OtherSizes, ShapesModel, read_cifar10, read_cifar100,
    read_image_folder,
};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

/// A set of images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dataset {
    /// CIFAR-10 in its binary format, or a part of it, or in class folders.
    Cifar10,
    /// CIFAR-100 in its binary format.
    Cifar100(Cifar100Labels),
    /// `train/<class>/` and `test/<class>/` with PNG and JPEG files.
    Folder(FolderSpec),
    /// Coloured shapes on a textured background, generated; nothing is downloaded.
    Shapes(ShapesSpec),
}

/// A folder of images by class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderSpec {
    /// Height and width to which images are resized.
    pub size: usize,
}

/// How many shapes are generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShapesSpec {
    /// Training images.
    pub train: usize,
    /// Test images.
    pub test: usize,
    /// Seed of the images; the same for every seed of training.
    pub seed: u64,
}

/// The images that a run was made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// Fingerprints of training and test images, see [`cl_data::images::ImageSet::fingerprint`].
    pub fingerprint: [String; 2],
    /// Number of training images.
    pub train: usize,
    /// Number of test images.
    pub test: usize,
    /// Height and width.
    pub size: [usize; 2],
    /// `K`.
    pub num_classes: usize,
    /// How many images were read from JPEG files, which hold them only approximately.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub from_jpeg: usize,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// The images of a set, read once per process; with an imbalance, those of a long tail are trained on.
///
/// # Errors
/// [`UserError`] when they cannot be found or read.
pub fn load(
    dataset: &Dataset,
    imbalance: Option<f64>,
    data_dir: Option<&Path>,
) -> Result<Arc<(ImageSplits, Content)>, UserError> {
    type Loaded = HashMap<(String, Option<PathBuf>), Arc<(ImageSplits, Content)>>;
    static LOADED: OnceLock<Mutex<Loaded>> = OnceLock::new();
    let key = (format!("{dataset:?} {imbalance:?}"), data_dir.map(Path::to_path_buf));
    let loaded = LOADED.get_or_init(Mutex::default);
    if let Some(found) = loaded.lock().ok().and_then(|l| l.get(&key).cloned()) {
        return Ok(found);
    }
    let mut splits = read(dataset, data_dir)?;
    if let Some(imbalance) = imbalance {
        splits.train = splits.train.long_tailed(imbalance);
    }
    let (train, test) = (&splits.train, &splits.test);
    let content = Content {
        fingerprint: [train.fingerprint(), test.fingerprint()],
        train: train.len(),
        test: test.len(),
        size: [train.height(), train.width()],
        num_classes: train.num_classes(),
        from_jpeg: splits.from_jpeg,
    };
    let images = Arc::new((splits, content));
    if let Ok(mut loaded) = loaded.lock() {
        // One set stays in memory, the last one: a process that lives long meets many.
        loaded.clear();
        loaded.insert(key, images.clone());
    }
    Ok(images)
}

fn read(dataset: &Dataset, data_dir: Option<&Path>) -> Result<ImageSplits, UserError> {
    let failed = |e: cl_data::images::ImageError| UserError::Run(e.to_string());
    match dataset {
        Dataset::Cifar10 => read_cifar10(&fetch::data_folder("cifar10", data_dir)?).map_err(failed),
        Dataset::Cifar100(labels) => read_cifar100(&fetch::data_folder("cifar100", data_dir)?, *labels).map_err(failed),
        Dataset::Folder(folder) => {
            let data_dir = data_dir.ok_or_else(|| {
                UserError::Argument(
                    "a folder of images is needed: give --data-dir with train/<class>/ and test/<class>/ in it".into(),
                )
            })?;
            let options = ImageFolderOptions { size: folder.size, other_sizes: OtherSizes::Resize };
            read_image_folder(data_dir, options).map_err(failed)
        }
        Dataset::Shapes(shapes) => Ok(ShapesModel::default().splits(shapes.train, shapes.test, shapes.seed)),
    }
}
