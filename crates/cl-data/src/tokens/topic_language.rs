//! A language of which it is known what a sentence is about and how it is put: topics are to it what sparse features are to the sparse coding
//! model, style what dense ones are.
//!
//! Each topic has concepts, each concept has words that mean the same. A sentence has two topics, one dominant: a laboratory version of the setting
//! of Fang et al. 2020 (CERT, arXiv 2005.12766), in which two translations of a sentence say the same in other words.

use crate::{Matrix, Part, Stream, standard_normal};
use cl_config::{Component, ConfigError, at_least, check, not_negative};
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::Sentences;

/// Sizes of a [`TopicLanguage`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TopicLanguageConfig {
    /// At least 2. Default 16.
    pub topics: usize,
    /// Concepts of a topic, at least 1. Default 4.
    pub concepts: usize,
    /// Words of a concept, at least 1. Default 4.
    pub synonyms: usize,
    /// Words that belong to no topic, at least 2. Default 256.
    pub style_words: usize,
    /// Coordinates of a style, at least 1. Default 8.
    pub style_dim: usize,
    /// `β` ≥ 0: given the style u, the style word w has a probability proportional to `exp(β ⟨e_w, u⟩)`, `‖e_w‖ = 1`. Default 2.
    pub style_sharpness: f64,
    /// Words of a sentence that belong to its topics, at least 1. Default 8.
    pub topic_tokens: usize,
    /// Words of a sentence that do not. Default 16.
    pub style_tokens: usize,
    /// Probability that a topic word is of the dominant topic, in (½, 1]; else it is of the second. Default 0.65.
    pub dominant_share: f64,
}

impl Default for TopicLanguageConfig {
    fn default() -> Self {
        Self {
            topics: 16,
            concepts: 4,
            synonyms: 4,
            style_words: 256,
            style_dim: 8,
            style_sharpness: 2.0,
            topic_tokens: 8,
            style_tokens: 16,
            dominant_share: 0.65,
        }
    }
}

impl Component for TopicLanguageConfig {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        at_least("topics", self.topics as u64, 2)?;
        at_least("concepts", self.concepts as u64, 1)?;
        at_least("synonyms", self.synonyms as u64, 1)?;
        at_least("style_words", self.style_words as u64, 2)?;
        at_least("style_dim", self.style_dim as u64, 1)?;
        not_negative("style_sharpness", self.style_sharpness)?;
        at_least("topic_tokens", self.topic_tokens as u64, 1)?;
        let share = self.dominant_share;
        check(share > 0.5 && share <= 1.0, "dominant_share", share, "above 0.5 and at most 1")?;
        let words = [self.topics, self.concepts, self.synonyms].iter().try_fold(1_usize, |n, k| n.checked_mul(*k));
        let total = words.and_then(|n| n.checked_add(self.style_words)).filter(|n| u32::try_from(*n).is_ok());
        check(total.is_some(), "topics", self.topics, "so small that all words can be numbered in 32 bits")?;
        Ok(self)
    }
}

impl TopicLanguageConfig {
    /// Words of all topics; the others follow.
    pub fn topic_words(&self) -> usize {
        self.topics * self.concepts * self.synonyms
    }

    /// All words.
    pub fn vocabulary(&self) -> usize {
        self.topic_words() + self.style_words
    }
}

/// The language of one seed. The words of topics come first, topic by topic and concept by concept.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicLanguage {
    config: TopicLanguageConfig,
    /// `e_w`, `[style_words, style_dim]`.
    style_directions: Matrix,
}

/// Sentences with what is behind them.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicSentences {
    /// The words, in no particular order.
    pub sentences: Sentences,
    /// The dominant topic of each, in 0..topics.
    pub dominant: Vec<usize>,
    /// How likely a topic word is of each topic, `[n, topics]`.
    pub topics: Matrix,
    /// `u ~ N(0, I)`, `[n, style_dim]`.
    pub style: Matrix,
}

impl TopicLanguage {
    /// A language with random directions of style.
    ///
    /// # Errors
    /// [`ConfigError`] on values out of range.
    pub fn random(config: TopicLanguageConfig, stream: Stream) -> Result<Self, ConfigError> {
        let config = config.checked()?;
        let mut values = standard_normal(&mut stream.rng(Part::Whole, 0), config.style_words * config.style_dim);
        for direction in values.chunks_exact_mut(config.style_dim) {
            let length = direction.iter().map(|v| v * v).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
            direction.iter_mut().for_each(|v| *v /= length);
        }
        let style_directions = Matrix::from_values(config.style_words, config.style_dim, values);
        Ok(Self { config, style_directions })
    }

