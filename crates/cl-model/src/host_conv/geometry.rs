//! Where a kernel lies on the pixels of its input.

use std::ops::Range;

/// A share of taps inside the input below which positions at the edge get products of their own.
const MOSTLY_INSIDE: f64 = 0.9;

/// A convolution with a square kernel of odd length, around which as many zeros lie as keep the size at stride 1.
#[derive(Debug, Clone)]
pub(super) struct Geometry {
    /// Channels of the input and of the output.
    pub channels: [usize; 2],
    /// Rows and columns of the input.
    pub input: [usize; 2],
    /// Rows and columns of the output.
    pub output: [usize; 2],
    /// Distance between two positions of the kernel.
    pub stride: usize,
    /// Rows and columns of the kernel.
    pub kernel: usize,
    /// Positions by what of the kernel lies inside. Together they are all positions.
    pub parts: Vec<PositionsAlike>,
}

/// Positions that a part of the kernel belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PositionsAlike {
    /// Rows of the kernel that are multiplied.
    pub rows: Range<usize>,
    /// Columns of the kernel that are multiplied.
    pub columns: Range<usize>,
    /// Positions in the output, row by row; `y · width + x`.
    pub positions: Vec<usize>,
}

impl Geometry {
    pub fn new(channels: [usize; 2], input: [usize; 2], stride: usize, kernel: usize) -> Self {
        let output = input.map(|length| length.div_ceil(stride));
        let mut geometry = Self { channels, input, output, stride, kernel, parts: Vec::new() };
        let inside = |axis: usize, at: usize| inside(input[axis], kernel, at * stride);
        let mut taps = 0;
        let mut parts: Vec<PositionsAlike> = Vec::new();
        for y in 0..output[0] {
            for x in 0..output[1] {
                let (rows, columns) = (inside(0, y), inside(1, x));
                taps += rows.len() * columns.len();
                let position = y * output[1] + x;
                match parts.iter_mut().find(|p| p.rows == rows && p.columns == columns) {
                    Some(part) => part.positions.push(position),
                    None => parts.push(PositionsAlike { rows, columns, positions: vec![position] }),
                }
            }
        }
        let all = output[0] * output[1];
        let whole = 0..kernel;
        geometry.parts = if (taps as f64) < MOSTLY_INSIDE * (all * kernel * kernel) as f64 {
            parts
        } else {
            vec![PositionsAlike { rows: whole.clone(), columns: whole, positions: (0..all).collect() }]
        };
        geometry
    }

    /// Numbers of an image before the convolution.
    pub fn input_len(&self) -> usize {
        self.input[0] * self.input[1] * self.channels[0]
    }

    /// Numbers of an image behind the convolution.
    pub fn output_len(&self) -> usize {
        self.positions() * self.channels[1]
    }

    /// Positions of the kernel.
    pub fn positions(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Row or column of the input under tap 0 of the kernel at `at`; may lie outside.
    pub fn corner(&self, at: usize) -> isize {
        (at * self.stride) as isize - (self.kernel / 2) as isize
    }

    /// Whether there is one part, whose positions are in order.
    pub fn is_whole(&self) -> bool {
        self.parts.len() == 1
    }

    /// Taps of a part of the kernel, in the order in which they are multiplied.
    pub fn taps(&self, part: &PositionsAlike) -> impl Iterator<Item = usize> + use<> {
        let (columns, kernel) = (part.columns.clone(), self.kernel);
        part.rows.clone().flat_map(move |row| columns.clone().map(move |column| row * kernel + column))
    }

    /// Numbers under the multiplied part of the kernel.
    pub fn patch_len(&self, part: &PositionsAlike) -> usize {
        part.rows.len() * part.columns.len() * self.channels[0]
    }
}

/// Taps of a kernel around a place that lie inside an input of this length.
fn inside(length: usize, kernel: usize, place: usize) -> Range<usize> {
    let padding = kernel / 2;
    padding.saturating_sub(place)..(length + padding - place).min(kernel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_grouped_by_what_lies_inside() {
        let four = Geometry::new([2, 3], [4, 4], 1, 3);
        assert_eq!(four.output, [4, 4]);
        assert_eq!(four.parts.len(), 9);
        let middle = four.parts.iter().find(|p| p.rows == (0..3) && p.columns == (0..3)).unwrap();
        assert_eq!(middle.positions, [5, 6, 9, 10]);
        let corner = four.parts.iter().find(|p| p.rows == (1..3) && p.columns == (0..2)).unwrap();
        assert_eq!((corner.positions.as_slice(), four.patch_len(corner)), (&[3][..], 8));
        assert_eq!(four.parts.iter().map(|p| p.positions.len()).sum::<usize>(), 16);
    }

    #[test]
    fn large_inputs_are_taken_as_a_whole() {
        let large = Geometry::new([3, 8], [32, 32], 2, 3);
        assert!(large.is_whole() && large.positions() == 256 && large.patch_len(&large.parts[0]) == 27);
    }

    #[test]
    fn inputs_of_a_pixel_and_odd_sizes_have_positions() {
        let pixel = Geometry::new([1, 1], [1, 1], 2, 3);
        assert_eq!(pixel.parts, [PositionsAlike { rows: 1..2, columns: 1..2, positions: vec![0] }]);
        let odd = Geometry::new([1, 1], [5, 3], 2, 3);
        assert_eq!(odd.output, [3, 2]);
        assert_eq!(odd.parts.iter().map(|p| p.positions.len()).sum::<usize>(), 6);
    }

    #[test]
    fn kernels_of_one_tap_never_reach_over_the_edge() {
        let single = Geometry::new([4, 2], [5, 3], 2, 1);
        let whole = PositionsAlike { rows: 0..1, columns: 0..1, positions: (0..6).collect() };
        assert_eq!((single.output, single.corner(2), single.parts.as_slice()), ([3, 2], 4, &[whole][..]));
    }
}
