//! Time of a training step of a small convolutional encoder on the CPU.
//!
//! `encoder_speed CHANNELS STRIDES BATCH STEPS`, with lists as in `32,64,128 2,2,2`; each step runs forward and
//! backward on one batch of 32×32 images. Prints images per second, train and inference, after one step to
//! warm up. Threads as `RAYON_NUM_THREADS` says.

#![allow(clippy::disallowed_macros, reason = "an example prints what it finds")]

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use cl_model::conv::{ImageEncoder, ImageShape, SmallConvNetConfig};
use cl_model::{Component, Encoder, EncoderConfig};
use std::time::Instant;

// As in the binary: activations are large, and the system's allocator gives their pages back after each step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [channels, strides, batch, steps] = args.as_slice() else {
        panic!("encoder_speed CHANNELS STRIDES BATCH STEPS");
    };
    let list = |text: &str| text.split(',').map(|v| v.parse().expect("a list of numbers")).collect::<Vec<usize>>();
    let [batch, steps]: [usize; 2] = [batch, steps].map(|v| v.parse().expect("a number"));
    let config = SmallConvNetConfig { channels: list(channels), strides: list(strides), ..Default::default() };
    let config = config.checked().expect("a valid network");

    let noise = |n: usize| -> Vec<f32> { (0..n).map(|i| (i as f64 * 0.754_877_666).fract() as f32 - 0.5).collect() };
    let device = Device::flex().autodiff();
    let shape = ImageShape { height: 32, width: 32 };
    let encoder = config.init(shape, &mut |n| noise(n), &device);
    let images = Tensor::<1>::from_data(noise(batch * 3 * 32 * 32).as_slice(), &device).reshape([batch, 3, 32, 32]);

    let train = || {
        let features = encoder.forward(images.clone());
        features.square().mean().backward();
    };
    let inference = encoder.valid();
    let infer = || {
        inference.forward(images.clone().inner()).into_data();
    };
    let rate = |step: &dyn Fn()| {
        step();
        let start = Instant::now();
        (0..steps).for_each(|_| step());
        (batch * steps) as f64 / start.elapsed().as_secs_f64()
    };
    println!("{:.3} M multiply-adds an image", encoder.multiply_adds(shape).unwrap_or(0) as f64 * 1e-6);
    println!("{:.0} images/s training, {:.0} images/s inference", rate(&train), rate(&infer));
}
