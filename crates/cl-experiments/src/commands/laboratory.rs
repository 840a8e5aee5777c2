//! The public face of a program built on this one.

use crate::run::catalog::Catalog;
use crate::tasks::task::Task;
use cl_config::Component;
use cl_data::images::augmentation::Transform;
use cl_model::conv::ImageEncoder;
use cl_model::{EncoderConfig, Objective, VectorEncoder};
use std::process::ExitCode;

/// A laboratory: the standard one, and whatever a program built on this one adds.
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
/// Whatever is added has a name, by which experiment files choose it, and a version, which enters the identity of runs. A run with
/// such a part is only reused by the executable that made it.
#[derive(Debug)]
pub struct Laboratory {
    catalog: Catalog,
}

impl Laboratory {
    /// All that this program comes with.
    pub fn standard() -> Self {
        Self { catalog: Catalog::standard() }
    }

    /// Says where the sources of a program built on this one are, for the manifest of its runs: `env!("CARGO_MANIFEST_DIR")`.
    #[must_use]
    pub fn built_from(self, directory: &'static str) -> Self {
        crate::io::manifest::set_own_sources(directory);
        self
    }

    /// Adds an encoder of vectors, for `model.encoder.<name>` beside `data.sparse_coding`.
    #[must_use]
    pub fn vector_encoder<C: EncoderConfig<Encoder: VectorEncoder>>(self, name: &str) -> Self {
        Self { catalog: self.catalog.vector_encoder::<C>(name) }
    }

    /// Adds an encoder of images, for `model.encoder.<name>` beside `data.images`.
    #[must_use]
    pub fn image_encoder<C: EncoderConfig<Encoder: ImageEncoder>>(self, name: &str) -> Self {
        Self { catalog: self.catalog.image_encoder::<C>(name) }
    }

    /// Adds a transform of images, for `views.transform` beside `data.images`.
    #[must_use]
    pub fn transform<T: Component + Transform>(self, name: &str) -> Self {
        Self { catalog: self.catalog.transform::<T>(name) }
    }

    /// Adds an objective of two views, for `objective.<name>`.
    #[must_use]
    pub fn objective<O: Component + Objective>(self, name: &str) -> Self {
        Self { catalog: self.catalog.objective::<O>(name) }
    }

    /// Adds a kind of data with its model and its measures, for `data.<name>`.
    #[must_use]
    pub fn task<T: Task>(self, name: &str) -> Self {
        Self { catalog: self.catalog.task::<T>(name) }
    }

    /// Parses the command line, does what it says, and returns the exit status.
    pub fn main(self) -> ExitCode {
        let ended = super::run(&self.catalog);
        match ended.and_then(|status| crate::io::output::finish().map(|()| status)) {
            Ok(status) => ExitCode::from(status),
            Err(error) => {
                crate::warn_line!("error: {error}");
                ExitCode::from(2)
            }
        }
    }
}
