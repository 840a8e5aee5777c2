//! What the ways to compute a convolution have in common.

use super::buffer::Buffer;
use super::geometry::Geometry;

/// A way to compute a convolution, a block of images at a time.
pub(super) trait Way: Send + Sync {
    /// Numbers that an image takes while it is convolved.
    fn numbers(&self, geometry: &Geometry) -> usize;

    /// Numbers of the kernel as it is multiplied.
    fn kernel_numbers(&self) -> usize;

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
