//! `data export`: one batch with everything it is made of.

use crate::cli::Export;
use crate::error::UserError;
use crate::experiment::{Experiment, Extent, Point};
use crate::images::dataset;
use crate::record::{safetensors_bytes, write_whole};
use crate::spec::RunSpec;
use burn::tensor::TensorData;
use cl_data::{Matrix, Purpose, Stream};
use std::path::Path;

/// Writes `dictionary` `[d1, d]`, `z` `[B, d]`, `xi`, `x`, `x_plus`, `x_plus_plus` `[B, d1]` of one training step.
///
/// # Errors
/// [`UserError`] when the experiment cannot be read or the file is there or cannot be written.
pub fn export(arguments: &Export) -> Result<(), UserError> {
    if arguments.output.exists() {
        return Err(UserError::file(
            &arguments.output,
            "the file exists and is not overwritten; give another --output",
        ));
    }
    let Choice { point, seed, .. } = choose(&arguments.experiment, arguments.point.as_deref(), arguments.seed, None)?;
    let (batch_size, spec) = match &point.spec {
        RunSpec::Training(spec) => (spec.training.batch_size, &spec.data),
        RunSpec::Moments(spec) => (256, &spec.data),
        RunSpec::Images(_) => {
            return Err(UserError::Argument(format!(
                "{} trains on images, which have no M and no z to write; `images preview` shows their views",
                point.name
            )));
        }
    };
    let data = spec.model(seed);
    let stream = Stream::new(seed, Purpose::TrainingPairs);
    let observations = data.sample(batch_size, stream, arguments.step);
    let pair = spec.augmentation.apply(observations.x.clone(), stream, arguments.step);
    let (d, d1) = (spec.code_dim, spec.input_dim);
    let mut dictionary = Matrix::zeros(d1, d);
    for j in 0..d {
        for (r, value) in data.dictionary().feature(j).iter().enumerate() {
            dictionary.row_mut(r)[j] = *value;
        }
    }
    let tensors = [
        ("dictionary", &dictionary),
        ("z", &observations.z),
        ("xi", &observations.xi),
        ("x", &observations.x),
        ("x_plus", &pair.x_plus),
        ("x_plus_plus", &pair.x_plus_plus),
    ];
    let tensors = tensors.map(|(name, m)| (name, TensorData::new(m.values.clone(), [m.rows, m.cols])));
    write_whole(&arguments.output, &safetensors_bytes(tensors))?;
    println!("{}: batch of step {} of {}, seed {seed}", arguments.output.display(), arguments.step, point.name);
    Ok(())
}

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
/// [`UserError`] naming what there is.
pub fn choose(
    experiment: &Path,
    point: Option<&str>,
    seed: Option<u64>,
    data_dir: Option<&Path>,
) -> Result<Choice, UserError> {
    let experiment = Experiment::load(experiment, Extent::Full)?;
    let found = match point {
        None => experiment.points.first(),
        Some(name) => experiment.point(name),
    };
    let Some(found) = found else {
        let names: Vec<&str> = experiment.points.iter().map(|p| p.name.as_str()).collect();
        return Err(UserError::Argument(format!(
            "--point {}: {} has no such point; it has {}",
            point.unwrap_or_default(),
            experiment.claim,
            names.join(", ")
        )));
    };
    let seed = seed.or(found.seeds.first().copied()).unwrap_or(1);
    let mut point = found.clone();
    if let RunSpec::Images(spec) = &mut point.spec {
        dataset::pin(spec, data_dir)?;
    }
    Ok(Choice { claim: experiment.claim.clone(), point, seed })
}
