//! One run of an experiment file, by point and seed.

use crate::io::error::UserError;
use crate::spec::Parts;
use crate::spec::experiment::{Experiment, Extent, Point};
use std::path::Path;

/// A point under one seed.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The claim it belongs to.
    pub claim: String,
    /// The point.
    pub point: Point,
    /// The seed.
    pub seed: u64,
}

/// The point and seed that a command names, or the first ones; images are found and pinned.
///
/// # Errors
/// [`UserError`] listing what there is.
pub fn choose(
    experiment: &Path,
    point: Option<&str>,
    seed: Option<u64>,
    data_dir: Option<&Path>,
    parts: &Parts,
) -> Result<Choice, UserError> {
    let mut experiment = Experiment::load(experiment, Extent::Full, parts)?.with_one_point(point)?;
    experiment.pin(data_dir)?;
    let claim = experiment.claim;
    let point = experiment.points.into_iter().next().expect("one point was chosen");
    let seed = seed.or(point.seeds.first().copied()).unwrap_or(1);
    Ok(Choice { claim, point, seed })
}
