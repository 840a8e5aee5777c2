//! Words moved a little.

use super::{TokenTransform, Whole};
use crate::StreamRng;
use cl_config::{Component, ConfigError, not_negative};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Adds a number that is uniform on [0, distance] to the place of each word and orders words by the sum, for each view on its own: no word
/// passes one that is as many places away or more (Lample et al. 2018).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalReordering {
    /// In places, at least 0.
    pub distance: f64,
}

impl LocalReordering {
    /// Its name in files.
    pub const NAME: &'static str = "local_reordering";
}

impl Component for LocalReordering {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        not_negative("distance", self.distance)?;
        Ok(self)
    }
}

impl TokenTransform for LocalReordering {
    fn apply(&self, views: &mut [Vec<u32>; 2], _: Whole, rng: &mut StreamRng) {
        for view in views {
            let mut placed: Vec<(f64, u32)> = view
                .iter()
                .enumerate()
                .map(|(place, word)| (place as f64 + self.distance * rng.random::<f64>(), *word))
                .collect();
            placed.sort_by(|a, b| a.0.total_cmp(&b.0));
            view.iter_mut().zip(placed).for_each(|(word, (_, moved))| *word = moved);
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
    fn words_move_by_less_than_the_distance() {
        let sentences: Sentences = (0..100).map(|_| 0..30).collect();
        let moved = |distance: f64| {
            let pipeline = TokenPipeline::none().with(LocalReordering::NAME, LocalReordering { distance });
            let [first, _] = pipeline.views(&sentences, None, Stream::new(1, Purpose::TrainingPairs), 0);
            let far = first.iter().flat_map(|s| s.iter().enumerate().map(|(i, w)| i.abs_diff(*w as usize)));
            far.max().unwrap()
        };
        assert_eq!((moved(0.0), moved(1.0), moved(3.0)), (0, 0, 2));
        assert!(LocalReordering { distance: -1.0 }.checked().is_err());
    }
}
