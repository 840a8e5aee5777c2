//! Sentences as a [`World`].

use super::evaluation::{TextEvaluation, features, label_scores, language_scores, mean_cosine, samples};
use super::labels::Labels;
use super::neighbors::nearest;
use super::source::{self, Corpus, Text};
use super::spec::{Partner, TextSpec};
use crate::io::error::UserError;
use crate::io::files::{pretty, safetensors_bytes};
use crate::io::undefined::or_nan;
use crate::spec::Specification;
use crate::tasks::task::{Evaluated, Place};
use crate::tasks::two_views::{TwoViewSpec, World};
use crate::tasks::weights;
use burn::tensor::{Device, Tensor, TensorData};
use cl_data::tokens::Sentences;
use cl_data::tokens::augmentation::TokenPipeline;
use cl_data::{Purpose, Stream, epoch_order};
use cl_model::{Encoder, Siamese, Tokens};

/// A seed's sentences.
#[derive(Debug, Clone)]
pub struct Texts {
    spec: TextSpec,
    seed: u64,
    pipeline: TokenPipeline,
    corpus: Corpus,
}

impl Texts {
    fn sentence_views(&self, count: usize, purpose: Purpose, step: u64) -> [Sentences; 2] {
        let stream = Stream::new(self.seed, purpose);
        match &self.corpus {
            Corpus::Generated(language) => {
                let drawn = language.sample(count, stream, step);
                self.pipeline.views(&drawn.sentences, Some((language, &drawn.style)), stream, step)
            }
            Corpus::Read(text) => self.pipeline.views(&self.rows(text, count, purpose, step), None, stream, step),
        }
    }

    /// Training sentences epoch by epoch; for anything else, test sentences at random, at most all of them.
    fn rows(&self, text: &Text, count: usize, purpose: Purpose, step: u64) -> Sentences {
        if purpose != Purpose::TrainingPairs {
            let order = epoch_order(text.encoded[1].len(), Stream::new(self.seed, purpose), step);
            return text.encoded[1].select(&order[..count.min(order.len())]);
        }
        let train = &text.encoded[0];
        let per_epoch = (train.len() / count) as u64;
        let order = epoch_order(train.len(), Stream::new(self.seed, Purpose::TextOrder), step / per_epoch);
        let from = (step % per_epoch) as usize * count;
        train.select(&order[from..from + count])
    }

    /// A test sentence and a class as words.
    fn test_text(&self, labels: &Labels, i: usize) -> String {
        match &self.corpus {
            Corpus::Generated(language) => {
                let mut words: Vec<u32> = labels.test.get(i).to_vec();
                words.sort_unstable();
                words.into_iter().map(|word| language.text(word)).collect::<Vec<_>>().join(" ")
            }
            Corpus::Read(text) => text.splits.test.sentences[i].clone(),
        }
    }

    fn class_name(&self, class: usize) -> String {
        match &self.corpus {
            Corpus::Generated(_) => format!("topic {class}"),
            Corpus::Read(text) => text.splits.class_names[class].clone(),
        }
    }
}

impl World for Texts {
    type Spec = TextSpec;
    type Input = Tokens;

    fn new(spec: &TextSpec, seed: u64, place: Place) -> Result<Self, UserError> {
        let mut spec = spec.clone();
        spec.pin(place.data_dir)?;
        let corpus = source::corpus(&spec.data.source, seed, place.data_dir)?;
        Ok(Self { pipeline: spec.views.pipeline(), spec, seed, corpus })
    }

    fn views(&self, count: usize, purpose: Purpose, step: u64, device: &Device) -> [Tokens; 2] {
        let [first, second] = self.sentence_views(count, purpose, step);
        let n = second.len();
        let order: Vec<usize> = match self.spec.views.partner {
            Partner::Own => (0..n).collect(),
            Partner::Next => (0..n).map(|i| (i + 1) % n).collect(),
        };
        let mut second = Tokens::new(order.iter().map(|i| second.get(*i)), device);
        if self.spec.views.second_mask == Partner::Next {
            second.mask = second.mask.roll_dim(-1, 0);
        }
        [Tokens::new(first.iter(), device), second]
    }

