//! What image encoders have in common.

use super::on_host::ConvStack;
use crate::encoders::Encoder;
use burn::tensor::Tensor;

/// What is known about images before there are weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageShape {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
}

/// An encoder of RGB images `[B, 3, H, W]`.
///
/// What is not provided is not shown: reports leave out layers and filters of an encoder that provides none.
pub trait ImageEncoder: Encoder<Input = Tensor<4>, Shape = ImageShape> {
    /// The activations of every layer with its name, from the first to the last, `[B, C, H', W']` each.
    ///
    /// Small network: each layer's output. ResNet-18: the output of the stem and of each block. Wide-ResNet: the same
    /// after the normalisation and the activation that follow, because its blocks' outputs are sums that have not been
    /// rectified.
    fn forward_layers(&self, _images: Tensor<4>) -> Vec<(String, Tensor<4>)> {
        Vec::new()
    }

    /// Kernels of the first convolution, `[C, 3, k, k]`, outside the gradient.
    fn first_layer_filters(&self) -> Option<Tensor<4>> {
        None
    }

    /// The stages of the whole encoder if these are a stack that the host computes faster, see [`ConvStack`].
    fn as_conv_stack(&self) -> Option<ConvStack<'_>> {
        None
    }

    /// Multiply-adds of the forward pass of one image; the backward pass costs twice as many.
    fn multiply_adds(&self, _shape: ImageShape) -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv::{LastActivation, ResNet18Config, SmallConvNetConfig, WideResNetConfig};
    use crate::encoders::{EncoderConfig, StandardNormals};
    use burn::module::Module;
    use burn::tensor::Device;
    use cl_config::{Component, ConfigError};

    const SHAPE: ImageShape = ImageShape { height: 32, width: 32 };

    /// An encoder of any kind.
    trait AnyEncoder {
        fn features(&self, images: Tensor<4>) -> Tensor<2>;
        fn layers(&self, images: Tensor<4>) -> Vec<(String, Tensor<4>)>;
        fn filters(&self) -> Tensor<4>;
        fn cost(&self) -> u64;
        fn width(&self) -> usize;
        fn parameters(&self) -> u64;
        fn in_evaluation(&self) -> Box<dyn AnyEncoder>;
    }

    impl<E: ImageEncoder> AnyEncoder for E {
        fn features(&self, images: Tensor<4>) -> Tensor<2> {
            self.forward(images)
        }

        fn layers(&self, images: Tensor<4>) -> Vec<(String, Tensor<4>)> {
            self.forward_layers(images)
        }

        fn filters(&self) -> Tensor<4> {
            self.first_layer_filters().unwrap()
        }

        fn cost(&self) -> u64 {
            self.multiply_adds(SHAPE).unwrap()
        }

        fn width(&self) -> usize {
            self.feature_dim()
        }

        fn parameters(&self) -> u64 {
            Module::num_params(self) as u64
        }

        fn in_evaluation(&self) -> Box<dyn AnyEncoder> {
            Box::new(self.valid())
        }
    }

    /// A checked configuration of any kind.
    struct AnyConfig(Box<Init>);

    type Init = dyn Fn(&mut StandardNormals<'_>, &Device) -> Box<dyn AnyEncoder>;

    impl AnyConfig {
        fn of<C: EncoderConfig>(config: C) -> Self
        where
            C::Encoder: ImageEncoder,
        {
            let config = config.checked().unwrap();
            Self(Box::new(move |normals, device| Box::new(config.init(SHAPE, normals, device))))
        }

        fn init(&self, normals: &mut StandardNormals<'_>, device: &Device) -> Box<dyn AnyEncoder> {
            (self.0)(normals, device)
        }
    }

    /// A Weyl sequence, spread over [−√3, √3) with variance 1.
    fn source(n: usize) -> Vec<f32> {
        (0..n).map(|i| (12f64.sqrt() * ((i as f64 * 0.754_877_666).fract() - 0.5)) as f32).collect()
    }

    fn small_nets(last_activation: LastActivation) -> [AnyConfig; 3] {
        [
            AnyConfig::of(SmallConvNetConfig { last_activation, ..Default::default() }),
            AnyConfig::of(ResNet18Config { width: 4, last_activation }),
            AnyConfig::of(WideResNetConfig { depth: 16, widen_factor: 1, last_activation }),
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
            let encoder = config.init(&mut source, &device);
            let x = images(2, 16, &device);
            let layers = encoder.layers(x.clone());
            assert_eq!(layers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names);
            let last = layers.last().unwrap().1.clone();
            assert_eq!(last.dims(), [2, features, 16 / factor, 16 / factor]);
            assert_eq!(encoder.width(), features);
            let mean = last.mean_dim(2).mean_dim(3).reshape([2, features]);
            let off = (encoder.features(x) - mean).abs().max().into_scalar::<f32>();
            assert!(off < 1e-5, "{off}");
            assert_eq!(encoder.filters().dims()[1..], [3, 3, 3]);
        }
    }

    #[test]
    fn rectified_layers_are_not_negative_and_the_symmetric_one_takes_both_signs() {
        let device = Device::flex().autodiff();
        let threshold = 0.5;
        for config in small_nets(LastActivation::SymmetricRelu { threshold }) {
            let encoder = config.init(&mut source, &device);
            let layers = encoder.layers(images(4, 16, &device));
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
        let count = |config: AnyConfig| config.init(&mut |n| vec![0.0; n], &Device::flex()).cost();
        let small = AnyConfig::of(SmallConvNetConfig::default());
        assert_eq!(count(small), 16 * 16 * 27 * 32 + 8 * 8 * 9 * 32 * 64 + 4 * 4 * 9 * 64 * 128);
        // ResNet-18 on 32×32: stem 1.77 M, then four stages of 4 convolutions of 37.7 M, of which the first of
        // a halving stage costs half, and three 1×1 shortcuts of 2.1 M.
        let full = 32 * 32 * 9 * 64 * 64;
        let resnet = 32 * 32 * 27 * 64 + 4 * full + 3 * (full / 2 + 3 * full) + 3 * (16 * 16 * 64 * 128);
        assert_eq!(count(AnyConfig::of(ResNet18Config::default())), resnet);
        // Per group of n blocks at width 16k: the first convolution is from another width.
        let wide = WideResNetConfig { depth: 10, widen_factor: 2, ..Default::default() };
        let group = |size: u64, inputs: u64, outputs: u64| size * size * outputs * (9 * inputs + 9 * outputs + inputs);
        let expected = 32 * 32 * 27 * 16 + group(32, 16, 32) + group(16, 32, 64) + group(8, 64, 128);
        assert_eq!(count(AnyConfig::of(wide)), expected);
    }

    #[test]
    fn parameters_number_as_published() {
        let count = |config: AnyConfig| config.init(&mut |n| vec![0.0; n], &Device::flex()).parameters();
        // torchvision's ResNet-18 has 11,689,512: less the classifier, 513,000, and with 3×3 for 7×7 in the stem.
        // The count here takes in running means and variances, two for each of 5 · 960 channels.
        let resnet = AnyConfig::of(ResNet18Config::default());
        assert_eq!(count(resnet), 11_689_512 - 513_000 - 3 * 64 * (49 - 9) + 2 * 4800);
        // Wide-ResNet 40×1: 0.6 M in Zagoruyko & Komodakis 2016, to the unit 563,930 with a classifier of 650.
        // Norms: 12·16, then 16 + 11·32 and 32 + 11·64, and 64.
        let wide = WideResNetConfig { depth: 40, widen_factor: 1, ..Default::default() };
        assert_eq!(count(AnyConfig::of(wide)), 563_930 - 650 + 2 * (192 + 368 + 736 + 64));
    }

    #[test]
    fn the_numbers_of_the_source_decide_the_weights() {
        let device = Device::flex();
        let x = images(1, 16, &device);
        for config in small_nets(LastActivation::Relu) {
            let features = |scale: f32| {
                let mut source = |n: usize| source(n).into_iter().map(|v| scale * v).collect::<Vec<_>>();
                config.init(&mut source, &device).features(x.clone()).into_data().try_to_vec::<f32>().unwrap()
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
            let before = encoder.in_evaluation().features(images(4, 16, &Device::flex()));
            let train = encoder.features(images(4, 16, &device)).inner();
            let after = encoder.in_evaluation().features(images(4, 16, &Device::flex()));
            let distance = |a: &Tensor<2>, b: &Tensor<2>| (a.clone() - b.clone()).abs().max().into_scalar::<f32>();
            assert!(distance(&before, &train) > 1e-3);
            assert!(distance(&before, &after) > 1e-4, "the running statistics have not moved");
        }
    }

    #[test]
    fn configurations_read_as_written() {
        fn read<C: Component>(json: &str) -> Result<C, String> {
            serde_json::from_str(json).map_err(|e| e.to_string())
        }
        assert_eq!(read::<SmallConvNetConfig>("{}").unwrap(), SmallConvNetConfig::default());
        let last_activation = LastActivation::SymmetricRelu { threshold: 0.5 };
        let wide = WideResNetConfig { depth: 16, widen_factor: 2, last_activation };
        let json = r#"{"depth":16,"widen_factor":2,"last_activation":{"symmetric_relu":{"threshold":0.5}}}"#;
        assert_eq!(read::<WideResNetConfig>(json).unwrap(), wide);
        assert_eq!(serde_json::to_string(&wide).unwrap(), json);
        assert!(read::<ResNet18Config>(r#"{"with":64}"#).unwrap_err().contains("unknown field `with`"));
    }

    #[test]
    fn wrong_values_are_refused_by_name() {
        fn refused(config: impl Component) -> String {
            config.checked().unwrap_err().to_string()
        }
        let small = SmallConvNetConfig { strides: vec![2, 3], channels: vec![8, 8], ..Default::default() };
        let wanted = "strides = [2, 3] is out of range; it has to be 2 numbers, one per layer, each 1 or 2";
        assert_eq!(refused(small), wanted);
        let empty = SmallConvNetConfig { channels: vec![], strides: vec![], ..Default::default() };
        assert!(refused(empty).starts_with("channels = []"));
        for depth in [4, 9, 11, 33] {
            let start = format!("depth = {depth} ");
            assert!(refused(WideResNetConfig { depth, ..Default::default() }).starts_with(&start));
        }
        assert!(refused(ResNet18Config { width: 0, ..Default::default() }).starts_with("width = 0 "));
        let last_activation = LastActivation::SymmetricRelu { threshold: -0.1 };
        let checked: [Result<(), ConfigError>; 3] = [
            SmallConvNetConfig { last_activation, ..Default::default() }.checked().map(drop),
            ResNet18Config { last_activation, ..Default::default() }.checked().map(drop),
            WideResNetConfig { last_activation, ..Default::default() }.checked().map(drop),
        ];
        for refused in checked {
            let start = "last_activation.symmetric_relu.threshold = -0.1 ";
            assert!(refused.unwrap_err().to_string().starts_with(start));
        }
    }
}
