//! The specification of a run on signals on a circle.

use crate::io::error::SpecError;
use crate::spec::under_name::{self, UnderName};
use crate::spec::{ChosenPart, ModelSpec, Optimization, Part, Parts, Schedule, Specification};
use cl_config::{Component, at_least, check};
use cl_data::CircularSignalsConfig;
use cl_model::probe::MIN_TRAINING_ROWS;
use cl_model::{Objective, VectorShape};
use serde::{Deserialize, Serialize};

/// Everything about the training of an encoder of signals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalSpec {
    /// What the model sees.
    #[serde(with = "under_name")]
    pub data: CircularSignalsConfig,
    /// How the two views of a signal differ.
    pub views: SignalViewsSpec,
    /// What learns.
    pub model: ModelSpec<VectorShape>,
    /// What it is trained for: a two-view objective.
    pub objective: Part<dyn Objective>,
    /// How it is optimised.
    pub optimization: Optimization,
    /// How it is measured.
    pub evaluation: SignalEvaluationSpec,
}

impl UnderName for CircularSignalsConfig {
    const NAME: &'static str = "circular_signals";
}

/// How the two views of a signal differ.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalViewsSpec {
    /// `s` in [0, 1]: phases of views are uniform on [−πs, πs].
    pub shift: f64,
}

/// Sizes of the samples that measures are taken on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalEvaluationSpec {
    /// Signals with two views each, for distances, ranks and gains.
    pub samples: usize,
    /// Signals that decoders of the phase are fitted on, and the number they are scored on; a kernel takes the third power of it.
    pub decoder_samples: usize,
}

impl Specification for SignalSpec {
    fn check(&mut self, parts: &Parts) -> Result<(), SpecError> {
        self.data = self.data.checked().map_err(|e| e.below("data.circular_signals"))?;
        check((0.0..=1.0).contains(&self.views.shift), "views.shift", self.views.shift, "from 0 to 1")?;
        self.model.check(&parts.vector_encoders)?;
        self.optimization.check()?;
        self.optimization.check_in_steps()?;
        self.objective.check("objective", &parts.objectives)?;
        let (name, batch_size) = (self.objective.name().to_string(), self.optimization.batch_size);
        at_least("optimization.batch_size", batch_size as u64, 2)?;
        let objective = self.objective.get().as_ref();
        let wanted = "an objective of outputs: nothing decodes signals here";
        check(!objective.reconstructs(), "objective", &name, wanted)?;
        self.model.check_targets(&name, Some(objective), batch_size)?;
        let SignalEvaluationSpec { samples, decoder_samples } = self.evaluation;
        at_least("evaluation.samples", samples as u64, 8)?;
        Ok(at_least("evaluation.decoder_samples", decoder_samples as u64, 2 * MIN_TRAINING_ROWS as u64)?)
    }

    fn runner(&self) -> String {
        format!("circular_signals, {}", self.model.encoder.name())
    }

    fn steps(&self) -> u64 {
        self.schedule().steps
    }

    fn cost(&self) -> f64 {
        let (b, d1) = (self.optimization.batch_size as f64, self.data.input_dim as f64);
        // Six passes over two views at the speed of small products, and the noise.
        let step = 20.0 * b * self.model.encoder.get().multiply_adds(self.shape()) + 60.0 * b * d1;
        self.steps() as f64 * step + 20.0 * (self.evaluation.decoder_samples as f64).powi(3)
    }

    fn chosen(&self) -> Vec<ChosenPart> {
        vec![ChosenPart::new("model.encoder", &self.model.encoder), ChosenPart::new("objective", &self.objective)]
    }
}

impl SignalSpec {
    /// What an encoder has to know about signals.
    pub fn shape(&self) -> VectorShape {
        VectorShape { dim: self.data.input_dim, code_dim: self.data.code_dim }
    }

    /// Length and learning rate.
    pub fn schedule(&self) -> Schedule {
        self.optimization.schedule(1)
    }
}
