//! From pixels to rows of a matrix, one for each position of a kernel, and back.

use super::geometry::{Geometry, PositionsAlike};

/// Writes what lies under the multiplied part of the kernel at each of its positions: rows of `patch_len` numbers, image by image. `images`
/// are channels last.
pub(super) fn gather(geometry: &Geometry, part: &PositionsAlike, images: &[f32], patches: &mut [f32]) {
    let (row_len, tap) = (part.columns.len() * geometry.channels[0], geometry.channels[0]);
    let mut segments = patches.chunks_exact_mut(row_len);
    for image in images.chunks_exact(geometry.input_len()) {
        each_segment(geometry, part, |place| {
            let into = segments.next().expect("as many rows as positions");
            match place {
                Place::Inside(at) => into.copy_from_slice(&image[at..at + row_len]),
                Place::Edge { from, to, at } => {
                    into.fill(0.0);
                    let length = (to - from) * tap;
                    into[from * tap..to * tap].copy_from_slice(&image[at..at + length]);
                }
                Place::Outside => into.fill(0.0),
            }
        });
    }
}

/// Adds rows like those of [`gather`] to the pixels that they came from.
pub(super) fn scatter(geometry: &Geometry, part: &PositionsAlike, patches: &[f32], images: &mut [f32]) {
    let (row_len, tap) = (part.columns.len() * geometry.channels[0], geometry.channels[0]);
    let mut segments = patches.chunks_exact(row_len);
    for image in images.chunks_exact_mut(geometry.input_len()) {
        each_segment(geometry, part, |place| {
            let from_row = segments.next().expect("as many rows as positions");
            match place {
                Place::Inside(at) => add(&mut image[at..at + row_len], from_row),
                Place::Edge { from, to, at } => {
                    add(&mut image[at..at + (to - from) * tap], &from_row[from * tap..to * tap]);
                }
                Place::Outside => {}
            }
        });
    }
}

/// Where a row of the kernel lies in an image.
enum Place {
    /// All of its multiplied columns, from this number on.
    Inside(usize),
    /// Only these of them, from this number on.
    Edge { from: usize, to: usize, at: usize },
    /// Nothing.
    Outside,
}

/// Calls `see` with each row of the kernel at each position, in order.
fn each_segment(geometry: &Geometry, part: &PositionsAlike, mut see: impl FnMut(Place)) {
    let [height, width] = geometry.input;
    let channels = geometry.channels[0];
    for &position in &part.positions {
        let (y, x) = (position / geometry.output[1], position % geometry.output[1]);
        let left = geometry.corner(x) + part.columns.start as isize;
        let from = (-left).max(0) as usize;
        let to = part.columns.len().min((width as isize - left).max(0) as usize);
        for row in part.rows.clone() {
            let row = geometry.corner(y) + row as isize;
            if row < 0 || row >= height as isize || from >= to {
                see(Place::Outside);
                continue;
            }
            let at = (row as usize * width + (left + from as isize) as usize) * channels;
            let is_inside = from == 0 && to == part.columns.len();
            see(if is_inside { Place::Inside(at) } else { Place::Edge { from, to, at } });
        }
    }
}

fn add(into: &mut [f32], from: &[f32]) {
    into.iter_mut().zip(from).for_each(|(a, b)| *a += b);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_hold_what_lies_under_the_kernel() {
        // Two channels, 1 × 2 pixels, kernel in the middle of each.
        let geometry = Geometry::new([2, 1], [1, 2], 1, 3);
        let image = [1.0, 2.0, 3.0, 4.0];
        let mut found = Vec::new();
        for part in &geometry.parts {
            let mut patches = vec![9.0; part.positions.len() * geometry.patch_len(part)];
            gather(&geometry, part, &image, &mut patches);
            found.push((part.positions.clone(), patches));
        }
        assert_eq!(found, [(vec![0], vec![1.0, 2.0, 3.0, 4.0]), (vec![1], vec![1.0, 2.0, 3.0, 4.0])]);
    }

    /// `⟨gather(x), p⟩ = ⟨x, scatter(p)⟩` for every geometry.
    #[test]
    fn scatter_is_the_adjoint_of_gather() {
        for (input, stride, kernel) in
            [([4, 4], 1, 3), ([5, 3], 2, 3), ([1, 1], 1, 3), ([16, 16], 2, 3), ([20, 20], 1, 3), ([5, 4], 2, 1)]
        {
            let geometry = Geometry::new([3, 2], input, stride, kernel);
            let numbers = |n: usize, k: usize| (0..n).map(|i| ((i * 7919 + k) % 13) as f32 - 6.0).collect::<Vec<f32>>();
            let images = numbers(2 * geometry.input_len(), 1);
            for part in &geometry.parts {
                let rows = 2 * part.positions.len() * geometry.patch_len(part);
                let (mut patches, other) = (vec![0.0; rows], numbers(rows, 5));
                gather(&geometry, part, &images, &mut patches);
                let mut back = vec![0.0; images.len()];
                scatter(&geometry, part, &other, &mut back);
                let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
                assert_eq!(dot(&patches, &other), dot(&images, &back), "{geometry:?}");
            }
        }
    }
}
