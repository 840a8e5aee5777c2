//! The batches of many replicas, drawn by tensor operations on their device.
//!
//! Drawing on the host (see [`PairSampler`](crate::PairSampler)) remains the rule: it gives every backend the same
//! numbers, at any step, in any order. But a GPU that trains hundreds of replicas has to wait for the host. Numbers
//! drawn here have the same distribution, come from the backend's own generator, and depend on earlier draws.

use crate::{Augmentation, DataError, SparseCodeDistribution, SparseCodingModel};
use burn::tensor::{Device, Distribution, Tensor, TensorData};

/// Observations and views of R replicas of one data model, each with a dictionary of its own.
#[derive(Debug, Clone)]
pub struct DeviceSampler {
    /// `M_j` in rows, `[R, d, d1]`.
    features: Tensor<3>,
    nonzero_probability: f64,
    noise_std: f64,
    /// `p` and the factors of both views.
    mask: Option<(f64, [f64; 2])>,
}

impl DeviceSampler {
    /// A sampler for replicas that differ only in their dictionaries.
    ///
    /// # Errors
    /// [`DataError::NotOnDevice`] for codes other than Bernoulli and for augmentations other than none and complementary masks on
    /// all coordinates.
    ///
    /// # Panics
    /// When there is no model.
    pub fn new(models: &[SparseCodingModel], augmentation: Augmentation, device: &Device) -> Result<Self, DataError> {
        let SparseCodeDistribution::Bernoulli { nonzero_probability } = models[0].sparse_code() else {
            return Err(DataError::NotOnDevice { what: "codes other than bernoulli" });
        };
        let mask = match augmentation {
            Augmentation::None => None,
            Augmentation::ComplementaryMask { keep_probability: p, masked_fraction: 1.0, rescaling } => {
                Some((p, [p, 1.0 - p].map(|p| f64::from(rescaling.factor(p)))))
            }
            _ => return Err(DataError::NotOnDevice { what: "masks other than complementary ones on all coordinates" }),
        };
        let [d, d1] = [models[0].dictionary().code_dim(), models[0].dictionary().input_dim()];
        let values: Vec<f32> = models.iter().flat_map(|m| m.dictionary().features().values.clone()).collect();
        let features = Tensor::from_data(TensorData::new(values, [models.len(), d, d1]), device);
        Ok(Self { features, nonzero_probability, noise_std: models[0].noise_std(), mask })
    }

    /// `x = M z + ξ`, `[R, count, d1]`.
    pub fn observations(&self, count: usize) -> Tensor<3> {
        let ([r, d, d1], device) = (self.features.dims(), self.features.device());
        let draw = Tensor::<3>::random([r, count, d], Distribution::Uniform(0.0, 1.0), &device);
        let half = self.nonzero_probability / 2.0;
        let z = draw.clone().lower_scalar(half).float() - draw.greater_equal_scalar(1.0 - half).float();
        let xi = Tensor::<3>::random([r, count, d1], Distribution::Normal(0.0, 1.0), &device) * self.noise_std;
        z.matmul(self.features.clone()) + xi
    }

    /// Both views of `count` observations, `[R, count, d1]` each.
    pub fn pairs(&self, count: usize) -> [Tensor<3>; 2] {
        let x = self.observations(count);
        match self.mask {
            None => [x.clone(), x],
            Some((p, [first, second])) => {
                let draw = Tensor::<3>::random(x.dims(), Distribution::Uniform(0.0, 1.0), &x.device());
                let kept = draw.lower_scalar(p).float();
                let dropped = kept.clone() * -1.0 + 1.0;
                [x.clone() * kept * first, x * dropped * second]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dictionary, Purpose, Rescaling, Stream};

    fn models(r: u64) -> Vec<SparseCodingModel> {
        let code = SparseCodeDistribution::Bernoulli { nonzero_probability: 0.3 };
        let model = |seed| {
            let dictionary = Dictionary::random(4, 16, Stream::new(seed, Purpose::Dictionary)).unwrap();
            SparseCodingModel::new(dictionary, code, 0.5).unwrap()
        };
        (1..=r).map(model).collect()
    }

    /// Mean squares along the features of a replica's own dictionary and of the other's, at 4.9 standard errors: a
    /// coordinate's square has a standard deviation below twice its mean.
    #[test]
    fn each_replica_has_the_second_moments_of_its_own_dictionary() {
        let (models, n) = (models(2), 40_000);
        let sampler = DeviceSampler::new(&models, Augmentation::None, &Device::flex()).unwrap();
        let x: Vec<f32> = sampler.observations(n).into_data().try_to_vec().unwrap();
        for (r, model) in models.iter().enumerate() {
            let rows = x[r * n * 16..(r + 1) * n * 16].chunks_exact(16);
            for j in 0..4 {
                let along = |x: &[f32]| x.iter().zip(model.dictionary().feature(j)).map(|(a, b)| a * b).sum::<f32>();
                let mean = rows.clone().map(|x| f64::from(along(x)).powi(2)).sum::<f64>() / n as f64;
                assert!((mean - 0.55).abs() < 4.9 * 1.1 / (n as f64).sqrt(), "replica {r}, feature {j}: {mean}");
            }
        }
    }

    #[test]
    fn complementary_views_share_no_coordinate_and_add_up() {
        let augmentation = Augmentation::ComplementaryMask {
            keep_probability: 0.25,
            masked_fraction: 1.0,
            rescaling: Rescaling::Unbiased,
        };
        let sampler = DeviceSampler::new(&models(1), augmentation, &Device::flex()).unwrap();
        let [first, second] = sampler.pairs(5000).map(|x| x.into_data().try_to_vec::<f32>().unwrap());
        assert!(first.iter().zip(&second).all(|(a, b)| (*a == 0.0) != (*b == 0.0)));
        // 80,000 coordinates, a quarter of them in the first view: 4.9 standard deviations are 600.
        let kept = first.iter().filter(|v| **v != 0.0).count() as f64;
        assert!((kept - 20_000.0).abs() < 600.0, "{kept}");
    }

    #[test]
    fn what_is_not_drawn_on_a_device_is_named() {
        let error = DeviceSampler::new(&models(1), Augmentation::independent(), &Device::flex()).unwrap_err();
        assert!(error.to_string().contains("masks other than complementary"), "{error}");
    }
}
