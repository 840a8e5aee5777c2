//! How a model is optimised, for every kind of data.

use crate::io::error::SpecError;
use cl_config::{Component, at_least, check, positive};
use cl_model::{LearningRate, OptimizerConfig};
use serde::{Deserialize, Serialize};

/// Length, batches, optimizer and learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optimization {
    /// Length in steps, `T`; not given if it is in epochs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Length in passes over the training set, for data that have one. An incomplete batch at the end of an epoch is
    /// left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// `B`.
    pub batch_size: usize,
    /// How weights follow the gradient.
    pub optimizer: OptimizerConfig,
    /// `η`, with times in steps or epochs like the length.
    pub learning_rate: LearningRate,
    /// Norm of the gradient of all parameters together, larger than 0, to which longer gradients are scaled; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradient_clip: Option<f64>,
    /// Steps or epochs between two snapshots, in the unit of the length; an epoch of the dashboard.
    pub snapshot_every: u64,
}

/// Length and learning rate in steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// `T`.
    pub steps: u64,
    /// Steps between two snapshots.
    pub steps_per_snapshot: u64,
    /// `η`, with times in steps.
    pub learning_rate: LearningRate,
    /// The largest norm of a step's gradient.
    pub gradient_clip: Option<f64>,
}

impl Optimization {
    /// Checks every range and fills in the end of the learning rate.
    ///
    /// # Errors
    /// [`SpecError`] naming key, value and what would be right.
    pub fn check(&mut self) -> Result<(), SpecError> {
        let given = [("optimization.steps", self.steps), ("optimization.epochs", self.epochs)];
        let given: Vec<(&str, u64)> = given.into_iter().filter_map(|(key, length)| Some((key, length?))).collect();
        let [(key, length)] = given[..] else {
            let message = "optimization: the length of a run is given once, as steps or as epochs".into();
            return Err(SpecError::Parse { message });
        };
        at_least(key, length, 1)?;
        at_least("optimization.batch_size", self.batch_size as u64, 1)?;
        at_least("optimization.snapshot_every", self.snapshot_every, 1)?;
        let divides = length.is_multiple_of(self.snapshot_every);
        check(divides, "optimization.snapshot_every", self.snapshot_every, format!("a divisor of {key} = {length}"))?;
        self.gradient_clip.map_or(Ok(()), |most| positive("optimization.gradient_clip", most))?;
        self.optimizer = self.optimizer.checked().map_err(|e| e.below("optimization.optimizer"))?;
        let learning_rate = self.learning_rate.checked().and_then(|rate| rate.ending_at(length as f64));
        self.learning_rate = learning_rate.map_err(|e| e.below("optimization.learning_rate"))?;
        Ok(())
    }

    /// The same in steps, for a training set of `steps_per_epoch` batches.
    pub fn schedule(&self, steps_per_epoch: u64) -> Schedule {
        let (length, unit) = match (self.steps, self.epochs) {
            (Some(steps), _) => (steps, 1),
            (None, epochs) => (epochs.unwrap_or(0), steps_per_epoch),
        };
        Schedule {
            steps: length * unit,
            steps_per_snapshot: self.snapshot_every * unit,
            learning_rate: self.learning_rate.times(unit),
            gradient_clip: self.gradient_clip,
        }
    }

    /// Checks that the length is given in steps.
    ///
    /// # Errors
    /// [`SpecError`] if it is given in epochs.
    pub fn check_in_steps(&self) -> Result<(), SpecError> {
        let wanted = "left out, and the length given as optimization.steps: data that are drawn fresh have no epochs";
        Ok(check(self.epochs.is_none(), "optimization.epochs", self.epochs.unwrap_or(0), wanted)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Optimization, String> {
        let mut optimization: Optimization = toml::from_str(text).map_err(|e| e.to_string())?;
        optimization.check().map_err(|e| e.to_string())?;
        Ok(optimization)
    }

    const REST: &str = "batch_size = 4\noptimizer = { sgd = { weight_decay = 0.1 } }";

    #[test]
    fn times_are_in_the_unit_of_the_length() {
        let rate = "learning_rate = { warmup_cosine = { peak = 0.1, warmup = 1.0 } }\nsnapshot_every = 2";
        let schedule = read(&format!("epochs = 4\n{REST}\n{rate}")).unwrap().schedule(10);
        assert_eq!((schedule.steps, schedule.steps_per_snapshot), (40, 20));
        assert_eq!(schedule.learning_rate.at(9), 0.1);
        let schedule = read(&format!("steps = 4\n{REST}\n{rate}")).unwrap().schedule(10);
        assert_eq!((schedule.steps, schedule.steps_per_snapshot), (4, 2));
        assert_eq!(schedule.learning_rate.at(0), 0.1);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_key() {
        let rate = "learning_rate = { constant = { rate = 0.1 } }";
        for (text, message) in [
            (format!("{REST}\n{rate}\nsnapshot_every = 2"), "given once, as steps or as epochs"),
            (format!("steps = 4\nepochs = 4\n{REST}\n{rate}\nsnapshot_every = 2"), "given once"),
            (
                format!("steps = 4\n{REST}\n{rate}\nsnapshot_every = 3"),
                "optimization.snapshot_every = 3 is out of range; it has to be a divisor of optimization.steps = 4",
            ),
            (
                format!("steps = 4\n{REST}\nlearning_rate = {{ constant = {{ rate = 0.0 }} }}\nsnapshot_every = 2"),
                "optimization.learning_rate.constant.rate = 0 is out of range",
            ),
            (
                format!("steps = 4\n{REST}\n{rate}\nsnapshot_every = 2\ngradient_clip = 0"),
                "optimization.gradient_clip = 0 is out of range; it has to be a finite number larger than 0",
            ),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
