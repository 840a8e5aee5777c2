//! The words of a sentence shared out between its views.

use super::{TokenTransform, Whole};
use crate::StreamRng;
use cl_config::{Component, ConfigError, check};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Gives each word of the first view, as it is then, to the first view with a probability, and else to the second: complementary masks of words. A
/// view that would get none gets one; a sentence of one word stays whole in both.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComplementarySplit {
    /// In (0, 1).
    pub keep_probability: f64,
}

impl ComplementarySplit {
    /// Its name in files.
    pub const NAME: &'static str = "complementary_split";
}

impl Component for ComplementarySplit {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        let p = self.keep_probability;
        check(p > 0.0 && p < 1.0, "keep_probability", p, "above 0 and below 1")?;
        Ok(self)
    }
}

impl TokenTransform for ComplementarySplit {
    fn apply(&self, views: &mut [Vec<u32>; 2], _: Whole, rng: &mut StreamRng) {
        let words = views[0].clone();
        let mut is_first: Vec<bool> = words.iter().map(|_| rng.random::<f64>() < self.keep_probability).collect();
        let moved = rng.random_range(0..words.len());
        if words.len() == 1 {
            views[1] = words;
            return;
        }
        for side in [true, false] {
            if !is_first.contains(&side) {
                is_first[moved] = side;
            }
        }
        for (view, side) in views.iter_mut().zip([true, false]) {
            *view = words.iter().zip(&is_first).filter(|(_, first)| **first == side).map(|(word, _)| *word).collect();
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
    fn every_word_is_in_one_view() {
        let sentences: Sentences = (0..300).map(|_| 0..20).collect();
        let pipeline =
            TokenPipeline::none().with(ComplementarySplit::NAME, ComplementarySplit { keep_probability: 0.8 });
        let [first, second] = pipeline.views(&sentences, None, Stream::new(1, Purpose::TrainingPairs), 0);
        for (a, b) in first.iter().zip(second.iter()) {
            let mut all = [a, b].concat();
            all.sort_unstable();
            assert_eq!(all, (0..20).collect::<Vec<u32>>());
            assert!(!a.is_empty() && !b.is_empty());
        }
        assert!((first.tokens().len() as f64 / 6000.0 - 0.8).abs() < 0.03);
        let short: Sentences = [vec![5], vec![5, 6]].into_iter().collect();
        let [first, second] = pipeline.views(&short, None, Stream::new(1, Purpose::TrainingPairs), 0);
        assert_eq!((first.get(0), second.get(0)), (&[5][..], &[5][..]));
        assert_eq!((first.get(1).len(), second.get(1).len()), (1, 1));
        assert!(ComplementarySplit { keep_probability: 1.0 }.checked().is_err());
    }
}
