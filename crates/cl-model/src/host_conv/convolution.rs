//! A convolution of images whose channels lie last, and its derivatives, a block of images at a time.

use super::buffer::Buffer;
use super::by_patches::ByPatches;
use super::by_tiles::ByTiles;
use super::geometry::Geometry;
use crate::closed_form::product::for_each;

/// A convolution with a kernel of 3×3 and a pixel of padding or of 1×1 without.
pub(super) struct Convolution {
    geometry: Geometry,
    way: Box<dyn Way>,
}

/// A way to compute it.
pub(super) trait Way: Send + Sync {
    /// Numbers that an image takes while it is convolved.
    fn numbers(&self, geometry: &Geometry) -> usize;

    /// The convolution of a block of images, `u` rows of positions.
    fn convolve(&self, geometry: &Geometry, images: &[f32], u: &mut [f32]);

    /// Adds what a block of images has as the gradient of the kernel to `sums`, which are empty before the first block, from that of the
    /// convolution; and adds the gradient of the images to `into`.
    fn backward(
        &self,
        geometry: &Geometry,
        images: &[f32],
        gradient: &[f32],
        sums: &mut Vec<Buffer>,
        into: Option<&mut [f32]>,
    );

    /// The gradient of the kernel `[k · k, C_in, C_out]`, from the sums of all blocks.
    fn taps_gradient(&self, geometry: &Geometry, sums: &[&[Buffer]]) -> Buffer;
}

/// Numbers of a block of images, 1 MiB of them: few enough for a cache, enough for long products.
const BLOCK_NUMBERS: usize = 1 << 18;

/// Images of a block at most.
const BLOCK_IMAGES: usize = 64;

impl Convolution {
    /// Of images of size `input` with a kernel `[C_out, C_in, k, k]`.
    pub fn new(kernel: &[f32], geometry: Geometry) -> Self {
        let taps = by_tap(kernel, &geometry);
        let way: Box<dyn Way> = match ByTiles::suits(&geometry) {
            true => Box::new(ByTiles::new(&taps)),
            false => Box::new(ByPatches::new(&taps, &geometry)),
        };
        Self { geometry, way }
    }

    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Images that are convolved together.
    pub fn most_together(&self) -> usize {
        (BLOCK_NUMBERS / self.way.numbers(&self.geometry).max(1)).clamp(1, BLOCK_IMAGES)
    }

    /// See [`Way::convolve`].
    pub fn convolve(&self, images: &[f32], u: &mut [f32]) {
        self.way.convolve(&self.geometry, images, u);
    }

    /// See [`Way::backward`].
    pub fn backward(&self, images: &[f32], gradient: &[f32], sums: &mut Vec<Buffer>, into: Option<&mut [f32]>) {
        self.way.backward(&self.geometry, images, gradient, sums, into);
    }

    /// `[C_out, C_in, k, k]`, from the sums of all blocks.
    pub fn kernel_gradient(&self, sums: &[&[Buffer]]) -> Vec<f32> {
        by_channel(&self.way.taps_gradient(&self.geometry, sums), &self.geometry)
    }
}

/// A kernel `[C_out, C_in, k, k]` tap by tap, `[k · k, C_in, C_out]`.
fn by_tap(kernel: &[f32], geometry: &Geometry) -> Buffer {
    let [inputs, outputs] = geometry.channels;
    let mut out = Buffer::of(kernel.len());
    for (at, taps) in kernel.chunks_exact(kernel.len() / (inputs * outputs)).enumerate() {
        let (output, input) = (at / inputs, at % inputs);
        for (tap, value) in taps.iter().enumerate() {
            out[(tap * inputs + input) * outputs + output] = *value;
        }
    }
    out
}

/// `[k · k, C_in, C_out]` to `[C_out, C_in, k, k]`.
fn by_channel(taps: &[f32], geometry: &Geometry) -> Vec<f32> {
    let [inputs, outputs] = geometry.channels;
    let mut out = vec![0.0; taps.len()];
    let count = taps.len() / (inputs * outputs);
    for_each(out.chunks_exact_mut(inputs * count).enumerate().collect(), |(output, of_output)| {
        for (input, kernel) in of_output.chunks_exact_mut(count).enumerate() {
            for (tap, value) in kernel.iter_mut().enumerate() {
                *value = taps[(tap * inputs + input) * outputs + output];
            }
        }
    });
    out
}
