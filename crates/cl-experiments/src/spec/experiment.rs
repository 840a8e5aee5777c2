//! Experiment files: `experiments/<claim>/experiment.toml` expanded into runs.

use super::part::Named;
use super::specification::{Parts, RunSpec};
use crate::io::error::UserError;
use crate::io::toml_file::{merge, read_toml, set};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use toml::{Table, Value};

/// Where experiment files live unless the command line says otherwise.
pub const DEFAULT_EXPERIMENTS: &str = "experiments";

/// Keys of a point that are not values of its specification.
const POINT_KEYS: [&str; 3] = ["base", "seeds", "full_only"];

/// Sections of a specification that have ordinary keys; in the others, `data` and `objective`, a key names a variant.
const SECTIONS: [&str; 5] = ["views", "model", "optimization", "evaluation", "moments"];

/// Maximum number of points in a grid.
const MAX_POINTS: usize = 100_000;

/// A claim's experiment, expanded.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// Short name, such as `c1` or the name of its folder.
    pub claim: String,
    /// Whether it is only run when it is named.
    pub on_request: bool,
    /// A short title.
    pub title: String,
    /// What is claimed, in a sentence or two.
    pub statement: String,
    /// Measures in addition to those that every run of its kind of data has.
    pub measures: Vec<Named>,
    /// Kinds of figures in the report; the usual ones when not given.
    pub figures: Option<Vec<String>>,
    /// The folder of the experiment.
    pub folder: PathBuf,
    /// What to run, in order.
    pub points: Vec<Point>,
    /// Phase diagrams among the points.
    pub grids: Vec<Grid>,
}

/// One setting under several seeds.
#[derive(Debug, Clone)]
pub struct Point {
    /// Its name, which is also the name of a folder.
    pub name: String,
    /// The specification.
    pub spec: RunSpec,
    /// The seeds.
    pub seeds: Vec<u64>,
}

/// A phase diagram: points over two or more axes.
#[derive(Debug, Clone)]
pub struct Grid {
    /// Its name.
    pub name: String,
    /// Path of the key and the values, per axis.
    pub axes: Vec<(String, Vec<Value>)>,
    /// Names of the points, with the last axis varying fastest.
    pub points: Vec<String>,
}