    /// Its sizes.
    pub fn config(&self) -> &TopicLanguageConfig {
        &self.config
    }

    /// `e_w`, `[style_words, style_dim]`.
    pub fn style_directions(&self) -> &Matrix {
        &self.style_directions
    }

    /// Words that mean the same as a word, itself among them; a word of style has none but itself.
    pub fn synonyms(&self, word: u32) -> std::ops::Range<u32> {
        let synonyms = self.config.synonyms as u32;
        match (word as usize) < self.config.topic_words() {
            true => word / synonyms * synonyms..word / synonyms * synonyms + synonyms,
            false => word..word + 1,
        }
    }

    /// Whether a word belongs to no topic.
    pub fn is_style(&self, word: u32) -> bool {
        word as usize >= self.config.topic_words()
    }

    /// The word as text: `t03c1b` is a word of the concept 1 of topic 3, `s017` one of style.
    pub fn text(&self, word: u32) -> String {
        let (word, c) = (word as usize, &self.config);
        if word >= c.topic_words() {
            return format!("s{:03}", word - c.topic_words());
        }
        let (concept, synonym) = (word / c.synonyms, word % c.synonyms);
        let letter = char::from_u32('a' as u32 + synonym as u32).filter(char::is_ascii_lowercase);
        let synonym = letter.map_or_else(|| format!("-{synonym}"), String::from);
        format!("t{:02}c{}{synonym}", concept / c.concepts, concept % c.concepts)
    }

    /// Draws sentences.
    pub fn sample(&self, count: usize, stream: Stream, step: u64) -> TopicSentences {
        let c = &self.config;
        let style = standard_normal(&mut stream.rng(Part::DenseNoise, step), count * c.style_dim);
        let style = Matrix::from_values(count, c.style_dim, style);
        let mut topics = Matrix::zeros(count, c.topics);
        let (mut dominant, mut sentences) = (Vec::with_capacity(count), Sentences::new());
        let mut rng = stream.rng(Part::Words, step);
        for i in 0..count {
            let first = rng.random_range(0..c.topics);
            // Any other one.
            let second = (first + rng.random_range(1..c.topics)) % c.topics;
            topics.row_mut(i)[second] = (1.0 - c.dominant_share) as f32;
            topics.row_mut(i)[first] = c.dominant_share as f32;
            dominant.push(first);
            let mut words: Vec<u32> = (0..c.topic_tokens)
                .map(|_| {
                    let topic = if rng.random::<f64>() < c.dominant_share { first } else { second };
                    let of_topic = c.concepts * c.synonyms;
                    (topic * of_topic + rng.random_range(0..of_topic)) as u32
                })
                .collect();
            words.extend(self.style_words(style.row(i), c.style_tokens, &mut rng));
            words.shuffle(&mut rng);
            sentences.push(words);
        }
        TopicSentences { sentences, dominant, topics, style }
    }

