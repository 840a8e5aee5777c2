//! LARS, layer-wise adaptive learning rates for large batches.

use crate::optimizer::is_norm_or_bias;
use burn::optim::momentum::{Momentum, MomentumConfig, MomentumState};
use burn::optim::{LearningRate, Optimizer};
use burn::tensor::{Device, Tensor};

/// Momentum on steps scaled to the size of each layer's weights.
///
/// ```text
/// g ← ∇L + λ w
/// v ← μ v + η r g,   r = c ‖w‖ / ‖g‖, or 1 where either norm is 0
/// w ← w − v
/// ```
///
/// You et al. 2017, algorithm 1, with the ratio of SimCLR (Chen et al. 2020), whose denominator is the norm of the
/// decayed gradient. The learning rate is inside the momentum, so it matters when it changes. As there, norms and
/// biases, see [`is_norm_or_bias`], have λ = 0 and r = 1.
#[derive(Clone)]
pub struct Lars {
    momentum: Momentum,
    trust_coefficient: f64,
    weight_decay: f64,
}

impl Lars {
    /// `μ` in [0, 1), `c` > 0 (SimCLR: 0.9 and 0.001), `λ` ≥ 0.
    pub fn new(momentum: f64, trust_coefficient: f64, weight_decay: f64) -> Self {
        let momentum = Momentum::new(&MomentumConfig::new().with_momentum(momentum).with_dampening(0.0));
        Self { momentum, trust_coefficient, weight_decay }
    }

    /// `r g`, without waiting for the device.
    fn adapted<const D: usize>(&self, w: &Tensor<D>, gradient: Tensor<D>) -> Tensor<D> {
        let g = gradient + w.clone() * self.weight_decay;
        let norm = |t: &Tensor<D>| t.clone().square().sum().sqrt();
        let (w, of_g) = (norm(w), norm(&g));
        let undefined = w.clone().equal_scalar(0.0).bool_or(of_g.clone().equal_scalar(0.0));
        let ratio = (w * self.trust_coefficient / of_g).mask_fill(undefined, 1.0);
        g * ratio.reshape([1; D])
    }
}

impl Optimizer for Lars {
    type State<const D: usize> = MomentumState<D>;

    fn step<const D: usize>(
        &self,
        learning_rate: LearningRate,
        w: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<MomentumState<D>>,
    ) -> (Tensor<D>, Option<MomentumState<D>>) {
        let g = if is_norm_or_bias(&w.dims()) { gradient } else { self.adapted(&w, gradient) };
        let (v, state) = self.momentum.transform(g * learning_rate, state);
        (w - v, Some(state))
    }

    fn to_device<const D: usize>(state: MomentumState<D>, device: &Device) -> MomentumState<D> {
        state.to_device(device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three steps with the given gradients and learning rates 1, 2, 0.5.
    fn three_steps<const D: usize>(mut w: Tensor<D>, gradients: [Tensor<D>; 3]) -> Vec<f32> {
        let lars = Lars::new(0.9, 0.001, 0.01);
        let mut state = None;
        for (gradient, eta) in gradients.into_iter().zip([1.0, 2.0, 0.5]) {
            (w, state) = lars.step(eta, w, gradient, state);
        }
        w.into_data().try_to_vec().unwrap()
    }

    fn assert_close(found: &[f32], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (f, e) in found.iter().zip(expected) {
            // Seven operations deep on numbers below 10 in single precision.
            assert!((f64::from(*f) - e).abs() < 4e-6, "{found:?} instead of {expected:?}");
        }
    }

    #[test]
    fn three_steps_equal_the_reference_program() {
        // tests/reference/lars.py, numpy, double precision.
        let device = Device::flex();
        let w = Tensor::from_data([[3.0, -4.0], [0.5, 2.0]], &device);
        let g = |v: [[f32; 2]; 2]| Tensor::<2>::from_data(v, &device);
        let gradients = [g([[1.0, 0.5], [-2.0, 0.0]]), g([[0.25, -1.0], [0.0, 4.0]]), g([[-1.0, 1.0], [1.0, -1.0]])];
        let expected = [2.993368922035745, -3.9991303104015006, 0.5113463325462677, 1.9813731099245369];
        assert_close(&three_steps(w, gradients), &expected);
    }

    #[test]
    fn norms_and_biases_take_plain_momentum_steps() {
        // v = 1, then 0.9 + 2·2 = 4.9, then 4.41 − 0.5 = 3.91: 5 − 1 − 4.9 − 3.91.
        let device = Device::flex();
        let g = |v: f32| Tensor::<1>::from_data([v], &device);
        assert_close(&three_steps(g(5.0), [g(1.0), g(2.0), g(-1.0)]), &[-4.81]);
    }

    #[test]
    fn where_a_norm_is_zero_the_ratio_is_one() {
        let device = Device::flex();
        let lars = Lars::new(0.0, 0.001, 0.0);
        let t = |v: f32| Tensor::<2>::from_data([[v]], &device);
        let step = |w, g| lars.step(0.5, t(w), t(g), None).0.into_scalar::<f32>();
        assert_eq!(step(0.0, 4.0), -2.0);
        assert_eq!(step(3.0, 0.0), 3.0);
    }
}
