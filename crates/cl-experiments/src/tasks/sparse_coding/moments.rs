//! Monte-Carlo estimates of cross-view moments against their closed forms (claim C1).

use super::spec::{MomentsPart, MomentsSpec};
use burn::tensor::Device;
use cl_data::{
    Dictionary, Matrix, Observations, Part, PositivePair, Purpose, SecondMoments, SparseCodingModel, Stream,
    standard_normal,
};
use cl_model::moments::DirectionalMoments;
use serde::{Deserialize, Serialize};

/// Pairs drawn at a time.
const CHUNK: usize = 4096;

/// `moments.json`: for each direction, the estimate and its closed form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MomentsReport {
    /// Pairs drawn.
    pub samples: usize,
    /// Along the features `M_j`.
    pub features: Vec<DirectionMoment>,
    /// Along random directions in the complement of span(M).
    pub complement: Vec<DirectionMoment>,
}

/// One direction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DirectionMoment {
    /// `uᵀ C u` in closed form.
    pub predicted: f64,
    /// Its estimate.
    pub estimate: f64,
    /// The estimate's standard error.
    pub standard_error: f64,
}

impl DirectionMoment {
    /// Distance of the estimate from the prediction in standard errors. 0 if both agree without any spread.
    pub fn deviation(&self) -> f64 {
        let distance = self.estimate - self.predicted;
        if self.standard_error > 0.0 { distance / self.standard_error } else { distance / f64::MIN_POSITIVE }
    }
}

impl MomentsReport {
    /// The same estimates with the closed-form predictions for another specification.
    pub fn held_against(mut self, spec: &MomentsSpec, seed: u64) -> Self {
        let data = spec.data.model(seed);
        let directions = directions(data.dictionary(), self.complement.len(), seed);
        let predicted = predicted(&data, spec, &directions);
        self.features.iter_mut().chain(&mut self.complement).zip(predicted).for_each(|(d, p)| d.predicted = p);
        self
    }

    /// All directions.
    pub fn directions(&self) -> impl Iterator<Item = &DirectionMoment> {
        self.features.iter().chain(&self.complement)
    }
}

/// Chunks in which pairs are drawn.
pub fn chunks(spec: &MomentsSpec) -> u64 {
    spec.moments.samples.div_ceil(CHUNK) as u64
}

/// The observations of a chunk, and the views of the part of them that goes through the augmentation.
pub fn chunk(spec: &MomentsSpec, data: &SparseCodingModel, seed: u64, step: u64) -> (Observations, PositivePair) {
    let stream = Stream::new(seed, Purpose::Moments);
    let count = CHUNK.min(spec.moments.samples - step as usize * CHUNK);
    let observations = data.sample(count, stream, step);
    let of = match spec.moments.part {
        MomentsPart::Observation => &observations.x,
        MomentsPart::DenseNoise => &observations.xi,
    };
    let pair = spec.views.augmentation().apply(of.clone(), stream, step);
    (observations, pair)
}

/// Estimates the moments of one seed; `progress` is called with the number of pairs done.
pub fn estimate(spec: &MomentsSpec, seed: u64, device: &Device, progress: &mut dyn FnMut(u64)) -> MomentsReport {
    let data = spec.data.model(seed);
    let d = spec.data.code_dim;
    let directions = directions(data.dictionary(), spec.moments.complement_directions, seed);
    let on_device = directions.to_tensor(device);
    let mut moments = DirectionalMoments::new(directions.rows);
    for step in 0..chunks(spec) {
        let (_, pair) = chunk(spec, &data, seed, step);
        moments.add(pair.x_plus.into_tensor(device), pair.x_plus_plus.into_tensor(device), on_device.clone());
        progress(((step + 1) * CHUNK as u64).min(spec.moments.samples as u64));
    }
    let predicted = predicted(&data, spec, &directions);
    let mut all: Vec<DirectionMoment> = moments
        .estimates()
        .into_iter()
        .zip(predicted)
        .map(|((estimate, standard_error), predicted)| DirectionMoment { predicted, estimate, standard_error })
        .collect();
    let complement = all.split_off(d);
    MomentsReport { samples: spec.moments.samples, features: all, complement }
}

fn predicted(data: &SparseCodingModel, spec: &MomentsSpec, directions: &Matrix) -> Vec<f64> {
    let cross = match spec.moments.part {
        MomentsPart::Observation => SecondMoments::new(data, &spec.views.augmentation()),
        MomentsPart::DenseNoise => SecondMoments::of_dense_noise(data, &spec.views.augmentation()),
    }
    .cross_view;
    let dot = |a: &[f64], u: &[f32]| a.iter().zip(u).map(|(a, u)| a * f64::from(*u)).sum::<f64>();
    directions
        .iter_rows()
        .map(|u| cross.chunks_exact(u.len()).zip(u).map(|(row, v)| f64::from(*v) * dot(row, u)).sum())
        .collect()
}

/// The d features, then random unit vectors in the complement of span(M), `[d + k, d1]`.
pub fn directions(dictionary: &Dictionary, complement: usize, seed: u64) -> Matrix {
    let d1 = dictionary.input_dim();
    let mut directions = dictionary.features().clone();
    let mut rng = Stream::new(seed, Purpose::Tuning).rng(Part::Whole, 0);
    for _ in 0..complement {
        let mut u = standard_normal(&mut rng, d1);
        for _ in 0..2 {
            for feature in dictionary.features().iter_rows() {
                let along: f32 = u.iter().zip(feature).map(|(a, b)| a * b).sum();
                u.iter_mut().zip(feature).for_each(|(a, b)| *a -= along * b);
            }
        }
        let norm = u.iter().map(|v| v * v).sum::<f32>().sqrt();
        directions.values.extend(u.iter().map(|v| v / norm));
        directions.rows += 1;
    }
    directions
}
