//! Images and their views as seen by one run of a specification.
//!
//! A measure on a part of a set takes a prefix of an order that keeps the proportions of the classes and is the same
//! for every state of a run, see [`stratified_order`]: files are often ordered by class.

use super::dataset;
use super::dataset::Content;
use super::model::{self, ImageBatch};
use super::spec::ImageSpec;
use crate::io::error::UserError;
use crate::spec::Specification;
use crate::spec::mistake::Mistake;
use crate::tasks::task::Place;
use burn::tensor::{Device, Int, Tensor, TensorData};
use cl_data::images::{ChannelStatistics, ImageSet, ImageSplits};
use cl_data::{Part, PositiveSource, Purpose, Stream, epoch_order, stratified_order};
use cl_model::Siamese;
use cl_model::conv::ImageEncoder;
use rand::RngExt;
use std::sync::Arc;

/// Images that go through the network together during measurements.
const CHUNK: usize = 250;

/// Images, specification and seed of a run.
#[derive(Debug)]
pub struct ImageData {
    spec: ImageSpec,
    seed: u64,
    images: Arc<(ImageSplits, Content)>,
    statistics: ChannelStatistics,
    device: Device,
    /// Images whose views are computed together.
    images_per_chunk: usize,
    /// Training and test images in an order of which every prefix keeps the proportions of the classes.
    stratified: [Vec<usize>; 2],
    /// The class of each training image.
    train_labels: Vec<usize>,
}

impl ImageData {
    /// Reads the images, which must match those pinned by the specification.
    ///
    /// # Errors
    /// [`UserError`] when they cannot be read or do not match.
    pub fn new(spec: &ImageSpec, seed: u64, place: Place) -> Result<Self, UserError> {
        let Place { device_name, device, data_dir } = place;
        let mut spec = spec.clone();
        spec.pin(data_dir)?;
        let images = dataset::load(&spec.data.dataset, spec.data.imbalance, data_dir)?;
        // On a CPU, a few images at a time stay in the cache; a GPU takes the whole batch.
        let images_per_chunk = if crate::io::device::is_host(device_name) { 32 } else { spec.optimization.batch_size };
        let stratified = [(&images.0.train, 0), (&images.0.test, 1)].map(|(images, split)| {
            let stream = Stream::new(seed, Purpose::ImageSubsets);
            let mut order = stratified_order(images.labels(), images.num_classes(), stream, split);
            if spec.mistake == Some(Mistake::PartOfOneClass) {
                order.sort_by_key(|i| images.labels()[*i]);
            }
            order
        });
        let mut train_labels = images.0.train.labels().to_vec();
        if spec.mistake == Some(Mistake::LabelsPermuted) {
            let order = epoch_order(train_labels.len(), Stream::new(seed, Purpose::ImageSubsets), 2);
            train_labels = order.into_iter().map(|i| images.0.train.labels()[i]).collect();
        }
        Ok(Self {
            statistics: images.0.train.channel_statistics(),
            spec,
            seed,
            images,
            device: device.clone().inner(),
            images_per_chunk,
            stratified,
            train_labels,
        })
    }

