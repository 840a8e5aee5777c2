//! A convolution, its normalisation and its activation.

use super::buffer::Buffer;
use super::channels::{Affine, ChannelMoments, activate, activation_backward, combine};
use super::geometry::{Geometry, KERNEL, PositionsAlike};
use super::patches::{gather, scatter};
use crate::closed_form::product::{Rows, add_transposed_times, for_each, times, times_transposed};

/// Numbers of a block of patches, 2 MiB of them: few enough for a cache, enough for long products.
const PATCH_NUMBERS: usize = 1 << 19;

/// Places of a kernel.
const TAPS: usize = KERNEL * KERNEL;

/// Sums of kernel gradients that are kept apart, so that as many threads add to them.
const SUMS: usize = 4;

/// A 3×3 convolution without bias with one pixel of padding, batch normalisation, and an activation.
#[derive(Debug, Clone, Copy)]
pub struct HostLayer<'a> {
    /// Channels of the input and of the output.
    pub channels: [usize; 2],
    /// 1 or 2.
    pub stride: usize,
    /// `[C_out, C_in, 3, 3]`.
    pub kernel: &'a [f32],
    /// `γ`, `[C_out]`.
    pub gamma: &'a [f32],
    /// `β`, `[C_out]`.
    pub beta: &'a [f32],
    /// Added to the variance, larger than 0.
    pub epsilon: f64,
}

/// Mean and variance of each channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// `[C]`.
    pub mean: Vec<f64>,
    /// Over n, not n − 1; `[C]`.
    pub variance: Vec<f64>,
}

/// Gradients of a layer's parameters, in their shapes.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerGradient {
    /// `[C_out, C_in, 3, 3]`.
    pub kernel: Vec<f32>,
    /// `[C_out]`.
    pub gamma: Vec<f32>,
    /// `[C_out]`.
    pub beta: Vec<f32>,
}

/// A layer with its kernel laid out for products.
pub(super) struct Layer<'a> {
    layer: HostLayer<'a>,
    geometry: Geometry,
    /// Per part of the positions, the multiplied part of the kernel, `[patch_len, C_out]`.
    kernels: Vec<Vec<f32>>,
    threshold: Option<f32>,
}

/// What the backward pass needs of the forward one.
pub(super) struct Saved {
    /// The convolution's output, channels last.
    u: Buffer,
    affine: Affine,
    moments: Moments,
}

impl Saved {
    pub fn moments(&self) -> &Moments {
        &self.moments
    }
}

impl<'a> Layer<'a> {
    pub fn new(layer: HostLayer<'a>, input: [usize; 2], threshold: Option<f32>) -> Self {
        let geometry = Geometry::new(layer.channels, input, layer.stride);
        let taps = by_tap(layer.kernel, layer.channels);
        let tap = layer.channels[0] * layer.channels[1];
        let of_part = |part| taps_of(part).flat_map(|t| &taps[t * tap..(t + 1) * tap]).copied().collect();
        let kernels = geometry.parts.iter().map(of_part).collect();
        Self { layer, geometry, kernels, threshold }
    }

    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Of so many images, how many share a sum of gradients, and how many of these are convolved together; as evenly as they can be split.
    fn split(&self, count: usize) -> [usize; 2] {
        let group = count.div_ceil(SUMS);
        [group, group.div_ceil(group.div_ceil(self.most_together()))]
    }

    /// Images whose patches are few enough.
    fn most_together(&self) -> usize {
        let largest = self.geometry.parts.iter().map(|p| p.positions.len() * self.geometry.patch_len(p)).max();
        (PATCH_NUMBERS / largest.unwrap_or(1).max(1)).clamp(1, 64)
    }

    /// Convolution of a block of images, `u` rows of positions.
    fn convolve(&self, images: &[f32], u: &mut [f32]) {
        let count = images.len() / self.geometry.input_len();
        let outputs = self.geometry.channels[1];
        for (part, kernel) in self.geometry.parts.iter().zip(&self.kernels) {
            let length = self.geometry.patch_len(part);
            let mut patches = Buffer::of(count * part.positions.len() * length);
            gather(&self.geometry, part, images, &mut patches);
            let (patches, kernel) = (Rows::new(&patches, length), Rows::new(kernel, outputs));
            if self.geometry.is_whole() {
                times(patches, kernel, u);
            } else {
                let mut rows = Buffer::of(count * part.positions.len() * outputs);
                times(patches, kernel, &mut rows);
                self.spread_rows(part, &rows, u);
            }
        }
    }

    /// Rows of some positions to their places.
    fn spread_rows(&self, part: &PositionsAlike, rows: &[f32], u: &mut [f32]) {
        let outputs = self.geometry.channels[1];
        let mut rows = rows.chunks_exact(outputs);
        for image in u.chunks_exact_mut(self.geometry.output_len()) {
            for (&position, row) in part.positions.iter().zip(&mut rows) {
                image[position * outputs..(position + 1) * outputs].copy_from_slice(row);
            }
        }
    }

