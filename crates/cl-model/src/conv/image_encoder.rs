//! One of the convolutional encoders, chosen at run time.

use super::layers::{StandardNormals, mean_pool};
use super::{ResNet18, ResNet18Config, SmallConvNet, SmallConvNetConfig, WideResNet, WideResNetConfig};
use crate::config_error::ConfigError;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

/// Which encoder, and what it is like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ImageEncoderConfig {
    /// A few 3×3 convolutions.
    SmallConvNet(SmallConvNetConfig),
    /// ResNet-18 with a stem for small images.
    #[serde(rename = "resnet18")]
    ResNet18(ResNet18Config),
    /// Wide-ResNet with pre-activation blocks.
    #[serde(rename = "wide_resnet")]
    WideResNet(WideResNetConfig),
}

impl Default for ImageEncoderConfig {
    fn default() -> Self {
        Self::SmallConvNet(SmallConvNetConfig::default())
    }
}

impl ImageEncoderConfig {
    /// Checks every range.
    ///
    /// # Errors
    /// [`ConfigError`] naming key, value and what would be right.
    pub fn validated(self) -> Result<Self, ConfigError> {
        Ok(match self {
            Self::SmallConvNet(config) => Self::SmallConvNet(config.validated()?),
            Self::ResNet18(config) => Self::ResNet18(config.validated()?),
            Self::WideResNet(config) => Self::WideResNet(config.validated()?),
        })
    }

    /// An encoder with initial weights from `normals`, taken in the order of the forward pass.
    ///
    /// # Panics
    /// When the configuration has not been validated.
    pub fn init(&self, normals: &mut StandardNormals<'_>, device: &Device) -> ImageEncoder {
        match self {
            Self::SmallConvNet(config) => ImageEncoder::SmallConvNet(config.init(normals, device)),
            Self::ResNet18(config) => ImageEncoder::ResNet18(config.init(normals, device)),
            Self::WideResNet(config) => ImageEncoder::WideResNet(config.init(normals, device)),
        }
    }
}

/// A convolutional encoder `f` of RGB images.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a run has one, and its weights are on the heap")]
pub enum ImageEncoder {
    /// A few 3×3 convolutions.
    SmallConvNet(SmallConvNet),
    /// ResNet-18 with a stem for small images.
    ResNet18(ResNet18),
    /// Wide-ResNet with pre-activation blocks.
    WideResNet(WideResNet),
}