    /// The specification.
    pub fn spec(&self) -> &ImageSpec {
        &self.spec
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Training and test images.
    pub fn splits(&self) -> &ImageSplits {
        &self.images.0
    }

    /// Mean and standard deviation of the training images' colours.
    pub fn statistics(&self) -> &ChannelStatistics {
        &self.statistics
    }

    /// Where networks are measured.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Images as the network sees them without augmentation: normalised, `[n, 3, h, w]`.
    pub fn inputs(&self, images: &ImageSet, indices: &[usize]) -> Tensor<4> {
        self.statistics.normalise(images.tensor(indices, &self.device))
    }

    /// At most `count` training images, in an order of which every prefix keeps the proportions of the classes.
    pub fn part_of_train(&self, count: usize) -> &[usize] {
        &self.stratified[0][..count.min(self.splits().train.len())]
    }

    /// The same for test images.
    pub fn part_of_test(&self, count: usize) -> &[usize] {
        &self.stratified[1][..count.min(self.splits().test.len())]
    }

    /// Features of images in the order of `indices`, `[indices.len(), feature_dim]`.
    pub fn features<E: ImageEncoder>(&self, model: &Siamese<E>, images: &ImageSet, indices: &[usize]) -> Tensor<2> {
        let chunks =
            indices.chunks(CHUNK).map(|chunk| model::features_detached(&model.encoder, self.inputs(images, chunk)));
        let features = Tensor::cat(chunks.collect(), 0);
        if self.spec.mistake == Some(Mistake::ProjectorScored) { model.project(features) } else { features }
    }

    /// Both views of images, first views first, `[2n, 3, h, w]`, outside autodiff.
    pub fn views(&self, images: &ImageSet, indices: &[usize], purpose: Purpose, step: u64) -> Tensor<4> {
        let stream = Stream::new(self.seed, purpose);
        let of = |indices: &[usize]| {
            let pixels = images.tensor(indices, &self.device);
            let chunk = self.images_per_chunk;
            self.spec.views.pipeline().stacked_views_in_chunks(&pixels, &self.statistics, stream, step, chunk)
        };
        let n = indices.len();
        let mut views = of(indices);
        if self.spec.views.positives.probability() > 0.0 {
            let of_partners = of(&partners(images, indices, self.spec.views.positives, stream, step));
            views = Tensor::cat(vec![views.narrow(0, 0, n), of_partners.narrow(0, n, n)], 0);
        }
        match self.spec.mistake {
            Some(Mistake::SecondViewOnly) => Tensor::cat(vec![self.inputs(images, indices), views.narrow(0, n, n)], 0),
            Some(Mistake::ViewsOfDifferentImages) if n > 1 => {
                let [first, next, last] =
                    [(0, n), (n + 1, n - 1), (n, 1)].map(|(from, count)| views.clone().narrow(0, from, count));
                Tensor::cat(vec![first, next, last], 0)
            }
            _ => views,
        }
    }

    /// The class of each training image.
    pub fn train_labels(&self) -> &[usize] {
        &self.train_labels
    }

    /// Views of images as a batch; with labels, only their first views.
    pub fn drawn(
        &self,
        (images, labels): (&ImageSet, &[usize]),
        indices: &[usize],
        purpose: Purpose,
        step: u64,
    ) -> ImageBatch {
        let views = self.views(images, indices, purpose, step);
        let classes: Vec<i64> = indices.iter().map(|i| labels[*i] as i64).collect();
        let classes = Tensor::<1, Int>::from_data(TensorData::new(classes, [indices.len()]), &self.device);
        let views = if self.spec.is_supervised() { views.narrow(0, 0, indices.len()) } else { views };
        ImageBatch { views, classes }
    }

    /// Augmented test images, at most a batch, on which the state after `step` steps is measured.
    pub fn held_out(&self, step: u64) -> ImageBatch {
        let part = self.part_of_test(self.spec.optimization.batch_size);
        let test = &self.splits().test;
        self.drawn((test, test.labels()), part, Purpose::HeldOutImageViews, step)
    }
}

/// The images that second views show: with a probability another one, of the same class or of any, else the same.
fn partners(images: &ImageSet, indices: &[usize], positives: PositiveSource, stream: Stream, step: u64) -> Vec<usize> {
    let mut rng = stream.rng(Part::PositiveSource, step);
    let mut of_class = vec![Vec::new(); images.num_classes()];
    images.labels().iter().enumerate().for_each(|(i, class)| of_class[*class].push(i));
    let mut partner = |own: &usize| {
        let (leaks, place) = (rng.random::<f64>() < positives.probability(), rng.random::<f64>());
        let pick = |count: usize| ((place * count as f64) as usize).min(count - 1);
        match positives {
            _ if !leaks => *own,
            PositiveSource::SameObservation => *own,
            PositiveSource::SameClass(_) => {
                let class = &of_class[images.labels()[*own]];
                class[pick(class.len())]
            }
            PositiveSource::AnyClass(_) => pick(images.len()),
        }
    };
    indices.iter().map(&mut partner).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partners_come_from_where_they_should() {
        let labels: Vec<usize> = (0..60).map(|i| i % 3).collect();
        let names = ["a", "b", "c"].map(String::from).to_vec();
        let set = ImageSet::new(1, 1, vec![0; 180], labels, names).unwrap();
        let indices: Vec<usize> = (0..60).collect();
        let drawn = |positives| partners(&set, &indices, positives, Stream::new(1, Purpose::ImageViews), 4);
        assert_eq!(drawn(PositiveSource::SameClass(0.0)), indices);
        let of_class = drawn(PositiveSource::SameClass(1.0));
        assert!(of_class.iter().zip(&indices).all(|(a, b)| a % 3 == b % 3) && of_class != indices);
        let any = drawn(PositiveSource::AnyClass(1.0));
        assert!(any.iter().zip(&indices).any(|(a, b)| a % 3 != b % 3));
        let half = drawn(PositiveSource::SameClass(0.5));
        let same = half.iter().zip(&indices).filter(|(a, b)| a == b).count();
        assert!((20..45).contains(&same), "{same}");
    }
}
