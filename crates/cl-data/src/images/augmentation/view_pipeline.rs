//! Transforms in order, and the two views they make from each image.

use super::{
    Change, ColorJitter, DrawRequest, GaussianBlur, Grayscale, HorizontalFlip, PixelMask, RandomResizedCrop, Transform,
};
use crate::Stream;
use crate::images::ChannelStatistics;
use burn::tensor::Tensor;
use cl_config::{ConfigError, check};
use std::ops::Range;
use std::sync::Arc;

/// What makes two views of an image: transforms in the order in which they are applied.
///
/// A transform may occur any number of times. Views are always normalised, right before the first transform that works
/// on normalised views or at the end. Until then, colours are in [0, 1].
///
/// Each transform draws from its own random numbers, see [`DrawRequest`]: leaving one out, or changing their order,
/// does not change the numbers of the others. If the first of two transforms with the same name is left out, the second
/// takes its numbers.
#[derive(Debug, Clone, Default)]
pub struct ViewPipeline {
    transforms: Vec<Entry>,
}

/// One transform of a list.
#[derive(Debug, Clone)]
struct Entry {
    name: String,
    /// How many transforms of the same name precede it.
    occurrence: u32,
    transform: Arc<dyn Transform>,
}

/// Two views of the same images, normalised.
///
/// # Shapes
/// Both `[B, 3, h, w]`; row `i` of one belongs to row `i` of the other.
#[derive(Debug, Clone)]
pub struct ImageViews {
    /// `x⁺`.
    pub first: Tensor<4>,
    /// `x⁺⁺`.
    pub second: Tensor<4>,
}

/// Images whose views are made together: their intermediate values stay in a core's cache.
const IMAGES_PER_CHUNK: usize = 32;

impl ViewPipeline {
    /// The names of the transforms of this crate.
    pub const BUILT_IN: [&'static str; 6] = [
        RandomResizedCrop::NAME,
        HorizontalFlip::NAME,
        ColorJitter::NAME,
        Grayscale::NAME,
        GaussianBlur::NAME,
        PixelMask::NAME,
    ];

    /// Transforms with their names in the order in which they are applied.
    ///
    /// # Errors
    /// [`ConfigError`] with a key such as `transform[2]` (from 0) for a transform on colours after one on normalised
    /// views.
    pub fn new(transforms: Vec<(String, Arc<dyn Transform>)>) -> Result<Self, ConfigError> {
        transforms.into_iter().try_fold(Self::none(), |list, (name, transform)| list.followed_by(name, transform))
    }

    /// Both views are the normalised image.
    pub const fn none() -> Self {
        Self { transforms: Vec::new() }
    }

    /// SimCLR's on CIFAR-10 (Chen et al. 2020, appendices A and B.9): crop, flip, colour distortion of
    /// strength ½ and greyscale, no blur.
    pub fn simclr_cifar() -> Self {
        let transforms: [(&str, Arc<dyn Transform>); 4] = [
            (RandomResizedCrop::NAME, Arc::new(RandomResizedCrop::simclr())),
            (HorizontalFlip::NAME, Arc::new(HorizontalFlip { probability: 0.5 })),
            (ColorJitter::NAME, Arc::new(ColorJitter::simclr_cifar())),
            (Grayscale::NAME, Arc::new(Grayscale { probability: 0.2 })),
        ];
        let named = transforms.map(|(name, transform)| (name.into(), transform));
        Self::new(named.into()).expect("all of them work on colours")
    }

