//! What can be chosen: experiments, their points, objectives.

use crate::io::error::UserError;
use crate::lab::Places;
use crate::run::catalog::Catalog;
use crate::spec::Parts;
use crate::spec::experiment::{Experiment, Extent, Point};
use crate::tasks::images::spec::ImageSpec;
use crate::tasks::sparse_coding::spec::{MomentsSpec, TrainingSpec};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Experiment files are read again each time, so that a page sees them as they are.
pub struct Shelf<'a> {
    places: &'a Places,
    catalog: &'a Catalog,
}

/// What a page can choose from.
#[derive(Debug, Serialize)]
pub struct Inventory {
    claims: Vec<Claim>,
    /// Objectives by name, with a point that uses each, if there is one.
    objectives: BTreeMap<String, Option<Recipe>>,
    /// What could not be read.
    problems: Vec<String>,
}

/// An experiment.
#[derive(Debug, Serialize)]
struct Claim {
    name: String,
    title: String,
    statement: String,
    points: Vec<PointInfo>,
}

#[derive(Debug, Serialize)]
struct PointInfo {
    name: String,
    kind: Kind,
    seeds: Vec<u64>,
}

/// What a point trains on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    SparseCoding,
    Images,
    Other,
}

/// Where values for an objective stand.
#[derive(Debug, Serialize)]
struct Recipe {
    claim: String,
    point: String,
}

impl<'a> Shelf<'a> {
    /// The experiments of a folder.
    pub fn new(places: &'a Places, catalog: &'a Catalog) -> Self {
        Self { places, catalog }
    }

    /// What runs can be built from.
    pub fn parts(&self) -> &'a Parts {
        self.catalog.parts()
    }

    /// The image folder, if given.
    pub fn data_dir(&self) -> Option<&Path> {
        self.places.data_dir.as_deref()
    }

    /// A point of a claim, the first one when none is named, and its seeds.
    ///
    /// # Errors
    /// [`UserError`] when there is no such claim or point, or its file cannot be read.
    pub fn point(&self, claim: &str, point: Option<&str>) -> Result<(Point, Vec<u64>), UserError> {
        let folders = Experiment::folders(&self.places.experiments)?;
        let Some((_, folder)) = folders.iter().find(|(name, _)| name == claim) else {
            let names: Vec<&str> = folders.iter().map(|(name, _)| name.as_str()).collect();
            return Err(UserError::Argument(format!(
                "there is no claim {claim:?} in {}; the claims are {}",
                self.places.experiments.display(),
                names.join(", ")
            )));
        };
        let experiment = Experiment::load(folder, Extent::Full, self.parts())?.with_one_point(point)?;
        let point = experiment.points.into_iter().next().expect("one point was chosen");
        let seeds = point.seeds.clone();
        Ok((point, seeds))
    }

    /// Everything there is to choose from. Experiments that cannot be read are named, and the others are there.
    ///
    /// # Errors
    /// [`UserError`] when the folder of experiments cannot be read.
    pub fn inventory(&self) -> Result<Inventory, UserError> {
        let (mut claims, mut problems) = (Vec::new(), Vec::new());
        let names = self.parts().objectives.names().into_iter().map(|name| (name.to_string(), None));
        let mut objectives: BTreeMap<String, Option<Recipe>> = names.collect();
        for (_, folder) in Experiment::folders(&self.places.experiments)? {
            let experiment = match Experiment::load(&folder, Extent::Full, self.parts()) {
                Ok(experiment) => experiment,
                Err(error) => {
                    problems.push(error.to_string());
                    continue;
                }
            };
            let in_grid = |point: &&Point| !experiment.grids.iter().any(|grid| grid.points.contains(&point.name));
            let mut points = Vec::new();
            for point in experiment.points.iter().filter(in_grid).filter(|p| p.spec.get::<MomentsSpec>().is_none()) {
                if let Some(objective) = point.spec.get::<TrainingSpec>().map(|spec| spec.objective.name()) {
                    let recipe = objectives.entry(objective.to_string()).or_default();
                    // Those of the experiment on objectives share all other values.
                    if recipe.is_none()
                        || experiment.claim == "objectives" && recipe.as_ref().is_some_and(|r| r.claim != "objectives")
                    {
                        *recipe = Some(Recipe { claim: experiment.claim.clone(), point: point.name.clone() });
                    }
                }
                points.push(PointInfo { name: point.name.clone(), kind: kind(point), seeds: point.seeds.clone() });
            }
            if !points.is_empty() {
                let Experiment { claim, title, statement, .. } = experiment;
                claims.push(Claim { name: claim, title, statement: statement.trim().replace('\n', " "), points });
            }
        }
        Ok(Inventory { claims, objectives, problems })
    }
}

fn kind(point: &Point) -> Kind {
    if point.spec.get::<TrainingSpec>().is_some() {
        Kind::SparseCoding
    } else if point.spec.get::<ImageSpec>().is_some() {
        Kind::Images
    } else {
        Kind::Other
    }
}