impl ImageEncoder {
    /// `f(x)`, the mean over positions of the last activation.
    ///
    /// # Shapes
    /// `[B, 3, H, W]` to `[B, feature_dim]`, for any H and W.
    ///
    /// # Panics
    /// When the images do not have three channels.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        mean_pool(self.activations(images, &mut |_, _| {}))
    }

    /// The activations of every layer with its name, from the first to the last.
    ///
    /// Small network: each layer's output. ResNet-18: the output of the stem and of each block.
    /// Wide-ResNet: the same after the normalisation and the activation that follow, as its blocks' outputs
    /// are sums that nothing has rectified.
    ///
    /// # Shapes
    /// `[B, 3, H, W]` to `[B, C, H', W']` each.
    ///
    /// # Panics
    /// When the images do not have three channels.
    pub fn forward_layers(&self, images: Tensor<4>) -> Vec<(String, Tensor<4>)> {
        let mut layers = Vec::new();
        self.activations(images, &mut |name, a| layers.push((name.into(), a.clone())));
        layers
    }

    fn activations(&self, images: Tensor<4>, visit: &mut dyn FnMut(&str, &Tensor<4>)) -> Tensor<4> {
        match self {
            Self::SmallConvNet(net) => net.activations(images, visit),
            Self::ResNet18(net) => net.activations(images, visit),
            Self::WideResNet(net) => net.activations(images, visit),
        }
    }

    /// Number of features.
    pub fn feature_dim(&self) -> usize {
        match self {
            Self::SmallConvNet(net) => net.feature_dim(),
            Self::ResNet18(net) => net.feature_dim(),
            Self::WideResNet(net) => net.feature_dim(),
        }
    }

    /// Multiply-adds of the convolutions in the forward pass of one image; backward costs twice as many.
    pub fn multiply_adds(&self, height: usize, width: usize) -> u64 {
        match self {
            Self::SmallConvNet(net) => net.multiply_adds([height, width]),
            Self::ResNet18(net) => net.multiply_adds([height, width]),
            Self::WideResNet(net) => net.multiply_adds([height, width]),
        }
    }

    /// Kernels of the first convolution, `[C, 3, 3, 3]`, outside the gradient.
    pub fn first_layer_filters(&self) -> Tensor<4> {
        let conv = match self {
            Self::SmallConvNet(net) => &net.layers[0].conv,
            Self::ResNet18(net) => &net.conv1,
            Self::WideResNet(net) => &net.conv1,
        };
        conv.weight.val().detach()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv::LastActivation;
    use burn::module::Module;

    /// A Weyl sequence, spread over [−√3, √3) with variance 1.
    fn source(n: usize) -> Vec<f32> {
        (0..n).map(|i| (12f64.sqrt() * ((i as f64 * 0.754_877_666).fract() - 0.5)) as f32).collect()
    }

    fn small_nets(last_activation: LastActivation) -> [ImageEncoderConfig; 3] {
        [
            ImageEncoderConfig::SmallConvNet(SmallConvNetConfig { last_activation, ..Default::default() }),
            ImageEncoderConfig::ResNet18(ResNet18Config { width: 4, last_activation }),
            ImageEncoderConfig::WideResNet(WideResNetConfig { depth: 16, widen_factor: 1, last_activation }),
        ]
    }

    fn images(n: usize, size: usize, device: &Device) -> Tensor<4> {
        let values = source(n * 3 * size * size);
        Tensor::<1>::from_data(values.as_slice(), device).reshape([n, 3, size, size])
    }

    #[test]
    fn features_are_means_of_the_last_layer_and_the_sizes_fall_by_the_strides() {
        let device = Device::flex();
        let expected: [(&[&str], usize, usize); 3] = [
            (&["conv1", "conv2", "conv3"], 128, 8),
            (
                &[
                    "conv1", "layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer3.0", "layer3.1", "layer4.0",
                    "layer4.1",
                ],
                32,
                8,
            ),
            (&["conv1", "block1.0", "block1.1", "block2.0", "block2.1", "block3.0", "block3.1"], 64, 4),
        ];
        for (config, (names, features, factor)) in small_nets(LastActivation::Relu).into_iter().zip(expected) {
            let encoder = config.validated().unwrap().init(&mut source, &device);
            let x = images(2, 16, &device);
            let layers = encoder.forward_layers(x.clone());
            assert_eq!(layers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names);
            let last = layers.last().unwrap().1.clone();
            assert_eq!(last.dims(), [2, features, 16 / factor, 16 / factor]);
            assert_eq!(encoder.feature_dim(), features);
            let mean = last.mean_dim(2).mean_dim(3).reshape([2, features]);
            let off = (encoder.forward(x) - mean).abs().max().into_scalar::<f32>();
            assert!(off < 1e-5, "{off}");
            assert_eq!(encoder.first_layer_filters().dims()[1..], [3, 3, 3]);
        }
    }

    #[test]
    fn rectified_layers_are_not_negative_and_the_symmetric_one_takes_both_signs() {
        let device = Device::flex().autodiff();
        let threshold = 0.5;
        for config in small_nets(LastActivation::SymmetricRelu { threshold }) {
            let encoder = config.init(&mut source, &device);
            let layers = encoder.forward_layers(images(4, 16, &device));
            let (last, others) = layers.split_last().unwrap();
            for (name, a) in others {
                let least = a.clone().min().into_scalar::<f32>();
                assert_eq!(least, 0.0, "{name}");
            }
            let sign = |t: Tensor<1>| t.into_scalar::<f32>();
            assert!(sign(last.1.clone().min()) < 0.0 && sign(last.1.clone().max()) > 0.0);
            let zeros = last.1.clone().equal_scalar(0.0).float().mean().into_scalar::<f64>();
            assert!(zeros > 0.1 && zeros < 0.9, "{zeros}");
        }
    }

    #[test]
    fn multiply_adds_are_those_of_the_published_networks() {
        let count =
            |config: ImageEncoderConfig| config.init(&mut |n| vec![0.0; n], &Device::flex()).multiply_adds(32, 32);
        let small = ImageEncoderConfig::default();
        assert_eq!(count(small), 16 * 16 * 27 * 32 + 8 * 8 * 9 * 32 * 64 + 4 * 4 * 9 * 64 * 128);
        // ResNet-18 on 32×32: stem 1.77 M, then four stages of 4 convolutions of 37.7 M, of which the first of
        // a halving stage costs half, and three 1×1 shortcuts of 2.1 M.
        let full = 32 * 32 * 9 * 64 * 64;
        let resnet = 32 * 32 * 27 * 64 + 4 * full + 3 * (full / 2 + 3 * full) + 3 * (16 * 16 * 64 * 128);
        assert_eq!(count(ImageEncoderConfig::ResNet18(ResNet18Config::default())), resnet);
        // Per group of n blocks at width 16k: the first convolution is from another width.
        let wide = WideResNetConfig { depth: 10, widen_factor: 2, ..Default::default() };
        let group = |size: u64, inputs: u64, outputs: u64| size * size * outputs * (9 * inputs + 9 * outputs + inputs);
        let expected = 32 * 32 * 27 * 16 + group(32, 16, 32) + group(16, 32, 64) + group(8, 64, 128);
        assert_eq!(count(ImageEncoderConfig::WideResNet(wide)), expected);
    }

    #[test]
    fn parameters_number_as_published() {
        let count =
            |config: ImageEncoderConfig| config.init(&mut |n| vec![0.0; n], &Device::flex()).num_params() as u64;
        // torchvision's ResNet-18 has 11,689,512: less the classifier, 513,000, and with 3×3 for 7×7 in the stem.
        // The count here takes in running means and variances, two for each of 5 · 960 channels.
        let resnet = ImageEncoderConfig::ResNet18(ResNet18Config::default());
        assert_eq!(count(resnet), 11_689_512 - 513_000 - 3 * 64 * (49 - 9) + 2 * 4800);
        // Wide-ResNet 40×1: 0.6 M in Zagoruyko & Komodakis 2016, to the unit 563,930 with a classifier of 650.
        // Norms: 12·16, then 16 + 11·32 and 32 + 11·64, and 64.
        let wide = WideResNetConfig { depth: 40, widen_factor: 1, ..Default::default() };
        assert_eq!(count(ImageEncoderConfig::WideResNet(wide)), 563_930 - 650 + 2 * (192 + 368 + 736 + 64));
    }

    #[test]
    fn the_numbers_of_the_source_decide_the_weights() {
        let device = Device::flex();
        let x = images(1, 16, &device);
        for config in small_nets(LastActivation::Relu) {
            let features = |scale: f32| {
                let mut source = |n: usize| source(n).into_iter().map(|v| scale * v).collect::<Vec<_>>();
                config.init(&mut source, &device).forward(x.clone()).into_data().try_to_vec::<f32>().unwrap()
            };
            assert_eq!(features(1.0), features(1.0));
            assert_ne!(features(1.0), features(0.5));
        }
    }

    #[test]
    fn on_an_autodiff_device_batch_statistics_normalise_and_on_another_the_running_ones() {
        let device = Device::flex().autodiff();
        for config in small_nets(LastActivation::Relu) {
            let encoder = config.init(&mut source, &device);
            let before = encoder.valid().forward(images(4, 16, &Device::flex()));
            let train = encoder.forward(images(4, 16, &device)).inner();
            let after = encoder.valid().forward(images(4, 16, &Device::flex()));
            let distance = |a: &Tensor<2>, b: &Tensor<2>| (a.clone() - b.clone()).abs().max().into_scalar::<f32>();
            assert!(distance(&before, &train) > 1e-3);
            assert!(distance(&before, &after) > 1e-4, "the running statistics have not moved");
        }
    }

    #[test]
    fn configurations_read_as_written() {
        let read = |json: &str| serde_json::from_str::<ImageEncoderConfig>(json);
        assert_eq!(read(r#"{"small_conv_net":{}}"#).unwrap(), ImageEncoderConfig::default());
        let wide = WideResNetConfig {
            depth: 16,
            widen_factor: 2,
            last_activation: LastActivation::SymmetricRelu { threshold: 0.5 },
        };
        let json =
            r#"{"wide_resnet":{"depth":16,"widen_factor":2,"last_activation":{"symmetric_relu":{"threshold":0.5}}}}"#;
        assert_eq!(read(json).unwrap(), ImageEncoderConfig::WideResNet(wide));
        assert_eq!(serde_json::to_string(&ImageEncoderConfig::WideResNet(wide)).unwrap(), json);
        assert!(read(r#"{"resnet18":{"with":64}}"#).unwrap_err().to_string().contains("unknown field `with`"));
    }

    #[test]
    fn wrong_values_are_refused_by_name() {
        let refused = |config: ImageEncoderConfig| config.validated().unwrap_err().to_string();
        let small = SmallConvNetConfig { strides: vec![2, 3], channels: vec![8, 8], ..Default::default() };
        assert_eq!(
            refused(ImageEncoderConfig::SmallConvNet(small)),
            "small_conv_net.strides = [2, 3] is out of range; it has to be 2 numbers, one per layer, each 1 or 2"
        );
        let empty = SmallConvNetConfig { channels: vec![], strides: vec![], ..Default::default() };
        assert!(refused(ImageEncoderConfig::SmallConvNet(empty)).starts_with("small_conv_net.channels = []"));
        for depth in [4, 9, 11, 33] {
            let wide = WideResNetConfig { depth, ..Default::default() };
            let start = format!("wide_resnet.depth = {depth} ");
            assert!(refused(ImageEncoderConfig::WideResNet(wide)).starts_with(&start));
        }
        let resnet = ResNet18Config { width: 0, ..Default::default() };
        assert!(refused(ImageEncoderConfig::ResNet18(resnet)).starts_with("resnet18.width = 0 "));
        let symmetric = LastActivation::SymmetricRelu { threshold: -0.1 };
        for (config, key) in small_nets(symmetric).into_iter().zip(["small_conv_net", "resnet18", "wide_resnet"]) {
            let start = format!("{key}.last_activation.symmetric_relu.threshold = -0.1 ");
            assert!(refused(config).starts_with(&start));
        }
    }
}
