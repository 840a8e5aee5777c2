//! What a measure is, and how an experiment file chooses some.

use crate::io::error::UserError;
use crate::judge::Metrics;
use crate::run::folder::RunFolder;
use crate::spec::experiment::{Experiment, Point};
use crate::spec::{Part, Registry};
use cl_config::Component;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Something read off complete runs in addition to their evaluations; experiment files name it in `measures`.
///
/// Measures only read runs, so they are not part of their identity and are redone whenever a claim is judged.
pub trait Measure: Send + Sync + 'static {
    /// Checks that runs of a point have what is read.
    ///
    /// # Errors
    /// What the point would have to be.
    fn check(&self, _point: &Point) -> Result<(), String> {
        Ok(())
    }

    /// The metrics of one run, by their names in `expected.toml`. They override those of its evaluation.
    ///
    /// # Errors
    /// [`UserError`] when a file of the run cannot be read.
    fn of_run(&self, _run: &CompleteRun) -> Result<BTreeMap<String, f64>, UserError> {
        Ok(BTreeMap::new())
    }

    /// Adds metrics that take all runs of the experiment together.
    fn across_runs(&self, _metrics: &mut Metrics) {}
}

/// A run whose folder holds all its results.
#[derive(Debug, Clone, Copy)]
pub struct CompleteRun<'a> {
    /// What the experiment says the run is.
    pub point: &'a Point,
    /// Its seed.
    pub seed: u64,
    /// Where its results are.
    pub folder: &'a RunFolder,
}

/// Measures by name.
pub type Measures = Registry<dyn Measure>;

/// Adds a measure; `own` says whether it comes from a program built on this one.
pub fn add<M: Component + Measure>(measures: &mut Measures, name: &str, own: bool) {
    measures.add::<M>(name, own, |measure| Arc::new(measure));
}

/// The measures that an experiment file names, with checked values.
///
/// # Errors
/// [`UserError::File`] naming the key, the available measures, or the point that has nothing to measure.
pub fn chosen(experiment: &Experiment, measures: &Measures) -> Result<Vec<Part<dyn Measure>>, UserError> {
    let wrong = |message: String| UserError::file(experiment.folder.join("experiment.toml"), message);
    let mut chosen = Vec::new();
    for named in &experiment.measures {
        let part = measures.read("measures", &named.name, named.table.clone()).map_err(|e| wrong(e.to_string()))?;
        for point in &experiment.points {
            let of_point = |e| wrong(format!("measures.{}: point {}: {e}", named.name, point.name));
            part.get().check(point).map_err(of_point)?;
        }
        chosen.push(part);
    }
    Ok(chosen)
}
