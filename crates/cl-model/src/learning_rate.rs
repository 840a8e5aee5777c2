//! Learning rates as a function of the step.

use cl_config::{Component, ConfigError, check, not_negative, positive};
use serde::{Deserialize, Serialize};

/// The learning rate `η` as a function of time.
///
/// Times are in steps, or in whatever unit a run's length is given in; [`times`](Self::times) converts between them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LearningRate {
    /// The same at every step, as in the paper.
    Constant {
        /// `η` > 0.
        rate: f64,
    },
    /// Constant for a while, then exponentially falling to `last` at `decay_to`, then constant.
    ///
    /// Not in the paper: gradient noise keeps `w_i` out of span(M) in proportion to η, so a falling learning rate sharpens every
    /// measure.
    ExponentialDecay {
        /// `η` up to `decay_from`; > 0.
        first: f64,
        /// When the decay begins.
        decay_from: f64,
        /// When it ends, after `decay_from`.
        decay_to: f64,
        /// `η` from `decay_to` on; > 0.
        last: f64,
    },
    /// Rising linearly from `peak/warmup` at step 0 to `peak` at the last step of the warm-up, then half a cosine down to 0 at `end`:
    /// `η = peak (1 + cos(π (t − warmup)/(end − warmup)))/2`.
    ///
    /// Not in the paper: usual on images (Goyal et al. 2017; Loshchilov & Hutter 2017; Chen et al. 2020).
    WarmupCosine {
        /// The largest `η`; > 0.
        peak: f64,
        /// Length of the warm-up; 0 for none.
        warmup: f64,
        /// When `η` reaches 0, after the warm-up; the end of the run if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end: Option<f64>,
    },
}

impl Component for LearningRate {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        match self {
            Self::Constant { rate } => positive("constant.rate", rate)?,
            Self::ExponentialDecay { first, decay_from, decay_to, last } => {
                positive("exponential_decay.first", first)?;
                not_negative("exponential_decay.decay_from", decay_from)?;
                positive("exponential_decay.decay_to", decay_to)?;
                positive("exponential_decay.last", last)?;
                let wanted = format!("later than decay_from = {decay_from}");
                check(decay_to > decay_from, "exponential_decay.decay_to", decay_to, wanted)?;
            }
            Self::WarmupCosine { peak, warmup, end } => {
                positive("warmup_cosine.peak", peak)?;
                not_negative("warmup_cosine.warmup", warmup)?;
                if let Some(end) = end {
                    positive("warmup_cosine.end", end)?;
                    check(end > warmup, "warmup_cosine.end", end, format!("later than warmup = {warmup}"))?;
                }
            }
        }
        Ok(self)
    }
}

impl LearningRate {
    /// The same with a cosine that ends at `end` unless it gives another end.
    ///
    /// # Errors
    /// [`ConfigError`] when its warm-up is not shorter than this.
    pub fn ending_at(self, end: f64) -> Result<Self, ConfigError> {
        match self {
            Self::WarmupCosine { peak, warmup, end: None } => {
                check(warmup < end, "warmup_cosine.warmup", warmup, format!("shorter than the run, {end}"))?;
                Ok(Self::WarmupCosine { peak, warmup, end: Some(end) })
            }
            other => Ok(other),
        }
    }

    /// The same in a unit that is `steps` times shorter than the present one; times are rounded.
    #[must_use]
    pub fn times(self, steps: u64) -> Self {
        let scaled = |time: f64| (time * steps as f64).round();
        match self {
            Self::Constant { .. } => self,
            Self::ExponentialDecay { first, decay_from, decay_to, last } => {
                Self::ExponentialDecay { first, decay_from: scaled(decay_from), decay_to: scaled(decay_to), last }
            }
            Self::WarmupCosine { peak, warmup, end } => {
                Self::WarmupCosine { peak, warmup: scaled(warmup), end: end.map(scaled) }
            }
        }
    }

