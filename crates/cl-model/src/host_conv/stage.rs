//! What an encoder is made of, one behind the other: layers, and pairs of layers with a shortcut.

use super::buffer::Buffer;
use super::channels::{Activation, Affine, Sums, activate, add, add_and_activate, pass_where_active};
use super::layer::{Below, Layer, LayerGradient, Moments, Saved, Source};
use crate::closed_form::product::for_each;
use std::ops::Range;

/// Convolutions, each with its normalisation, between two activations.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage<L> {
    /// One.
    Layer(L),
    /// Two with a ReLU between them, and what goes around them: the stage's input, as it is or through a convolution of its own. The sum is
    /// activated.
    Residual {
        /// In order.
        layers: [L; 2],
        /// 1×1, in public networks.
        shortcut: Option<L>,
    },
}

impl<L> Stage<L> {
    /// In order, the shortcut's last: the order of moments and gradients.
    pub fn layers(&self) -> impl Iterator<Item = &L> {
        let (first, second, shortcut) = match self {
            Self::Layer(layer) => (layer, None, None),
            Self::Residual { layers: [first, second], shortcut } => (first, Some(second), shortcut.as_ref()),
        };
        std::iter::once(first).chain(second).chain(shortcut)
    }

    /// The same stage of other layers.
    pub fn map<'l, M>(&'l self, mut each: impl FnMut(&'l L) -> M) -> Stage<M> {
        match self {
            Self::Layer(layer) => Stage::Layer(each(layer)),
            Self::Residual { layers: [first, second], shortcut } => {
                Stage::Residual { layers: [each(first), each(second)], shortcut: shortcut.as_ref().map(each) }
            }
        }
    }
}

/// What the backward pass needs of the forward one.
pub(super) struct SavedStage {
    /// Of each layer.
    pub layers: Stage<Saved>,
    /// The activated sum of a residual stage.
    sum: Option<Buffer>,
}

impl SavedStage {
    /// What the next stage is applied to.
    pub fn output(&self, activation: Activation) -> Source<'_> {
        match (&self.layers, &self.sum) {
            (_, Some(sum)) => Source::Stored(sum),
            (Stage::Layer(saved) | Stage::Residual { layers: [_, saved], .. }, None) => {
                Source::Activated(saved, activation)
            }
        }
    }
}

/// Numbers that a pass over memory takes together, about.
const TOGETHER: usize = 1 << 16;

/// Ranges of whole rows.
fn ranges(len: usize, channels: usize) -> Vec<Range<usize>> {
    let step = (TOGETHER / channels).max(1) * channels;
    (0..len).step_by(step).map(|from| from..len.min(from + step)).collect()
}

/// The parts of `numbers` in these ranges, which are adjacent.
fn split<'n>(ranges: &[Range<usize>], mut numbers: &'n mut [f32]) -> Vec<&'n mut [f32]> {
    let mut part = |range: &Range<usize>| {
        let (first, rest) = std::mem::take(&mut numbers).split_at_mut(range.len());
        numbers = rest;
        first
    };
    ranges.iter().map(&mut part).collect()
}