    /// Rows of some positions from their places.
    fn collect_rows(&self, part: &PositionsAlike, u: &[f32]) -> Buffer {
        let outputs = self.geometry.channels[1];
        let mut rows = Buffer::of(u.len() / self.geometry.positions() * part.positions.len());
        let mut into = rows.chunks_exact_mut(outputs);
        for image in u.chunks_exact(self.geometry.output_len()) {
            for (&position, into) in part.positions.iter().zip(&mut into) {
                into.copy_from_slice(&image[position * outputs..(position + 1) * outputs]);
            }
        }
        rows
    }

    /// Activations `[n, h', w', C_out]` of images `[n, h, w, C_in]`, normalised with the moments of the batch.
    pub fn forward(&self, images: &[f32]) -> (Buffer, Saved) {
        let (from, to) = (self.geometry.input_len(), self.geometry.output_len());
        let outputs = self.geometry.channels[1];
        let count = images.len() / from;
        let [_, block] = self.split(count);
        let mut u = Buffer::of(count * to);
        let mut spreads = vec![None; count.div_ceil(block)];
        let blocks = images.chunks(block * from).zip(u.chunks_mut(block * to)).zip(&mut spreads);
        for_each(blocks.collect(), |((images, u), spread)| {
            self.convolve(images, u);
            *spread = Some(ChannelMoments::of(u, outputs));
        });
        let spread = spreads.into_iter().flatten().reduce(|a, b| a.with(&b)).expect("a batch has an image or more");
        let variance: Vec<f64> = spread.squares.iter().map(|s| s / spread.count).collect();
        let affine = self.affine(&spread.mean, &variance);
        let mut a = Buffer::of(u.len());
        let blocks = u.chunks(block * to).zip(a.chunks_mut(block * to));
        for_each(blocks.collect(), |(u, a)| activate(u, &affine, self.threshold, a));
        (a, Saved { u, affine, moments: Moments { mean: spread.mean, variance } })
    }

    /// Activations `[n, h', w', C_out]` of images `[n, h, w, C_in]`, normalised with given moments.
    pub fn infer(&self, images: &[f32], moments: &Moments) -> Buffer {
        let (from, to, together) = (self.geometry.input_len(), self.geometry.output_len(), self.most_together());
        let mut u = Buffer::of(images.len() / from * to);
        for (images, u) in images.chunks(together * from).zip(u.chunks_mut(together * to)) {
            self.convolve(images, u);
        }
        let mut a = Buffer::of(u.len());
        activate(&u, &self.affine(&moments.mean, &moments.variance), self.threshold, &mut a);
        a
    }

    fn affine(&self, mean: &[f64], variance: &[f64]) -> Affine {
        let scale: Vec<f64> = self
            .layer
            .gamma
            .iter()
            .zip(variance)
            .map(|(g, v)| f64::from(*g) / (v + self.layer.epsilon).sqrt())
            .collect();
        let shift = self.layer.beta.iter().zip(mean).zip(&scale).map(|((b, m), s)| (f64::from(*b) - m * s) as f32);
        Affine { shift: shift.collect(), scale: scale.iter().map(|s| *s as f32).collect() }
    }

    /// Gradients of the layer's parameters, and into `into_images` `[n, h, w, C_in]` those of its inputs if it is given, from those of its
    /// activations `gradient` `[n, h', w', C_out]`, which are overwritten.
    pub fn backward(
        &self,
        inputs: &[f32],
        saved: &Saved,
        gradient: &mut [f32],
        into_images: Option<&mut [f32]>,
    ) -> LayerGradient {
        let (from, to) = (self.geometry.input_len(), self.geometry.output_len());
        let outputs = self.geometry.channels[1];
        let [group, block] = self.split(inputs.len() / from);
        let (gamma, beta, factors) = self.normalization_backward(saved, block * to, gradient);
        let factors = factors.each_ref().map(Vec::as_slice);
        let u: &[f32] = &saved.u;
        let mut kernels: Vec<Vec<Buffer>> =
            (0..SUMS).map(|_| self.kernels.iter().map(|k| Buffer::zeros(k.len())).collect()).collect();
        let mut images: Vec<Option<&mut [f32]>> = match into_images {
            Some(images) => images.chunks_mut(group * from).map(Some).collect(),
            None => (0..SUMS).map(|_| None).collect(),
        };
        let groups = inputs.chunks(group * from).zip(u.chunks(group * to)).zip(gradient.chunks_mut(group * to));
        let groups = groups.zip(&mut kernels).zip(&mut images);
        for_each(groups.collect(), |((((inputs, u), gradient), kernels), images)| {
            let mut images = images.as_deref_mut();
            let blocks = inputs.chunks(block * from).zip(u.chunks(block * to)).zip(gradient.chunks_mut(block * to));
            for (k, ((inputs, u), gradient)) in blocks.enumerate() {
                combine(u, factors, gradient);
                let at = k * block * from;
                let images = images.as_deref_mut().map(|images| &mut images[at..at + inputs.len()]);
                self.convolution_backward(inputs, gradient, kernels, images);
            }
        });
        let mut taps = vec![0.0f32; self.layer.kernel.len()];
        let tap = self.layer.channels[0] * outputs;
        for (part, of_part) in kernels.iter().flat_map(|kernels| self.geometry.parts.iter().zip(kernels)) {
            for (t, of_tap) in taps_of(part).zip(of_part.chunks_exact(tap)) {
                taps[t * tap..(t + 1) * tap].iter_mut().zip(of_tap).for_each(|(sum, v)| *sum += v);
            }
        }
        let kernel = by_channel(&taps, self.layer.channels);
        let single = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect();
        LayerGradient { kernel, gamma: single(gamma), beta: single(beta) }
    }

