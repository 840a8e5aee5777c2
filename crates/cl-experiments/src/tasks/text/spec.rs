//! The specification of a run on sentences.

use super::source::{self, Content, TextSource};
use crate::io::error::{SpecError, UserError};
use crate::spec::under_name::{self, UnderName};
use crate::spec::{ChosenPart, ModelSpec, Optimization, Part, Parts, Schedule, Specification, is_off};
use crate::tasks::initial_model::Behind;
use crate::tasks::two_views::{TwoViewSpec, check_parts};
use cl_config::{at_least, check, positive};
use cl_data::tokens::augmentation::{TokenPipeline, TokenTransform};
use cl_model::probe::MIN_TRAINING_ROWS;
use cl_model::{Objective, Reconstructed, TokenShape};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Everything about the training of an encoder of sentences.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextSpec {
    /// What the model sees.
    #[serde(with = "under_name")]
    pub data: TextData,
    /// How the two views of a sentence are made.
    #[serde(default)]
    pub views: TextViews,
    /// What learns.
    pub model: ModelSpec<TokenShape>,
    /// What it is trained for: an objective of two views, or `masked_tokens`.
    pub objective: Part<dyn Objective>,
    /// How it is optimised.
    pub optimization: Optimization,
    /// How it is measured.
    pub evaluation: TextEvaluationSpec,
}

/// Which sentences.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextData {
    /// Where they come from.
    pub source: TextSource,
    /// What they contain, of text from files. Filled in before a run; if a file gives it, other text is rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
}

impl UnderName for TextData {
    const NAME: &'static str = "text";
}

/// How the two views of a sentence are made.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextViews {
    /// Transforms in the order in which they are applied; without any, both views are the sentence itself.
    pub transform: Vec<Part<dyn TokenTransform>>,
    /// Whose second view belongs to a first one.
    #[serde(skip_serializing_if = "is_default")]
    pub partner: Partner,
    /// Which sentence's end is taken for that of a second view.
    #[serde(skip_serializing_if = "is_default")]
    pub second_mask: Partner,
}

/// A sentence of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Partner {
    /// The sentence itself.
    #[default]
    Own,
    /// The next one: as a control, or as a public program has it by mistake.
    Next,
}

fn is_default(partner: &Partner) -> bool {
    *partner == Partner::default()
}

impl TextViews {
    /// What makes the views.
    ///
    /// # Panics
    /// Before it has been checked.
    pub fn pipeline(&self) -> TokenPipeline {
        TokenPipeline::new(self.transform.iter().map(|part| (part.name().into(), part.get().clone())).collect())
    }
}

/// How an encoder is measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextEvaluationSpec {
    /// How many sentences of the generated language are drawn; not given for text from files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<LanguageSamples>,
    /// How many labels an encoder is fine-tuned on, and a probe fitted: one after the other.
    pub budgets: Vec<Budget>,
    /// `η` of fine-tuning, by Adam.
    pub fine_tuning_rate: f64,
    /// Sentences of a step of fine-tuning; all of them where there are fewer labels.
    pub fine_tuning_batch: usize,
    /// Whether logistic regressions on counts of words and on TF-IDF are scored as well.
    #[serde(default, skip_serializing_if = "is_off")]
    pub baselines: bool,
    /// Whether labels belong to other sentences: a control.
    #[serde(default, skip_serializing_if = "is_off")]
    pub shuffled_labels: bool,
}

/// Sentences of the generated language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageSamples {
    /// Those that topics and style are read off, and as many on which that is scored.
    pub samples: usize,
    /// Those on which labels are told; of text from files all of the test are.
    pub test_sentences: usize,
}

/// So many labels, and the length of fine-tuning on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Sentences with a label, at least 8, in the proportions of the classes.
    pub labels: usize,
    /// Steps of fine-tuning on them.
    pub steps: u64,
    /// Leaves out the baselines on words, which take long with many labels and classes.
    #[serde(default, skip_serializing_if = "is_off")]
    pub without_baselines: bool,
}

