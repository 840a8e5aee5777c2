//! Views are what they were when the order of the transforms was fixed, see `reference/views.toml`.
//!
//! Drawn parameters are held to the fingerprints of those drawn then. The operations called one after another with
//! these parameters, in that order, give what a pipeline gives, bit for bit. Some values of every case are held to
//! those recorded up to rounding, which differs between processors.

use burn::tensor::{Device, Tensor, TensorData};
use cl_data::StreamRng;
use cl_data::images::ChannelStatistics;
use cl_data::images::augmentation::*;
use cl_data::{Augmentation, Matrix, Part, Purpose, Rescaling, Stream};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

const STATISTICS: ChannelStatistics = ChannelStatistics { mean: [0.49, 0.48, 0.45], std: [0.25, 0.24, 0.26] };
const IMAGES: usize = 40;
const PIXELS: usize = 8 * 12;
const CHUNK: usize = 32;
const STEP: u64 = 3;

const CROP: &str = RandomResizedCrop::NAME;
const FLIP: &str = HorizontalFlip::NAME;
const JITTER: &str = ColorJitter::NAME;
const GREY: &str = Grayscale::NAME;
const BLUR: &str = GaussianBlur::NAME;
const COMPLEMENTARY: &str = "complementary";
const HALF: &str = "complementary_half";
const INDEPENDENT: &str = "independent";

/// Names in the file, and what is on.
const CASES: [(&str, &[&str]); 13] = [
    ("none", &[]),
    ("simclr_cifar", &[CROP, FLIP, JITTER, GREY]),
    ("simclr_blur_complementary", &[CROP, FLIP, JITTER, GREY, BLUR, COMPLEMENTARY]),
    ("simclr_blur_independent", &[CROP, FLIP, JITTER, GREY, BLUR, INDEPENDENT]),
    (CROP, &[CROP]),
    (FLIP, &[FLIP]),
    (JITTER, &[JITTER]),
    (GREY, &[GREY]),
    (BLUR, &[BLUR]),
    (COMPLEMENTARY, &[COMPLEMENTARY]),
    (HALF, &[HALF]),
    (INDEPENDENT, &[INDEPENDENT]),
    ("flip_jitter_blur", &[FLIP, JITTER, BLUR]),
];

/// The recorded file.
#[derive(Deserialize)]
struct Recorded {
    pixels: BTreeMap<String, Vec<f32>>,
    draws: BTreeMap<String, String>,
}

impl Recorded {
    fn read() -> Self {
        toml::from_str(include_str!("reference/views.toml")).unwrap()
    }
}

fn stream() -> Stream {
    Stream::new(1, Purpose::ImageViews)
}

/// Images of 8 × 12 pixels with values in [0, 1], no two alike.
fn images() -> Tensor<4> {
    let values: Vec<f32> = (0..IMAGES * 3 * PIXELS).map(|k| (k as f32 * 0.618_034).fract()).collect();
    Tensor::from_data(TensorData::new(values, [IMAGES, 3, 8, 12]), &Device::flex())
}