    /// Words of a style.
    pub fn style_words(&self, style: &[f32], count: usize, rng: &mut impl Rng) -> Vec<u32> {
        let sharpness = self.config.style_sharpness as f32;
        let exponent = |direction: &[f32]| sharpness * direction.iter().zip(style).map(|(e, u)| e * u).sum::<f32>();
        let exponents: Vec<f32> = self.style_directions.iter_rows().map(exponent).collect();
        let largest = exponents.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // Only where exponentials would overflow, or all of them vanish.
        let shift = if largest.abs() > 60.0 { largest } else { 0.0 };
        let mut sum = 0.0;
        let cumulative: Vec<f32> = exponents
            .iter()
            .map(|exponent| {
                sum += (exponent - shift).exp();
                sum
            })
            .collect();
        let (first, last) = (self.config.topic_words(), cumulative.len() - 1);
        let word = |u: f32| cumulative.partition_point(|c| *c <= u * sum).min(last);
        (0..count).map(|_| (first + word(rng.random::<f32>())) as u32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Purpose;

    fn language(config: TopicLanguageConfig) -> TopicLanguage {
        TopicLanguage::random(config, Stream::new(1, Purpose::Dictionary)).unwrap()
    }

    #[test]
    fn words_come_from_the_topics_of_a_sentence_and_from_its_style() {
        let language = language(TopicLanguageConfig::default());
        let drawn = language.sample(4000, Stream::new(2, Purpose::Evaluation), 0);
        let (mut own, mut of_topics) = (0, 0);
        let mut along = 0.0;
        for (i, sentence) in drawn.sentences.iter().enumerate() {
            assert_eq!(sentence.len(), 24);
            let (style, topic): (Vec<u32>, Vec<u32>) = sentence.iter().partition(|w| language.is_style(**w));
            assert_eq!((topic.len(), style.len()), (8, 16));
            of_topics += topic.len();
            for word in topic {
                let topic = word as usize / 16;
                assert!(drawn.topics.row(i)[topic] > 0.0);
                own += usize::from(topic == drawn.dominant[i]);
            }
            for word in style {
                let direction = language.style_directions().row(word as usize - 256);
                along += direction.iter().zip(drawn.style.row(i)).map(|(e, u)| f64::from(e * u)).sum::<f64>();
            }
            assert!((drawn.topics.row(i).iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
        // Binomial with 32,000 draws: a standard deviation of 0.0027.
        assert!((own as f64 / of_topics as f64 - 0.65).abs() < 0.01);
        // Words lean towards the style: for many of them on a sphere in 8 dimensions by about β‖u‖²/8 = 2.
        let along = along / (4000.0 * 16.0);
        assert!(along > 0.8 && along < 2.0, "{along}");
        assert_eq!(drawn, language.sample(4000, Stream::new(2, Purpose::Evaluation), 0));
        assert_ne!(drawn, language.sample(4000, Stream::new(2, Purpose::Evaluation), 1));
    }

    /// Without sharpness every word of style is as likely.
    #[test]
    fn sharpness_ties_words_to_the_style() {
        let config =
            TopicLanguageConfig { style_sharpness: 0.0, style_words: 4, style_tokens: 4000, ..Default::default() };
        let words = language(config).sample(1, Stream::new(1, Purpose::Evaluation), 0);
        let count = |w: u32| words.sentences.get(0).iter().filter(|x| **x == 256 + w).count();
        for word in 0..4 {
            assert!((count(word) as f64 - 1000.0).abs() < 140.0, "{}", count(word));
        }
    }

    /// However sharp, words of a style are those nearest to it, not the last ones.
    #[test]
    fn the_sharpest_style_has_its_nearest_word() {
        let config = TopicLanguageConfig { style_sharpness: 1e4, ..Default::default() };
        let language = language(config);
        let drawn = language.sample(50, Stream::new(1, Purpose::Evaluation), 0);
        for (i, sentence) in drawn.sentences.iter().enumerate() {
            let along = |w: usize| -> f32 {
                language.style_directions().row(w).iter().zip(drawn.style.row(i)).map(|(e, u)| e * u).sum()
            };
            let nearest = (0..256).max_by(|a, b| along(*a).total_cmp(&along(*b))).unwrap();
            let style: Vec<u32> = sentence.iter().copied().filter(|w| language.is_style(*w)).collect();
            let own = style.iter().filter(|w| **w as usize == 256 + nearest).count();
            assert!(own > 8, "{own} of {}", style.len());
        }
    }

    #[test]
    fn words_have_names_and_synonyms() {
        let language = language(TopicLanguageConfig::default());
        assert_eq!([0, 5, 255, 256].map(|w| language.text(w)), ["t00c0a", "t00c1b", "t15c3d", "s000"]);
        assert_eq!([0, 5, 255, 300].map(|w| language.synonyms(w)), [0..4, 4..8, 252..256, 300..301]);
    }

    #[test]
    fn wrong_sizes_are_refused_by_name() {
        let refused = |config: TopicLanguageConfig| config.checked().unwrap_err().to_string();
        let d = TopicLanguageConfig::default();
        assert!(refused(TopicLanguageConfig { topics: 1, ..d }).starts_with("topics = 1 "));
        assert!(refused(TopicLanguageConfig { dominant_share: 0.5, ..d }).starts_with("dominant_share = 0.5 "));
        assert!(refused(TopicLanguageConfig { dominant_share: f64::NAN, ..d }).starts_with("dominant_share = NaN "));
        assert!(refused(TopicLanguageConfig { style_sharpness: -1.0, ..d }).starts_with("style_sharpness = -1 "));
        assert!(refused(TopicLanguageConfig { concepts: usize::MAX, ..d }).starts_with("topics = 16 "));
    }

    /// The numbers of every published run depend on these: they change only with `DATA_VERSION`.
    #[test]
    fn golden_values_do_not_change() {
        let drawn = language(TopicLanguageConfig::default()).sample(2, Stream::new(3, Purpose::TrainingPairs), 5);
        let hash = drawn.sentences.tokens().iter().fold(0u64, |h, w| h.rotate_left(5) ^ u64::from(*w));
        assert_eq!((hash, drawn.dominant.clone()), (GOLDEN.0, GOLDEN.1.to_vec()));
    }

    const GOLDEN: (u64, [usize; 2]) = (4_229_586_201_724_575_798, [1, 15]);
}