impl Specification for TextSpec {
    fn check(&mut self, parts: &Parts) -> Result<(), SpecError> {
        self.data.source.check("data.text.source")?;
        for (i, transform) in self.views.transform.iter_mut().enumerate() {
            transform.check(&format!("views.transform[{i}]"), &parts.token_transforms)?;
        }
        if !self.data.source.is_generated() {
            self.views.pipeline().fits_any_text().map_err(|e| e.below("views"))?;
        }
        check_parts((&mut self.model, &parts.token_encoders), &mut self.objective, &mut self.optimization, parts)?;
        if self.data.source.is_generated() {
            self.optimization.check_in_steps()?;
            let wanted = "left out: nothing is read";
            check(self.data.content.is_none(), "data.text.content", "given", wanted)?;
        }
        if let Some(what) = self.objective.get().reconstructs() {
            let wanted = "one of tokens: sentences have no coordinates";
            check(what == Reconstructed::Tokens, "objective", self.objective.name(), wanted)?;
            let wanted = "left out: the objective predicts words from features";
            check(self.model.projector.is_none(), "model.projector", "a projector", wanted)?;
        }
        let e = &self.evaluation;
        let wanted = if self.data.source.is_generated() {
            "given: sentences are drawn"
        } else {
            "left out: all test sentences are used"
        };
        let (is_given, found) = (e.language.is_some(), if e.language.is_some() { "given" } else { "nothing" });
        check(is_given == self.data.source.is_generated(), "evaluation.language", found, wanted)?;
        if let Some(LanguageSamples { samples, test_sentences }) = e.language {
            at_least("evaluation.language.samples", samples as u64, 2 * MIN_TRAINING_ROWS as u64)?;
            at_least("evaluation.language.test_sentences", test_sentences as u64, 2)?;
        }
        positive("evaluation.fine_tuning_rate", e.fine_tuning_rate)?;
        at_least("evaluation.fine_tuning_batch", e.fine_tuning_batch as u64, 1)?;
        check(!e.budgets.is_empty(), "evaluation.budgets", "[]", "one or more numbers of labels")?;
        for (i, budget) in e.budgets.iter().enumerate() {
            at_least(&format!("evaluation.budgets[{i}].steps"), budget.steps, 1)?;
            at_least(&format!("evaluation.budgets[{i}].labels"), budget.labels as u64, MIN_TRAINING_ROWS as u64)?;
            let before = i.checked_sub(1).map_or(0, |before| e.budgets[before].labels);
            let wanted = format!("more than {before}: budgets grow");
            check(budget.labels > before, &format!("evaluation.budgets[{i}].labels"), budget.labels, wanted)?;
        }
        Ok(())
    }

    fn runner(&self) -> String {
        self.runner_of(TextData::NAME)
    }

    fn steps(&self) -> u64 {
        self.schedule().steps
    }

    fn cost(&self) -> f64 {
        if !self.is_known() {
            return 0.0;
        }
        let e = &self.evaluation;
        let tuned: f64 = e.budgets.iter().map(|b| b.steps as f64 * b.labels.min(e.fine_tuning_batch) as f64).sum();
        let word_vectors = self.shape().vocabulary as f64 * 1000.0;
        let updates = self.steps() as f64 + 2.0 * e.budgets.iter().map(|b| b.steps as f64).sum::<f64>();
        self.cost_of_steps()
            + 20.0 * tuned * self.model.encoder.get().multiply_adds(self.shape())
            + updates * word_vectors
    }

    fn chosen(&self) -> Vec<ChosenPart> {
        let transforms = self.views.transform.iter().map(|part| ChosenPart::new("views.transform", part));
        self.chosen_parts().into_iter().chain(transforms).collect()
    }

    fn pin(&mut self, data_dir: Option<&Path>) -> Result<(), UserError> {
        let Some(found) = source::load(&self.data.source, data_dir)? else { return Ok(()) };
        self.fix_content(found.content.clone()).map_err(|e| UserError::Run(e.to_string()))
    }
}

