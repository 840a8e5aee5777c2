//! What learns, for every kind of input.

use super::{EncoderInfo, Part, Registry};
use crate::io::error::SpecError;
use cl_config::{Component, check};
use cl_model::{MomentumCopyConfig, Objective, PredictorConfig, ProjectorConfig, QueueConfig};
use serde::{Deserialize, Serialize};

/// Encoder and what is between it and a two-view objective; `S` is what must be known about inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound = "")]
pub struct ModelSpec<S> {
    /// From inputs to features.
    pub encoder: Part<dyn EncoderInfo<S>>,
    /// From features to the output that a two-view objective sees; the features themselves when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projector: Option<ProjectorConfig>,
    /// From the output for one view to that for the other, for objectives that compare predictions; none when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predictor: Option<PredictorConfig>,
    /// A slowly moving copy of the model, whose outputs are the targets of such an objective; none when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub momentum_copy: Option<MomentumCopyConfig>,
    /// Keys of earlier batches by the momentum copy, as negatives; none when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueConfig>,
}

impl<S: 'static> ModelSpec<S> {
    /// Checks every range.
    ///
    /// # Errors
    /// [`SpecError`] naming key, value and what would be right.
    pub fn check(&mut self, encoders: &Registry<dyn EncoderInfo<S>>) -> Result<(), SpecError> {
        self.encoder.check("model.encoder", encoders)?;
        checked(&mut self.projector, "model.projector")?;
        checked(&mut self.predictor, "model.predictor")?;
        checked(&mut self.momentum_copy, "model.momentum_copy")?;
        checked(&mut self.queue, "model.queue")
    }

    /// Whether nothing is behind the encoder.
    pub fn is_encoder_alone(&self) -> bool {
        let has_targets = self.predictor.is_some() || self.momentum_copy.is_some() || self.queue.is_some();
        self.projector.is_none() && !has_targets
    }

    /// Checks that an objective uses what there is; `None` for the supervised one.
    ///
    /// # Errors
    /// [`SpecError`] naming the part that it has no use for.
    pub fn check_targets(
        &self,
        name: &str,
        objective: Option<&dyn Objective>,
        batch_size: usize,
    ) -> Result<(), SpecError> {
        if let Some(queue) = &self.queue {
            return self.check_queue(queue.size, name, objective, batch_size);
        }
        // Where keys pass no gradient, the second prediction would have to be made without one.
        if objective.is_some_and(|o| o.takes_targets() && o.has_key_gradient()) {
            return Ok(());
        }
        let given = [("predictor", self.predictor.is_some()), ("momentum_copy", self.momentum_copy.is_some())];
        match given.into_iter().find(|(_, is_given)| *is_given) {
            None => Ok(()),
            Some((part, _)) => Err(SpecError::Parse {
                message: format!("model.{part}: the objective {name} makes no predictions; leave it out"),
            }),
        }
    }

    /// Checks that a queue of keys can be filled and is used.
    fn check_queue(
        &self,
        size: usize,
        name: &str,
        objective: Option<&dyn Objective>,
        batch_size: usize,
    ) -> Result<(), SpecError> {
        let wrong = |key: &str, message: &str| Err(SpecError::Parse { message: format!("{key}: {message}") });
        if !objective.is_some_and(|o| o.takes_negatives() && !o.has_key_gradient()) {
            let message = format!(
                "the objective {name} does not compare queries with keys that pass no gradient; leave it out, or choose info_nce with key_gradient = \"stopped\""
            );
            return wrong("model.queue", &message);
        }
        if self.momentum_copy.is_none() {
            return wrong("model.queue", "its keys come from a momentum copy, so give model.momentum_copy");
        }
        if self.predictor.is_some() {
            return wrong("model.predictor", "queries are compared with the keys of a queue as they are; leave it out");
        }
        let wanted = format!("a multiple of optimization.batch_size = {batch_size}");
        Ok(check(size.is_multiple_of(batch_size), "model.queue.size", size, wanted)?)
    }
}

fn checked<C: Component>(part: &mut Option<C>, key: &str) -> Result<(), SpecError> {
    if let Some(given) = part.take() {
        *part = Some(given.checked().map_err(|e| e.below(key))?);
    }
    Ok(())
}
