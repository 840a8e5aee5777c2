//! Words of style drawn anew.

use super::{TokenTransform, Whole};
use crate::StreamRng;
use crate::standard_normal;
use cl_config::{Component, ConfigError};
use serde::{Deserialize, Serialize};

/// Which style the new words are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Style {
    /// Another one for each view, so that the views of a sentence have no style in common: what decouples them.
    New,
    /// That of the sentence: new words, but nothing is decoupled.
    Same,
}

/// Draws all words of style anew, for each view on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restyle {
    /// Of which style they are.
    pub style: Style,
}

impl Restyle {
    /// Its name in files.
    pub const NAME: &'static str = "restyle";
}

impl Component for Restyle {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        Ok(self)
    }
}

impl TokenTransform for Restyle {
    fn apply(&self, views: &mut [Vec<u32>; 2], whole: Whole, rng: &mut StreamRng) {
        let (language, own) = whole.language.expect("the specification has been checked");
        for view in views {
            let new = match self.style {
                Style::Same => own.to_vec(),
                Style::New => standard_normal(rng, own.len()),
            };
            let places: Vec<usize> = (0..view.len()).filter(|i| language.is_style(view[*i])).collect();
            for (place, word) in places.iter().zip(language.style_words(&new, places.len(), rng)) {
                view[*place] = word;
            }
        }
    }

    fn needs_language(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::augmentation::TokenPipeline;
    use crate::tokens::{Sentences, TopicLanguage, TopicLanguageConfig};
    use crate::{Matrix, Purpose, Stream};

    /// Mean over sentences of `Σ_w ⟨e_w, u⟩` per word of style.
    fn along(language: &TopicLanguage, sentences: &Sentences, style: &Matrix) -> f64 {
        let first = language.config().topic_words() as u32;
        let mut sum = (0.0, 0);
        for (i, sentence) in sentences.iter().enumerate() {
            for word in sentence.iter().filter(|w| language.is_style(**w)) {
                let direction = language.style_directions().row((word - first) as usize);
                sum.0 += direction.iter().zip(style.row(i)).map(|(e, u)| f64::from(e * u)).sum::<f64>();
                sum.1 += 1;
            }
        }
        sum.0 / f64::from(sum.1)
    }

    #[test]
    fn words_follow_the_style_that_is_asked_for() {
        let language =
            TopicLanguage::random(TopicLanguageConfig::default(), Stream::new(1, Purpose::Dictionary)).unwrap();
        let stream = Stream::new(1, Purpose::TrainingPairs);
        let drawn = language.sample(600, stream, 0);
        let views = |style: Style| {
            let pipeline = TokenPipeline::none().with(Restyle::NAME, Restyle { style });
            pipeline.views(&drawn.sentences, Some((&language, &drawn.style)), stream, 0)
        };
        let before = along(&language, &drawn.sentences, &drawn.style);
        for view in views(Style::Same) {
            assert!((along(&language, &view, &drawn.style) - before).abs() < 0.1 * before);
            assert_ne!(view, drawn.sentences);
            // Topics are untouched.
            let topic =
                |s: &Sentences| s.tokens().iter().copied().filter(|w| !language.is_style(*w)).collect::<Vec<_>>();
            assert_eq!(topic(&view), topic(&drawn.sentences));
        }
        for view in views(Style::New) {
            assert!(along(&language, &view, &drawn.style).abs() < 0.1 * before);
        }
    }
}