    /// `η` at a step, counted from 0, where times are in steps. A cosine without an end does not fall.
    pub fn at(&self, step: u64) -> f64 {
        let step = step as f64;
        match *self {
            Self::Constant { rate } => rate,
            Self::ExponentialDecay { first, decay_from, decay_to, last } => {
                first * (last / first).powf(passed(step, decay_from, decay_to))
            }
            Self::WarmupCosine { peak, warmup, .. } if step < warmup => peak * (step + 1.0) / warmup,
            Self::WarmupCosine { peak, warmup, end } => {
                let fraction = end.map_or(0.0, |end| passed(step, warmup, end));
                peak * 0.5 * (1.0 + (std::f64::consts::PI * fraction).cos())
            }
        }
    }
}

/// The fraction of the time between `from` and `to` that has passed; these may have been rounded to the same step.
fn passed(step: f64, from: f64, to: f64) -> f64 {
    match step {
        step if step >= to => 1.0,
        step if step <= from => 0.0,
        step => (step - from) / (to - from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decay_runs_through_the_geometric_mean_half_way() {
        let schedule = LearningRate::ExponentialDecay { first: 1.0, decay_from: 100.0, decay_to: 200.0, last: 0.01 };
        for (step, eta) in [(0, 1.0), (100, 1.0), (150, 0.1), (200, 0.01), (999, 0.01)] {
            assert!((schedule.at(step) - eta).abs() < 1e-12);
        }
        assert_eq!(LearningRate::Constant { rate: 0.3 }.at(7), 0.3);
    }

    #[test]
    fn warm_up_is_linear_and_the_cosine_is_symmetric_about_half_the_peak() {
        let schedule = LearningRate::WarmupCosine { peak: 2.0, warmup: 10.0, end: Some(110.0) };
        // A quarter of the way down: 1 + cos(π/4).
        let quarter = 1.0 + 0.5f64.sqrt();
        let at = [(0, 0.2), (4, 1.0), (9, 2.0), (10, 2.0), (35, quarter), (60, 1.0), (85, 2.0 - quarter), (110, 0.0)];
        for (step, eta) in at {
            assert!((schedule.at(step) - eta).abs() < 1e-12, "{step}");
        }
        assert_eq!(schedule.at(999), 0.0);
        assert_eq!(LearningRate::WarmupCosine { peak: 2.0, warmup: 0.0, end: Some(100.0) }.at(0), 2.0);
    }

    #[test]
    fn times_in_epochs_become_times_in_steps() {
        let json = r#"{"warmup_cosine":{"peak":0.4,"warmup":1.5}}"#;
        let in_epochs = serde_json::from_str::<LearningRate>(json).unwrap().checked().unwrap();
        let in_steps = in_epochs.ending_at(10.0).unwrap().times(19);
        assert_eq!(in_steps, LearningRate::WarmupCosine { peak: 0.4, warmup: 29.0, end: Some(190.0) });
        assert_eq!(serde_json::to_string(&in_epochs).unwrap(), json);
        let error = in_epochs.ending_at(1.5).unwrap_err().to_string();
        assert_eq!(error, "warmup_cosine.warmup = 1.5 is out of range; it has to be shorter than the run, 1.5");
    }

    #[test]
    fn times_that_round_to_one_step_are_a_change_at_that_step() {
        let in_epochs = LearningRate::ExponentialDecay { first: 1.0, decay_from: 0.9, decay_to: 1.1, last: 0.1 };
        let in_steps = in_epochs.times(2);
        assert_eq!([0, 1, 2, 3].map(|step| in_steps.at(step)), [1.0, 1.0, 0.1, 0.1]);
    }

    #[test]
    fn wrong_values_are_refused_by_name() {
        let wrong = LearningRate::ExponentialDecay { first: 1.0, decay_from: 5.0, decay_to: 5.0, last: 0.1 };
        let error = wrong.checked().unwrap_err().to_string();
        assert_eq!(error, "exponential_decay.decay_to = 5 is out of range; it has to be later than decay_from = 5");
        assert!(LearningRate::Constant { rate: 0.0 }.checked().is_err());
        let wrong = LearningRate::WarmupCosine { peak: 1.0, warmup: 3.0, end: Some(3.0) };
        assert!(wrong.checked().unwrap_err().to_string().starts_with("warmup_cosine.end = 3 "));
    }
}
