//! Mean and standard deviation of each colour.

use burn::tensor::{Tensor, TensorData};

/// Mean and standard deviation of each channel over a set of images, in units of the pixel values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChannelStatistics {
    /// Means of red, green and blue.
    pub mean: [f32; 3],
    /// Standard deviations of red, green and blue, above 0.
    pub std: [f32; 3],
}

impl ChannelStatistics {
    /// `(x − mean) / std`, channel by channel.
    ///
    /// # Shapes
    /// `[n, 3, h, w]` to `[n, 3, h, w]`.
    pub fn normalise(&self, images: Tensor<4>) -> Tensor<4> {
        let [mean, std] = self.per_channel(&images);
        (images - mean) / std
    }

    /// `x · std + mean`: what [`normalise`](Self::normalise) was given.
    ///
    /// # Shapes
    /// `[n, 3, h, w]` to `[n, 3, h, w]`.
    pub fn denormalise(&self, images: Tensor<4>) -> Tensor<4> {
        let [mean, std] = self.per_channel(&images);
        images * std + mean
    }

    fn per_channel(&self, images: &Tensor<4>) -> [Tensor<4>; 2] {
        let dims = images.dims();
        assert_eq!(dims[1], 3, "images of shape {dims:?}, but statistics need [n, 3, h, w]");
        let device = images.device();
        [self.mean, self.std]
            .map(|values| Tensor::<4>::from_data(TensorData::new(values.to_vec(), [1, 3, 1, 1]), &device))
    }
}