impl Stage<Layer<'_>> {
    /// The last layer.
    pub fn last(&self) -> &Layer<'_> {
        match self {
            Self::Layer(layer) | Self::Residual { layers: [_, layer], .. } => layer,
        }
    }

    /// Normalised with the moments of the batch; `activation` is that of the whole stage.
    pub fn forward(&self, images: Source, activation: Activation) -> SavedStage {
        let Self::Residual { layers: [first, second], shortcut } = self else {
            return SavedStage { layers: Stage::Layer(self.last().forward(images)), sum: None };
        };
        let first = first.forward(images);
        let second = second.forward(Source::Activated(&first, Activation::Relu));
        let shortcut = shortcut.as_ref().map(|layer| layer.forward(images));
        let beside = shortcut.as_ref().map_or(images, |saved| Source::Activated(saved, Activation::Identity));
        let mut sum = Buffer::of(second.len());
        let ranges = ranges(sum.len(), second.channels());
        let parts = split(&ranges, &mut sum);
        for_each(ranges.into_iter().zip(parts).collect(), |(range, sum)| {
            beside.write(range.clone(), sum);
            let (u, affine) = second.normalized(range);
            add_and_activate(u, affine, activation, sum);
        });
        SavedStage { layers: Stage::Residual { layers: [first, second], shortcut }, sum: Some(sum) }
    }

    /// Activations of images, normalised with given moments, in the order of [`layers`](Stage::layers).
    pub fn infer(&self, images: &[f32], moments: &[&Moments], activation: Activation) -> Buffer {
        let activated = |(u, affine): (Buffer, Affine), activation| {
            let mut a = Buffer::of(u.len());
            activate(&u, &affine, activation, &mut a);
            a
        };
        let Self::Residual { layers: [first, second], shortcut } = self else {
            return activated(self.last().infer(images, moments[0]), activation);
        };
        let middle = activated(first.infer(images, moments[0]), Activation::Relu);
        let (u, affine) = second.infer(&middle, moments[1]);
        let mut sum = match shortcut {
            Some(layer) => activated(layer.infer(images, moments[2]), Activation::Identity),
            None => {
                let mut copy = Buffer::of(images.len());
                copy.copy_from_slice(images);
                copy
            }
        };
        add_and_activate(&u, &affine, activation, &mut sum);
        sum
    }

    /// Gradients of the parameters from `gradient`, that of the activations, and `sums` of it, if there are any already. With a place for it
    /// `below`, the gradient of the images goes there, and its sums are returned if the stage before needs them.
    pub fn backward(
        &self,
        images: Source,
        (saved, activation): (&SavedStage, Activation),
        (mut gradient, sums): (Buffer, Option<Sums>),
        below: Option<&mut [f32]>,
    ) -> (Vec<LayerGradient>, Option<Sums>) {
        let sums_of = match images {
            Source::Stored(_) => None,
            Source::Activated(saved, activation) => Some((saved, activation)),
        };
        match (self, &saved.layers) {
            (Self::Layer(layer), Stage::Layer(saved)) => {
                let sums = sums.unwrap_or_else(|| sums_over(saved, activation, &gradient));
                let below = below.map(|gradient| Below { gradient, adds: false, sums_of });
                let (of_layer, sums) = layer.backward(images, (saved, activation), (&gradient, &sums), below);
                (vec![of_layer], sums)
            }
            (
                Self::Residual { layers: [first, second], shortcut },
                Stage::Residual { layers: [saved_first, saved_second], shortcut: saved_shortcut },
            ) => {
                self.through_sum(saved, &mut gradient);
                let identity = Activation::Identity;
                let sums = sums_over(saved_second, identity, &gradient);
                let mut middle = Buffer::of(saved_first.len());
                let of_middle = (saved_first, Activation::Relu);
                let into = Below { gradient: &mut middle, adds: false, sums_of: Some(of_middle) };
                let (of_second, sums) = second.backward(
                    Source::Activated(saved_first, Activation::Relu),
                    (saved_second, identity),
                    (&gradient, &sums),
                    Some(into),
                );
                let sums = sums.expect("sums were asked for");
                let mut below = below;
                let into = below.as_deref_mut().map(|gradient| Below { gradient, adds: false, sums_of: None });
                let (of_first, _) = first.backward(images, of_middle, (&middle, &sums), into);
                let mut gradients = vec![of_first, of_second];
                let Some((layer, saved)) = shortcut.as_ref().zip(saved_shortcut.as_ref()) else {
                    return (gradients, below.and_then(|below| add_and_sum(&gradient, sums_of, below)));
                };
                let sums = sums_over(saved, identity, &gradient);
                let into = below.map(|gradient| Below { gradient, adds: true, sums_of });
                let (of_shortcut, sums) = layer.backward(images, (saved, identity), (&gradient, &sums), into);
                gradients.push(of_shortcut);
                (gradients, sums)
            }
            _ => unreachable!("a stage saves what it is made of"),
        }
    }

    /// From the gradient of the activated sum to that of the sum, in place.
    fn through_sum(&self, saved: &SavedStage, gradient: &mut [f32]) {
        let sum = saved.sum.as_ref().expect("a residual stage keeps its sum");
        let ranges = ranges(sum.len(), self.last().geometry().channels[1]);
        let parts = split(&ranges, gradient);
        for_each(ranges.into_iter().zip(parts).collect(), |(range, gradient)| pass_where_active(&sum[range], gradient));
    }
}

/// Sums over the gradients of all activations of a layer.
fn sums_over(saved: &Saved, activation: Activation, gradient: &[f32]) -> Sums {
    let ranges = ranges(gradient.len(), saved.channels());
    let mut sums: Vec<Option<Sums>> = vec![None; ranges.len()];
    for_each(ranges.into_iter().zip(&mut sums).collect(), |(range, sums)| {
        *sums = Some(saved.sums(range.clone(), activation, &gradient[range]));
    });
    Sums::total(sums.iter().flatten())
}

/// Adds what passes an identity to the gradient of its input, which is complete with it, and sums it up for the layer before.
fn add_and_sum(gradient: &[f32], sums_of: Option<(&Saved, Activation)>, into: &mut [f32]) -> Option<Sums> {
    let ranges = ranges(gradient.len(), sums_of.map_or(1, |(saved, _)| saved.channels()));
    let parts = split(&ranges, into);
    for_each(ranges.into_iter().zip(parts).collect(), |(range, into)| add(&gradient[range], into));
    sums_of.map(|(saved, activation)| sums_over(saved, activation, into))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_whole_rows_and_cover_everything() {
        let found = ranges(3 * TOGETHER, 48);
        assert!(found.len() > 2 && found.iter().all(|range| range.start % 48 == 0));
        let mut numbers = vec![0.0; 3 * TOGETHER];
        split(&found, &mut numbers).into_iter().zip(1..).for_each(|(part, k)| part.fill(k as f32));
        assert_eq!((numbers[0], numbers[found[1].start], *numbers.last().unwrap()), (1.0, 2.0, found.len() as f32));
    }

    #[test]
    fn layers_keep_their_order_under_a_map() {
        let stage = Stage::Residual { layers: [1, 2], shortcut: Some(3) };
        assert_eq!(stage.map(|n| n * 10).layers().copied().collect::<Vec<_>>(), [10, 20, 30]);
        assert_eq!(Stage::Layer(4).layers().count(), 1);
    }
}