    fn reconstruction<E: Encoder<Input = Tokens>>(
        &self,
        model: &Siamese<E>,
        features: Tensor<2>,
        second: Tokens,
    ) -> Option<[Tensor<2>; 2]> {
        Some([model.logits(features), second.counts(self.spec.shape().vocabulary)])
    }

    fn evaluate<E: Encoder<Input = Tokens>>(
        &self,
        model: &Siamese<E>,
        untrained: impl FnOnce() -> Siamese<E>,
        device: &Device,
    ) -> Result<Evaluated, String> {
        let untrained = untrained();
        let encoders = [&model.encoder, &untrained.encoder];
        let labels = Labels::of(&self.spec, self.seed, &self.corpus);
        let drawn = self.corpus.language().map(|language| samples(language, &self.spec, self.seed));
        let language = drawn.as_ref().map(|drawn| language_scores(encoders, drawn, device)).transpose();
        let [after, before] = encoders.map(|encoder| features(encoder, &labels.test, device));
        let about = (&self.spec, self.spec.shape().vocabulary, self.seed);
        let evaluation = TextEvaluation {
            language: language.map_err(|e| e.to_string())?,
            mean_cosine: mean_cosine(after.clone()),
            outputs_mean_cosine: mean_cosine(model.project(after.clone())),
            labels: label_scores(encoders, &labels, about, device).map_err(|e| e.to_string())?,
        };
        let (class, text) = (|class| self.class_name(class), |i| self.test_text(&labels, i));
        let neighbors = nearest([before, after], &labels.test_classes, class, text);

        let mut tensors = vec![
            ("labelled", words(&labels.train)),
            ("labelled_classes", column(&labels.train_classes)),
            ("test", words(&labels.test)),
            ("test_classes", column(&labels.test_classes)),
        ];
        let names = [["fitted", "fitted_topics", "fitted_style"], ["scored", "scored_topics", "scored_style"]];
        for (drawn, [sentences, topics, style]) in drawn.iter().flatten().zip(names) {
            tensors.push((sentences, words(&drawn.sentences)));
            tensors.push((topics, drawn.topics.to_tensor(device).into_data()));
            tensors.push((style, drawn.style.to_tensor(device).into_data()));
        }
        let files = vec![
            ("evaluation.json", pretty(&evaluation).into_bytes()),
            ("neighbors.json", pretty(&neighbors).into_bytes()),
            ("text.safetensors", safetensors_bytes(tensors)),
            ("untrained.safetensors", weights::to_safetensors(&Siamese::of_encoder(untrained.encoder.clone()))?),
            ("model.safetensors", weights::to_safetensors(model)?),
        ];
        Ok(Evaluated { files, summary: summary(&evaluation) })
    }
}

fn summary(evaluation: &TextEvaluation) -> String {
    let language = evaluation.language.map(|l| format!("R² of topics {:.3}, of style {:.3}", l.topics, l.style));
    let labels = evaluation
        .labels
        .iter()
        .map(|(n, s)| format!("with {n} labels {:.3} fine-tuned, {:.3} from scratch", s.fine_tuned, s.scratch));
    let cosine = format!("mean cosine of outputs {:.3}", or_nan(evaluation.outputs_mean_cosine));
    language.into_iter().chain(labels).chain([cosine]).collect::<Vec<_>>().join("; ")
}

/// Numbers of words, −1 behind the end of a sentence, `[n, L]`.
fn words(sentences: &Sentences) -> TensorData {
    let longest = sentences.longest();
    let row = |sentence: &[u32]| {
        let mut row: Vec<f32> = sentence.iter().map(|w| *w as f32).collect();
        row.resize(longest, -1.0);
        row
    };
    TensorData::new(sentences.iter().flat_map(row).collect::<Vec<f32>>(), [sentences.len(), longest])
}

fn column(values: &[usize]) -> TensorData {
    TensorData::new(values.iter().map(|v| *v as f32).collect::<Vec<f32>>(), [values.len(), 1])
}
