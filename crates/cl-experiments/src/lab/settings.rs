//! What a page asks for: a point of an experiment file, with values changed.

use crate::io::error::UserError;
use crate::io::toml_file::set;
use crate::lab::shelf::Shelf;
use crate::spec::RunSpec;
use crate::spec::experiment::Experiment;
use crate::tasks::images::dataset::Dataset;
use crate::tasks::images::spec::ImageSpec;
use serde::Deserialize;
use toml::{Table, Value};

/// Most images that are generated for a page.
const MOST_SHAPES: usize = 60_000;

/// The settings of a page, as its address carries them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The claim whose experiment file is the starting point.
    pub claim: String,
    /// The point in it; the first one when not given.
    #[serde(default)]
    pub point: Option<String>,
    /// The seed; the first one of the point when not given.
    #[serde(default)]
    pub seed: Option<String>,
    /// Dotted keys and their values, as they would stand in an experiment file; a key without a value is removed.
    #[serde(default)]
    pub set: Vec<(String, String)>,
}

/// A run that was asked for.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The claim it started from.
    pub claim: String,
    /// The point it started from.
    pub point: String,
    /// Its seed.
    pub seed: u64,
    /// What it is.
    pub spec: RunSpec,
}

impl Settings {
    /// The run they describe, checked as an experiment file is.
    ///
    /// # Errors
    /// [`UserError`] with the message that an experiment file with these values would give.
    pub fn chosen(&self, shelf: &Shelf) -> Result<Chosen, UserError> {
        let (point, seeds) = shelf.point(&self.claim, self.point.as_deref())?;
        let mut table = table_of(&point.spec)?;
        for (key, text) in &self.set {
            change(&mut table, key, text).map_err(UserError::Argument)?;
        }
        let seed = match &self.seed {
            None => seeds.first().copied().unwrap_or(1),
            Some(text) => text.trim().parse().map_err(|_| {
                UserError::Argument(format!("seed = {text}: it has to be a whole number from 0 to {}", u64::MAX))
            })?,
        };
        let spec = RunSpec::from_table(table, shelf.parts()).map_err(|e| UserError::Argument(e.to_string()))?;
        // Images are generated in the server itself.
        if let Some(Dataset::Shapes(shapes)) = spec.get::<ImageSpec>().map(|spec| &spec.data.dataset)
            && shapes.train.saturating_add(shapes.test) > MOST_SHAPES
        {
            return Err(UserError::Argument(format!(
                "data.images.dataset.shapes: {} and {} images; the laboratory generates {MOST_SHAPES} at most",
                shapes.train, shapes.test
            )));
        }
        Ok(Chosen { claim: self.claim.clone(), point: point.name, seed, spec: spec.pinned(shelf.data_dir())? })
    }
}

/// A specification as the table of an experiment file.
fn table_of(spec: &RunSpec) -> Result<Table, UserError> {
    Table::try_from(spec).map_err(|e| UserError::Run(format!("the specification cannot be written as TOML: {e}")))
}

/// Sets a key to a value in the notation of TOML, or removes it if there is none.
fn change(table: &mut Table, key: &str, text: &str) -> Result<(), String> {
    if key.is_empty() || key.split('.').any(str::is_empty) {
        return Err(format!("{key:?} is no key; give a path such as data.sparse_coding.code_dim"));
    }
    if text.trim().is_empty() {
        remove(table, key);
        return Ok(());
    }
    let parsed: Result<Table, _> = toml::from_str(&format!("value = {text}"));
    let value = parsed.ok().filter(|parsed| parsed.len() == 1).and_then(|mut parsed| parsed.remove("value"));
    let Some(value) = value else {
        return Err(format!(
            "{key} = {text} is no value of TOML; numbers stand alone, words in quotation marks, as in \
             views.transform = [{{ complementary_mask = {{ keep_probability = 0.5, masked_fraction = 1.0, rescaling = \"unbiased\" }} }}]"
        ));
    };
    if key.split('.').any(|part| part.parse::<usize>().is_ok()) {
        return set(table, key, value);
    }
    // As in a file, where a table that names another part takes the place of the one before.
    let mut overrides = Table::new();
    set(&mut overrides, key, value)?;
    Experiment::apply(table, &overrides);
    Ok(())
}

fn remove(table: &mut Table, key: &str) {
    match key.split_once('.') {
        None => drop(table.remove(key)),
        Some((first, rest)) => {
            if let Some(Value::Table(below)) = table.get_mut(first) {
                remove(below, rest);
            }
        }
    }
}

