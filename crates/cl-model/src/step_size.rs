//! Step-size schedules.

use serde::{Deserialize, Serialize};

/// The step size `η` as a function of the step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum StepSize {
    /// The same at every step, as in the paper.
    Constant {
        /// `η` > 0.
        eta: f64,
    },
    /// Constant for a while, then exponentially falling to `final_eta` at `end_step`, then constant.
    ///
    /// Not in the paper: gradient noise keeps `w_i` out of span(M) in proportion to η, so a falling step
    /// size sharpens every measure.
    ExponentialDecay {
        /// `η` up to `decay_from`; > 0.
        eta: f64,
        /// The step at which the decay begins.
        decay_from: u64,
        /// The step at which it ends, after `decay_from`.
        end_step: u64,
        /// `η` from `end_step` on; > 0.
        final_eta: f64,
    },
}

impl StepSize {
    /// `η` at a step, counted from 0.
    pub fn at(&self, step: u64) -> f64 {
        match *self {
            Self::Constant { eta } => eta,
            Self::ExponentialDecay { eta, decay_from, end_step, final_eta } => {
                let share = (step.saturating_sub(decay_from)) as f64 / (end_step - decay_from) as f64;
                eta * (final_eta / eta).powf(share.min(1.0))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decay_runs_through_the_geometric_mean_half_way() {
        let schedule = StepSize::ExponentialDecay { eta: 1.0, decay_from: 100, end_step: 200, final_eta: 0.01 };
        for (step, eta) in [(0, 1.0), (100, 1.0), (150, 0.1), (200, 0.01), (999, 0.01)] {
            assert!((schedule.at(step) - eta).abs() < 1e-12);
        }
        assert_eq!(StepSize::Constant { eta: 0.3 }.at(7), 0.3);
    }
}
