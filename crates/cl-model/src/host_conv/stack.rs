//! Stages one behind the other, from images to the mean over positions.

use super::buffer::Buffer;
use super::channels::Activation;
use super::layer::{HostLayer, Layer, LayerGradient, Moments, Source};
use super::stage::{SavedStage, Stage};
use crate::closed_form::product::for_each;

/// Images of a pass over memory, together.
const TOGETHER: usize = 32;

/// Stages with ReLUs between them, and the mean over positions.
#[derive(Debug, Clone)]
pub struct HostStack<'a> {
    /// In order, at least one.
    pub stages: Vec<Stage<HostLayer<'a>>>,
    /// `b` of the symmetrised ReLU behind the last stage; a ReLU when `None`.
    pub last_threshold: Option<f32>,
}

/// A forward pass over a batch.
pub struct Pass<'a> {
    stages: Vec<(Stage<Layer<'a>>, Activation)>,
    /// Channels last.
    images: Buffer,
    saved: Vec<SavedStage>,
    /// `[n, C]`.
    pub features: Vec<f32>,
}

impl<'a> HostStack<'a> {
    /// The stages for images of a size, with their activations.
    fn stages(&self, size: [usize; 2]) -> Vec<(Stage<Layer<'a>>, Activation)> {
        assert!(!self.stages.is_empty(), "a stack has a stage or more");
        let last = self.stages.len() - 1;
        let last_activation = self.last_threshold.map_or(Activation::Relu, Activation::SymmetricRelu);
        let (mut size, mut channels) = (size, None);
        let each = self.stages.iter().enumerate().map(|(i, stage)| {
            stage.layers().for_each(check);
            let input = stage.layers().next().map(|layer| layer.channels[0]);
            assert!(channels.is_none() || channels == input, "a stage has as many channels as the one before it gives");
            let stage = prepared(stage, size);
            let output = stage.last().geometry();
            (size, channels) = (output.output, Some(output.channels[1]));
            (stage, if i == last { last_activation } else { Activation::Relu })
        });
        each.collect()
    }

    /// Features of a batch of images `[n, C, h, w]` of `size = [h, w]`, normalised with the moments of the batch.
    ///
    /// # Panics
    /// Without a stage or an image, and when shapes do not match.
    pub fn forward(&self, images: &[f32], size: [usize; 2]) -> Pass<'a> {
        let stages = self.stages(size);
        assert!(!images.is_empty(), "a batch has an image or more");
        let images = channels_last(images, input_channels(&stages), size);
        let mut saved: Vec<SavedStage> = Vec::new();
        for (i, (stage, activation)) in stages.iter().enumerate() {
            let input = source(&images, &saved, &stages, i);
            let next = stage.forward(input, *activation);
            saved.push(next);
        }
        let features = mean_over_positions(source(&images, &saved, &stages, stages.len()), output_shape(&stages));
        Pass { stages, images, saved, features }
    }

    /// Features `[n, C]` of images `[n, C, h, w]` of `size = [h, w]`, normalised with given moments, those of one layer after another.
    ///
    /// # Panics
    /// Without a stage, and when shapes do not match.
    pub fn infer(&self, images: &[f32], size: [usize; 2], moments: &[Moments]) -> Vec<f32> {
        let stages = self.stages(size);
        let layers: usize = stages.iter().map(|(stage, _)| stage.layers().count()).sum();
        assert!(moments.len() == layers, "{layers} layers have as many moments, not {}", moments.len());
        let channels = input_channels(&stages);
        let features = output_shape(&stages)[1];
        let image = channels * size[0] * size[1];
        let mut all = vec![0.0; images.len() / image * features];
        let blocks = images.chunks(TOGETHER * image).zip(all.chunks_mut(TOGETHER * features));
        for_each(blocks.collect(), |(images, into)| {
            let mut activations = channels_last(images, channels, size);
            let mut moments = moments.iter();
            for (stage, activation) in &stages {
                let of_stage: Vec<&Moments> = moments.by_ref().take(stage.layers().count()).collect();
                activations = stage.infer(&activations, &of_stage, *activation);
            }
            into.copy_from_slice(&mean_over_positions(Source::Stored(&activations), output_shape(&stages)));
        });
        all
    }
}

impl Pass<'_> {
    /// Moments of each layer's convolution over the batch.
    pub fn moments(&self) -> impl Iterator<Item = &Moments> {
        self.saved.iter().flat_map(|saved| saved.layers.layers().map(|layer| layer.moments()))
    }

    /// Gradients of all parameters from that of the features `[n, C]`, layer by layer.
    pub fn backward(mut self, features: &[f32]) -> Vec<LayerGradient> {
        let mut gradient = spread_over_positions(features, output_shape(&self.stages));
        let (mut sums, mut gradients) = (None, Vec::new());
        for i in (0..self.stages.len()).rev() {
            let saved = self.saved.pop().expect("each stage has saved something");
            let (stage, activation) = &self.stages[i];
            let images = source(&self.images, &self.saved, &self.stages, i);
            let mut below = (i > 0).then(|| Buffer::of(images.len()));
            let into = below.as_deref_mut();
            let (of_stage, next) = stage.backward(images, (&saved, *activation), (gradient, sums), into);
            gradients.push(of_stage);
            sums = next;
            gradient = below.unwrap_or_else(|| Buffer::of(0));
        }
        gradients.into_iter().rev().flatten().collect()
    }
}

