//! Convolutions as products with rows of what lies under the kernel.

use super::buffer::Buffer;
use super::channels::add;
use super::geometry::{Geometry, PositionsAlike};
use super::patches::{gather, scatter};
use super::way::Way;
use crate::closed_form::product::{Rows, add_transposed_times, for_each, times, times_transposed, transposed_times};

/// For any kernel and stride.
pub(super) struct ByPatches {
    /// Per part of the positions, the multiplied part of the kernel, `[patch_len, C_out]`.
    kernels: Vec<Buffer>,
}

impl ByPatches {
    /// From `[k · k, C_in, C_out]`.
    pub fn new(taps: &[f32], geometry: &Geometry) -> Self {
        let tap = geometry.channels[0] * geometry.channels[1];
        let of_part = |part| {
            let mut kernel = Buffer::of(geometry.taps(part).count() * tap);
            for (t, into) in geometry.taps(part).zip(kernel.chunks_exact_mut(tap)) {
                into.copy_from_slice(&taps[t * tap..(t + 1) * tap]);
            }
            kernel
        };
        Self { kernels: geometry.parts.iter().map(of_part).collect() }
    }
}

impl Way for ByPatches {
    fn numbers(&self, geometry: &Geometry) -> usize {
        geometry.parts.iter().map(|p| p.positions.len() * geometry.patch_len(p)).max().unwrap_or(0)
    }

    fn kernel_numbers(&self) -> usize {
        self.kernels.iter().map(|kernel| kernel.len()).sum()
    }

    fn convolve(&self, geometry: &Geometry, images: &[f32], u: &mut [f32]) {
        let count = images.len() / geometry.input_len();
        let outputs = geometry.channels[1];
        for (part, kernel) in geometry.parts.iter().zip(&self.kernels) {
            let length = geometry.patch_len(part);
            let mut patches = Buffer::of(count * part.positions.len() * length);
            gather(geometry, part, images, &mut patches);
            let (patches, kernel) = (Rows::new(&patches, length), Rows::new(kernel, outputs));
            if geometry.is_whole() {
                times(patches, kernel, u);
            } else {
                let mut rows = Buffer::of(count * part.positions.len() * outputs);
                times(patches, kernel, &mut rows);
                spread_rows(geometry, part, &rows, u);
            }
        }
    }

    fn backward(
        &self,
        geometry: &Geometry,
        images: &[f32],
        gradient: &[f32],
        sums: &mut Vec<Buffer>,
        mut into: Option<&mut [f32]>,
    ) {
        let outputs = geometry.channels[1];
        let is_first = sums.is_empty();
        for (i, (part, kernel)) in geometry.parts.iter().zip(&self.kernels).enumerate() {
            let length = geometry.patch_len(part);
            let collected;
            let rows = if geometry.is_whole() {
                gradient
            } else {
                collected = collect_rows(geometry, part, gradient);
                &collected
            };
            let rows = Rows::new(rows, outputs);
            let mut patches = Buffer::of(rows.count() * length);
            gather(geometry, part, images, &mut patches);
            if is_first {
                sums.push(Buffer::of(kernel.len()));
                transposed_times(Rows::new(&patches, length), rows, &mut sums[i]);
            } else {
                add_transposed_times(Rows::new(&patches, length), rows, &mut sums[i]);
            }
            if let Some(into) = into.as_deref_mut() {
                times_transposed(rows, Rows::new(kernel, outputs), 1.0, &mut patches);
                scatter(geometry, part, &patches, into);
            }
        }
    }

    fn taps_gradient(&self, geometry: &Geometry, sums: &[&[Buffer]]) -> Buffer {
        let tap = geometry.channels[0] * geometry.channels[1];
        let mut taps = Buffer::zeros(geometry.kernel * geometry.kernel * tap);
        for_each(taps.chunks_exact_mut(tap).enumerate().collect(), |(t, sum)| {
            for of_parts in sums {
                for (part, of_part) in geometry.parts.iter().zip(*of_parts) {
                    if let Some(place) = geometry.taps(part).position(|of_part| of_part == t) {
                        add(&of_part[place * tap..(place + 1) * tap], sum);
                    }
                }
            }
        });
        taps
    }
}

/// Rows of some positions to their places.
fn spread_rows(geometry: &Geometry, part: &PositionsAlike, rows: &[f32], u: &mut [f32]) {
    let outputs = geometry.channels[1];
    let mut rows = rows.chunks_exact(outputs);
    for image in u.chunks_exact_mut(geometry.output_len()) {
        for (&position, row) in part.positions.iter().zip(&mut rows) {
            image[position * outputs..(position + 1) * outputs].copy_from_slice(row);
        }
    }
}

/// Rows of some positions from their places.
fn collect_rows(geometry: &Geometry, part: &PositionsAlike, u: &[f32]) -> Buffer {
    let outputs = geometry.channels[1];
    let mut rows = Buffer::of(u.len() / geometry.positions() * part.positions.len());
    let mut into = rows.chunks_exact_mut(outputs);
    for image in u.chunks_exact(geometry.output_len()) {
        for (&position, into) in part.positions.iter().zip(&mut into) {
            into.copy_from_slice(&image[position * outputs..(position + 1) * outputs]);
        }
    }
    rows
}
