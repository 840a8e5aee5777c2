//! Scores of a trained image encoder: kNN and a linear probe on frozen features, beside raw pixels and the encoder
//! before training.

use super::anatomy::{self, Anatomy};
use super::directions::{self, Direction, Latent};
use super::learner::ImageLearner;
use super::training::ImageTraining;
use super::weights;
use crate::error::UserError;
use crate::record::RunFolder;
use burn::tensor::Tensor;
use cl_data::images::ImageSet;
use cl_model::knn::{KNearestNeighbors, accuracy, confusion_matrix};
use cl_model::probe::{ProbeError, logistic_classes};
use serde::{Deserialize, Serialize};

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
    /// SHA-256 of `weights.safetensors`: parameters and running statistics at the end, the same before and after scoring.
    pub last_sha256: String,
    /// The same of `weights-best.safetensors`.
    pub best_sha256: String,
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
/// [`UserError`] when features are not finite, a file cannot be written, or scoring changed a network.
pub fn evaluate(
    training: &ImageTraining,
    last: &ImageLearner,
    (best_step, best): (u64, &ImageLearner),
    folder: &RunFolder,
) -> Result<ImageEvaluation, UserError> {
    let in_folder = |e: &dyn std::fmt::Display| UserError::Run(format!("{}: {e}", folder.path().display()));
    let failed = |e: ProbeError| in_folder(&e);
    let wanted = training.spec().evaluation;
    let hashes = || Ok([weights::sha256(last)?, weights::sha256(best)?]);
    let [last_sha256, best_sha256] = hashes().map_err(|e: String| in_folder(&e))?;
    let scores = |learner: &ImageLearner| {
        let (train, test) = (&training.splits().train, &training.splits().test);
        let features = |images: &ImageSet| training.features(learner, images, &all(images));
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
        last_sha256,
        best_sha256,
    };
    let after = hashes().map_err(|e: String| in_folder(&e))?;
    if after != [&evaluation.last_sha256[..], &evaluation.best_sha256] {
        return Err(in_folder(&"scoring has changed the network"));
    }
    Ok(evaluation)
}

fn all(images: &ImageSet) -> Vec<usize> {
    (0..images.len()).collect()
}

fn score(training: &ImageTraining, train: Tensor<2>, test: Tensor<2>) -> Result<Scores, ProbeError> {
    let (labels, truth) = (training.train_labels(), training.splits().test.labels());
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
        let indices = all(images);
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