impl TextSpec {
    /// Fixes the text and checks what depends on it.
    ///
    /// # Errors
    /// [`SpecError`] when other text was asked for, or there is too little.
    fn fix_content(&mut self, content: Content) -> Result<(), SpecError> {
        if let Some(wanted) = &self.data.content {
            let key = |name: &str| format!("data.text.content.{name}");
            let right = format!("that of the text found, {}", content.fingerprint.join(", "));
            let is_same = wanted.fingerprint == content.fingerprint;
            check(is_same, &key("fingerprint"), wanted.fingerprint.join(", "), right)?;
            let named = |tokenizer: &Option<String>| tokenizer.clone().unwrap_or("none".into());
            let right = format!("{}, that of the tokenizer found", named(&content.tokenizer));
            check(wanted.tokenizer == content.tokenizer, &key("tokenizer"), named(&wanted.tokenizer), right)?;
            let sizes = |c: &Content| [c.train, c.test, c.classes, c.vocabulary, c.longest];
            let names = ["train", "test", "classes", "vocabulary", "longest"];
            for ((name, wanted), found) in names.iter().zip(sizes(wanted)).zip(sizes(&content)) {
                check(wanted == found, &key(name), wanted, format!("{found}, as found"))?;
            }
        }
        let wanted = "2 or more: with so large a least_count no word is known";
        check(content.vocabulary >= 2, "known words", content.vocabulary, wanted)?;
        at_least("number of classes", content.classes as u64, 2)?;
        at_least("test sentences", content.test as u64, 2)?;
        let batch_size = self.optimization.batch_size;
        let wanted = format!("at most the number of training sentences, {}", content.train);
        check(batch_size <= content.train, "optimization.batch_size", batch_size, &wanted)?;
        for (i, budget) in self.evaluation.budgets.iter().enumerate() {
            let key = format!("evaluation.budgets[{i}].labels");
            check(budget.labels <= content.train, &key, budget.labels, &wanted)?;
        }
        self.data.content = Some(content);
        Ok(())
    }

    /// Whether sizes are known.
    fn is_known(&self) -> bool {
        self.data.source.is_generated() || self.data.content.is_some()
    }

    /// Batches of an epoch; 1 where sentences are drawn fresh, or before the text is known.
    pub fn steps_per_epoch(&self) -> u64 {
        let content = self.data.content.as_ref();
        content.map_or(1, |content| (content.train / self.optimization.batch_size) as u64)
    }

    /// Classes that labels tell apart.
    ///
    /// # Panics
    /// When the text has not been pinned.
    pub fn classes(&self) -> usize {
        match &self.data.source {
            TextSource::TopicLanguage(config) => config.topics,
            _ => self.content().classes,
        }
    }

    fn content(&self) -> &Content {
        self.data.content.as_ref().expect("text is pinned before a run")
    }

    /// Sentences of the generated language.
    ///
    /// # Panics
    /// For text from files, and before it has been checked.
    pub fn language_samples(&self) -> LanguageSamples {
        self.evaluation.language.expect("the generated language comes with numbers of sentences")
    }

    /// Whether the objective predicts words.
    pub fn predicts_tokens(&self) -> bool {
        self.objective.get().reconstructs() == Some(Reconstructed::Tokens)
    }
}

impl TwoViewSpec for TextSpec {
    type Shape = TokenShape;

    fn model(&self) -> &ModelSpec<TokenShape> {
        &self.model
    }

    fn objective(&self) -> &Part<dyn Objective> {
        &self.objective
    }

    fn optimization(&self) -> &Optimization {
        &self.optimization
    }

    fn shape(&self) -> TokenShape {
        match &self.data.source {
            TextSource::TopicLanguage(config) => {
                TokenShape { vocabulary: config.vocabulary(), longest: config.topic_tokens + config.style_tokens }
            }
            _ => TokenShape { vocabulary: self.content().vocabulary, longest: self.content().longest },
        }
    }

    fn numbers_per_view(&self) -> usize {
        self.shape().longest
    }

    fn behind(&self) -> Behind<'_, TokenShape> {
        if self.predicts_tokens() { Behind::Head(self.shape().vocabulary) } else { Behind::Outputs(&self.model) }
    }

    fn schedule(&self) -> Schedule {
        self.optimization.schedule(self.steps_per_epoch())
    }
}
