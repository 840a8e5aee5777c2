//! Shared by the tests of transforms.

use super::{Change, DrawRequest, Transform};
use crate::images::ChannelStatistics;
use crate::{Purpose, Stream};
use burn::tensor::{Device, Tensor, TensorData};
use cl_config::Component;

pub(super) const STATISTICS: ChannelStatistics =
    ChannelStatistics { mean: [0.49, 0.48, 0.45], std: [0.25, 0.24, 0.26] };

pub(super) fn stream() -> Stream {
    Stream::new(1, Purpose::ImageViews)
}

/// Images of 8 × 12 pixels with values in [0, 1], no two alike.
pub(super) fn images(count: usize) -> Tensor<4> {
    let pixels = count * 3 * 8 * 12;
    let values: Vec<f32> = (0..pixels).map(|k| (k as f32 * 0.618_034).fract()).collect();
    Tensor::from_data(TensorData::new(values, [count, 3, 8, 12]), &Device::flex())
}

pub(super) fn values(tensor: &Tensor<4>) -> Vec<f32> {
    tensor.to_data().try_to_vec().unwrap()
}

/// What a transform draws for 9 such images where it is the first of its name.
pub(super) fn draw(name: &str, transform: impl Transform) -> [Box<dyn Change>; 2] {
    transform.draw(&DrawRequest { images: 9, size: [8, 12], name, occurrence: 0, stream: stream(), step: 2 })
}

/// Sums may be taken in another order: a few units of 2⁻²⁴ of values up to 2, over a standard deviation of ¼.
pub(super) fn assert_close(found: &Tensor<4>, expected: &Tensor<4>) {
    let difference: f32 = (found.clone() - expected.clone()).abs().max().into_scalar();
    assert!(difference < 2e-6, "off by {difference:e}");
}

/// A count of `n` events of probability `p`, at 4.9 standard deviations (1e-6).
pub(super) fn assert_fraction(count: usize, n: usize, p: f64, what: &str) {
    let z = (count as f64 - n as f64 * p) / (n as f64 * p * (1.0 - p)).sqrt();
    assert!(z.abs() < 4.9, "{what}: {count} of {n} instead of a fraction of {p}");
}

/// Kolmogorov–Smirnov against the uniform distribution on [0, 1] at 1e-6: critical value √(−½ ln(α/2))/√n = 2.69/√n.
pub(super) fn assert_uniform(mut sample: Vec<f64>, what: &str) {
    let n = sample.len() as f64;
    sample.sort_by(f64::total_cmp);
    let distance = sample.iter().enumerate().map(|(i, u)| (u - i as f64 / n).abs()).fold(0.0, f64::max);
    assert!(distance < 2.69 / n.sqrt() + 1.0 / n, "{what}: distance {distance}");
}

/// The message about parameters out of range.
pub(super) fn message(wrong: impl Component) -> String {
    wrong.checked().unwrap_err().to_string()
}

/// A component survives being written to TOML and read back, and the files `wrong` are rejected.
pub(super) fn assert_files_hold<C: Component + PartialEq>(component: C, wrong: &[&str]) {
    let text = toml::to_string(&component).unwrap();
    assert_eq!(toml::from_str::<C>(&text).unwrap(), component, "{text}");
    for wrong in wrong {
        assert!(toml::from_str::<C>(wrong).is_err(), "{wrong}");
    }
}
