//! The thresholds `b_i` and the rule that grows them.

use burn::tensor::Tensor;
use cl_config::{ConfigError, check, finite, not_negative};
use serde::{Deserialize, Serialize};

/// How the thresholds `b_i` are determined.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Bias {
    /// `b_i = 0` for good: the encoder stays linear.
    Zero,
    /// The paper's rule, outside the gradient.
    Scheduled(BiasRule),
    /// Trained by gradient descent from `initial`.
    ///
    /// Not in the paper: what public code does. There the encoder is written
    /// `relu(u) − relu(−u + 2b)` on `u = ⟨w, x⟩ + b`, which is this encoder with `−b` for `b`.
    Trained {
        /// `b_i⁽⁰⁾`.
        initial: f64,
    },
}

/// The bias rule of Wen & Li 2021, Algorithm 1, with the constants the paper leaves open.
///
/// With `u = √(log d / d)`, after the step at time `t` has moved `w_i` to `w_i'`:
/// * `t < T1`: `b_i = 0`;
/// * `t = T1`: `b_i = c u ‖w_i'‖`;
/// * `t > T1`, `b_i < C u ‖w_i'‖`: `b_i ← max(b_i (1 + g/d), b_i ‖w_i'‖/‖w_i‖)`, clipped at `C u ‖w_i'‖`;
/// * `t > T1` otherwise: `b_i ← b_i ‖w_i'‖/‖w_i‖`, so that from the cap on the ratio to the norm is kept. (A threshold just
///   below its cap whose weights shrink comes here, too, and stays just below.)
///
/// The paper's factor is `1 + η/d`; at laboratory size that silences the neurons, hence `g` on its own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BiasRule {
    /// `T1`, the step at which thresholds are set, counted from 0.
    pub start_step: u64,
    /// `c`, the threshold set at T1 in units of `u ‖w_i‖`; ≥ 0.
    pub initial_ratio: f64,
    /// `g` in the factor `1 + g/d` per step; ≥ 0.
    pub growth: f64,
    /// `C`, the cap in units of `u ‖w_i‖`; ≥ c.
    pub cap_ratio: f64,
}

impl Bias {
    /// Returns the rule if every value is in its range.
    ///
    /// # Errors
    /// [`ConfigError`] naming key, value and what would be right.
    pub fn checked(self) -> Result<Self, ConfigError> {
        match self {
            Self::Zero => {}
            Self::Trained { initial } => finite("trained.initial", initial)?,
            Self::Scheduled(rule) => {
                not_negative("scheduled.initial_ratio", rule.initial_ratio)?;
                not_negative("scheduled.growth", rule.growth)?;
                not_negative("scheduled.cap_ratio", rule.cap_ratio)?;
                let wanted = format!("at least initial_ratio = {}", rule.initial_ratio);
                check(rule.cap_ratio >= rule.initial_ratio, "scheduled.cap_ratio", rule.cap_ratio, wanted)?;
            }
        }
        Ok(self)
    }
}

impl BiasRule {
    /// The thresholds after step `step`, all tensors `[m]`.
    ///
    /// `norms_before` and `norms_after` are `‖w_i‖` before and after the step, `code_dim` is d.
    /// A neuron whose weights are exactly 0 keeps the threshold 0.
    ///
    /// # Panics
    /// When shapes differ.
    pub fn apply(
        &self,
        biases: Tensor<1>,
        norms_before: Tensor<1>,
        norms_after: Tensor<1>,
        step: u64,
        code_dim: usize,
    ) -> Tensor<1> {
        let d = code_dim as f64;
        let unit = (d.ln() / d).sqrt();
        if step < self.start_step {
            return biases;
        }
        if step == self.start_step {
            return norms_after * (self.initial_ratio * unit);
        }
        let cap = norms_after.clone() * (self.cap_ratio * unit);
        let at_zero = norms_before.clone().equal_scalar(0.0);
        let ratio = (norms_after / norms_before).mask_fill(at_zero, 1.0);
        let kept = biases.clone() * ratio;
        let grown = (biases.clone() * (1.0 + self.growth / d)).max_pair(kept.clone()).min_pair(cap.clone());
        let below_cap = biases.lower(cap);
        kept.mask_where(below_cap, grown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    // d = 4 and log 4 / 4 under the root: u = 0.588705.
    const U: f64 = 0.588_705;

    fn rule() -> BiasRule {
        BiasRule { start_step: 10, initial_ratio: 0.5, growth: 0.4, cap_ratio: 1.0 }
    }

    fn apply(b: f32, before: f32, after: f32, step: u64) -> f64 {
        let t = |v: f32| Tensor::<1>::from_data([v], &Device::flex());
        rule().apply(t(b), t(before), t(after), step, 4).into_scalar::<f64>()
    }

    fn assert_close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-5, "{found} instead of {expected}");
    }

    #[test]
    fn thresholds_stay_zero_before_the_start() {
        assert_close(apply(0.0, 1.0, 2.0, 9), 0.0);
    }

    #[test]
    fn thresholds_are_set_from_the_norm_at_the_start() {
        assert_close(apply(0.0, 1.0, 2.0, 10), 0.5 * U * 2.0);
    }

    #[test]
    fn thresholds_grow_by_the_factor_when_the_norm_does_not() {
        assert_close(apply(0.3, 1.0, 1.0, 11), 0.3 * 1.1);
    }

    #[test]
    fn thresholds_follow_a_norm_that_grows_faster() {
        assert_close(apply(0.3, 1.0, 1.5, 11), 0.45);
    }

    #[test]
    fn growth_is_clipped_at_the_cap() {
        assert_close(apply(0.58, 1.0, 1.0, 11), U);
    }

    #[test]
    fn from_the_cap_on_the_ratio_to_the_norm_is_kept() {
        assert_close(apply(0.7, 1.0, 0.5, 11), 0.35);
    }

    #[test]
    fn a_neuron_without_weights_has_a_finite_threshold() {
        assert_close(apply(0.0, 0.0, 0.0, 11), 0.0);
    }
}
