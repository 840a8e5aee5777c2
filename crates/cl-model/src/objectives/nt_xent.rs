//! NT-Xent, the loss of SimCLR.

use super::{Objective, Outputs, drift_of_cosines, log_partition, normalized};
use crate::closed_form::HostObjective;
use crate::drift::LinearModel;
use burn::tensor::Tensor;
use cl_config::{Component, ConfigError, positive};
use faer::Mat;
use serde::{Deserialize, Serialize};

/// See [`nt_xent`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NtXent {
    /// `τ` > 0.
    pub temperature: f64,
}

impl Component for NtXent {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        positive("temperature", self.temperature)?;
        Ok(self)
    }
}

impl Objective for NtXent {
    fn loss(&self, outputs: Outputs) -> Tensor<1> {
        nt_xent(outputs.first, outputs.second, self.temperature)
    }

    fn at_chance(&self, batch_size: usize, _: Option<usize>) -> Option<f64> {
        Some((2.0 * batch_size as f64 - 2.0).ln_1p())
    }

    fn drift(&self, model: &LinearModel) -> Option<Mat<f64>> {
        let kappa = (2.0 * model.batch_size as f64 - 2.0) / (2.0 * model.batch_size as f64 - 1.0);
        Some(drift_of_cosines(model, self.temperature, kappa))
    }

    fn in_host_memory(&self) -> Option<&dyn HostObjective> {
        Some(self)
    }
}

/// NT-Xent of SimCLR (Chen et al. 2020): cosine similarity, gradients through both arguments, and as
/// negatives of each view all 2n − 2 views of other samples.
///
/// # Shapes
/// Both `[n, m]`; the result, `[1]`, is the mean over the 2n views.
///
/// # Panics
/// When shapes differ.
pub fn nt_xent(first: Tensor<2>, second: Tensor<2>, temperature: f64) -> Tensor<1> {
    balanced(first, second, temperature, 1.0)
}

/// The same with a weight on the logarithm of the sum.
pub(super) fn balanced(first: Tensor<2>, second: Tensor<2>, temperature: f64, repulsion: f64) -> Tensor<1> {
    assert_eq!(first.dims(), second.dims(), "both views must have the same shape");
    let [n, _] = first.dims();
    let (first, second) = (normalized(first), normalized(second));
    let views = Tensor::cat(vec![first.clone(), second.clone()], 0);
    let partners = Tensor::cat(vec![second, first], 0);
    let positives = (views.clone() * partners).sum_dim(1) / temperature;
    let logits = views.clone().matmul(views.transpose()) / temperature;
    let itself = Tensor::<2>::eye(2 * n, &logits.device()).bool();
    let repelled = log_partition(logits.mask_fill(itself, -1e30), None);
    // Times 1 would be an operation of its own.
    let repelled = if repulsion == 1.0 { repelled } else { repelled * repulsion };
    (repelled - positives).mean()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    fn tensor(rows: &[Vec<f64>], device: &Device) -> Tensor<2> {
        let values: Vec<f32> = rows.iter().flatten().map(|v| *v as f32).collect();
        Tensor::from_data(TensorData::new(values, [rows.len(), rows[0].len()]), device)
    }

    fn rows(n: usize, m: usize, scale: f64, offset: usize) -> Vec<Vec<f64>> {
        let value = |i: usize| ((i * 7919 + 13) % 1009) as f64 / 1009.0 - 0.5;
        (0..n).map(|r| (0..m).map(|c| scale * value(offset + r * m + c)).collect()).collect()
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(x, y)| x * y).sum()
    }

    #[test]
    fn nt_xent_equals_its_definition() {
        let device = Device::flex();
        let (a, b, tau) = (rows(4, 3, 1.0, 0), rows(4, 3, 1.0, 77), 0.5);
        let views: Vec<Vec<f64>> =
            a.iter().chain(&b).map(|v| v.iter().map(|x| x / dot(v, v).sqrt()).collect()).collect();
        let expected: f64 = (0..8)
            .map(|i| {
                let sum: f64 = (0..8).filter(|j| *j != i).map(|j| (dot(&views[i], &views[j]) / tau).exp()).sum();
                (sum.ln() - dot(&views[i], &views[(i + 4) % 8]) / tau) / 8.0
            })
            .sum();
        let found = nt_xent(tensor(&a, &device), tensor(&b, &device), tau).into_scalar::<f64>();
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
}
