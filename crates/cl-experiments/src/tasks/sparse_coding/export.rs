//! `data export`: one batch with everything it is made of.

use super::batches::{BatchSource, Samples};
use super::moments;
use super::spec::{MomentsSpec, TrainingSpec};
use crate::io::error::UserError;
use crate::io::files::{safetensors_bytes, write_whole};
use crate::spec::Parts;
use crate::tasks::choice::{Choice, choose};
use burn::tensor::{Device, TensorData};
use cl_data::{Matrix, Observations, PositivePair, SparseCodingModel};
use std::path::PathBuf;

/// Which batch to write, and where.
#[derive(Debug, Clone)]
pub struct Request {
    /// Folder of an experiment.
    pub experiment: PathBuf,
    /// The point; the first one when `None`.
    pub point: Option<String>,
    /// The seed; the first one of the point when `None`.
    pub seed: Option<u64>,
    /// The training step.
    pub step: u64,
    /// The file to write, which must not exist.
    pub output: PathBuf,
}

/// Writes the parts of a step: `dictionary` `[d1, d]`, `z` `[B, d]`, `xi` and `x` `[B, d1]`; for a contrastive
/// objective `x_plus` and `x_plus_plus` `[B, d1]` and any `negatives` `[N, d1]`; with labels `classes` `[B]`.
///
/// For moments, a step is a chunk of the pairs that they are estimated from. Returns point and seed as text.
///
/// # Errors
/// [`UserError`] when the experiment cannot be read, the step does not exist, or the file exists or cannot be written.
pub fn export(request: &Request, parts: &Parts) -> Result<String, UserError> {
    let Request { step, output, .. } = request;
    let step = *step;
    if output.exists() {
        return Err(UserError::file(output, "the file exists and is not overwritten; give another --output"));
    }
    let Choice { point, seed, .. } = choose(&request.experiment, request.point.as_deref(), request.seed, None, parts)?;
    let within = |steps: u64| match step < steps {
        true => Ok(()),
        false => Err(UserError::Argument(format!("--step {step}: {} has steps 0 to {}", point.name, steps - 1))),
    };
    let tensors = if let Some(spec) = point.spec.get::<TrainingSpec>() {
        within(spec.schedule().steps)?;
        of_training(spec, seed, step)
    } else if let Some(spec) = point.spec.get::<MomentsSpec>() {
        within(moments::chunks(spec))?;
        let (observations, pair) = moments::chunk(spec, &spec.data.model(seed), seed, step);
        [observed(&spec.data.model(seed), observations), viewed(pair)].concat()
    } else {
        return Err(UserError::Argument(format!(
            "{} is not on the sparse coding model, so that there is no M and no z to write; `images preview` shows views of images",
            point.name
        )));
    };
    write_whole(output, &safetensors_bytes(tensors))?;
    Ok(format!("{}, seed {seed}", point.name))
}

type Named = (&'static str, TensorData);

fn of_training(spec: &TrainingSpec, seed: u64, step: u64) -> Vec<Named> {
    let sampler = spec.sampler(seed);
    let mut tensors = observed(&sampler.data, sampler.observations(step));
    match BatchSource::new(spec, seed).training(step, &Device::flex()) {
        Samples::Pairs { x_plus, x_plus_plus, negatives } => {
            tensors.extend([("x_plus", x_plus.into_data()), ("x_plus_plus", x_plus_plus.into_data())]);
            tensors.extend(negatives.map(|x| ("negatives", x.into_data())));
        }
        Samples::Labelled { classes, .. } => tensors.push(("classes", classes.float().into_data())),
    }
    tensors
}

fn observed(data: &SparseCodingModel, observations: Observations) -> Vec<Named> {
    let dictionary = data.dictionary().features().to_tensor(&Device::flex()).transpose().into_data();
    let Observations { z, xi, x } = observations;
    vec![("dictionary", dictionary), ("z", data_of(z)), ("xi", data_of(xi)), ("x", data_of(x))]
}

fn viewed(pair: PositivePair) -> Vec<Named> {
    vec![("x_plus", data_of(pair.x_plus)), ("x_plus_plus", data_of(pair.x_plus_plus))]
}

fn data_of(matrix: Matrix) -> TensorData {
    let shape = [matrix.rows, matrix.cols];
    TensorData::new(matrix.values, shape)
}