fn values(tensor: Tensor<4>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn jitter() -> ColorJitter {
    ColorJitter::simclr_cifar()
}

fn blur() -> GaussianBlur {
    GaussianBlur::simclr_at_32_pixels()
}

fn mask(name: &str) -> PixelMask {
    let (keep_probability, pairing) = match name {
        COMPLEMENTARY => (0.3, MaskPairing::Complementary),
        HALF => (0.5, MaskPairing::Complementary),
        INDEPENDENT => (0.3, MaskPairing::Independent),
        _ => panic!("no mask is called {name}"),
    };
    PixelMask { keep_probability, pairing }
}

fn transform(name: &str) -> (String, Arc<dyn Transform>) {
    let transform: Arc<dyn Transform> = match name {
        CROP => Arc::new(RandomResizedCrop::simclr()),
        FLIP => Arc::new(HorizontalFlip { probability: 0.5 }),
        JITTER => Arc::new(jitter()),
        GREY => Arc::new(Grayscale { probability: 0.2 }),
        BLUR => Arc::new(blur()),
        _ => return (PixelMask::NAME.into(), Arc::new(mask(name))),
    };
    (name.into(), transform)
}

/// What was drawn for the first and for the second view of each image.
struct Draws {
    boxes: [Vec<CropBox>; 2],
    flips: [Vec<bool>; 2],
    color_changes: [Vec<Option<[ColorChange; 4]>>; 2],
    grey_marks: [Vec<bool>; 2],
    sigmas: [Vec<Option<f64>>; 2],
}

impl Draws {
    fn new() -> Self {
        Self {
            boxes: draws(Part::ImageCrop, |rng| RandomResizedCrop::simclr().draw_one([8, 12], rng)),
            flips: draws(Part::ImageFlip, |rng| HorizontalFlip { probability: 0.5 }.draw_one(rng)),
            color_changes: draws(Part::ImageColorJitter, |rng| jitter().draw_one(rng)),
            grey_marks: draws(Part::ImageGrayscale, |rng| Grayscale { probability: 0.2 }.draw_one(rng)),
            sigmas: draws(Part::ImageBlur, |rng| blur().draw_one(rng)),
        }
    }

    /// One view of the images `range`.
    fn view(&self, on: &[&str], view: usize, range: Range<usize>) -> Tensor<4> {
        let mut views = images().slice([range.clone()]);
        let (boxes, flips) = (&self.boxes[view][range.clone()], &self.flips[view][range.clone()]);
        views = match (on.contains(&CROP), on.contains(&FLIP)) {
            (true, true) => resized_crop(views, boxes, flips, [8, 12]),
            (true, false) => resized_crop(views, boxes, &vec![false; range.len()], [8, 12]),
            (false, true) => horizontal_flip(views, flips),
            (false, false) => views,
        };
        if on.contains(&JITTER) {
            views = color_changes(views, &self.color_changes[view][range.clone()]);
        }
        if on.contains(&GREY) {
            views = grayscale(views, &self.grey_marks[view][range.clone()]);
        }
        if on.contains(&BLUR) {
            views = gaussian_blur(views, 3, &self.sigmas[view][range.clone()]);
        }
        views = STATISTICS.normalise(views);
        match on.iter().find(|name| [COMPLEMENTARY, HALF, INDEPENDENT].contains(name)) {
            Some(name) => {
                let factors = masks(name)[view].values[range.start * PIXELS..range.end * PIXELS].to_vec();
                views * Tensor::from_data(TensorData::new(factors, [range.len(), 1, 8, 12]), &Device::flex())
            }
            None => views,
        }
    }
}

/// Image by image, the first view of each before the second.
fn draws<T>(part: Part, mut draw: impl FnMut(&mut StreamRng) -> T) -> [Vec<T>; 2] {
    let mut rng = stream().rng(part, STEP);
    let mut views = [Vec::new(), Vec::new()];
    for _ in 0..IMAGES {
        views.iter_mut().for_each(|view| view.push(draw(&mut rng)));
    }
    views
}

/// What the pixels of both views are multiplied by.
fn masks(name: &str) -> [Matrix; 2] {
    let (keep_probability, masked_fraction, rescaling) = (mask(name).keep_probability, 1.0, Rescaling::Unbiased);
    let masks = match mask(name).pairing {
        MaskPairing::Complementary => Augmentation::ComplementaryMask { keep_probability, masked_fraction, rescaling },
        MaskPairing::Independent => Augmentation::IndependentMasks { keep_probability, masked_fraction, rescaling },
    };
    let pair = masks.apply(Matrix::from_values(IMAGES, PIXELS, vec![1.0; IMAGES * PIXELS]), stream(), STEP);
    [pair.x_plus, pair.x_plus_plus]
}

fn pipeline_views(on: &[&str]) -> Vec<f32> {
    let pipeline = ViewPipeline::new(on.iter().map(|name| transform(name)).collect()).unwrap();
    values(pipeline.stacked_views_in_chunks(&images(), &STATISTICS, stream(), STEP, CHUNK))
}

#[test]
fn parameters_are_those_that_were_drawn() {
    let Draws { boxes, flips, color_changes, grey_marks, sigmas } = Draws::new();
    let fingerprint = |drawn: &dyn Debug| hex::encode(&Sha256::digest(format!("{drawn:?}"))[..16]);
    let found = [
        ("boxes", fingerprint(&boxes)),
        ("flips", fingerprint(&flips)),
        ("color_changes", fingerprint(&color_changes)),
        ("grey_marks", fingerprint(&grey_marks)),
        ("sigmas", fingerprint(&sigmas)),
        ("complementary_masks", fingerprint(&masks(COMPLEMENTARY).map(|mask| mask.values))),
        ("independent_masks", fingerprint(&masks(INDEPENDENT).map(|mask| mask.values))),
    ];
    let found: BTreeMap<_, _> = found.into_iter().map(|(name, print)| (name.to_owned(), print)).collect();
    assert_eq!(found, Recorded::read().draws);
}

#[test]
fn pipelines_give_the_operations_in_the_old_order_bit_for_bit() {
    let draws = Draws::new();
    for (name, on) in CASES {
        let chunks = (0..2).flat_map(|view| [(view, 0..CHUNK), (view, CHUNK..IMAGES)]);
        let by_hand = chunks.flat_map(|(view, range)| values(draws.view(on, view, range)));
        let differing =
            by_hand.zip(pipeline_views(on)).position(|(by_hand, found)| by_hand.to_bits() != found.to_bits());
        assert_eq!(differing, None, "{name}");
    }
}

/// A few roundings of colours up to 1 over a standard deviation of ¼, and over a probability of 0.3.
#[test]
fn pixels_are_those_that_were_made() {
    let recorded = Recorded::read().pixels;
    assert_eq!(recorded.len(), CASES.len());
    for (name, on) in CASES {
        let found = pipeline_views(on);
        for (k, recorded) in recorded[name].iter().enumerate() {
            let found = found[953 * k];
            assert!((found - recorded).abs() < 1e-5, "{name}, value {k}: {found} instead of {recorded}");
        }
    }
}
