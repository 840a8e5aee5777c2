//! The batch of one training step, as a pure function of the step.

use crate::{Augmentation, Matrix, PositivePair, Purpose, SparseCodingModel, Stream};
use serde::{Deserialize, Serialize};

/// Where negatives come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Negatives {
    /// A fresh batch of `count` observations as they are, shared by all queries of the step.
    ///
    /// Wen & Li 2021, set-up: negatives are fresh samples.
    Fresh {
        /// `N`, at least 1.
        count: usize,
    },
    /// A fresh batch of `count` observations, each masked like a key `x⁺⁺`.
    ///
    /// Not in the paper: makes negatives and keys the same kind of thing.
    FreshAugmented {
        /// `N`, at least 1.
        count: usize,
    },
    /// The other keys of the batch, N = B − 1, as NT-Xent has it.
    OtherKeys,
}

/// What one step trains on.
#[derive(Debug, Clone, PartialEq)]
pub struct ContrastiveBatch {
    /// The step this batch belongs to, from 0.
    pub step: u64,
    /// Positive pairs, `[B, d1]` each.
    pub pair: PositivePair,
    /// Negatives, `[N, d1]`; `None` where the other keys of the batch serve.
    pub negatives: Option<Matrix>,
}

/// Draws the batch of any step: `batch(t)` depends on nothing but the fields and `t`.
#[derive(Debug, Clone, PartialEq)]
pub struct PairSampler {
    /// The data model.
    pub data: SparseCodingModel,
    /// How the two views are made.
    pub augmentation: Augmentation,
    /// `B`, positive pairs per step.
    pub batch_size: usize,
    /// Negatives per step.
    pub negatives: Negatives,
    /// The seed of the run.
    pub seed: u64,
}

impl PairSampler {
    /// The batch that step `step` trains on.
    pub fn batch(&self, step: u64) -> ContrastiveBatch {
        self.draw(Purpose::TrainingPairs, Purpose::TrainingNegatives, step)
    }

    /// A batch of the same make that nothing is trained on.
    pub fn held_out_batch(&self, step: u64) -> ContrastiveBatch {
        self.draw(Purpose::HeldOutPairs, Purpose::HeldOutNegatives, step)
    }

    fn draw(&self, pairs: Purpose, fresh: Purpose, step: u64) -> ContrastiveBatch {
        let pairs = Stream::new(self.seed, pairs);
        let fresh = Stream::new(self.seed, fresh);
        let x = self.data.sample_inputs(self.batch_size, pairs, step);
        let pair = self.augmentation.apply(x, pairs, step);
        let negatives = match self.negatives {
            Negatives::Fresh { count } => Some(self.data.sample_inputs(count, fresh, step)),
            Negatives::FreshAugmented { count } => {
                let x = self.data.sample_inputs(count, fresh, step);
                Some(self.augmentation.apply(x, fresh, step).x_plus_plus)
            }
            Negatives::OtherKeys => None,
        };
        ContrastiveBatch { step, pair, negatives }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dictionary, SparseCodeDistribution};

    fn sampler(negatives: Negatives) -> PairSampler {
        let dictionary = Dictionary::random(4, 16, Stream::new(1, Purpose::Dictionary)).unwrap();
        let code = SparseCodeDistribution::Bernoulli { nonzero_probability: 0.25 };
        PairSampler {
            data: SparseCodingModel::new(dictionary, code, 0.2).unwrap(),
            augmentation: Augmentation::complementary(),
            batch_size: 6,
            negatives,
            seed: 9,
        }
    }

    #[test]
    fn a_batch_is_a_function_of_its_step() {
        let sampler = sampler(Negatives::Fresh { count: 3 });
        let later = sampler.batch(11);
        let _ = sampler.batch(0);
        assert_eq!(later, sampler.batch(11));
        assert_ne!(later.pair, sampler.batch(12).pair);
        assert_eq!(later.negatives.unwrap().rows, 3);
    }

    #[test]
    fn augmented_negatives_are_masked_and_fresh_ones_are_not() {
        let zeros = |m: &Matrix| m.values.iter().filter(|v| **v == 0.0).count();
        assert_eq!(zeros(&sampler(Negatives::Fresh { count: 50 }).batch(0).negatives.unwrap()), 0);
        assert!(zeros(&sampler(Negatives::FreshAugmented { count: 50 }).batch(0).negatives.unwrap()) > 300);
        assert!(sampler(Negatives::OtherKeys).batch(0).negatives.is_none());
    }

    /// The numbers of every published run hang on these: they change only with `DATA_VERSION`.
    #[test]
    fn golden_values_do_not_change() {
        let batch = sampler(Negatives::Fresh { count: 2 }).batch(3);
        let bits = |m: &Matrix| m.values.iter().fold(0u64, |h, v| h.rotate_left(5) ^ u64::from(v.to_bits()));
        let found = [bits(&batch.pair.x_plus), bits(&batch.pair.x_plus_plus), bits(&batch.negatives.unwrap())];
        assert_eq!(found, [4_030_513_479_558_700_097, 13_733_660_492_326_208_483, 11_869_427_340_738_959_506]);
    }
}
