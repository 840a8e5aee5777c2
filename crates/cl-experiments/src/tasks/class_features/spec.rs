//! The specification of a run on observations with a class.

use crate::io::error::SpecError;
use crate::spec::under_name::{self, UnderName};
use crate::spec::{ChosenPart, ModelSpec, Optimization, Part, Parts, Specification};
use crate::tasks::two_views::{TwoViewSpec, check_outputs, check_parts};
use cl_config::{Component, at_least, check, positive, probability};
use cl_data::{Augmentation, ClassFeaturesConfig, PositiveSource};
use cl_model::{Objective, VectorShape};
use serde::{Deserialize, Serialize};

/// Everything about the training of an encoder of observations with a class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassSpec {
    /// What the model sees.
    #[serde(with = "under_name")]
    pub data: ClassFeaturesConfig,
    /// How the two views of a pair are made.
    #[serde(default)]
    pub views: ClassViews,
    /// What learns.
    pub model: ModelSpec<VectorShape>,
    /// What it is trained for: a two-view objective.
    pub objective: Part<dyn Objective>,
    /// How it is optimised.
    pub optimization: Optimization,
    /// How it is measured.
    pub evaluation: ClassEvaluationSpec,
}

impl UnderName for ClassFeaturesConfig {
    const NAME: &'static str = "class_features";
}

/// How the two views of a pair are made.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClassViews {
    /// At most one transform of a pair of views; if there is none, views are observations themselves.
    pub transform: Vec<Augmentation>,
    /// Whether the second view may show another observation. Default: never.
    pub positives: PositiveSource,
}

impl ClassViews {
    /// The transform of a pair of views.
    pub fn augmentation(&self) -> Augmentation {
        self.transform.first().copied().unwrap_or(Augmentation::None)
    }
}

/// How a run is measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassEvaluationSpec {
    /// Observations on which losses and prototypes are measured.
    pub samples: usize,
    /// Draws of views that make the prototype of an observation.
    pub draws: usize,
    /// Other observations of each class, whose mean output is its prototype.
    pub prototype_samples_per_class: usize,
    /// `τ` of those losses, the same for every objective.
    pub temperature: f64,
    /// Observations of each class that probes are fitted on, and the number they are scored on.
    pub probe_samples_per_class: usize,
}

impl Specification for ClassSpec {
    fn check(&mut self, parts: &Parts) -> Result<(), SpecError> {
        self.data = self.data.checked().map_err(|e| e.below("data.class_features"))?;
        self.views.transform.retain(|transform| *transform != Augmentation::None);
        let transforms = format!("{} transforms", self.views.transform.len());
        check(self.views.transform.len() <= 1, "views.transform", transforms, "at most one")?;
        self.views.augmentation().checked().map_err(|e| e.below("views.transform[0]"))?;
        probability("views.positives", self.views.positives.probability())?;
        check_parts((&mut self.model, &parts.vector_encoders), &mut self.objective, &mut self.optimization, parts)?;
        self.optimization.check_in_steps()?;
        check_outputs(&self.objective)?;
        let ClassEvaluationSpec { samples, draws, prototype_samples_per_class, temperature, probe_samples_per_class } =
            self.evaluation;
        at_least("evaluation.samples", samples as u64, 8)?;
        check((1..=1000).contains(&draws), "evaluation.draws", draws, "from 1 to 1000")?;
        at_least("evaluation.prototype_samples_per_class", prototype_samples_per_class as u64, 1)?;
        positive("evaluation.temperature", temperature)?;
        Ok(at_least("evaluation.probe_samples_per_class", probe_samples_per_class as u64, 4)?)
    }

    fn runner(&self) -> String {
        self.runner_of(ClassFeaturesConfig::NAME)
    }

    fn steps(&self) -> u64 {
        self.schedule().steps
    }

    fn cost(&self) -> f64 {
        self.cost_of_steps()
    }

    fn chosen(&self) -> Vec<ChosenPart> {
        self.chosen_parts()
    }
}

impl TwoViewSpec for ClassSpec {
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
