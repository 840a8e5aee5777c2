//! Timings of image encoders.

use super::BenchJob;
use super::peak::peak_flop_per_second;
use super::steps::{Lengths, Parts};
use crate::io::error::UserError;
use crate::run::catalog::Catalog;
use crate::tasks::images::spec::ImageSpec;
use crate::tasks::task::Place;
use serde::{Deserialize, Serialize};

/// Steps before the clock starts.
const WARM_UP: u64 = 2;

/// Steps timed as a whole, and then part by part.
const STEPS: u64 = 8;

/// Measurements of training on images.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImageTiming {
    /// Name of the point.
    pub point: String,
    /// The seed.
    pub seed: u64,
    /// Name of the backend.
    pub device: String,
    /// Number of threads.
    pub threads: usize,
    /// Images in a batch, each with two views (one with labels).
    pub batch_size: usize,
    /// Multiply-adds of the encoder for one view.
    pub encoder_multiply_adds: f64,
    /// Steps timed.
    pub steps: u64,
    /// Images trained on per second, including all of a step: loading, views, forward, loss, backward, update.
    pub images_per_second: f64,
    /// Products and sums of the encoder in a step as its definition has them, taken as three times those of the forward pass: with pixels of
    /// padding and the gradient of the images, which need not be computed, and with all products of 3×3 kernels, of which the host saves more
    /// than half at stride 1.
    pub encoder_flop_per_step: f64,
    /// These over the time of a whole step, over the best rate of square matrix products on the same threads; above 1 where more products are
    /// saved than time is lost. `None` on devices other than the host.
    pub fraction_of_peak: Option<f64>,
    /// Seconds per part of a step; `data` is loading and augmentation.
    pub part_s: Parts,
    /// Peak memory of the process in bytes.
    pub peak_memory_byte: u64,
}

/// Times the step that a driver takes.
///
/// # Errors
/// [`UserError`] when the images cannot be read.
pub fn time(job: &BenchJob, spec: &ImageSpec, catalog: &Catalog, place: Place) -> Result<ImageTiming, UserError> {
    let batch_size = spec.optimization.batch_size;
    let lengths = |all: u64| Lengths { warm_up: WARM_UP, steps: (WARM_UP + STEPS).min(all), in_parts: STEPS };
    let timed = catalog.time(&job.spec, job.seed, place, &lengths)?;
    let encoder_multiply_adds = spec.encoder_multiply_adds();
    let views = if spec.is_supervised() { 1.0 } else { 2.0 };
    // Forward once; backward a product each for inputs and for weights.
    let encoder_flop_per_step = 2.0 * 3.0 * encoder_multiply_adds * views * batch_size as f64;
    let rate = encoder_flop_per_step * timed.steps_per_second;
    let on_host = crate::io::device::is_host(&job.device);
    Ok(ImageTiming {
        point: job.point.clone(),
        seed: job.seed,
        device: job.device.clone(),
        threads: rayon::current_num_threads(),
        batch_size,
        encoder_multiply_adds,
        steps: timed.steps,
        images_per_second: timed.steps_per_second * batch_size as f64,
        encoder_flop_per_step,
        fraction_of_peak: on_host.then(|| rate / peak_flop_per_second()),
        part_s: timed.part_s,
        peak_memory_byte: timed.peak_memory_byte,
    })
}

pub(super) const HEAD: &str = "point                                       B  MMAC/view  threads  images/s   ms/step  views  gradient  update  of peak  peak memory";

pub(super) fn row(t: &ImageTiming) -> String {
    let [data, gradient, update] = t.part_s.fractions();
    let of_peak = t.fraction_of_peak.map_or("-".to_string(), |s| format!("{:.0} %", 100.0 * s));
    format!(
        "{:<40} {:>4} {:>10.1} {:>8} {:>9.0} {:>9.1} {data:>6} {gradient:>9} {update:>7} {of_peak:>8} {:>8.0} MiB",
        t.point,
        t.batch_size,
        t.encoder_multiply_adds / 1e6,
        t.threads,
        t.images_per_second,
        1e3 * t.batch_size as f64 / t.images_per_second,
        t.peak_memory_byte as f64 / 1_048_576.0
    )
}
