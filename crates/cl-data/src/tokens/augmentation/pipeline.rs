//! Transforms in order, and the two views they make of each sentence.

use crate::StreamRng;
use crate::tokens::{Sentences, TopicLanguage};
use crate::{Matrix, Part, Stream};
use cl_config::{ConfigError, check};
use std::fmt::Debug;
use std::sync::Arc;

/// What a transform may know of the sentence that it changes.
#[derive(Debug, Clone, Copy)]
pub struct Whole<'a> {
    /// The language and the style of the sentence, where they are known.
    pub language: Option<(&'a TopicLanguage, &'a [f32])>,
}

/// Changes the two views of one sentence after the other.
pub trait TokenTransform: Debug + Send + Sync {
    /// Changes both views of a sentence; neither may become empty or longer than the sentence.
    fn apply(&self, views: &mut [Vec<u32>; 2], whole: Whole, rng: &mut StreamRng);

    /// Whether it needs the language of a sentence.
    fn needs_language(&self) -> bool {
        false
    }
}

/// Transforms with their names, in the order in which they are applied. Without any, both views are the sentence itself.
#[derive(Debug, Clone, Default)]
pub struct TokenPipeline {
    transforms: Vec<(String, Arc<dyn TokenTransform>)>,
}

impl TokenPipeline {
    /// Both views are the sentence.
    pub const fn none() -> Self {
        Self { transforms: Vec::new() }
    }

    /// These transforms in this order.
    pub const fn new(transforms: Vec<(String, Arc<dyn TokenTransform>)>) -> Self {
        Self { transforms }
    }

    /// The same followed by one more.
    #[must_use]
    pub fn with(mut self, name: &str, transform: impl TokenTransform + 'static) -> Self {
        self.transforms.push((name.into(), Arc::new(transform)));
        self
    }

    /// Checks that sentences without a known language can be transformed.
    ///
    /// # Errors
    /// [`ConfigError`] with a key such as `transform[2]`, from 0.
    pub fn fits_any_text(&self) -> Result<(), ConfigError> {
        self.transforms.iter().enumerate().try_for_each(|(place, (name, transform))| {
            let right = "a transform that needs no language: synonyms and styles are known of the generated one alone";
            check(!transform.needs_language(), &format!("transform[{place}]"), name, right)
        })
    }

    /// Two views of each sentence: a pure function of its arguments. The language comes with the style of each sentence, `[n, style_dim]`.
    ///
    /// # Panics
    /// When a transform needs a language and there is none.
    pub fn views(
        &self,
        sentences: &Sentences,
        language: Option<(&TopicLanguage, &Matrix)>,
        stream: Stream,
        step: u64,
    ) -> [Sentences; 2] {
        let mut views: Vec<[Vec<u32>; 2]> = sentences.iter().map(|s| [s.to_vec(), s.to_vec()]).collect();
        for (place, (name, transform)) in self.transforms.iter().enumerate() {
            let occurrence = self.transforms[..place].iter().filter(|(other, _)| other == name).count() as u32;
            let mut rng = stream.named_rng(Part::NamedTextTransform, name, [occurrence, 0], step);
            for (i, pair) in views.iter_mut().enumerate() {
                let whole = Whole { language: language.map(|(language, styles)| (language, styles.row(i))) };
                transform.apply(pair, whole, &mut rng);
                let whole = sentences.get(i).len();
                assert!(
                    pair.iter().all(|view| (1..=whole).contains(&view.len())),
                    "{name} has made a view empty or longer"
                );
            }
        }
        let (first, second) = views.into_iter().map(|[first, second]| (first, second)).unzip::<_, _, Vec<_>, Vec<_>>();
        [first.into_iter().collect(), second.into_iter().collect()]
    }
}