impl Chosen {
    /// An experiment file that makes this run.
    ///
    /// # Errors
    /// [`UserError`] when the specification cannot be written as TOML.
    pub fn experiment_file(&self) -> Result<String, UserError> {
        let Self { claim, point, seed, .. } = self;
        let tried = Table::from_iter([("tried".to_string(), Value::Table(table_of(&self.spec)?))]);
        let points = toml::to_string_pretty(&Table::from_iter([("points".to_string(), Value::Table(tried))]))
            .map_err(|e| UserError::Run(format!("the specification cannot be written as TOML: {e}")))?;
        Ok(format!(
            "# In experiments/mine/experiment.toml: cargo run --release -- reproduce mine\n\
             claim = \"mine\"\n\
             title = {title:?}\n\
             statement = \"What do you expect? Write it down in expected.toml, beside this file, and it is judged.\"\n\
             seeds = [{seed}]\n\n{points}",
            title = format!("{claim}, {point}, with values changed"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::Places;
    use crate::run::catalog::Catalog;
    use crate::spec::experiment::Extent;
    use crate::tasks::sparse_coding::spec::TrainingSpec;
    use cl_model::LearningRate;
    use std::path::Path;

    fn places() -> Places {
        let experiments = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
        Places { experiments, runs: "runs".into(), data_dir: None }
    }

    fn settings(set: &[(&str, &str)]) -> Settings {
        let set = set.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        Settings { claim: "c3".into(), point: None, seed: None, set }
    }

    #[test]
    fn settings_without_a_change_are_the_run_of_the_file() {
        let (catalog, places) = (Catalog::standard(), places());
        let shelf = Shelf::new(&places, &catalog);
        let chosen = settings(&[]).chosen(&shelf).unwrap();
        let (point, seeds) = shelf.point("c3", Some("masked")).unwrap();
        assert_eq!((chosen.spec.digest(), chosen.seed), (point.spec.digest(), seeds[0]));
    }

    #[test]
    fn the_file_of_a_try_is_the_same_run() {
        let (catalog, places) = (Catalog::standard(), places());
        let shelf = Shelf::new(&places, &catalog);
        let folder = tempfile::tempdir().unwrap();
        let mine = folder.path().join("mine");
        std::fs::create_dir(&mine).unwrap();
        for objective in
            ["{ nt_xent = { temperature = 0.5 } }", "\"spectral\"", "{ info_nce = { temperature = 0.25 } }"]
        {
            let set = [("data.sparse_coding.code_dim", "16"), ("objective", objective), ("views.transform", "[]")];
            let chosen = settings(&set).chosen(&shelf).unwrap();
            std::fs::write(mine.join("experiment.toml"), chosen.experiment_file().unwrap()).unwrap();
            let read = Experiment::load(&mine, Extent::Default, catalog.parts()).unwrap();
            assert_eq!(read.points[0].spec.digest(), chosen.spec.digest(), "{objective}");
            assert_eq!(read.points[0].seeds, [chosen.seed]);
        }
    }

    /// What can be written in the table of a point can be set with the same words.
    #[test]
    fn keys_are_merged_as_in_a_file() {
        let (catalog, places) = (Catalog::standard(), places());
        let shelf = Shelf::new(&places, &catalog);
        let spec = |set: &[(&str, &str)]| settings(set).chosen(&shelf).unwrap().spec;
        let objective = spec(&[("objective.nt_xent", "{ temperature = 0.5 }")]);
        assert_eq!(objective.digest(), spec(&[("objective", "{ nt_xent = { temperature = 0.5 } }")]).digest());
        let rate = |spec: RunSpec| spec.get::<TrainingSpec>().unwrap().optimization.learning_rate;
        let constant = rate(spec(&[("optimization.learning_rate.constant.rate", "0.5")]));
        assert_eq!(constant, LearningRate::Constant { rate: 0.5 });
        let removed = settings(&[("evaluation.baselines", "")]).chosen(&shelf).unwrap_err();
        assert!(removed.to_string().contains("baselines"), "{removed}");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_key() {
        let (catalog, places) = (Catalog::standard(), places());
        let shelf = Shelf::new(&places, &catalog);
        for (key, value, message) in [
            ("data.sparse_coding.noise_std", "-1.0", "data.sparse_coding.noise_std = -1 is out of range"),
            ("data.sparse_coding.noise_std", "loud", "data.sparse_coding.noise_std = loud is no value of TOML"),
            ("data.sparse_coding.noise_std", "1\nclaim = 2", "is no value of TOML"),
            ("objective", "\"simclr\"", "there are no objectives of this name, but"),
            ("optimization.stepz", "3", "unknown field `stepz`"),
            ("..", "3", "is no key"),
            ("views.transform.4.mask", "3", "has 1 entries, counted from 0"),
        ] {
            let error = settings(&[(key, value)]).chosen(&shelf).unwrap_err().to_string();
            assert!(error.contains(message), "{key} = {value}: {error}");
        }
        let error = Settings { seed: Some("-1".into()), ..settings(&[]) }.chosen(&shelf).unwrap_err();
        assert!(error.to_string().contains("seed = -1: it has to be a whole number"), "{error}");
        let error = Settings { claim: "c33".into(), ..settings(&[]) }.chosen(&shelf).unwrap_err();
        assert!(error.to_string().contains("there is no claim \"c33\""), "{error}");
    }
}
