//! Time per batch of two views of 256 images of 32 × 32 pixels, and what each operation takes of it.
//!
//! `RAYON_NUM_THREADS=1 cargo run --release -p cl-data --example augmentation_speed`

#![allow(clippy::disallowed_macros, reason = "an example prints what it finds")]

use burn::tensor::{Device, Distribution, Tensor};
use cl_data::images::ChannelStatistics;
use cl_data::images::augmentation::{
    ColorJitter, GaussianBlur, Grayscale, HorizontalFlip, MaskPairing, PixelMask, RandomResizedCrop, Transform,
    ViewPipeline,
};
use cl_data::{Purpose, Stream};
use std::time::Instant;

const IMAGES: usize = 256;
const BATCHES: u64 = 20;

/// Shortest and median milliseconds per batch.
fn milliseconds(pipeline: &ViewPipeline, images: &Tensor<4>, chunk: usize) -> [f64; 2] {
    let statistics = ChannelStatistics { mean: [0.4914, 0.4822, 0.4465], std: [0.247, 0.2435, 0.2616] };
    let stream = Stream::new(1, Purpose::ImageViews);
    let mut times: Vec<f64> = (0..BATCHES)
        .map(|step| {
            let start = Instant::now();
            let views = pipeline.stacked_views_in_chunks(images, &statistics, stream, step, chunk);
            views.device().sync().expect("the views are computed");
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    [times[0], times[times.len() / 2]]
}

fn alone(name: &'static str, transform: impl Transform + 'static) -> (&'static str, ViewPipeline) {
    (name, ViewPipeline::none().with(name, transform).expect("it is the first"))
}

fn main() {
    let images = Tensor::<4>::random([IMAGES, 3, 32, 32], Distribution::Uniform(0.0, 1.0), &Device::flex());
    let (simclr, blur) = (ViewPipeline::simclr_cifar(), GaussianBlur::simclr_at_32_pixels());
    let mask = PixelMask { keep_probability: 0.5, pairing: MaskPairing::Complementary };
    let blurred = simclr.clone().with(GaussianBlur::NAME, blur).expect("it works on colours");
    let cases = [
        ("none", ViewPipeline::none()),
        alone(RandomResizedCrop::NAME, RandomResizedCrop::simclr()),
        alone(HorizontalFlip::NAME, HorizontalFlip { probability: 0.5 }),
        alone(ColorJitter::NAME, ColorJitter::simclr_cifar()),
        alone(Grayscale::NAME, Grayscale { probability: 0.2 }),
        alone(GaussianBlur::NAME, blur),
        alone(PixelMask::NAME, mask),
        ("simclr_cifar", simclr),
        ("simclr_cifar and blur", blurred),
    ];
    println!("milliseconds for {} views: shortest, median of {BATCHES} batches", 2 * IMAGES);
    for (name, pipeline) in &cases {
        let [shortest, median] = milliseconds(pipeline, &images, 32);
        println!("{name:24} {shortest:7.2} {median:7.2}");
    }
    for chunk in [8, 16, 32, 64, 128, 256] {
        let [shortest, median] = milliseconds(&cases[8].1, &images, chunk);
        println!("the last, chunks of {chunk:4} {shortest:7.2} {median:7.2}");
    }
}
