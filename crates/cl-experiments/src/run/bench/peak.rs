//! Peak throughput of the processor.

use faer::{Accum, Mat, Par, linalg::matmul::matmul};
use std::time::Instant;

/// Size of the square matrix product that measures the processor's peak.
const SIZE: usize = 1024;

/// The best rate over several square matrix products of 32-bit floats, one on each thread.
pub fn peak_flop_per_second() -> f64 {
    let seconds = rayon::broadcast(|_| {
        let a = Mat::<f32>::from_fn(SIZE, SIZE, |i, j| ((i * 7 + j * 3) % 11) as f32 - 5.0);
        let mut out = Mat::<f32>::zeros(SIZE, SIZE);
        let once = |out: &mut Mat<f32>| {
            let started = Instant::now();
            matmul(out, Accum::Replace, &a, &a, 1.0, Par::Seq);
            started.elapsed().as_secs_f64()
        };
        (0..12).map(|_| once(&mut out)).fold(f64::INFINITY, f64::min)
    });
    seconds.iter().map(|s| 2.0 * (SIZE as f64).powi(3) / s).sum()
}
