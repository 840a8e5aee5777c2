//! Layers one behind the other, from images to the mean over positions.

use super::buffer::Buffer;
use super::layer::{HostLayer, Layer, LayerGradient, Moments, Saved};

/// Convolutions with ReLUs between them, and the mean over positions.
#[derive(Debug, Clone)]
pub struct HostStack<'a> {
    /// In order, at least one.
    pub layers: Vec<HostLayer<'a>>,
    /// `b` of the symmetrised ReLU behind the last layer; a ReLU when `None`.
    pub last_threshold: Option<f32>,
}

/// A forward pass over a batch.
pub struct Pass<'a> {
    layers: Vec<Layer<'a>>,
    /// The input of each layer, channels last.
    inputs: Vec<Buffer>,
    saved: Vec<Saved>,
    /// `[n, C]`.
    pub features: Vec<f32>,
}

impl<'a> HostStack<'a> {
    fn layers(&self, size: [usize; 2]) -> Vec<Layer<'a>> {
        assert!(!self.layers.is_empty(), "a stack has a layer or more");
        let follows = self.layers.windows(2).all(|pair| pair[0].channels[1] == pair[1].channels[0]);
        assert!(follows, "a layer has as many channels as the one before it gives");
        for HostLayer { channels: [inputs, outputs], stride, kernel, gamma, beta, .. } in &self.layers {
            let is_whole = kernel.len() == inputs * outputs * 9 && gamma.len() == *outputs && beta.len() == *outputs;
            assert!(
                is_whole && (1..=2).contains(stride),
                "a layer of {inputs} and {outputs} channels at stride {stride}"
            );
        }
        let mut size = size;
        let last = self.layers.len() - 1;
        let each = self.layers.iter().enumerate().map(|(i, layer)| {
            let threshold = if i == last { self.last_threshold } else { None };
            let layer = Layer::new(*layer, size, threshold);
            size = layer.geometry().output;
            layer
        });
        each.collect()
    }

    /// Features of a batch of images `[n, C, h, w]` of `size = [h, w]`, normalised with the moments of the batch.
    ///
    /// # Panics
    /// Without a layer or an image, and when shapes do not match.
    pub fn forward(&self, images: &[f32], size: [usize; 2]) -> Pass<'a> {
        let layers = self.layers(size);
        assert!(!images.is_empty(), "a batch has an image or more");
        let mut activations = channels_last(images, self.layers[0].channels[0], size);
        let (mut inputs, mut saved) = (Vec::new(), Vec::new());
        for layer in &layers {
            let (next, of_layer) = layer.forward(&activations);
            inputs.push(std::mem::replace(&mut activations, next));
            saved.push(of_layer);
        }
        let features = mean_over_positions(&activations, last(&layers));
        Pass { layers, inputs, saved, features }
    }

    /// Features `[n, C]` of images `[n, C, h, w]` of `size = [h, w]`, normalised with given moments, those of one layer after another.
    ///
    /// # Panics
    /// Without a layer, and when shapes do not match.
    pub fn infer(&self, images: &[f32], size: [usize; 2], moments: &[Moments]) -> Vec<f32> {
        const TOGETHER: usize = 32;
        let layers = self.layers(size);
        let channels = self.layers[0].channels[0];
        let features = last(&layers)[1];
        let image = channels * size[0] * size[1];
        let mut all = vec![0.0; images.len() / image * features];
        let blocks = images.chunks(TOGETHER * image).zip(all.chunks_mut(TOGETHER * features));
        crate::closed_form::product::for_each(blocks.collect(), |(images, into)| {
            let first = channels_last(images, channels, size);
            let activations = layers.iter().zip(moments).fold(first, |a, (layer, moments)| layer.infer(&a, moments));
            into.copy_from_slice(&mean_over_positions(&activations, last(&layers)));
        });
        all
    }
}

impl Pass<'_> {
    /// Moments of each layer's convolution over the batch.
    pub fn moments(&self) -> impl Iterator<Item = &Moments> {
        self.saved.iter().map(Saved::moments)
    }

    /// Gradients of all parameters from that of the features `[n, C]`.
    pub fn backward(self, features: &[f32]) -> Vec<LayerGradient> {
        let [positions, channels] = last(&self.layers);
        let share = 1.0 / positions as f32;
        let mut gradient = Buffer::of(features.len() * positions);
        for (row, of_image) in features.chunks_exact(channels).zip(gradient.chunks_exact_mut(positions * channels)) {
            for of_position in of_image.chunks_exact_mut(channels) {
                of_position.iter_mut().zip(row).for_each(|(g, v)| *g = v * share);
            }
        }
        let mut gradients = Vec::new();
        for (i, ((layer, inputs), saved)) in self.layers.iter().zip(&self.inputs).zip(&self.saved).enumerate().rev() {
            let mut into_images = (i > 0).then(|| Buffer::of(inputs.len()));
            gradients.push(layer.backward(inputs, saved, &mut gradient, into_images.as_deref_mut()));
            gradient = into_images.unwrap_or_else(|| Buffer::of(0));
        }
        gradients.reverse();
        gradients
    }
}

/// `[positions, channels]` behind the last layer.
fn last(layers: &[Layer]) -> [usize; 2] {
    let geometry = layers.last().expect("a layer or more").geometry();
    [geometry.positions(), geometry.channels[1]]
}

/// `[n, C, h, w]` to `[n, h, w, C]`.
fn channels_last(images: &[f32], channels: usize, [height, width]: [usize; 2]) -> Buffer {
    let pixels = height * width;
    assert!(images.len().is_multiple_of(channels * pixels), "images must be [n, {channels}, {height}, {width}]");
    let mut out = Buffer::of(images.len());
    for (image, out) in images.chunks_exact(channels * pixels).zip(out.chunks_exact_mut(channels * pixels)) {
        for (c, plane) in image.chunks_exact(pixels).enumerate() {
            for (value, pixel) in plane.iter().zip(out.chunks_exact_mut(channels)) {
                pixel[c] = *value;
            }
        }
    }
    out
}

/// `[n, positions, C]` to `[n, C]`.
fn mean_over_positions(activations: &[f32], [positions, channels]: [usize; 2]) -> Vec<f32> {
    let share = 1.0 / positions as f32;
    let mut means = Vec::with_capacity(activations.len() / positions);
    for image in activations.chunks_exact(positions * channels) {
        let mut sum = vec![0.0f32; channels];
        for row in image.chunks_exact(channels) {
            sum.iter_mut().zip(row).for_each(|(s, v)| *s += v);
        }
        means.extend(sum.into_iter().map(|s| s * share));
    }
    means
}
