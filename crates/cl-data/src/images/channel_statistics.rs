//! Mean and standard deviation of each colour.

use burn::tensor::{Tensor, TensorData};

/// Mean and standard deviation of each channel over a set of images, in units of the pixel values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChannelStatistics {
    /// Means of red, green and blue.
    pub mean: [f32; 3],
    /// Standard deviations of red, green and blue; 0 where a channel is the same in all pixels.
    pub std: [f32; 3],
}

impl ChannelStatistics {
    /// `(x − mean) / std`, channel by channel; 0 in a channel whose standard deviation is 0.
    ///
    /// # Shapes
    /// `[n, 3, h, w]` to `[n, 3, h, w]`.
    pub fn normalise(&self, images: Tensor<4>) -> Tensor<4> {
        // A finite number over infinity is 0.
        let std = self.std.map(|std| if std > 0.0 { std } else { f32::INFINITY });
        let [mean, std] = per_channel([self.mean, std], &images);
        (images - mean) / std
    }

    /// `x · std + mean`: what [`normalise`](Self::normalise) was given, the mean in a channel whose standard deviation is 0.
    ///
    /// # Shapes
    /// `[n, 3, h, w]` to `[n, 3, h, w]`.
    pub fn denormalise(&self, images: Tensor<4>) -> Tensor<4> {
        let [mean, std] = per_channel([self.mean, self.std], &images);
        images * std + mean
    }
}

fn per_channel(values: [[f32; 3]; 2], images: &Tensor<4>) -> [Tensor<4>; 2] {
    let dims = images.dims();
    assert_eq!(dims[1], 3, "images of shape {dims:?}, but statistics need [n, 3, h, w]");
    let device = images.device();
    values.map(|values| Tensor::<4>::from_data(TensorData::new(values.to_vec(), [1, 3, 1, 1]), &device))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn a_channel_that_does_not_vary_becomes_zero() {
        let statistics = ChannelStatistics { mean: [0.5, 0.25, 0.0], std: [0.25, 0.0, 0.0] };
        let images = Tensor::<4>::from_data([[[[1.0, 0.5]], [[0.25, 0.75]], [[0.0, 0.0]]]], &Device::flex());
        let values = |t: Tensor<4>| t.into_data().try_to_vec::<f32>().unwrap();
        let normalised = statistics.normalise(images);
        // Even where an augmentation has moved it.
        assert_eq!(values(normalised.clone()), [2.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(values(statistics.denormalise(normalised)), [1.0, 0.5, 0.25, 0.25, 0.0, 0.0]);
    }
}
