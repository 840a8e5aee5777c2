//! Words left out at random.

use super::{TokenTransform, Whole};
use crate::StreamRng;
use cl_config::{Component, ConfigError, check};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Leaves each word out with a probability, for each view on its own. A view that would lose all keeps one of its words.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropTokens {
    /// In [0, 1).
    pub probability: f64,
}

impl DropTokens {
    /// Its name in files.
    pub const NAME: &'static str = "drop_tokens";
}

impl Component for DropTokens {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        check((0.0..1.0).contains(&self.probability), "probability", self.probability, "at least 0 and below 1")?;
        Ok(self)
    }
}

impl TokenTransform for DropTokens {
    fn apply(&self, views: &mut [Vec<u32>; 2], _: Whole, rng: &mut StreamRng) {
        for view in views {
            let spared = rng.random_range(0..view.len());
            let kept: Vec<bool> = view.iter().map(|_| rng.random::<f64>() >= self.probability).collect();
            let is_empty = !kept.contains(&true);
            let mut place = 0;
            view.retain(|_| {
                place += 1;
                kept[place - 1] || (is_empty && place - 1 == spared)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::Sentences;
    use crate::tokens::augmentation::TokenPipeline;
    use crate::{Purpose, Stream};

    #[test]
    fn a_share_of_the_words_is_left_out_in_their_order() {
        let sentences: Sentences = (0..200).map(|_| 0..20).collect();
        let pipeline = TokenPipeline::none().with(DropTokens::NAME, DropTokens { probability: 0.3 });
        let views = pipeline.views(&sentences, None, Stream::new(1, Purpose::TrainingPairs), 0);
        for view in &views {
            // 4,000 words: a standard deviation of 29.
            assert!((view.tokens().len() as f64 - 2800.0).abs() < 120.0, "{}", view.tokens().len());
            assert!(view.iter().all(|s| s.is_sorted()));
        }
        assert_ne!(views[0], views[1]);
    }

    #[test]
    fn something_is_always_left() {
        let sentences: Sentences = (0..500).map(|_| [7, 8]).collect();
        let pipeline = TokenPipeline::none().with(DropTokens::NAME, DropTokens { probability: 0.99 });
        let [first, second] = pipeline.views(&sentences, None, Stream::new(1, Purpose::TrainingPairs), 0);
        assert!(first.iter().chain(second.iter()).all(|s| !s.is_empty()));
        assert!(first.iter().any(|s| s == [7]) && first.iter().any(|s| s == [8]));
        assert!(DropTokens { probability: 1.0 }.checked().is_err());
    }
}