/// Which part of an experiment is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// What runs within minutes.
    Default,
    /// Everything.
    Full,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExperimentFile {
    claim: String,
    #[serde(default)]
    on_request: bool,
    title: String,
    statement: String,
    #[serde(default)]
    measures: Vec<Named>,
    #[serde(default)]
    figures: Option<Vec<String>>,
    #[serde(default)]
    base: Option<PathBuf>,
    seeds: Vec<u64>,
    #[serde(default)]
    points: Table,
    #[serde(default)]
    grids: BTreeMap<String, GridFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GridFile {
    seeds: Vec<u64>,
    #[serde(default)]
    overrides: Table,
    axes: Vec<AxisFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AxisFile {
    key: String,
    values: Vec<Value>,
    #[serde(default)]
    full_values: Option<Vec<Value>>,
}

impl Experiment {
    /// Reads `<folder>/experiment.toml` and expands it.
    ///
    /// # Errors
    /// [`UserError::File`] naming file, point, key and value.
    pub fn load(folder: &Path, extent: Extent, parts: &Parts) -> Result<Self, UserError> {
        let path = folder.join("experiment.toml");
        let file: ExperimentFile = read_toml(&path)?;
        let name = claim_of(folder);
        if file.claim != name {
            let message = format!("claim = {:?}, but its folder stands for {name:?}; make them the same", file.claim);
            return Err(UserError::file(&path, message));
        }
        let expansion = Expansion { folder, path: &path, extent, base: file.base.as_deref(), parts };
        let mut points = Vec::new();
        for (name, value) in &file.points {
            points.extend(expansion.point(name, value, &file.seeds)?);
        }
        let mut grids = Vec::new();
        for (name, grid) in &file.grids {
            let (grid, of_grid) = expansion.grid(name, grid)?;
            points.extend(of_grid);
            grids.push(grid);
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = points.iter().find(|point| !names.insert(&point.name)) {
            let message = format!("there are two points called {:?}; each has a name of its own", twice.name);
            return Err(UserError::file(&path, message));
        }
        if points.is_empty() {
            return Err(UserError::file(
                &path,
                "there is nothing to run: give at least one table under points or grids",
            ));
        }
        Ok(Self {
            claim: file.claim,
            on_request: file.on_request,
            title: file.title,
            statement: file.statement,
            measures: file.measures,
            figures: file.figures,
            folder: folder.to_path_buf(),
            points,
            grids,
        })
    }

    /// Applies overrides to a specification's table, as the table of a point is applied to its base.
    pub fn apply(table: &mut Table, overrides: &Table) {
        merge(table, overrides, &SECTIONS);
    }

    /// An experiment that no file describes, with one point.
    pub fn of_one_point(point: Point) -> Self {
        Self {
            claim: point.name.clone(),
            on_request: true,
            title: String::new(),
            statement: String::new(),
            measures: Vec::new(),
            figures: None,
            folder: PathBuf::new(),
            points: vec![point],
            grids: Vec::new(),
        }
    }

    /// Names of the points, in order.
    pub fn point_names(&self) -> Vec<String> {
        self.points.iter().map(|p| p.name.clone()).collect()
    }

    /// The point with this name.
    pub fn point(&self, name: &str) -> Option<&Point> {
        self.points.iter().find(|p| p.name == name)
    }

    /// Looks up and fixes what points need from outside, such as images.
    ///
    /// # Errors
    /// [`UserError`] when it cannot be read, is not what was asked for, or does not fit a point.
    pub fn pin(&mut self, data_dir: Option<&Path>) -> Result<(), UserError> {
        let path = self.folder.join("experiment.toml");
        for point in &mut self.points {
            point.spec = point.spec.pinned(data_dir).map_err(|error| match error {
                UserError::Run(message) => UserError::file(&path, format!("point {}: {message}", point.name)),
                other => other,
            })?;
        }
        Ok(())
    }

    /// The experiment with only one point; the first one when none is named.
    ///
    /// # Errors
    /// [`UserError`] when there is no such point.
    pub fn with_one_point(mut self, name: Option<&str>) -> Result<Self, UserError> {
        let names: Vec<String> =
            name.map(String::from).or(self.points.first().map(|p| p.name.clone())).into_iter().collect();
        self.points = self.chosen(&names)?.into_iter().cloned().collect();
        Ok(self)
    }

    /// The points with these names, in the order of the file; all of them when no name is given.
    ///
    /// # Errors
    /// [`UserError::Argument`] naming the unknown point and those there are.
    pub fn chosen(&self, names: &[String]) -> Result<Vec<&Point>, UserError> {
        if let Some(unknown) = names.iter().find(|name| self.point(name).is_none()) {
            let all: Vec<&str> = self.points.iter().map(|p| p.name.as_str()).collect();
            let message =
                format!("--point {unknown}: {} has no such point; it has {}", self.folder.display(), all.join(", "));
            return Err(UserError::Argument(message));
        }
        Ok(self.points.iter().filter(|p| names.is_empty() || names.contains(&p.name)).collect())
    }

    /// All claims below a folder, ordered by number.
    ///
    /// # Errors
    /// [`UserError::File`] when the folder cannot be read, or two folders belong to the same claim.
    pub fn folders(experiments: &Path) -> Result<Vec<(String, PathBuf)>, UserError> {
        let entries = std::fs::read_dir(experiments).map_err(|e| {
            UserError::file(
                experiments,
                format!("the experiments cannot be read ({e}); run from the top of the project or give --experiments"),
            )
        })?;
        // Experiments are directly below the folder, or below one that groups some of them.
        let inside = |path: PathBuf| match path.join("experiment.toml").is_file() {
            true => vec![path],
            false => std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect(),
        };
        let mut folders: Vec<(String, PathBuf)> = entries
            .flatten()
            .flat_map(|entry| inside(entry.path()))
            .filter(|path| path.join("experiment.toml").is_file())
            .map(|path| (claim_of(&path), path))
            .collect();
        folders.sort_by_key(|(claim, path)| {
            (claim.trim_start_matches('c').parse::<u32>().unwrap_or(u32::MAX), claim.to_lowercase(), path.clone())
        });
        // Figures, run folders and the command line tell claims apart by name, some of them ignoring case.
        if let Some([(claim, first), (_, second)]) =
            folders.array_windows().find(|[(a, _), (b, _)]| a.to_lowercase() == b.to_lowercase())
        {
            return Err(UserError::file(
                second,
                format!("this folder stands for the claim {claim}, and so does {}; rename one", first.display()),
            ));
        }
        Ok(folders)
    }
}

/// What is needed to expand tables of points and grids.
#[derive(Debug, Clone, Copy)]
struct Expansion<'a> {
    folder: &'a Path,
    /// The experiment file, for messages.
    path: &'a Path,
    extent: Extent,
    /// The file that all points are based on.
    base: Option<&'a Path>,
    parts: &'a Parts,
}

impl Expansion<'_> {
    /// A point; `None` where it is left out of this extent.
    fn point(&self, name: &str, value: &Value, seeds: &[u64]) -> Result<Option<Point>, UserError> {
        is_folder_name(name).map_err(|e| UserError::file(self.path, format!("points.{name:?}: {e}")))?;
        let Value::Table(overrides) = value else {
            return Err(UserError::file(self.path, format!("points.{name} has to be a table of sections")));
        };
        let in_point = |message: String| UserError::file(self.path, format!("in points.{name}: {message}"));
        let full_only = match overrides.get("full_only") {
            None => false,
            Some(value) => value.as_bool().ok_or_else(|| in_point("full_only has to be true or false".into()))?,
        };
        if full_only && self.extent == Extent::Default {
            return Ok(None);
        }
        let base = match overrides.get("base") {
            Some(base) => Some(Path::new(base.as_str().ok_or_else(|| in_point("base has to be a path".into()))?)),
            None => self.base,
        };
        let seeds = match overrides.get("seeds") {
            Some(seeds) => seeds.clone().try_into().map_err(|e| in_point(format!("seeds: {e}")))?,
            None => seeds.to_vec(),
        };
        let values = overrides.iter().filter(|(key, _)| !POINT_KEYS.contains(&key.as_str()));
        let values: Table = values.map(|(k, v)| (k.clone(), v.clone())).collect();
        distinct(&seeds).map_err(in_point)?;
        let table = merged(self.folder, base, &values).map_err(in_point)?;
        let spec = RunSpec::from_table(table, self.parts).map_err(|e| in_point(e.to_string()))?;
        Ok(Some(Point { name: name.to_string(), spec, seeds }))
    }

    /// A grid and its points.
    fn grid(&self, name: &str, grid: &GridFile) -> Result<(Grid, Vec<Point>), UserError> {
        let in_grid = |message: String| UserError::file(self.path, format!("in grids.{name}: {message}"));
        let axes: Vec<(String, Vec<Value>)> = grid
            .axes
            .iter()
            .map(|axis| match (&axis.full_values, self.extent) {
                (Some(full), Extent::Full) => (axis.key.clone(), full.clone()),
                _ => (axis.key.clone(), axis.values.clone()),
            })
            .collect();
        let count = axes.iter().try_fold(1usize, |count, (_, values)| count.checked_mul(values.len()));
        if count.is_none_or(|count| count > MAX_POINTS) {
            return Err(in_grid(format!("its axes span more than the {MAX_POINTS} points that a grid may have")));
        }
        distinct(&grid.seeds).map_err(in_grid)?;
        let base = merged(self.folder, self.base, &grid.overrides).map_err(in_grid)?;
        let mut points = Vec::new();
        for cell in cells(&axes) {
            let mut table = base.clone();
            let mut label = name.to_string();
            for ((key, _), value) in axes.iter().zip(&cell) {
                set(&mut table, key, (*value).clone()).map_err(|e| in_grid(format!("axis {e}")))?;
                let short = key.rsplit('.').next().unwrap_or(key);
                label.push_str(&format!(",{short}={}", value.to_string().trim_matches('"')));
            }
            let spec = RunSpec::from_table(table, self.parts).map_err(|e| in_grid(format!("{label}: {e}")))?;
            let name = shortened(label);
            is_folder_name(&name).map_err(|e| in_grid(format!("point {name:?}: {e}")))?;
            points.push(Point { name, spec, seeds: grid.seeds.clone() });
        }
        let names = points.iter().map(|point| point.name.clone()).collect();
        Ok((Grid { name: name.to_string(), axes, points: names }, points))
    }
}

/// The claim that a folder belongs to: `c3` for `c3-contrastive-features`, the whole name if it does not begin with the
/// number of a claim.
fn claim_of(folder: &Path) -> String {
    // The name of `.` or `x/..` is only known once the path is resolved.
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let first = name.split('-').next().unwrap_or_default();
    let is_number = first.strip_prefix('c').is_some_and(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()));
    if is_number { first.to_string() } else { name }
}

