//! A convolution of images whose channels lie last, and its derivatives, a block of images at a time.

use super::buffer::Buffer;
use super::by_patches::ByPatches;
use super::by_tiles::ByTiles;
use super::geometry::Geometry;
use super::way::Way;
use crate::closed_form::product::for_each;

/// A convolution with a kernel of 3×3 and a pixel of padding or of 1×1 without.
pub(super) struct Convolution {
    geometry: Geometry,
    way: Box<dyn Way>,
}

/// Numbers of a block of images, 1 MiB of them: few enough for a cache, enough for long products.
const BLOCK_NUMBERS: usize = 1 << 18;

/// Images of a block at most.
const BLOCK_IMAGES: usize = 64;

/// Sums of kernel gradients that are kept apart, at most, so that as many threads add to them.
const MOST_SUMS: usize = 4;

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

    /// Images that are convolved together: few enough for a cache, and not fewer than make it worth while to read the kernel.
    pub fn most_together(&self) -> usize {
        let numbers = self.way.numbers(&self.geometry).max(1);
        (BLOCK_NUMBERS.max(self.way.kernel_numbers()) / numbers).clamp(1, BLOCK_IMAGES)
    }

    /// Of so many images, how many share a sum of kernel gradients: all of them where sums are larger than what they are made of.
    pub fn share_a_sum(&self, count: usize) -> usize {
        let sums = count * self.way.numbers(&self.geometry) / self.way.kernel_numbers().max(1);
        count.div_ceil(sums.clamp(1, MOST_SUMS))
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

/// Channels of which kernels are laid out together: what they fill of a line of the cache is read or written at once.
const TOGETHER: usize = 16;

/// A kernel `[C_out, C_in, k, k]` tap by tap, `[k · k, C_in, C_out]`.
fn by_tap(kernel: &[f32], geometry: &Geometry) -> Buffer {
    let [inputs, outputs] = geometry.channels;
    let count = geometry.kernel * geometry.kernel;
    let mut out = Buffer::of(kernel.len());
    // Of each tap, the rows of some input channels.
    let mut blocks: Vec<Vec<&mut [f32]>> = (0..inputs.div_ceil(TOGETHER)).map(|_| Vec::new()).collect();
    for of_tap in out.chunks_exact_mut(inputs * outputs) {
        of_tap.chunks_mut(TOGETHER * outputs).zip(&mut blocks).for_each(|(rows, block)| block.push(rows));
    }
    for_each(blocks.into_iter().enumerate().collect(), |(block, mut taps)| {
        let first = block * TOGETHER;
        for input in first..inputs.min(first + TOGETHER) {
            for output in 0..outputs {
                let at = (output * inputs + input) * count;
                for (tap, value) in taps.iter_mut().zip(&kernel[at..at + count]) {
                    tap[(input - first) * outputs + output] = *value;
                }
            }
        }
    });
    out
}

/// `[k · k, C_in, C_out]` to `[C_out, C_in, k, k]`.
fn by_channel(taps: &[f32], geometry: &Geometry) -> Vec<f32> {
    let [inputs, outputs] = geometry.channels;
    let count = geometry.kernel * geometry.kernel;
    let mut out = vec![0.0; taps.len()];
    for_each(out.chunks_mut(TOGETHER * inputs * count).enumerate().collect(), |(block, of_outputs)| {
        let first = block * TOGETHER;
        for input in 0..inputs {
            for (tap, of_tap) in taps.chunks_exact(inputs * outputs).enumerate() {
                let row = &of_tap[input * outputs + first..];
                for (kernel, value) in of_outputs.chunks_exact_mut(inputs * count).zip(row) {
                    kernel[input * count + tap] = *value;
                }
            }
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole numbers, few enough bits of them that all sums are exact.
    fn numbers(count: usize, unit: f32) -> Vec<f32> {
        (0..count).map(|i| unit * ((i * 7919 % 13) as f32 - 6.0)).collect()
    }

    /// Output, gradient of the kernel and gradient of the images, from images in two blocks.
    fn computed(convolution: &Convolution, images: &[f32], gradient: &[f32]) -> [Vec<f32>; 3] {
        let [from, to] = [convolution.geometry().input_len(), convolution.geometry().output_len()];
        let mut u = vec![0.0; gradient.len()];
        let mut into = vec![1.0; images.len()];
        let mut sums = Vec::new();
        let blocks = images.chunks(2 * from).zip(gradient.chunks(2 * to));
        for ((images, gradient), (u, into)) in blocks.zip(u.chunks_mut(2 * to).zip(into.chunks_mut(2 * from))) {
            convolution.convolve(images, u);
            convolution.backward(images, gradient, &mut sums, Some(into));
        }
        [u, convolution.kernel_gradient(&[&sums]), into]
    }

    /// `u` as it is defined, and the adjoints of that definition.
    fn defined(kernel: &[f32], geometry: &Geometry, images: &[f32], gradient: &[f32]) -> [Vec<f32>; 3] {
        let ([inputs, outputs], k) = (geometry.channels, geometry.kernel);
        let [mut u, mut of_kernel, mut of_images] =
            [vec![0.0; gradient.len()], vec![0.0; kernel.len()], vec![1.0; images.len()]];
        let count = images.len() / geometry.input_len();
        let places = (0..count).flat_map(|n| (0..geometry.positions()).map(move |p| (n, p)));
        for (n, position) in places {
            let (y, x) = (position / geometry.output[1], position % geometry.output[1]);
            for (row, column) in (0..k).flat_map(|row| (0..k).map(move |column| (row, column))) {
                let [py, px] = [(y, row), (x, column)].map(|(at, tap)| geometry.corner(at) + tap as isize);
                let is_inside =
                    (0..geometry.input[0] as isize).contains(&py) && (0..geometry.input[1] as isize).contains(&px);
                if !is_inside {
                    continue;
                }
                let pixel = (n * geometry.input[0] + py as usize) * geometry.input[1] + px as usize;
                for (i, o) in (0..inputs).flat_map(|i| (0..outputs).map(move |o| (i, o))) {
                    let weight = (o * inputs + i) * k * k + row * k + column;
                    let out = (n * geometry.positions() + position) * outputs + o;
                    u[out] += kernel[weight] * images[pixel * inputs + i];
                    of_kernel[weight] += gradient[out] * images[pixel * inputs + i];
                    of_images[pixel * inputs + i] += gradient[out] * kernel[weight];
                }
            }
        }
        [u, of_kernel, of_images]
    }

    /// Bit by bit: multiples of 4 have exact quarters.
    #[test]
    fn every_way_gives_what_the_definition_says() {
        for (channels, input, stride, kernel) in [
            ([16, 18], [6, 4], 1, 3),
            ([17, 16], [5, 3], 1, 3),
            ([3, 20], [4, 4], 1, 3),
            ([16, 16], [1, 4], 1, 3),
            ([4, 5], [7, 6], 2, 3),
            ([16, 7], [5, 4], 2, 1),
        ] {
            let geometry = Geometry::new(channels, input, stride, kernel);
            let by_tiles = ByTiles::suits(&geometry);
            assert_eq!(by_tiles, stride == 1 && channels[0] >= 16 && input[0] > 1, "{geometry:?}");
            let weights = numbers(channels[0] * channels[1] * kernel * kernel, 4.0);
            let images = numbers(3 * geometry.input_len(), 1.0);
            let gradient = numbers(3 * geometry.output_len(), 1.0);
            let expected = defined(&weights, &geometry, &images, &gradient);
            let found = computed(&Convolution::new(&weights, geometry), &images, &gradient);
            assert!(found == expected, "{channels:?} channels, {input:?} pixels, stride {stride}, kernel {kernel}");
        }
    }

    #[test]
    fn kernels_are_laid_out_by_tap_and_back() {
        let geometry = Geometry::new([21, 19], [4, 4], 1, 3);
        let kernel: Vec<f32> = (0..21 * 19 * 9).map(|i| i as f32).collect();
        let taps = by_tap(&kernel, &geometry);
        assert_eq!(taps[(4 * 21 + 20) * 19 + 18], kernel[(18 * 21 + 20) * 9 + 4]);
        assert_eq!(by_channel(&taps, &geometry), kernel);
    }
}
