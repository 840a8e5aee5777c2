//! Scores of a trained image encoder: kNN and a linear probe on frozen features, beside raw pixels and the encoder
//! before training.

use super::anatomy::{self, Anatomy};
use super::directions::{self, Direction, Latent};
use super::learner::ImageLearner;
use super::training::ImageTraining;
use crate::error::UserError;
use crate::record::RunFolder;
use burn::module::Module;
use burn::store::{ModuleSnapshot, SafetensorsStore};
use burn::tensor::Tensor;
use cl_data::images::ImageSet;
use cl_model::knn::{KNearestNeighbors, accuracy, confusion_matrix};
use cl_model::probe::{ProbeError, logistic_classes};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::Path;

/// `evaluation.json` of an image run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageEvaluation {
    /// The encoder at the end of training.
    pub last: Scores,
    /// The step of the snapshot with the best kNN accuracy. It was chosen on test images, so its scores are too good.
    pub best_step: u64,
    /// The encoder at that step.
    pub best: Scores,
    /// Raw pixels and the encoder before training, where the specification asks for it.
    pub baselines: Option<ImageBaselines>,
    /// SHA-256 of the encoder's parameters, the same before and after scoring.
    pub encoder_sha256: String,
    /// What is inside the encoder, where the specification asks for it.
    pub anatomy: Option<Anatomy>,
    /// Directions of the pixels, where the specification asks for it.
    pub directions: Option<Vec<Direction>>,
    /// Latents of generated images.
    pub latents: Option<Vec<Latent>>,
}

/// Scores of frozen features on all test images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Nearest neighbours by cosine.
    pub knn: Score,
    /// Multi-class logistic regression.
    pub probe: Score,
}

/// How a classifier does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Share of test images whose class is right.
    pub accuracy: f64,
    /// Row: the class; column: what it was taken for.
    pub confusion: Vec<Vec<usize>>,
}

/// What an encoder has to beat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageBaselines {
    /// Normalised pixels.
    pub pixels: Scores,
    /// The encoder before training.
    pub untrained: Scores,
}

/// Scores the learner at its end and at its best, outside autodiff.
///
/// # Errors
/// [`UserError`] when features are not finite, a file cannot be written, or scoring changed the encoder.
pub fn evaluate(
    training: &ImageTraining,
    last: &ImageLearner,
    (best_step, best): (u64, &ImageLearner),
    folder: &RunFolder,
) -> Result<ImageEvaluation, UserError> {
    let failed = |e: ProbeError| UserError::Run(format!("{}: {e}", folder.path().display()));
    let wanted = training.spec().evaluation;
    let encoder_sha256 = hash(last)?;
    let scores = |learner: &ImageLearner| {
        let (train, test) = (&training.splits().train, &training.splits().test);
        let features = |images: &ImageSet| training.features(learner, images, images.len());
        score(training, features(train), features(test)).map_err(failed)
    };
    let evaluation = ImageEvaluation {
        last: scores(last)?,
        best_step,
        best: scores(best)?,
        baselines: match wanted.baselines {
            true => Some(ImageBaselines {
                pixels: pixels(training).map_err(failed)?,
                untrained: scores(&training.untrained())?,
            }),
            false => None,
        },
        anatomy: if wanted.anatomy { Some(anatomy::look(training, last, folder)?) } else { None },
        directions: if wanted.anatomy { Some(directions::measure(training, last).map_err(failed)?) } else { None },
        latents: directions::latents(training, last).map_err(failed)?,
        encoder_sha256,
    };
    if hash(last)? != evaluation.encoder_sha256 {
        return Err(UserError::Run(format!("{}: scoring has changed the encoder", folder.path().display())));
    }
    Ok(evaluation)
}

fn score(training: &ImageTraining, train: Tensor<2>, test: Tensor<2>) -> Result<Scores, ProbeError> {
    let (labels, truth) = (training.splits().train.labels(), training.splits().test.labels());
    let classes = training.splits().train.num_classes();
    let wanted = training.spec().evaluation;
    let knn = KNearestNeighbors { k: wanted.neighbors, temperature: wanted.temperature };
    let of = |predicted: Vec<usize>| Score {
        accuracy: accuracy(&predicted, truth),
        confusion: confusion_matrix(&predicted, truth, classes),
    };
    Ok(Scores {
        knn: of(knn.predict(train.clone(), labels, test.clone(), classes)?),
        probe: of(logistic_classes(train, labels, test, classes)?),
    })
}

/// Pixels as features: averaged over squares of 4 × 4, so that a linear probe of them can be fitted.
fn pixels(training: &ImageTraining) -> Result<Scores, ProbeError> {
    const SQUARE: usize = 4;
    let features = |images: &ImageSet| {
        let indices: Vec<usize> = (0..images.len()).collect();
        let chunks = indices.chunks(1000).map(|chunk| {
            let x = training.inputs(images, chunk);
            let [n, channels, height, width] = x.dims();
            let (h, w) = (height / SQUARE, width / SQUARE);
            let squares = x
                .narrow(2, 0, h * SQUARE)
                .narrow(3, 0, w * SQUARE)
                .reshape([n * channels, h, SQUARE, w * SQUARE])
                .mean_dim(2)
                .reshape([n * channels * h, w, SQUARE])
                .mean_dim(2);
            squares.reshape([n, channels * h * w])
        });
        Tensor::cat(chunks.collect(), 0)
    };
    score(training, features(&training.splits().train), features(&training.splits().test))
}

/// SHA-256 of the encoder's parameters, running statistics included.
fn hash(learner: &ImageLearner) -> Result<String, UserError> {
    let bytes = store(&learner.encoder).map_err(UserError::Run)?;
    Ok(hex::encode(Sha256::digest(bytes)))
}

/// The parameters of a learner under their names, as safetensors.
///
/// # Errors
/// [`UserError::File`] naming the file they are for.
pub fn safetensors(learner: &ImageLearner, path: &Path) -> Result<Vec<u8>, UserError> {
    store(learner).map_err(|e| UserError::file(path, e))
}

fn store<M: Module>(module: &M) -> Result<Vec<u8>, String> {
    let failed = |e: &dyn std::fmt::Display| format!("weights cannot be laid out as safetensors: {e}");
    let mut store = SafetensorsStore::from_bytes(None).clear_metadata();
    module.save_into(&mut store).map_err(|e| failed(&e))?;
    store.get_bytes().map_err(|e| failed(&e))
}
