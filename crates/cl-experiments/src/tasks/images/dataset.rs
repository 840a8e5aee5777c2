//! Finds images, reads them once, and says what they are.

use crate::io::error::UserError;
use crate::io::fetch;
use crate::spec::RunSpec;
use crate::spec::experiment::Experiment;
use crate::spec::images::{Content, Dataset, ImageSpec};
use cl_data::images::{
    ImageFolderOptions, ImageSplits, OtherSizes, ShapesModel, read_cifar10, read_cifar100, read_image_folder,
};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

/// The images of a set, read once per process.
///
/// # Errors
/// [`UserError`] when they cannot be found or read.
pub fn load(dataset: &Dataset, data_dir: Option<&Path>) -> Result<Arc<(ImageSplits, Content)>, UserError> {
    type Loaded = HashMap<(String, Option<PathBuf>), Arc<(ImageSplits, Content)>>;
    static LOADED: OnceLock<Mutex<Loaded>> = OnceLock::new();
    let key = (format!("{dataset:?}"), data_dir.map(Path::to_path_buf));
    let loaded = LOADED.get_or_init(Mutex::default);
    if let Some(found) = loaded.lock().ok().and_then(|l| l.get(&key).cloned()) {
        return Ok(found);
    }
    let splits = read(dataset, data_dir)?;
    let (train, test) = (&splits.train, &splits.test);
    let content = Content {
        fingerprint: [train.fingerprint(), test.fingerprint()],
        train: train.len(),
        test: test.len(),
        size: [train.height(), train.width()],
        num_classes: train.num_classes(),
    };
    let images = Arc::new((splits, content));
    if let Ok(mut loaded) = loaded.lock() {
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

/// Finds the images of points that train on images, and writes what they are into their specifications.
///
/// # Errors
/// [`UserError`] when there are none, or others than those that are pinned, or where they do not fit the specification.
pub fn pin_all(experiment: &mut Experiment, data_dir: Option<&Path>) -> Result<(), UserError> {
    let path = experiment.folder.join("experiment.toml");
    for point in &mut experiment.points {
        if let RunSpec::Images(spec) = &mut point.spec {
            let content = load(&spec.images.dataset, data_dir)?.1.clone();
            spec.pin(content).map_err(|e| UserError::file(&path, format!("point {}: {e}", point.name)))?;
        }
    }
    Ok(())
}

/// Reads the images of a specification and pins them in it.
///
/// # Errors
/// [`UserError`] when they cannot be found or read, or are others than those asked for.
pub fn pin(spec: &mut ImageSpec, data_dir: Option<&Path>) -> Result<(), UserError> {
    let images = load(&spec.images.dataset, data_dir)?;
    spec.pin(images.1.clone()).map_err(|e| UserError::Run(e.to_string()))
}