    /// The same transforms followed by one more.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with(self, name: &str, transform: impl Transform + 'static) -> Result<Self, ConfigError> {
        self.followed_by(name.into(), Arc::new(transform))
    }

    fn followed_by(mut self, name: String, transform: Arc<dyn Transform>) -> Result<Self, ConfigError> {
        if let Some(first) = self.transforms.get(self.on_colors()) {
            let key = format!("transform[{}]", self.transforms.len());
            let place = format!("transform[{}] {}", self.on_colors(), first.name);
            let right = format!("before {place}, which works on normalised views");
            check(transform.on_normalized(), &key, &name, right)?;
        }
        let occurrence = self.transforms.iter().filter(|other| other.name == name).count() as u32;
        self.transforms.push(Entry { name, occurrence, transform });
        Ok(self)
    }

    /// Number of transforms, from the first on, that work on colours.
    fn on_colors(&self) -> usize {
        self.transforms.partition_point(|entry| !entry.transform.on_normalized())
    }

    /// Checks what depends on height and width of the images, in pixels.
    ///
    /// # Errors
    /// [`ConfigError`] with a key such as `transform[4].gaussian_blur.kernel_size`, with indices from 0.
    pub fn fits(&self, size: [usize; 2]) -> Result<(), ConfigError> {
        self.transforms.iter().enumerate().try_for_each(|(place, Entry { name, transform, .. })| {
            transform.fits(size).map_err(|error| error.below(&format!("transform[{place}].{name}")))
        })
    }

    /// Two views of each image.
    ///
    /// A pure function of its arguments; the views of an image depend on its place in the batch but not on the other
    /// images. Views are computed and returned without autodiff, even if the images are on a device with autodiff.
    /// Operations with tensors under autodiff take them as constants; [`Tensor::autodiff`] puts them under autodiff if
    /// a caller needs that.
    ///
    /// # Shapes
    /// Images `[B, 3, h, w]` in [0, 1].
    ///
    /// # Panics
    /// When parameters of a transform are out of range, when there are not three channels, when a transform does not
    /// [fit](Self::fits) the images, or when one changes their shape.
    pub fn views(&self, images: &Tensor<4>, statistics: &ChannelStatistics, stream: Stream, step: u64) -> ImageViews {
        let [first, second] = self.chunks_of_views(images, statistics, stream, step, IMAGES_PER_CHUNK);
        ImageViews { first: Tensor::cat(first, 0), second: Tensor::cat(second, 0) }
    }

    /// The same views as one tensor, for one pass through a network.
    ///
    /// # Shapes
    /// Images `[B, 3, h, w]` in [0, 1] to `[2B, 3, h, w]`: first all first views, then all second views.
    ///
    /// # Panics
    /// As [`views`](Self::views).
    pub fn stacked_views(
        &self,
        images: &Tensor<4>,
        statistics: &ChannelStatistics,
        stream: Stream,
        step: u64,
    ) -> Tensor<4> {
        self.stacked_views_in_chunks(images, statistics, stream, step, IMAGES_PER_CHUNK)
    }

    /// The same, with the number of images (at least 1) that go through the transforms together.
    ///
    /// A CPU is fastest when a chunk fits its cache (32 images, the default of the other two functions), a GPU with the
    /// whole batch at once. Values differ by rounding at most.
    ///
    /// # Panics
    /// As [`views`](Self::views), and when `images_per_chunk` is 0.
    pub fn stacked_views_in_chunks(
        &self,
        images: &Tensor<4>,
        statistics: &ChannelStatistics,
        stream: Stream,
        step: u64,
        images_per_chunk: usize,
    ) -> Tensor<4> {
        let chunks = self.chunks_of_views(images, statistics, stream, step, images_per_chunk);
        Tensor::cat(chunks.into_iter().flatten().collect(), 0)
    }

    fn chunks_of_views(
        &self,
        images: &Tensor<4>,
        statistics: &ChannelStatistics,
        stream: Stream,
        step: u64,
        images_per_chunk: usize,
    ) -> [Vec<Tensor<4>>; 2] {
        assert!(images_per_chunk > 0, "images_per_chunk = 0, but it has to be at least 1");
        let images = images.clone().inner();
        let [count, _, height, width] = images.dims();
        self.draw(count, [height, width], statistics, stream, step).map(|changes| {
            (0..count)
                .step_by(images_per_chunk)
                .map(|start| {
                    let range = start..count.min(start + images_per_chunk);
                    changed(images.clone().slice([range.clone()]), &changes, range)
                })
                .collect()
        })
    }

    /// The changes of the first and of the second view of each image, in order; normalising is one of them.
    pub(super) fn draw(
        &self,
        images: usize,
        size: [usize; 2],
        statistics: &ChannelStatistics,
        stream: Stream,
        step: u64,
    ) -> [Vec<Box<dyn Change>>; 2] {
        let draw = |Entry { name, occurrence, transform }: &Entry| {
            transform.draw(&DrawRequest { images, size, name, occurrence: *occurrence, stream, step })
        };
        let normalise = || -> Box<dyn Change> { Box::new(Normalisation(*statistics)) };
        let (on_colors, on_normalized) = self.transforms.split_at(self.on_colors());
        let mut views = [Vec::new(), Vec::new()];
        for pair in on_colors.iter().map(draw).chain([[normalise(), normalise()]]).chain(on_normalized.iter().map(draw))
        {
            views.iter_mut().zip(pair).for_each(|(changes, next)| push(changes, next));
        }
        views
    }
}

/// Appends a change, fused with the last one if possible.
fn push(changes: &mut Vec<Box<dyn Change>>, next: Box<dyn Change>) {
    match changes.last().and_then(|last| last.fused_with(&*next)) {
        Some(both) => *changes.last_mut().expect("one was fused") = both,
        None => changes.push(next),
    }
}

/// The views of the images `range` of the batch, after all changes.
fn changed(images: Tensor<4>, changes: &[Box<dyn Change>], range: Range<usize>) -> Tensor<4> {
    changes.iter().fold(images, |views, change| {
        let dims = views.dims();
        let views = change.apply(views, range.clone());
        assert_eq!(views.dims(), dims, "a change of views has to keep their shape");
        views
    })
}

/// Colours in [0, 1] to normalised views.
#[derive(Debug)]
struct Normalisation(ChannelStatistics);

impl Change for Normalisation {
    fn apply(&self, views: Tensor<4>, _: Range<usize>) -> Tensor<4> {
        self.0.normalise(views)
    }
}
