//! A convolution and its normalisation.

use super::buffer::Buffer;
use super::channels::{Activation, Affine, ChannelMoments, Sums, activate, normalization_backward};
use super::convolution::Convolution;
use super::geometry::Geometry;
use crate::closed_form::product::for_each;
use std::ops::{Deref, Range};

/// A convolution without bias, with a kernel of 3×3 and a pixel of padding or of 1×1 without, and its batch normalisation.
#[derive(Debug, Clone, Copy)]
pub struct HostLayer<'a> {
    /// Channels of the input and of the output.
    pub channels: [usize; 2],
    /// 1 or 2.
    pub stride: usize,
    /// `[C_out, C_in, k, k]`, k = 3 or 1.
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
    /// `[C_out, C_in, k, k]`, k = 3 or 1.
    pub kernel: Vec<f32>,
    /// `[C_out]`.
    pub gamma: Vec<f32>,
    /// `[C_out]`.
    pub beta: Vec<f32>,
}

impl HostLayer<'_> {
    /// `k`; `None` where the kernel is of no length that is known.
    pub(super) fn kernel_size(&self) -> Option<usize> {
        [3, 1].into_iter().find(|k| self.kernel.len() == self.channels[0] * self.channels[1] * k * k)
    }
}

/// A layer with its kernel laid out for products.
pub(super) struct Layer<'a> {
    layer: HostLayer<'a>,
    convolution: Convolution,
}

/// What the backward pass needs of the forward one.
pub(super) struct Saved {
    /// The convolution's output, channels last.
    u: Buffer,
    affine: Affine,
    moments: Moments,
    /// `moments.mean` in single precision.
    mean: Vec<f32>,
}

/// What a layer is applied to, channels last.
#[derive(Clone, Copy)]
pub(super) enum Source<'s> {
    /// Numbers in memory.
    Stored(&'s [f32]),
    /// Activations of the layer before: made from what its convolution gave, block by block, and never stored.
    Activated(&'s Saved, Activation),
}

/// Some numbers of a [`Source`].
pub(super) enum Block<'s> {
    Stored(&'s [f32]),
    Made(Buffer),
}

/// Where the gradient of a [`Source`] goes, and the sums that the layer before needs of it.
pub(super) struct Below<'b> {
    pub gradient: &'b mut [f32],
    /// Whether the gradient is added to what is there, or replaces it.
    pub adds: bool,
    /// What `gradient` is complete for, if it is.
    pub sums_of: Option<(&'b Saved, Activation)>,
}

impl Saved {
    pub fn moments(&self) -> &Moments {
        &self.moments
    }

    pub fn len(&self) -> usize {
        self.u.len()
    }

    pub fn channels(&self) -> usize {
        self.mean.len()
    }

    /// Sums over a range of the gradients of activations.
    pub fn sums(&self, range: Range<usize>, activation: Activation, gradient: &[f32]) -> Sums {
        Sums::of(&self.u[range], &self.affine, activation, &self.mean, gradient)
    }

    /// Normalised numbers of a range and the affine map that makes them.
    pub fn normalized(&self, range: Range<usize>) -> (&[f32], &Affine) {
        (&self.u[range], &self.affine)
    }
}

impl<'s> Source<'s> {
    pub fn len(&self) -> usize {
        match self {
            Self::Stored(numbers) => numbers.len(),
            Self::Activated(saved, _) => saved.u.len(),
        }
    }

    pub fn block(&self, range: Range<usize>) -> Block<'s> {
        if let Self::Stored(numbers) = self {
            return Block::Stored(&numbers[range]);
        }
        let mut made = Buffer::of(range.len());
        self.write(range, &mut made);
        Block::Made(made)
    }

    /// Numbers of a range, into as many.
    pub fn write(&self, range: Range<usize>, into: &mut [f32]) {
        match self {
            Self::Stored(numbers) => into.copy_from_slice(&numbers[range]),
            Self::Activated(saved, activation) => activate(&saved.u[range], &saved.affine, *activation, into),
        }
    }
}

impl Deref for Block<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Stored(numbers) => numbers,
            Self::Made(numbers) => numbers,
        }
    }
}

impl<'a> Layer<'a> {
    pub fn new(layer: HostLayer<'a>, input: [usize; 2]) -> Self {
        let size = layer.kernel_size().expect("a kernel of a known size");
        let geometry = Geometry::new(layer.channels, input, layer.stride, size);
        Self { layer, convolution: Convolution::new(layer.kernel, geometry) }
    }

    pub fn geometry(&self) -> &Geometry {
        self.convolution.geometry()
    }

    /// Of so many images, how many share a sum of gradients, and how many of these are convolved together; as evenly as they can be split.
    fn split(&self, count: usize) -> [usize; 2] {
        let group = self.convolution.share_a_sum(count);
        [group, group.div_ceil(group.div_ceil(self.convolution.most_together()))]
    }

    /// The convolution of images `[n, h, w, C_in]`, and its moments over the batch.
    pub fn forward(&self, images: Source) -> Saved {
        let (from, to) = (self.geometry().input_len(), self.geometry().output_len());
        let outputs = self.geometry().channels[1];
        let count = images.len() / from;
        let [_, block] = self.split(count);
        let mut u = Buffer::of(count * to);
        let mut spreads = vec![None; count.div_ceil(block)];
        let blocks = u.chunks_mut(block * to).zip(&mut spreads).enumerate();
        for_each(blocks.collect(), |(k, (u, spread))| {
            let first = k * block * from;
            self.convolution.convolve(&images.block(first..first + u.len() / to * from), u);
            *spread = Some(ChannelMoments::of(u, outputs));
        });
        let spread = spreads.into_iter().flatten().reduce(|a, b| a.with(&b)).expect("a batch has an image or more");
        let variance: Vec<f64> = spread.squares.iter().map(|s| s / spread.count).collect();
        let affine = self.affine(&spread.mean, &variance);
        let mean = spread.mean.iter().map(|m| *m as f32).collect();
        Saved { u, affine, moments: Moments { mean: spread.mean, variance }, mean }
    }