/// Maximum bytes of a point's name for runs and figures; file systems take 255, digest included.
const MAX_NAME_BYTE: usize = 160;

/// A name short enough for a folder: a longer one is cut and followed by a digest of the whole.
fn shortened(name: String) -> String {
    if name.len() <= MAX_NAME_BYTE {
        return name;
    }
    let digest = hex::encode(&Sha256::digest(&name)[..6]);
    let end = (0..=MAX_NAME_BYTE - digest.len() - 3).rev().find(|i| name.is_char_boundary(*i)).unwrap_or(0);
    format!("{}…{digest}", &name[..end])
}

/// Checks that no seed occurs twice.
fn distinct(seeds: &[u64]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    match seeds.iter().find(|seed| !seen.insert(**seed)) {
        None if seeds.is_empty() => Err("seeds has to hold at least one".into()),
        None => Ok(()),
        Some(seed) => Err(format!("seeds holds {seed} twice; each seed is run once")),
    }
}

/// Checks that runs can be stored in a folder of this name.
fn is_folder_name(name: &str) -> Result<(), String> {
    let mut components = Path::new(name).components();
    match (components.next(), components.next()) {
        _ if name.len() > MAX_NAME_BYTE => Err(format!(
            "runs stand in a folder of this name, so it has at most {MAX_NAME_BYTE} bytes, not {}",
            name.len()
        )),
        (Some(Component::Normal(part)), None) if part == name && !name.contains(['/', '\\']) => Ok(()),
        _ => {
            Err("runs stand in a folder of this name, so it cannot hold a path; use letters, digits and hyphens".into())
        }
    }
}

/// A base file with overrides applied.
fn merged(folder: &Path, base: Option<&Path>, overrides: &Table) -> Result<Table, String> {
    let mut table: Table = match base {
        Some(base) => read_toml(&folder.join(base)).map_err(|e| e.to_string())?,
        None => Table::new(),
    };
    merge(&mut table, overrides, &SECTIONS);
    Ok(table)
}

/// All combinations, with the last axis varying fastest.
fn cells(axes: &[(String, Vec<Value>)]) -> Vec<Vec<&Value>> {
    axes.iter().fold(vec![Vec::new()], |cells, (_, values)| {
        cells.iter().flat_map(|cell| values.iter().map(|v| [cell.clone(), vec![v]].concat())).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_run_the_last_axis_fastest() {
        let axis = |name: &str, n: i64| (name.to_string(), (0..n).map(Value::Integer).collect::<Vec<_>>());
        let axes = [axis("a", 2), axis("b", 3)];
        let cells: Vec<Vec<i64>> =
            cells(&axes).iter().map(|c| c.iter().map(|v| v.as_integer().unwrap()).collect()).collect();
        assert_eq!(cells, [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]);
    }
}
