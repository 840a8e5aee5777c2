//! Labelled RGB images in host memory.

use super::{ChannelStatistics, ImageError};
use burn::tensor::{Device, Tensor, TensorData};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fmt;

/// Colour channels of an image: red, green, blue.
const CHANNELS: usize = 3;

/// Images of one size with a class each.
///
/// # Shapes
/// Pixels `[n, 3, height, width]`, 0 to 255; labels `[n]`, in 0..K.
#[derive(Clone, PartialEq, Eq)]
pub struct ImageSet {
    height: usize,
    width: usize,
    pixels: Vec<u8>,
    labels: Vec<usize>,
    class_names: Vec<String>,
}

/// The images to train on and those held out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSplits {
    /// Training images.
    pub train: ImageSet,
    /// Test images; same size and classes as `train`.
    pub test: ImageSet,
    /// How many of both were read from JPEG files: their pixels are not exact.
    pub from_jpeg: usize,
}

impl ImageSet {
    /// Wraps pixels `[n, 3, height, width]`, image by image and plane by plane, with `n` labels.
    ///
    /// A set may be empty; a class may have no images.
    ///
    /// # Errors
    /// [`ImageError::Zero`] for a height, width or number of classes of 0, [`ImageError::WrongPixelCount`],
    /// [`ImageError::LabelWithoutClass`] or [`ImageError::RepeatedClassName`].
    pub fn new(
        height: usize,
        width: usize,
        pixels: Vec<u8>,
        labels: Vec<usize>,
        class_names: Vec<String>,
    ) -> Result<Self, ImageError> {
        for (name, value) in [("height", height), ("width", width), ("number of classes", class_names.len())] {
            if value == 0 {
                return Err(ImageError::Zero { name });
            }
        }
        let (found, images) = (pixels.len(), labels.len());
        let expected = [CHANNELS, height, width].into_iter().fold(images, usize::saturating_mul);
        if found != expected {
            return Err(ImageError::WrongPixelCount { found, images, height, width, expected });
        }
        let num_classes = class_names.len();
        if let Some(image) = labels.iter().position(|label| *label >= num_classes) {
            return Err(ImageError::LabelWithoutClass { image, label: labels[image], num_classes });
        }
        let mut names = HashSet::new();
        if let Some(name) = class_names.iter().find(|name| !names.insert(*name)) {
            return Err(ImageError::RepeatedClassName { name: name.clone() });
        }
        Ok(Self { height, width, pixels, labels, class_names })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Rows of an image.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns of an image.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The class of each image, in 0..[`num_classes`](Self::num_classes).
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// Number of classes, `K`.
    pub fn num_classes(&self) -> usize {
        self.class_names.len()
    }

    /// The name of each class.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// Image `i`, `[3, height, width]`.
    ///
    /// # Panics
    /// When there is no image `i`.
    pub fn pixels(&self, i: usize) -> &[u8] {
        assert!(i < self.len(), "image {i} of a set of {}", self.len());
        let image_len = self.image_len();
        &self.pixels[i * image_len..(i + 1) * image_len]
    }

    /// The images at `indices` as values in [0, 1], `[indices.len(), 3, height, width]`.
    ///
    /// # Panics
    /// When an index is out of range.
    pub fn tensor(&self, indices: &[usize], device: &Device) -> Tensor<4> {
        let mut values = Vec::with_capacity(indices.len() * self.image_len());
        for &i in indices {
            values.extend(self.pixels(i).iter().map(|pixel| f32::from(*pixel) / 255.0));
        }
        Tensor::from_data(TensorData::new(values, [indices.len(), CHANNELS, self.height, self.width]), device)
    }

    /// Mean and standard deviation (of the population) of each channel's values in [0, 1].
    ///
    /// # Panics
    /// When there is no image.
    pub fn channel_statistics(&self) -> ChannelStatistics {
        assert!(!self.is_empty(), "an empty set has no channel statistics");
        let plane = self.height * self.width;
        let (mut sums, mut squares) = ([0u64; CHANNELS], [0u64; CHANNELS]);
        for (k, values) in self.pixels.chunks_exact(plane).enumerate() {
            sums[k % CHANNELS] += values.iter().map(|v| u64::from(*v)).sum::<u64>();
            squares[k % CHANNELS] += values.iter().map(|v| u64::from(*v).pow(2)).sum::<u64>();
        }
        // n Σv² − (Σv)² in integers, so that nothing cancels.
        let n = (self.len() * plane) as u128;
        let std = |k: usize| {
            let spread = n * u128::from(squares[k]) - u128::from(sums[k]).pow(2);
            ((spread as f64).sqrt() / (n as f64 * 255.0)) as f32
        };
        let mean = |k: usize| (sums[k] as f64 / (n as f64 * 255.0)) as f32;
        ChannelStatistics { mean: std::array::from_fn(mean), std: std::array::from_fn(std) }
    }

    /// The images at `indices`, in that order; classes stay as they are.
    ///
    /// # Panics
    /// When an index is out of range.
    pub fn subset(&self, indices: &[usize]) -> Self {
        let mut pixels = Vec::with_capacity(indices.len() * self.image_len());
        for &i in indices {
            pixels.extend_from_slice(self.pixels(i));
        }
        let labels = indices.iter().map(|i| self.labels[*i]).collect();
        Self { height: self.height, width: self.width, pixels, labels, class_names: self.class_names.clone() }
    }

    /// The first `per_class` images of each class, in the order of the set.
    ///
    /// # Errors
    /// [`ImageError::TooFewOfClass`] when a class has fewer.
    pub fn first_of_each_class(&self, per_class: usize) -> Result<Self, ImageError> {
        let mut taken = vec![0; self.num_classes()];
        let mut indices = Vec::new();
        for (i, &label) in self.labels.iter().enumerate() {
            if taken[label] < per_class {
                taken[label] += 1;
                indices.push(i);
            }
        }
        match taken.iter().position(|count| *count < per_class) {
            Some(k) => Err(ImageError::TooFewOfClass {
                class: self.class_names[k].clone(),
                found: taken[k],
                wanted: per_class,
            }),
            None => Ok(self.subset(&indices)),
        }
    }

    /// A set whose classes become rarer one by one: of the k-th, counted from 0, the first `n · imbalance^(−k/(K−1))` images, rounded, at least one, n
    /// being the size of the smallest class that occurs (Cui et al. 2019). The order of the set stays.
    ///
    /// # Panics
    /// When `imbalance` is below 1.
    pub fn long_tailed(&self, imbalance: f64) -> Self {
        assert!(imbalance >= 1.0, "the first class is the most frequent one");
        let classes = self.num_classes();
        let mut sizes = vec![0; classes];
        self.labels.iter().for_each(|label| sizes[*label] += 1);
        let most = sizes.iter().copied().filter(|size| *size > 0).min().unwrap_or(0) as f64;
        let wanted = |class: usize| {
            let place = class as f64 / (classes.max(2) - 1) as f64;
            ((most * imbalance.powf(-place)).round() as usize).max(1)
        };
        let mut taken = vec![0; classes];
        let kept = (0..self.len()).filter(|i| {
            let class = self.labels[*i];
            taken[class] += 1;
            taken[class] <= wanted(class)
        });
        self.subset(&kept.collect::<Vec<_>>())
    }

    /// The first 16 hexadecimal digits of a SHA-256 of the content.
    ///
    /// The hash covers, with numbers as 64 bits little-endian: `n`, 3, height, width and K; length and bytes of each
    /// class name; labels; pixels.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        let mut number = |value: usize, text: &str| {
            hash.update((value as u64).to_le_bytes());
            hash.update(text);
        };
        for size in [self.len(), CHANNELS, self.height, self.width, self.num_classes()] {
            number(size, "");
        }
        for name in &self.class_names {
            number(name.len(), name);
        }
        for label in &self.labels {
            number(*label, "");
        }
        hash.update(&self.pixels);
        hex::encode(&hash.finalize()[..8])
    }

    fn image_len(&self) -> usize {
        CHANNELS * self.height * self.width
    }
}

