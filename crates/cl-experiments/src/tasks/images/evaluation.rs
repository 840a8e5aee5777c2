//! Scores of a trained image encoder: kNN and a linear probe on frozen features, compared with raw pixels and the
//! encoder before training.

use super::analysis::{self, RepresentationAnalysis};
use super::data::ImageData;
use super::directions::{self, Direction, Latent};
use crate::tasks::weights;
use burn::tensor::Tensor;
use cl_data::images::ImageSet;
use cl_model::Siamese;
use cl_model::conv::ImageEncoder;
use cl_model::knn::{KNearestNeighbors, confusion_matrix};
use cl_model::probe::{ProbeError, accuracy, logistic_classes};
use serde::{Deserialize, Serialize};

/// `evaluation.json` of an image run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageEvaluation {
    /// The encoder at the end of training.
    pub last: Scores,
    /// The step of the snapshot with the best kNN accuracy. It was chosen on test images, so its scores are optimistic.
    pub best_step: u64,
    /// The encoder at that step.
    pub best: Scores,
    /// Raw pixels and the encoder before training, if the specification asks for them.
    pub baselines: Option<ImageBaselines>,
    /// SHA-256 of `weights.safetensors`: parameters and running statistics at the end, the same before and after scoring.
    pub last_sha256: String,
    /// The same for `weights-best.safetensors`.
    pub best_sha256: String,
    /// What is inside the encoder, if the specification asks for it.
    pub analysis: Option<RepresentationAnalysis>,
    /// Directions of the pixels, if the specification asks for them.
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

/// How well a classifier does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Fraction of test images that are classified correctly.
    pub accuracy: f64,
    /// Row: true class; column: predicted class.
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

/// Scores the final and the best state, outside autodiff; also returns `analysis.safetensors` if requested.
///
/// # Errors
/// A message, when features are not finite or scoring changed a network.
pub fn evaluate<E: ImageEncoder>(
    data: &ImageData,
    last: &Siamese<E>,
    (best, best_step): (&Siamese<E>, u64),
    untrained: impl FnOnce() -> Siamese<E>,
) -> Result<(ImageEvaluation, Option<Vec<u8>>), String> {
    let in_words = |e: ProbeError| e.to_string();
    let wanted = data.spec().evaluation;
    let hashes = || Ok::<_, String>([weights::sha256(last)?, weights::sha256(best)?]);
    let [last_sha256, best_sha256] = hashes()?;
    let scores = |model: &Siamese<E>| {
        let (train, test) = (&data.splits().train, &data.splits().test);
        let features = |images: &ImageSet| data.features(model, images, &all(images));
        score(data, features(train), features(test)).map_err(in_words)
    };
    let (analysis, inside) = wanted.analysis.then(|| analysis::analyse(data, last)).unzip();
    let of_last = scores(last)?;
    let evaluation = ImageEvaluation {
        best_step,
        best: if best_sha256 == last_sha256 { of_last.clone() } else { scores(best)? },
        last: of_last,
        baselines: match wanted.baselines {
            true => Some(ImageBaselines { pixels: pixels(data).map_err(in_words)?, untrained: scores(&untrained())? }),
            false => None,
        },
        analysis,
        directions: wanted.analysis.then(|| directions::measure(data, last)).transpose().map_err(in_words)?,
        latents: directions::latents(data, last).map_err(in_words)?,
        last_sha256,
        best_sha256,
    };
    if hashes()? != [&evaluation.last_sha256[..], &evaluation.best_sha256] {
        return Err("scoring has changed the network".into());
    }
    Ok((evaluation, inside))
}

fn all(images: &ImageSet) -> Vec<usize> {
    (0..images.len()).collect()
}

fn score(data: &ImageData, train: Tensor<2>, test: Tensor<2>) -> Result<Scores, ProbeError> {
    let (labels, truth) = (data.train_labels(), data.splits().test.labels());
    let classes = data.splits().train.num_classes();
    let wanted = data.spec().evaluation;
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
fn pixels(data: &ImageData) -> Result<Scores, ProbeError> {
    const SQUARE: usize = 4;
    let features = |images: &ImageSet| {
        let indices = all(images);
        let chunks = indices.chunks(1000).map(|chunk| {
            let x = data.inputs(images, chunk);
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
    score(data, features(&data.splits().train), features(&data.splits().test))
}
