//! Separable linear maps of images: one matrix for the rows, one for the columns, per image.

use burn::tensor::{Device, Tensor, TensorData};

/// One matrix per image, `[n, outputs, inputs]`, on the host.
pub(super) struct Matrices {
    outputs: usize,
    inputs: usize,
    values: Vec<f32>,
}

impl Matrices {
    /// Zeros for `count` images.
    pub(super) fn zeros(count: usize, outputs: usize, inputs: usize) -> Self {
        Self { outputs, inputs, values: vec![0.0; count * outputs * inputs] }
    }

    /// The matrix of each image in turn, row by row.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.values.chunks_exact_mut(self.outputs * self.inputs)
    }

    fn into_tensor(self, device: &Device) -> Tensor<3> {
        let count = self.values.len() / (self.outputs * self.inputs);
        Tensor::from_data(TensorData::new(self.values, [count, self.outputs, self.inputs]), device)
    }
}

/// `y = R x Cᵀ` for each channel of each image.
///
/// # Shapes
/// Images `[n, c, h, w]`, rows `R` `[n, h', h]`, columns `C` `[n, w', w]`; the result is `[n, c, h', w']`.
pub(super) fn resample(images: Tensor<4>, rows: Matrices, columns: Matrices) -> Tensor<4> {
    let [count, channels, height, width] = images.dims();
    assert_eq!(
        [height, width],
        [rows.inputs, columns.inputs],
        "images of shape {:?}, matrices for {} rows and {} columns",
        [count, channels, height, width],
        rows.inputs,
        columns.inputs
    );
    let (new_height, new_width) = (rows.outputs, columns.outputs);
    let device = images.device();
    let columns = columns.into_tensor(&device).swap_dims(1, 2);
    let rows = rows.into_tensor(&device).reshape([count, 1, new_height, height]);
    let wide = images.reshape([count, channels * height, width]).matmul(columns);
    rows.matmul(wide.reshape([count, channels, height, new_width]))
}

/// Weights of linear interpolation from the pixels `start..start + length` of an axis to `outputs` pixels.
///
/// Output `i` looks at `c = s (i + ½)` with `s = length / outputs`, and pixel `j` has a weight proportional to
/// `max(0, 1 − |j + ½ − c| / max(1, s))`: a triangle that widens where the image shrinks, so that every pixel
/// contributes. This is torchvision's `interpolation=BILINEAR, antialias=True`; where the image grows it is plain
/// bilinear interpolation with `align_corners=False`. With `mirrored`, outputs are in reverse order.
pub(super) fn write_interpolation(matrix: &mut [f32], inputs: usize, start: usize, length: usize, mirrored: bool) {
    let outputs = matrix.len() / inputs;
    let scale = length as f64 / outputs as f64;
    let support = scale.max(1.0);
    for (i, row) in matrix.chunks_exact_mut(inputs).enumerate() {
        let position = if mirrored { outputs - 1 - i } else { i };
        let centre = scale * (position as f64 + 0.5);
        let first = (centre - support + 0.5).max(0.0) as usize;
        let last = ((centre + support + 0.5) as usize).min(length);
        let weight = |j: usize| (1.0 - (j as f64 + 0.5 - centre).abs() / support).max(0.0);
        let total: f64 = (first..last).map(weight).sum();
        for j in first..last {
            row[start + j] = (weight(j) / total) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interpolation(inputs: usize, outputs: usize, start: usize, length: usize, mirrored: bool) -> Vec<f32> {
        let mut matrix = vec![0.0; inputs * outputs];
        write_interpolation(&mut matrix, inputs, start, length, mirrored);
        matrix
    }

    #[test]
    fn the_whole_axis_at_its_own_size_is_the_identity() {
        for n in [1, 2, 5, 32] {
            let matrix = interpolation(n, n, 0, n, false);
            assert!(matrix.iter().enumerate().all(|(k, v)| *v == if k / n == k % n { 1.0 } else { 0.0 }), "{n}");
        }
    }

    /// Two pixels to four: centres ¼, ¾, 1¼, 1¾ between pixel centres ½ and 1½.
    #[test]
    fn doubling_weighs_by_three_quarters_and_one() {
        assert_eq!(interpolation(2, 4, 0, 2, false), [1., 0., 0.75, 0.25, 0.25, 0.75, 0., 1.]);
        assert_eq!(interpolation(2, 4, 0, 2, true), [0., 1., 0.25, 0.75, 0.75, 0.25, 1., 0.]);
    }

    /// Four pixels to two: the triangle around 1 has half-width 2, so weights ¾ ¾ ¼ over 1¾.
    #[test]
    fn halving_looks_at_every_pixel() {
        let (a, b) = (3.0 / 7.0, 1.0 / 7.0);
        let expected = [a, a, b, 0.0, 0.0, b, a, a];
        for (found, expected) in interpolation(4, 2, 0, 4, false).iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-7, "{found} instead of {expected}");
        }
    }

    #[test]
    fn pixels_outside_the_crop_have_no_weight() {
        let matrix = interpolation(8, 8, 3, 2, false);
        for row in matrix.chunks_exact(8) {
            assert!((row[3] + row[4] - 1.0).abs() < 1e-7);
            assert!(row.iter().enumerate().all(|(j, v)| (3..5).contains(&j) || *v == 0.0));
        }
    }
}
