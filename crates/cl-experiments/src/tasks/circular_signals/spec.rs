//! The specification of a run on signals on a circle.

use crate::io::error::SpecError;
use crate::spec::under_name::{self, UnderName};
use crate::spec::{ChosenPart, ModelSpec, Optimization, Part, Parts, Specification};
use crate::tasks::two_views::{TwoViewSpec, check_outputs, check_parts};
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
        check_parts((&mut self.model, &parts.vector_encoders), &mut self.objective, &mut self.optimization, parts)?;
        self.optimization.check_in_steps()?;
        check_outputs(&self.objective)?;
        let SignalEvaluationSpec { samples, decoder_samples } = self.evaluation;
        at_least("evaluation.samples", samples as u64, 8)?;
        Ok(at_least("evaluation.decoder_samples", decoder_samples as u64, 2 * MIN_TRAINING_ROWS as u64)?)
    }

    fn runner(&self) -> String {
        self.runner_of(CircularSignalsConfig::NAME)
    }

    fn steps(&self) -> u64 {
        self.schedule().steps
    }

    fn cost(&self) -> f64 {
        self.cost_of_steps() + 20.0 * (self.evaluation.decoder_samples as f64).powi(3)
    }

    fn chosen(&self) -> Vec<ChosenPart> {
        self.chosen_parts()
    }
}

impl TwoViewSpec for SignalSpec {
    type Shape = VectorShape;

    fn model(&self) -> &ModelSpec<VectorShape> {
        &self.model
    }

    fn objective(&self) -> &Part<dyn Objective> {
        &self.objective
    }

    fn optimization(&self) -> &Optimization {
        &self.optimization
    }

    fn shape(&self) -> VectorShape {
        VectorShape { dim: self.data.input_dim, code_dim: self.data.code_dim }
    }

    fn numbers_per_view(&self) -> usize {
        self.data.input_dim
    }
}
