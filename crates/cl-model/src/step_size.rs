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
    /// Rising linearly from `peak/warmup_steps` at step 0 to `peak` at the last step of the warm-up, then half a
    /// cosine down to 0 at `steps`: `η = peak (1 + cos(π (t − warmup_steps)/(steps − warmup_steps)))/2`.
    ///
    /// Not in the paper: usual on images (Goyal et al. 2017; Loshchilov & Hutter 2017; Chen et al. 2020).
    WarmupCosine {
        /// The largest `η`; > 0.
        peak: f64,
        /// Length of the warm-up in steps; 0 for none.
        warmup_steps: u64,
        /// The step at which `η` is 0, after `warmup_steps`: the run's number of steps.
        steps: u64,
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
            Self::WarmupCosine { peak, warmup_steps, .. } if step < warmup_steps => {
                peak * (step + 1) as f64 / warmup_steps as f64
            }
            Self::WarmupCosine { peak, warmup_steps, steps } => {
                let share = (step - warmup_steps) as f64 / (steps - warmup_steps) as f64;
                peak * 0.5 * (1.0 + (std::f64::consts::PI * share.min(1.0)).cos())
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

    #[test]
    fn warm_up_is_linear_and_the_cosine_is_symmetric_about_half_the_peak() {
        let schedule = StepSize::WarmupCosine { peak: 2.0, warmup_steps: 10, steps: 110 };
        // A quarter of the way down: 1 + cos(π/4).
        let quarter = 1.0 + 0.5f64.sqrt();
        let at = [(0, 0.2), (4, 1.0), (9, 2.0), (10, 2.0), (35, quarter), (60, 1.0), (85, 2.0 - quarter), (110, 0.0)];
        for (step, eta) in at {
            assert!((schedule.at(step) - eta).abs() < 1e-12, "{step}");
        }
        assert_eq!(schedule.at(999), 0.0);
        assert_eq!(StepSize::WarmupCosine { peak: 2.0, warmup_steps: 0, steps: 100 }.at(0), 2.0);
    }

    #[test]
    fn a_schedule_reads_as_written() {
        let json = r#"{"warmup_cosine":{"peak":0.4,"warmup_steps":20,"steps":200}}"#;
        let schedule = StepSize::WarmupCosine { peak: 0.4, warmup_steps: 20, steps: 200 };
        assert_eq!(serde_json::from_str::<StepSize>(json).unwrap(), schedule);
    }
}
