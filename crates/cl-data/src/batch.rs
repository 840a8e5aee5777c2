//! The batch of one training step, as a pure function of the step.

use crate::order::epoch_order;
use crate::{Augmentation, Matrix, Observations, PositivePair, Purpose, SparseCodingModel, Stream};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Where negatives come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Negatives {
    /// A fresh batch of `count` unaugmented observations, shared by all queries of the step.
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
    /// The other keys of the batch, N = B − 1, as in NT-Xent.
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
    /// Observations that the training pairs are made from, see [`training_set`](Self::training_set); fresh ones at each
    /// step when `None`, as in the paper.
    pub training_set: Option<Arc<Matrix>>,
    /// The seed of the run.
    pub seed: u64,
}

impl PairSampler {
    /// `count` observations that are drawn once: each epoch goes through them in its own order, with its own views, and
    /// drops an incomplete batch at its end.
    ///
    /// Not in the paper: public follow-up code trains on 3,000 observations.
    pub fn training_set(data: &SparseCodingModel, count: usize, seed: u64) -> Arc<Matrix> {
        Arc::new(data.sample_inputs(count, Stream::new(seed, Purpose::TrainingSet), 0))
    }

    /// The batch that step `step` trains on.
    ///
    /// # Panics
    /// When a training set does not fill a batch.
    pub fn batch(&self, step: u64) -> ContrastiveBatch {
        let pairs = Stream::new(self.seed, Purpose::TrainingPairs);
        let x = match &self.training_set {
            Some(set) => set.select(&self.rows_of_step(set.rows, step)),
            None => self.data.sample_inputs(self.batch_size, pairs, step),
        };
        self.pair_and_negatives(x, pairs, Purpose::TrainingNegatives, step)
    }

    /// What the views of [`batch`](Self::batch) are made of, with its parts: `z`, `ξ` and `x`.
    ///
    /// # Panics
    /// When a training set does not fill a batch.
    pub fn observations(&self, step: u64) -> Observations {
        let Some(set) = &self.training_set else {
            return self.data.sample(self.batch_size, Stream::new(self.seed, Purpose::TrainingPairs), step);
        };
        let all = self.data.sample(set.rows, Stream::new(self.seed, Purpose::TrainingSet), 0);
        let rows = self.rows_of_step(set.rows, step);
        Observations { z: all.z.select(&rows), xi: all.xi.select(&rows), x: all.x.select(&rows) }
    }

    /// A batch of the same kind that is never trained on.
    pub fn held_out_batch(&self, step: u64) -> ContrastiveBatch {
        let pairs = Stream::new(self.seed, Purpose::HeldOutPairs);
        let x = self.data.sample_inputs(self.batch_size, pairs, step);
        self.pair_and_negatives(x, pairs, Purpose::HeldOutNegatives, step)
    }

    /// The rows of a training set of `count` that a step trains on.
    fn rows_of_step(&self, count: usize, step: u64) -> Vec<usize> {
        let per_epoch = (count / self.batch_size) as u64;
        assert!(per_epoch > 0, "{count} observations do not fill a batch of {}", self.batch_size);
        let order = epoch_order(count, Stream::new(self.seed, Purpose::TrainingSetOrder), step / per_epoch);
        let from = (step % per_epoch) as usize * self.batch_size;
        order[from..from + self.batch_size].to_vec()
    }

    fn pair_and_negatives(&self, x: Matrix, pairs: Stream, fresh: Purpose, step: u64) -> ContrastiveBatch {
        let fresh = Stream::new(self.seed, fresh);
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
            training_set: None,
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
    fn a_training_set_is_gone_through_once_an_epoch_with_views_of_its_own() {
        let mut sampler = sampler(Negatives::OtherKeys);
        let set = PairSampler::training_set(&sampler.data, 20, 9);
        sampler.training_set = Some(set.clone());
        // Complementary masks at p = 1/2 add up to twice the observation; 20 observations fill three batches of 6.
        let epoch = |epoch: u64| -> Vec<Vec<u32>> {
            let batches = (3 * epoch..3 * epoch + 3).map(|step| sampler.batch(step).pair);
            let sums = batches.flat_map(|p| {
                let halves = p.x_plus.values.iter().zip(&p.x_plus_plus.values).map(|(a, b)| ((a + b) / 2.0).to_bits());
                halves.collect::<Vec<_>>().chunks(16).map(<[u32]>::to_vec).collect::<Vec<_>>()
            });
            sums.collect()
        };
        let rows: Vec<Vec<u32>> = set.iter_rows().map(|r| r.iter().map(|v| v.to_bits()).collect()).collect();
        for e in [0, 5] {
            let mut seen = epoch(e);
            assert!(seen.iter().all(|row| rows.contains(row)));
            seen.sort();
            seen.dedup();
            assert_eq!(seen.len(), 18, "no observation comes twice");
        }
        assert_ne!(epoch(0), epoch(1));
        for step in [0, 4] {
            let (parts, batch) = (sampler.observations(step), sampler.batch(step));
            assert_eq!(
                sampler.augmentation.apply(parts.x.clone(), Stream::new(9, Purpose::TrainingPairs), step),
                batch.pair
            );
            let mz = sampler.data.sparse_features(&parts.z);
            for ((x, xi), mz) in parts.x.values.iter().zip(&parts.xi.values).zip(&mz.values) {
                assert!((x - xi - mz).abs() < 1e-6);
            }
        }
        assert_ne!(sampler.batch(0).pair.x_plus, sampler.batch(3).pair.x_plus);
    }

    #[test]
    fn augmented_negatives_are_masked_and_fresh_ones_are_not() {
        let zeros = |m: &Matrix| m.values.iter().filter(|v| **v == 0.0).count();
        assert_eq!(zeros(&sampler(Negatives::Fresh { count: 50 }).batch(0).negatives.unwrap()), 0);
        assert!(zeros(&sampler(Negatives::FreshAugmented { count: 50 }).batch(0).negatives.unwrap()) > 300);
        assert!(sampler(Negatives::OtherKeys).batch(0).negatives.is_none());
    }

    /// The numbers of every published run depend on these: they change only with `DATA_VERSION`.
    #[test]
    fn golden_values_do_not_change() {
        let batch = sampler(Negatives::Fresh { count: 2 }).batch(3);
        let bits = |m: &Matrix| m.values.iter().fold(0u64, |h, v| h.rotate_left(5) ^ u64::from(v.to_bits()));
        let found = [bits(&batch.pair.x_plus), bits(&batch.pair.x_plus_plus), bits(&batch.negatives.unwrap())];
        assert_eq!(found, [4_030_513_479_558_700_097, 13_733_660_492_326_208_483, 11_869_427_340_738_959_506]);
    }
}