    /// Takes the gradient of the activations back to the normalised numbers, in place, `block` of them at a time. Returns the gradients of γ and β,
    /// and the factors with which [`combine`] goes on to the convolution's output: `γ/s (dy − mean dy − û mean(dy û))`, û = (u − mean)/s.
    fn normalization_backward(
        &self,
        saved: &Saved,
        block: usize,
        gradient: &mut [f32],
    ) -> (Vec<f64>, Vec<f64>, [Vec<f32>; 3]) {
        let (outputs, moments) = (self.geometry.channels[1], &saved.moments);
        let mean: Vec<f32> = moments.mean.iter().map(|m| *m as f32).collect();
        let blocks = saved.u.len().div_ceil(block);
        let mut sums = vec![vec![0.0f32; outputs]; blocks];
        let mut products = sums.clone();
        let each = saved.u.chunks(block).zip(gradient.chunks_mut(block)).zip(sums.iter_mut().zip(&mut products));
        for_each(each.collect(), |((u, gradient), (sums, products))| {
            activation_backward(u, &saved.affine, self.threshold, &mean, gradient, sums, products);
        });
        let total = |of: &[Vec<f32>], c: usize| -> f64 { of.iter().map(|sums| f64::from(sums[c])).sum() };
        let rows = (saved.u.len() / outputs) as f64;
        let (mut gamma, mut beta) = (vec![0.0; outputs], vec![0.0; outputs]);
        let mut factors = [0, 1, 2].map(|_| vec![0.0f32; outputs]);
        for c in 0..outputs {
            let deviation = (moments.variance[c] + self.layer.epsilon).sqrt();
            (gamma[c], beta[c]) = (total(&products, c) / deviation, total(&sums, c));
            let scale = f64::from(self.layer.gamma[c]) / deviation;
            let of_u = -scale * gamma[c] / (rows * deviation);
            let constant = -scale * beta[c] / rows - of_u * moments.mean[c];
            factors.iter_mut().zip([scale, of_u, constant]).for_each(|(factor, v)| factor[c] = v as f32);
        }
        (gamma, beta, factors)
    }

    /// Adds the gradients of a block of images to those of the kernel's parts, and into its images.
    fn convolution_backward(
        &self,
        inputs: &[f32],
        gradient: &[f32],
        kernels: &mut [Buffer],
        mut into_images: Option<&mut [f32]>,
    ) {
        let outputs = self.geometry.channels[1];
        if let Some(images) = &mut into_images {
            images.fill(0.0);
        }
        for ((part, kernel), sum) in self.geometry.parts.iter().zip(&self.kernels).zip(kernels) {
            let length = self.geometry.patch_len(part);
            let collected;
            let rows = if self.geometry.is_whole() {
                gradient
            } else {
                collected = self.collect_rows(part, gradient);
                &collected
            };
            let rows = Rows::new(rows, outputs);
            let mut patches = Buffer::of(rows.count() * length);
            gather(&self.geometry, part, inputs, &mut patches);
            add_transposed_times(Rows::new(&patches, length), rows, sum);
            if let Some(images) = &mut into_images {
                times_transposed(rows, Rows::new(kernel, outputs), 1.0, &mut patches);
                scatter(&self.geometry, part, &patches, images);
            }
        }
    }
}

/// A kernel `[C_out, C_in, 3, 3]` tap by tap, `[9, C_in, C_out]`.
fn by_tap(kernel: &[f32], [inputs, outputs]: [usize; 2]) -> Vec<f32> {
    let mut out = vec![0.0; kernel.len()];
    for (at, taps) in kernel.chunks_exact(TAPS).enumerate() {
        let (output, input) = (at / inputs, at % inputs);
        for (tap, value) in taps.iter().enumerate() {
            out[(tap * inputs + input) * outputs + output] = *value;
        }
    }
    out
}

/// `[9, C_in, C_out]` to `[C_out, C_in, 3, 3]`.
fn by_channel(taps: &[f32], [inputs, outputs]: [usize; 2]) -> Vec<f32> {
    let mut out = vec![0.0; taps.len()];
    for (at, kernel) in out.chunks_exact_mut(TAPS).enumerate() {
        let (output, input) = (at / inputs, at % inputs);
        for (tap, value) in kernel.iter_mut().enumerate() {
            *value = taps[(tap * inputs + input) * outputs + output];
        }
    }
    out
}

/// Taps of a part of the kernel, in the order in which they are multiplied.
fn taps_of(part: &PositionsAlike) -> impl Iterator<Item = usize> {
    let columns = part.columns.clone();
    part.rows.clone().flat_map(move |row| columns.clone().map(move |column| row * KERNEL + column))
}
