//! Words replaced by others that mean the same.

use super::{TokenTransform, Whole};
use crate::StreamRng;
use cl_config::{Component, ConfigError, probability};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Replaces each word with a probability by one of its synonyms, itself among them, for each view on its own. Words of style have none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplaceSynonyms {
    /// In [0, 1].
    pub probability: f64,
}

impl ReplaceSynonyms {
    /// Its name in files.
    pub const NAME: &'static str = "replace_synonyms";
}

impl Component for ReplaceSynonyms {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        probability("probability", self.probability)?;
        Ok(self)
    }
}

impl TokenTransform for ReplaceSynonyms {
    fn apply(&self, views: &mut [Vec<u32>; 2], whole: Whole, rng: &mut StreamRng) {
        let (language, _) = whole.language.expect("the specification has been checked");
        for word in views.iter_mut().flatten() {
            let synonyms = language.synonyms(*word);
            if synonyms.len() > 1 && rng.random::<f64>() < self.probability {
                *word = rng.random_range(synonyms);
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
    use crate::tokens::{TopicLanguage, TopicLanguageConfig};
    use crate::{Purpose, Stream};

    #[test]
    fn concepts_stay_and_words_change() {
        let language =
            TopicLanguage::random(TopicLanguageConfig::default(), Stream::new(1, Purpose::Dictionary)).unwrap();
        let stream = Stream::new(1, Purpose::TrainingPairs);
        let drawn = language.sample(300, stream, 0);
        let pipeline = TokenPipeline::none().with(ReplaceSynonyms::NAME, ReplaceSynonyms { probability: 1.0 });
        let [first, _] = pipeline.views(&drawn.sentences, Some((&language, &drawn.style)), stream, 0);
        let pairs = || drawn.sentences.tokens().iter().zip(first.tokens());
        assert!(pairs().all(|(a, b)| language.synonyms(*a) == language.synonyms(*b)));
        // One in four stays, of 2,400: a standard deviation of 21.
        let same = pairs().filter(|(a, b)| !language.is_style(**a) && a == b).count();
        assert!((same as f64 - 600.0).abs() < 90.0, "{same}");
        assert!(pipeline.fits_any_text().unwrap_err().to_string().starts_with("transform[0] = replace_synonyms"));
    }
}
