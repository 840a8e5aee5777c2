//! The public face of a program built on this one.

use crate::io::error::UserError;
use crate::judge::measures::measure::{self, Measure, Measures};
use crate::judge::measures::{self, ClaimResult};
use crate::report::Figures;
use crate::report::chart::Figure;
use crate::run::catalog::Catalog;
use crate::tasks::task::Task;
use cl_config::Component;
use cl_data::images::augmentation::Transform;
use cl_data::tokens::augmentation::TokenTransform;
use cl_model::conv::ImageEncoder;
use cl_model::{EncoderConfig, Objective, TokenEncoder, VectorEncoder};
use std::process::ExitCode;

/// A laboratory: the standard parts, and whatever a program built on this one adds.
///
/// ```no_run
/// use cl_experiments::Laboratory;
/// # use cl_model::NtXent as MyLoss;
///
/// fn main() -> std::process::ExitCode {
///     // The directory is where the program's own commit and lock file are looked up.
///     Laboratory::standard().built_from(env!("CARGO_MANIFEST_DIR")).objective::<MyLoss>("my_loss").main()
/// }
/// ```
///
/// Whatever is added has a name, by which experiment files choose it, and a version, which is part of the identity of
/// runs. A run with such a part is only reused by the executable that made it.
#[derive(Debug)]
pub struct Laboratory {
    pub(super) catalog: Catalog,
    pub(super) measures: Measures,
    pub(super) figures: Figures,
}

impl Laboratory {
    /// Everything built into this program.
    pub fn standard() -> Self {
        Self { catalog: Catalog::standard(), measures: measures::standard(), figures: Figures::standard() }
    }

    /// Sets where the sources of a program built on this one are, for its manifests: `env!("CARGO_MANIFEST_DIR")`.
    #[must_use]
    pub fn built_from(self, directory: &'static str) -> Self {
        crate::io::manifest::set_own_sources(directory);
        self
    }

    /// Adds a vector encoder, chosen by `model.encoder.<name>` together with any data that are vectors.
    #[must_use]
    pub fn vector_encoder<C: EncoderConfig<Encoder: VectorEncoder>>(self, name: &str) -> Self {
        Self { catalog: self.catalog.vector_encoder::<C>(name), ..self }
    }

    /// Adds an image encoder, chosen by `model.encoder.<name>` together with `data.images`.
    #[must_use]
    pub fn image_encoder<C: EncoderConfig<Encoder: ImageEncoder>>(self, name: &str) -> Self {
        Self { catalog: self.catalog.image_encoder::<C>(name), ..self }
    }

    /// Adds an encoder of sentences, chosen by `model.encoder.<name>` together with `data.text`.
    #[must_use]
    pub fn token_encoder<C: EncoderConfig<Encoder: TokenEncoder>>(self, name: &str) -> Self {
        Self { catalog: self.catalog.token_encoder::<C>(name), ..self }
    }

    /// Adds a transform of sentences, for `views.transform` together with `data.text`.
    #[must_use]
    pub fn token_transform<T: Component + TokenTransform>(self, name: &str) -> Self {
        Self { catalog: self.catalog.token_transform::<T>(name), ..self }
    }

    /// Adds an image transform, for `views.transform` together with `data.images`.
    #[must_use]
    pub fn transform<T: Component + Transform>(self, name: &str) -> Self {
        Self { catalog: self.catalog.transform::<T>(name), ..self }
    }

    /// Adds a two-view objective, chosen by `objective.<name>`.
    #[must_use]
    pub fn objective<O: Component + Objective>(self, name: &str) -> Self {
        Self { catalog: self.catalog.objective::<O>(name), ..self }
    }

    /// Adds a kind of data with its model and its measures, chosen by `data.<name>`.
    #[must_use]
    pub fn task<T: Task>(self, name: &str) -> Self {
        Self { catalog: self.catalog.task::<T>(name), ..self }
    }

    /// Adds a measure of complete runs, chosen in `measures` of experiment files.
    ///
    /// ```
    /// use cl_config::{Component, ConfigError};
    /// use cl_experiments::Laboratory;
    /// use cl_experiments::io::error::UserError;
    /// use cl_experiments::judge::measures::measure::{CompleteRun, Measure};
    /// use serde::{Deserialize, Serialize};
    /// use std::collections::BTreeMap;
    ///
    /// /// Chosen by `measures = ["seconds"]`, or with values by `measures = [{ seconds = { … } }]`.
    /// #[derive(Debug, Clone, Serialize, Deserialize)]
    /// struct Seconds {}
    ///
    /// impl Component for Seconds {
    ///     const VERSION: u32 = 1;
    ///     fn checked(self) -> Result<Self, ConfigError> {
    ///         Ok(self)
    ///     }
    /// }
    ///
    /// impl Measure for Seconds {
    ///     fn of_run(&self, run: &CompleteRun) -> Result<BTreeMap<String, f64>, UserError> {
    ///         Ok([("seconds".to_string(), run.folder.manifest()?.duration_s)].into())
    ///     }
    /// }
    ///
    /// let laboratory = Laboratory::standard().measure::<Seconds>("seconds");
    /// ```
    #[must_use]
    pub fn measure<M: Component + Measure>(mut self, name: &str) -> Self {
        measure::add::<M>(&mut self.measures, name, true);
        self
    }

    /// Adds a kind of figure, chosen in `figures` of experiment files; `draw` gets a claim after its runs.
    #[must_use]
    pub fn figure(
        self,
        name: &str,
        draw: impl Fn(&ClaimResult) -> Result<Vec<Figure>, UserError> + Send + Sync + 'static,
    ) -> Self {
        Self { figures: self.figures.with(name, move |result, _| draw(result)), ..self }
    }

    /// Parses the command line, executes it, and returns the exit status.
    pub fn main(self) -> ExitCode {
        let ended = super::run(self);
        match ended.and_then(|status| crate::io::output::finish().map(|()| status)) {
            Ok(status) => ExitCode::from(status),
            Err(error) => {
                crate::warn_line!("error: {error}");
                ExitCode::from(2)
            }
        }
    }
}