/// What stage `i` is applied to.
fn source<'s>(
    images: &'s [f32],
    saved: &'s [SavedStage],
    stages: &[(Stage<Layer>, Activation)],
    i: usize,
) -> Source<'s> {
    if i == 0 { Source::Stored(images) } else { saved[i - 1].output(stages[i - 1].1) }
}

/// # Panics
/// When a layer's parameters have other shapes than it says.
fn check(layer: &HostLayer) {
    let HostLayer { channels: [inputs, outputs], stride, gamma, beta, .. } = layer;
    let is_whole = layer.kernel_size().is_some() && gamma.len() == *outputs && beta.len() == *outputs;
    assert!(is_whole && (1..=2).contains(stride), "a layer of {inputs} and {outputs} channels at stride {stride}");
}

/// Lays out a stage's kernels, for images of a size.
fn prepared<'a>(stage: &Stage<HostLayer<'a>>, size: [usize; 2]) -> Stage<Layer<'a>> {
    match stage {
        Stage::Layer(layer) => Stage::Layer(Layer::new(*layer, size)),
        Stage::Residual { layers: [first, second], shortcut } => {
            let first = Layer::new(*first, size);
            let second = Layer::new(*second, first.geometry().output);
            let shortcut = shortcut.map(|layer| Layer::new(layer, size));
            let (sum, inside) = (second.geometry(), first.geometry());
            assert!(inside.channels[1] == sum.channels[0], "a layer has as many channels as the one before it gives");
            let beside = shortcut
                .as_ref()
                .map_or((size, inside.channels[0]), |layer| (layer.geometry().output, layer.geometry().channels[1]));
            assert!(beside == (sum.output, sum.channels[1]), "a shortcut gives what the layers beside it give");
            Stage::Residual { layers: [first, second], shortcut }
        }
    }
}

fn input_channels(stages: &[(Stage<Layer>, Activation)]) -> usize {
    let first = stages.first().and_then(|(stage, _)| stage.layers().next());
    first.expect("a stage or more").geometry().channels[0]
}

/// `[positions, channels]` behind the last stage.
fn output_shape(stages: &[(Stage<Layer>, Activation)]) -> [usize; 2] {
    let geometry = stages.last().expect("a stage or more").0.last().geometry();
    [geometry.positions(), geometry.channels[1]]
}

/// `[n, C, h, w]` to `[n, h, w, C]`.
fn channels_last(images: &[f32], channels: usize, [height, width]: [usize; 2]) -> Buffer {
    let pixels = height * width;
    assert!(images.len().is_multiple_of(channels * pixels), "images must be [n, {channels}, {height}, {width}]");
    let mut out = Buffer::of(images.len());
    let blocks = images.chunks(TOGETHER * channels * pixels).zip(out.chunks_mut(TOGETHER * channels * pixels));
    for_each(blocks.collect(), |(images, out)| {
        for (image, out) in images.chunks_exact(channels * pixels).zip(out.chunks_exact_mut(channels * pixels)) {
            for (c, plane) in image.chunks_exact(pixels).enumerate() {
                for (value, pixel) in plane.iter().zip(out.chunks_exact_mut(channels)) {
                    pixel[c] = *value;
                }
            }
        }
    });
    out
}

/// `[n, positions, C]` to `[n, C]`.
fn mean_over_positions(activations: Source, [positions, channels]: [usize; 2]) -> Vec<f32> {
    let share = 1.0 / positions as f32;
    let image = positions * channels;
    let mut means = vec![0.0f32; activations.len() / positions];
    for_each(means.chunks_mut(TOGETHER * channels).enumerate().collect(), |(k, means)| {
        let first = k * TOGETHER * image;
        let block = activations.block(first..first + means.len() * positions);
        for (image, mean) in block.chunks_exact(image).zip(means.chunks_exact_mut(channels)) {
            for row in image.chunks_exact(channels) {
                mean.iter_mut().zip(row).for_each(|(s, v)| *s += v);
            }
            mean.iter_mut().for_each(|s| *s *= share);
        }
    });
    means
}

/// The gradient of activations `[n, positions, C]` from that of their means `[n, C]`.
fn spread_over_positions(features: &[f32], [positions, channels]: [usize; 2]) -> Buffer {
    let share = 1.0 / positions as f32;
    let mut gradient = Buffer::of(features.len() * positions);
    let blocks = features.chunks(TOGETHER * channels).zip(gradient.chunks_mut(TOGETHER * channels * positions));
    for_each(blocks.collect(), |(rows, gradient)| {
        for (row, of_image) in rows.chunks_exact(channels).zip(gradient.chunks_exact_mut(positions * channels)) {
            for of_position in of_image.chunks_exact_mut(channels) {
                of_position.iter_mut().zip(row).for_each(|(g, v)| *g = v * share);
            }
        }
    });
    gradient
}