/// Sizes only: pixels would fill the screen.
impl fmt::Debug for ImageSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageSet")
            .field("len", &self.len())
            .field("height", &self.height)
            .field("width", &self.width)
            .field("num_classes", &self.num_classes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(k: usize) -> Vec<String> {
        (0..k).map(|i| format!("class {i}")).collect()
    }

    /// Four images of 2 rows and 3 columns whose pixels count up from 0; classes 1, 0, 2, 1.
    fn counting() -> ImageSet {
        ImageSet::new(2, 3, (0..72).collect(), vec![1, 0, 2, 1], names(3)).unwrap()
    }

    #[test]
    fn later_classes_of_a_long_tail_are_rarer() {
        let labels: Vec<usize> = (0..90).map(|i| i % 3).collect();
        let names = ["a", "b", "c"].map(String::from).to_vec();
        let set = ImageSet::new(1, 1, (0..270).map(|v| v as u8).collect(), labels, names).unwrap();
        let tail = set.long_tailed(9.0);
        let count = |class: usize| tail.labels().iter().filter(|l| **l == class).count();
        // 30, 30/3 and 30/9.
        assert_eq!([0, 1, 2].map(count), [30, 10, 3]);
        assert_eq!(tail.pixels(1), set.pixels(1));
        assert_eq!(set.long_tailed(1.0), set);
    }

    #[test]
    fn images_lie_one_after_the_other_in_channel_planes() {
        let set = counting();
        assert_eq!((set.len(), set.height(), set.width(), set.num_classes()), (4, 2, 3, 3));
        assert!(!set.is_empty());
        assert_eq!(set.pixels(2), (36..54).collect::<Vec<u8>>());
        assert_eq!(set.labels(), [1, 0, 2, 1]);
        assert_eq!(set.class_names(), names(3));
    }

    #[test]
    fn a_tensor_holds_the_chosen_images_in_order_over_255() {
        let set = counting();
        let tensor = set.tensor(&[3, 0, 3], &Device::flex());
        assert_eq!(tensor.dims(), [3, 3, 2, 3]);
        let values: Vec<f32> = tensor.into_data().try_to_vec().unwrap();
        let expected: Vec<f32> = (54..72).chain(0..18).chain(54..72).map(|v| v as f32 / 255.0).collect();
        assert_eq!(values, expected);
        let white = ImageSet::new(1, 1, vec![255, 0, 255], vec![0], names(1)).unwrap();
        let values: Vec<f32> = white.tensor(&[0], &Device::flex()).into_data().try_to_vec().unwrap();
        assert_eq!(values, [1.0, 0.0, 1.0]);
        assert_eq!(set.tensor(&[], &Device::flex()).dims(), [0, 3, 2, 3]);
    }

    /// Two images of one pixel: red 0 and 255, green 51 and 51, blue 0 and 51.
    #[test]
    fn channel_statistics_are_those_of_each_plane() {
        let set = ImageSet::new(1, 1, vec![0, 51, 0, 255, 51, 51], vec![0, 0], names(1)).unwrap();
        let ChannelStatistics { mean, std } = set.channel_statistics();
        for (found, expected) in mean.iter().chain(&std).zip([0.5, 0.2, 0.1, 0.5, 0.0, 0.1]) {
            assert!((found - expected).abs() < 1e-7, "{found} instead of {expected}");
        }
    }

    /// Against a loop in double precision; the difference is that of rounding to single precision.
    #[test]
    fn channel_statistics_agree_with_a_loop() {
        let pixels: Vec<u8> = (0..5 * 3 * 35u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let set = ImageSet::new(5, 7, pixels, vec![0; 5], names(1)).unwrap();
        let ChannelStatistics { mean, std } = set.channel_statistics();
        for k in 0..3 {
            let values: Vec<f64> = (0..5)
                .flat_map(|i| set.pixels(i)[k * 35..(k + 1) * 35].iter().map(|v| f64::from(*v) / 255.0))
                .collect();
            let m = values.iter().sum::<f64>() / 175.0;
            let s = (values.iter().map(|v| (v - m).powi(2)).sum::<f64>() / 175.0).sqrt();
            assert!((f64::from(mean[k]) - m).abs() < 1e-7 && (f64::from(std[k]) - s).abs() < 1e-7);
        }
    }

    #[test]
    fn a_subset_keeps_order_labels_and_classes() {
        let set = counting();
        let subset = set.subset(&[2, 0]);
        assert_eq!(subset.labels(), [2, 1]);
        assert_eq!(subset.pixels(0), set.pixels(2));
        assert_eq!(subset.pixels(1), set.pixels(0));
        assert_eq!(subset.class_names(), set.class_names());
        assert!(set.subset(&[]).is_empty());
    }

    #[test]
    fn the_first_of_each_class_stay_in_the_order_of_the_set() {
        let set = counting();
        assert_eq!(set.first_of_each_class(1).unwrap(), set.subset(&[0, 1, 2]));
        assert!(set.first_of_each_class(0).unwrap().is_empty());
        let error = set.first_of_each_class(2).unwrap_err();
        assert_eq!(error.to_string(), "class \"class 0\" has 1 images, 2 are asked for");
    }

    /// Computed independently with Python's struct and hashlib from the layout in the documentation.
    #[test]
    fn the_fingerprint_is_the_documented_hash() {
        assert_eq!(counting().fingerprint(), "5c62b8e7e9835d59");
    }

    #[test]
    fn whatever_changes_changes_the_fingerprint() {
        let pixels: Vec<u8> = (0..72).collect();
        let labels = vec![1, 0, 2, 1];
        let base = counting().fingerprint();
        let set = |h, w, pixels: &[u8], labels: &[usize], names: Vec<String>| {
            ImageSet::new(h, w, pixels.to_vec(), labels.to_vec(), names).unwrap().fingerprint()
        };
        assert_eq!(base, set(2, 3, &pixels, &labels, names(3)));
        assert_ne!(base, set(3, 2, &pixels, &labels, names(3)));
        assert_ne!(base, set(2, 3, &pixels, &[1, 0, 2, 2], names(3)));
        assert_ne!(base, set(2, 3, &pixels, &labels, names(4)));
        let split_otherwise = ["class 0c", "lass 1", "class 2"].map(String::from).to_vec();
        assert_ne!(base, set(2, 3, &pixels, &labels, split_otherwise));
        let mut other = pixels.clone();
        other[71] ^= 1;
        assert_ne!(base, set(2, 3, &other, &labels, names(3)));
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let message = |result: Result<ImageSet, ImageError>| result.unwrap_err().to_string();
        assert_eq!(
            message(ImageSet::new(2, 3, vec![0; 35], vec![0, 0], names(1))),
            "35 pixel values for 2 labels; images of [3, 2, 3] need 36, one image a label"
        );
        assert_eq!(
            message(ImageSet::new(1, 1, vec![0; 6], vec![1, 3], names(3))),
            "image 1 (from 0) has label 3; it has to be in 0..3"
        );
        assert_eq!(message(ImageSet::new(0, 1, vec![], vec![], names(1))), "height = 0, but it has to be at least 1");
        assert_eq!(message(ImageSet::new(1, 0, vec![], vec![], names(1))), "width = 0, but it has to be at least 1");
        assert_eq!(
            message(ImageSet::new(1, 1, vec![], vec![], vec![])),
            "number of classes = 0, but it has to be at least 1"
        );
        assert_eq!(
            message(ImageSet::new(1, 1, vec![], vec![], vec!["a".into(), "b".into(), "a".into()])),
            "two classes are called \"a\""
        );
        assert!(message(ImageSet::new(usize::MAX, 2, vec![0; 6], vec![0], names(1))).starts_with("6 pixel values"));
    }

    #[test]
    #[should_panic(expected = "image 4 of a set of 4")]
    fn an_index_beyond_the_end_is_named() {
        counting().tensor(&[0, 4], &Device::flex());
    }

    #[test]
    fn debug_output_holds_no_pixels() {
        let text = format!("{:?}", counting());
        assert_eq!(text, "ImageSet { len: 4, height: 2, width: 3, num_classes: 3, .. }");
    }
}
