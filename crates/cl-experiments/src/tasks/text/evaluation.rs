//! What an encoder of sentences has learned by the end of a run.

use super::fine_tuning::{CHUNK, fine_tuned_accuracy};
use super::labels::Labels;
use super::spec::TextSpec;
use crate::tasks::spread::is_finite;
use burn::tensor::{Device, Tensor, TensorData};
use cl_data::tokens::{Sentences, TopicLanguage, TopicSentences};
use cl_data::{Matrix, Purpose, Stream};
use cl_model::decoders::{Decoder, decoded_r_squared};
use cl_model::probe::{ProbeError, accuracy, logistic_classes};
use cl_model::{Encoder, Tokens};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `evaluation.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextEvaluation {
    /// What is read off the features, of the generated language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<LanguageScores>,
    /// Mean cosine of the features of two different test sentences.
    pub mean_cosine: Option<f64>,
    /// The same of the outputs that the objective sees: 1 where they have collapsed.
    pub outputs_mean_cosine: Option<f64>,
    /// By the number of labels.
    pub labels: BTreeMap<usize, LabelScores>,
}

/// `R²` of a linear decoder on features.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LanguageScores {
    /// Of how likely each topic is.
    pub topics: f64,
    /// Of the style.
    pub style: f64,
    /// The first minus the second.
    pub topics_minus_style: f64,
    /// The same three of the untrained encoder.
    pub untrained_topics: f64,
    /// See above.
    pub untrained_style: f64,
    /// See above.
    pub untrained_topics_minus_style: f64,
}

/// Accuracies with so many labels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LabelScores {
    /// Of the trained encoder, fine-tuned.
    pub fine_tuned: f64,
    /// Of the untrained one, fine-tuned in the same way: training from scratch.
    pub scratch: f64,
    /// The first minus the second.
    pub gain: f64,
    /// Of a linear probe on the features.
    pub probe: f64,
    /// Of one on those of the untrained encoder.
    pub untrained_probe: f64,
    /// The first probe minus the second.
    pub probe_gain: f64,
    /// Of one on the counts of words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bag_of_words: Option<f64>,
    /// Of one on counts weighted by `1 + log (1 + n)/(1 + n_w)`, of unit length: n sentences, n_w with the word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tf_idf: Option<f64>,
}

/// Features of sentences, outside the gradient.
pub fn features<E: Encoder<Input = Tokens>>(encoder: &E, sentences: &Sentences, device: &Device) -> Tensor<2> {
    let chunk = |start: usize| {
        let rows = start..(start + CHUNK).min(sentences.len());
        encoder.forward(Tokens::new(rows.map(|i| sentences.get(i)), device))
    };
    Tensor::cat((0..sentences.len()).step_by(CHUNK).map(chunk).collect(), 0)
}

/// Sentences that topics and style are read off, and those on which it is scored.
pub fn samples(language: &TopicLanguage, spec: &TextSpec, seed: u64) -> [TopicSentences; 2] {
    let stream = Stream::new(seed, Purpose::Evaluation);
    [0, 1].map(|part| language.sample(spec.language_samples().samples, stream, 0x1000 + part))
}

/// Reads topics and style off features.
///
/// # Errors
/// [`ProbeError`] when features are not finite.
pub fn language_scores<E: Encoder<Input = Tokens>>(
    [trained, untrained]: [&E; 2],
    [fitted, scored]: &[TopicSentences; 2],
    device: &Device,
) -> Result<LanguageScores, ProbeError> {
    let rows = |m: &Matrix| m.iter_rows().map(|r| r.iter().map(|v| f64::from(*v)).collect()).collect::<Vec<Vec<f64>>>();
    let read = |encoder: &E, of: fn(&TopicSentences) -> &Matrix| -> Result<f64, ProbeError> {
        let [a, b] = [fitted, scored].map(|drawn| features(encoder, &drawn.sentences, device));
        let found = decoded_r_squared(Decoder::Linear, a, &rows(of(fitted)), b, &rows(of(scored)))?;
        Ok(found.unwrap_or(f64::NAN))
    };
    let (topics, style) = (read(trained, |d| &d.topics)?, read(trained, |d| &d.style)?);
    let (untrained_topics, untrained_style) = (read(untrained, |d| &d.topics)?, read(untrained, |d| &d.style)?);
    Ok(LanguageScores {
        topics,
        style,
        topics_minus_style: topics - style,
        untrained_topics,
        untrained_style,
        untrained_topics_minus_style: untrained_topics - untrained_style,
    })
}

/// `(‖Σ_i ĥ_i‖² − n)/(n(n − 1))` over features of unit length: the mean cosine of two different ones; `None` where one is not finite.
pub fn mean_cosine(features: Tensor<2>) -> Option<f64> {
    let [n, _] = features.dims();
    if n < 2 || !is_finite(&features) {
        return None;
    }
    let unit = cl_model::objectives::normalized(features);
    let squares: f64 = unit.clone().square().sum().into_scalar();
    let of_sum: f64 = unit.sum_dim(0).square().sum().into_scalar();
    Some((of_sum - squares) / (n as f64 * (n as f64 - 1.0)))
}

/// Accuracies for every budget.
///
/// # Errors
/// [`ProbeError`] when features are not finite.
pub fn label_scores<E: Encoder<Input = Tokens>>(
    [trained, untrained]: [&E; 2],
    labels: &Labels,
    (spec, vocabulary, seed): (&TextSpec, usize, u64),
    device: &Device,
) -> Result<BTreeMap<usize, LabelScores>, ProbeError> {
    let of_encoders = [trained, untrained]
        .map(|encoder| [&labels.train, &labels.test].map(|sentences| features(encoder, sentences, device)));
    let mut scores = BTreeMap::new();
    for &budget in &spec.evaluation.budgets {
        let n = budget.labels;
        let classes = &labels.train_classes[..n];
        let probe = |[train, test]: [Tensor<2>; 2]| -> Result<f64, ProbeError> {
            let told = logistic_classes(train.narrow(0, 0, n), classes, test, labels.classes)?;
            Ok(accuracy(&told, &labels.test_classes))
        };
        let [of_trained, of_untrained] = of_encoders.clone();
        let tuned = |encoder: &E| fine_tuned_accuracy(encoder, labels, (&spec.evaluation, budget), seed, device);
        let (fine_tuned, scratch) = (tuned(trained), tuned(untrained));
        let is_scored = spec.evaluation.baselines && !budget.without_baselines;
        let counts = is_scored.then(|| word_counts(labels, n, vocabulary));
        let weighted = counts.clone().map(|counts| tf_idf(counts, n));
        let (of_features, of_untrained) = (probe(of_trained)?, probe(of_untrained)?);
        let score = LabelScores {
            fine_tuned,
            scratch,
            gain: fine_tuned - scratch,
            probe: of_features,
            untrained_probe: of_untrained,
            probe_gain: of_features - of_untrained,
            bag_of_words: counts.clone().map(probe).transpose()?,
            tf_idf: weighted.map(probe).transpose()?,
        };
        scores.insert(n, score);
    }
    Ok(scores)
}

/// How often each word of the first n labelled sentences occurs in these and in those of the test. A probe learns nothing of other
/// words.
fn word_counts(labels: &Labels, n: usize, vocabulary: usize) -> [Tensor<2>; 2] {
    let device = Device::flex();
    let mut columns: Vec<Option<usize>> = vec![None; vocabulary];
    let mut known = 0;
    for word in (0..n).flat_map(|i| labels.train.get(i)) {
        columns[*word as usize].get_or_insert_with(|| {
            known += 1;
            known - 1
        });
    }
    [(&labels.train, n), (&labels.test, labels.test.len())].map(|(sentences, rows)| {
        let mut counts = vec![0f32; rows * known];
        for (row, sentence) in sentences.iter().take(rows).enumerate() {
            for column in sentence.iter().filter_map(|word| columns[*word as usize]) {
                counts[row * known + column] += 1.0;
            }
        }
        Tensor::from_data(TensorData::new(counts, [rows, known]), &device)
    })
}

/// Counts weighted by how few of the first n training sentences have a word, of unit length.
fn tf_idf([train, test]: [Tensor<2>; 2], n: usize) -> [Tensor<2>; 2] {
    let of_word = train.clone().narrow(0, 0, n).greater_elem(0.0).float().sum_dim(0);
    let weights = ((of_word + 1.0).log() - (1.0 + n as f64).ln()).neg() + 1.0;
    [train, test].map(|counts| cl_model::objectives::normalized(counts * weights.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_cosine_is_that_of_different_rows() {
        let device = Device::flex();
        let of = |rows: [[f32; 2]; 3]| mean_cosine(Tensor::from_data(rows, &device)).unwrap();
        assert!((of([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]) - 1.0).abs() < 1e-6);
        // Cosines 0, −1 and 0.
        assert!((of([[1.0, 0.0], [0.0, 5.0], [-1.0, 0.0]]) + 1.0 / 3.0).abs() < 1e-6);
        assert_eq!(mean_cosine(Tensor::from_data([[f32::NAN], [1.0]], &device)), None);
    }

    #[test]
    fn rare_words_weigh_more() {
        let device = Device::flex();
        let counts = || Tensor::<2>::from_data([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]], &device);
        let [train, _] = tf_idf([counts(), counts()], 2);
        let values = train.into_data().try_to_vec::<f32>().unwrap();
        let rare = 1.0 + (3f32 / 2.0).ln();
        let length = (1.0 + rare * rare).sqrt();
        for (found, expected) in values.iter().zip([1.0 / length, rare / length, 0.0, 1.0, 0.0, 0.0]) {
            assert!((found - expected).abs() < 1e-6, "{values:?}");
        }
    }
}
