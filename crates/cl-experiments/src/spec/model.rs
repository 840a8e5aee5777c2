//! What learns, for every kind of input.

use super::{EncoderInfo, Part, Registry};
use crate::io::error::SpecError;
use cl_config::Component;
use cl_model::{MomentumCopyConfig, Objective, PredictorConfig, ProjectorConfig};
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
        checked(&mut self.momentum_copy, "model.momentum_copy")
    }

    /// Whether nothing is behind the encoder.
    pub fn is_encoder_alone(&self) -> bool {
        self.projector.is_none() && self.predictor.is_none() && self.momentum_copy.is_none()
    }

    /// Checks that an objective uses what there is; `None` for the supervised one.
    ///
    /// # Errors
    /// [`SpecError`] naming the part that it has no use for.
    pub fn check_targets(&self, name: &str, objective: Option<&dyn Objective>) -> Result<(), SpecError> {
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
}

fn checked<C: Component>(part: &mut Option<C>, key: &str) -> Result<(), SpecError> {
    if let Some(given) = part.take() {
        *part = Some(given.checked().map_err(|e| e.below(key))?);
    }
    Ok(())
}
