//! Sentences with labels: the same for every arm of a seed.

use super::source::Corpus;
use super::spec::TextSpec;
use cl_data::tokens::Sentences;
use cl_data::{Purpose, Stream, epoch_order, stratified_order};

/// Sentences to learn labels from, in an order of which every beginning has the proportions of the classes, and sentences on which they are told.
#[derive(Debug)]
pub struct Labels {
    /// To learn from.
    pub train: Sentences,
    /// Their classes, in 0..K.
    pub train_classes: Vec<usize>,
    /// To be told.
    pub test: Sentences,
    /// Their classes.
    pub test_classes: Vec<usize>,
    /// `K`.
    pub classes: usize,
}

impl Labels {
    /// Those of a seed.
    pub fn of(spec: &TextSpec, seed: u64, corpus: &Corpus) -> Self {
        let most = spec.evaluation.budgets.iter().map(|b| b.labels).max().unwrap_or(0);
        let stream = Stream::new(seed, Purpose::TextLabels);
        let (pool, pool_classes, test, test_classes) = match corpus {
            Corpus::Generated(language) => {
                let pool = language.sample(most, Stream::new(seed, Purpose::ProbeTraining), 0);
                let test =
                    language.sample(spec.language_samples().test_sentences, Stream::new(seed, Purpose::ProbeTest), 0);
                (pool.sentences, pool.dominant, test.sentences, test.dominant)
            }
            Corpus::Read(text) => {
                let [train, test] = text.encoded.clone();
                (train, text.splits.train.classes.clone(), test, text.splits.test.classes.clone())
            }
        };
        let classes = spec.classes();
        let order = stratified_order(&pool_classes, classes, stream, 0);
        let order = &order[..most.min(order.len())];
        let mut train_classes: Vec<usize> = order.iter().map(|i| pool_classes[*i]).collect();
        if spec.evaluation.shuffled_labels {
            train_classes =
                epoch_order(train_classes.len(), stream, u64::MAX).iter().map(|i| train_classes[*i]).collect();
        }
        Self { train: pool.select(order), train_classes, test, test_classes, classes }
    }
}