    /// The convolution of images `[n, h, w, C_in]`, normalised with given moments: what to activate, and the affine map to do before.
    pub fn infer(&self, images: &[f32], moments: &Moments) -> (Buffer, Affine) {
        let (from, to, together) =
            (self.geometry().input_len(), self.geometry().output_len(), self.convolution.most_together());
        let mut u = Buffer::of(images.len() / from * to);
        for (images, u) in images.chunks(together * from).zip(u.chunks_mut(together * to)) {
            self.convolution.convolve(images, u);
        }
        (u, self.affine(&moments.mean, &moments.variance))
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

    /// Gradients of the layer's parameters from those of its activations, `gradient` `[n, h', w', C_out]` and their sums; and into `below` those
    /// of its images, of which the sums for the layer before are returned where they are asked for.
    pub fn backward(
        &self,
        images: Source,
        (saved, activation): (&Saved, Activation),
        (gradient, sums): (&[f32], &Sums),
        below: Option<Below>,
    ) -> (LayerGradient, Option<Sums>) {
        let (from, to) = (self.geometry().input_len(), self.geometry().output_len());
        let [group, block] = self.split(images.len() / from);
        let (gamma, beta, factors) = self.parameter_gradients(saved, sums);
        let factors = factors.each_ref().map(Vec::as_slice);
        let mut groups: Vec<Group> = (0..images.len().div_ceil(group * from)).map(|_| Group::default()).collect();
        let (adds, sums_of) = below.as_ref().map_or((false, None), |below| (below.adds, below.sums_of));
        if let Some(below) = below {
            let chunks = below.gradient.chunks_mut(group * from);
            groups.iter_mut().zip(chunks).for_each(|(group, chunk)| group.below = Some(chunk));
        }
        for_each(groups.iter_mut().enumerate().collect(), |(g, of_group)| {
            let outputs = g * group * to..gradient.len().min((g + 1) * group * to);
            for first in outputs.clone().step_by(block * to) {
                let range = first..outputs.end.min(first + block * to);
                let inputs = range.start / to * from..range.end / to * from;
                let mut of_u = Buffer::of(range.len());
                let u = &saved.u[range.clone()];
                normalization_backward(u, &saved.affine, activation, factors, &gradient[range], &mut of_u);
                let at = g * group * from;
                let mut into = of_group.below.as_deref_mut().map(|all| &mut all[inputs.start - at..inputs.end - at]);
                if let Some(into) = into.as_deref_mut().filter(|_| !adds) {
                    into.fill(0.0);
                }
                let images = images.block(inputs.clone());
                self.convolution.backward(&images, &of_u, &mut of_group.kernel, into);
                if let (Some((saved, activation)), Some(all)) = (sums_of, of_group.below.as_deref()) {
                    let gradient = &all[inputs.start - at..inputs.end - at];
                    of_group.sums.push(saved.sums(inputs, activation, gradient));
                }
            }
        });
        let sums = sums_of.map(|_| Sums::total(groups.iter().flat_map(|group| &group.sums)));
        let kernels: Vec<&[Buffer]> = groups.iter().map(|group| group.kernel.as_slice()).collect();
        let kernel = self.convolution.kernel_gradient(&kernels);
        let single = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect();
        (LayerGradient { kernel, gamma: single(gamma), beta: single(beta) }, sums)
    }

    /// Gradients of γ and β, and the factors with which the gradients of the normalised numbers, `dy`, go on to the convolution's output:
    /// `γ/s (dy − mean dy − û mean(dy û))`, û = (u − mean)/s.
    fn parameter_gradients(&self, saved: &Saved, sums: &Sums) -> (Vec<f64>, Vec<f64>, [Vec<f32>; 3]) {
        let (outputs, moments) = (self.geometry().channels[1], &saved.moments);
        let rows = (saved.u.len() / outputs) as f64;
        let (mut gamma, mut beta) = (vec![0.0; outputs], vec![0.0; outputs]);
        let mut factors = [0, 1, 2].map(|_| vec![0.0f32; outputs]);
        for c in 0..outputs {
            let deviation = (moments.variance[c] + self.layer.epsilon).sqrt();
            (gamma[c], beta[c]) = (sums.products[c] / deviation, sums.gradients[c]);
            let scale = f64::from(self.layer.gamma[c]) / deviation;
            let of_u = -scale * gamma[c] / (rows * deviation);
            let constant = -scale * beta[c] / rows - of_u * moments.mean[c];
            factors.iter_mut().zip([scale, of_u, constant]).for_each(|(factor, v)| factor[c] = v as f32);
        }
        (gamma, beta, factors)
    }
}

/// What is summed over some of the images, one block after another.
#[derive(Default)]
struct Group<'g> {
    /// What the gradient of the kernel is made of.
    kernel: Vec<Buffer>,
    /// By block.
    sums: Vec<Sums>,
    /// Where the gradients of these images go.
    below: Option<&'g mut [f32]>,
}
