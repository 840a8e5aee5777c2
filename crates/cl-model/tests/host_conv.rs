//! Stacks of convolutions on the host against Burn's modules and autodiff.

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use cl_model::conv::{ImageEncoder, ImageShape, LastActivation, ResNet18Config, SmallConvNetConfig};
use cl_model::{Encoder, EncoderConfig};

/// Numbers in [−√3, √3) with variance 1.
fn numbers(count: usize, offset: usize) -> Vec<f32> {
    (0..count).map(|i| (12f64.sqrt() * (((i + offset) as f64 * 0.754_877_666).fract() - 0.5)) as f32).collect()
}

/// Moves norms away from where they start: γ around 1, β around 0.
struct MovedNorms(usize);

impl ModuleMapper for MovedNorms {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if D > 1 {
            return param;
        }
        self.0 += 11;
        param.map(|values| {
            let moves = TensorData::new(numbers(values.dims()[0], self.0), values.dims());
            (values.clone() + Tensor::from_data(moves, &values.device()) * 0.2).detach().require_grad()
        })
    }
}

fn init<C: EncoderConfig>(config: &C) -> C::Encoder
where
    C::Encoder: Encoder<Shape = ImageShape>,
{
    let mut at = 0;
    let mut source = |n: usize| {
        at += n;
        numbers(n, at)
    };
    let shape = ImageShape { height: 8, width: 8 };
    config.init(shape, &mut source, &Device::flex().autodiff()).map(&mut MovedNorms(0))
}

fn small(channels: &[usize], strides: &[usize], last_activation: LastActivation) -> SmallConvNetConfig {
    SmallConvNetConfig { channels: channels.into(), strides: strides.into(), last_activation }
}

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// The largest difference over the largest value.
fn off(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0f32, |a, v| a.max(v.abs())).max(1e-6);
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
}

const RELU: LastActivation = LastActivation::Relu;
const SYMMETRIC: LastActivation = LastActivation::SymmetricRelu { threshold: 0.4 };

/// Images of a size, so many of them.
type Batch = ([usize; 2], usize);

/// Layers by patches and by tiles, at odd sizes, on one image, on single rows.
fn small_cases() -> Vec<(SmallConvNetConfig, Batch)> {
    vec![
        (small(&[8, 12, 16, 20], &[2, 2, 2, 1], RELU), ([32, 32], 70)),
        (small(&[4, 6], &[1, 2], RELU), ([7, 5], 9)),
        (small(&[5], &[2], SYMMETRIC), ([9, 4], 3)),
        (small(&[3, 4, 5], &[2, 1, 1], SYMMETRIC), ([8, 8], 1)),
        (small(&[16, 8], &[1, 1], RELU), ([1, 3], 150)),
        (small(&[16, 33, 20], &[1, 1, 1], SYMMETRIC), ([7, 5], 9)),
        (small(&[18, 16, 16], &[2, 1, 1], RELU), ([4, 6], 1)),
        (small(&[16, 16], &[1, 1], RELU), ([2, 3], 40)),
        (small(&[32, 48], &[1, 1], RELU), ([16, 16], 30)),
    ]
}

/// Stages with a shortcut, as it is or with a convolution, by patches and by tiles.
fn residual_cases() -> Vec<(ResNet18Config, Batch)> {
    let config = |width, last_activation| ResNet18Config { width, last_activation };
    vec![(config(3, RELU), ([8, 8], 20)), (config(16, SYMMETRIC), ([16, 16], 6)), (config(16, RELU), ([9, 7], 7))]
}

fn images((size, count): Batch) -> TensorData {
    let [h, w] = size;
    TensorData::new(numbers(count * 3 * h * w, 1234), [count, 3, h, w])
}

/// Features, moments and gradients against the module and autodiff.
fn assert_same_training<C>(config: &C, batch: Batch)
where
    C: EncoderConfig<Encoder: ImageEncoder> + std::fmt::Debug,
{
    let (size, count) = batch;
    let what = format!("{config:?} on {count} images of {size:?}");
    let device = Device::flex().autodiff();
    let net = init(config);
    let outputs = net.feature_dim();
    let direction = numbers(count * outputs, 77);
    let weights = Tensor::<2>::from_data(TensorData::new(direction.clone(), [count, outputs]), &device);

    let stack = net.as_conv_stack().unwrap();
    let before = stack.running_moments();
    let on_host = stack.parameters();
    let pixels: Vec<f32> = images(batch).try_to_vec().unwrap();
    let pass = on_host.stack().forward(&pixels, size);
    let moments: Vec<_> = pass.moments().cloned().collect();
    let features = pass.features.clone();
    let found = pass.backward(&direction);

    let plain = net.forward(Tensor::<4>::from_data(images(batch), &device));
    assert!(off(&features, &read(plain.clone())) < 2e-5, "{what}: features {}", off(&features, &read(plain)));
    let gradients = GradientsParams::from_grads((plain * weights).sum().backward(), &net);
    assert_eq!(stack.layers().count(), found.len());
    for (i, (layer, found)) in stack.layers().zip(&found).enumerate() {
        let expected = [
            read(gradients.get::<4>(layer.conv.weight.id).unwrap()),
            read(gradients.get::<1>(layer.norm.gamma.id).unwrap()),
            read(gradients.get::<1>(layer.norm.beta.id).unwrap()),
        ];
        for (name, found, expected) in [
            ("kernel", &found.kernel, &expected[0]),
            ("gamma", &found.gamma, &expected[1]),
            ("beta", &found.beta, &expected[2]),
        ] {
            // A batch of one image is normalised over few positions, which cancel.
            let tolerance = if count == 1 { 1e-3 } else { 1e-4 };
            assert!(off(found, expected) < tolerance, "{what}: {name} of layer {i} off by {}", off(found, expected));
        }
    }
    // The module has moved its running moments; the stack does the same to another copy.
    let other = init(config);
    let other = other.as_conv_stack().unwrap();
    assert_eq!(other.running_moments(), before);
    other.update_running_moments(moments.iter());
    for (found, expected) in other.running_moments().iter().zip(net.as_conv_stack().unwrap().running_moments()) {
        let single = |values: &[f64]| values.iter().map(|v| *v as f32).collect::<Vec<f32>>();
        assert!(off(&single(&found.mean), &single(&expected.mean)) < 1e-5, "{what}");
        assert!(off(&single(&found.variance), &single(&expected.variance)) < 1e-5, "{what}");
    }
}

#[test]
fn features_moments_and_gradients_of_layers_are_those_of_the_module() {
    small_cases().iter().for_each(|(config, batch)| assert_same_training(config, *batch));
}

#[test]
fn features_moments_and_gradients_of_residual_stages_are_those_of_the_module() {
    residual_cases().iter().for_each(|(config, batch)| assert_same_training(config, *batch));
}

fn assert_same_inference<C>(config: &C, batch: Batch)
where
    C: EncoderConfig<Encoder: ImageEncoder> + std::fmt::Debug,
{
    let net = init(config);
    // A batch, so that the running moments are not those of the start.
    net.forward(Tensor::<4>::from_data(images(batch), &Device::flex().autodiff()));
    let net = net.valid();
    let stack = net.as_conv_stack().unwrap();
    let pixels: Vec<f32> = images(batch).try_to_vec().unwrap();
    let found = stack.parameters().stack().infer(&pixels, batch.0, &stack.running_moments());
    let expected = read(net.forward(Tensor::<4>::from_data(images(batch), &Device::flex())));
    assert!(off(&found, &expected) < 2e-5, "{config:?}: {}", off(&found, &expected));
}

#[test]
fn inference_uses_the_running_moments() {
    small_cases().iter().for_each(|(config, batch)| assert_same_inference(config, *batch));
    residual_cases().iter().for_each(|(config, batch)| assert_same_inference(config, *batch));
}

/// Blocks do not depend on how many threads there are.
#[test]
fn one_thread_and_several_give_the_same_bits() {
    fn assert_same_bits<C: EncoderConfig<Encoder: ImageEncoder>>(config: &C, batch: Batch) {
        let net = init(config);
        let on_host = net.as_conv_stack().unwrap().parameters();
        let pixels: Vec<f32> = images(batch).try_to_vec().unwrap();
        let direction = numbers(batch.1 * net.feature_dim(), 77);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let pass = on_host.stack().forward(&pixels, batch.0);
                (pass.features.clone(), pass.backward(&direction))
            })
        };
        let one = run(1);
        assert!(run(2) == one && run(3) == one);
    }
    let (config, batch) = &small_cases()[0];
    assert_same_bits(config, *batch);
    for (config, batch) in residual_cases() {
        assert_same_bits(&config, batch);
    }
}

/// A channel that is constant has a variance of 0, and its gradient is finite.
#[test]
fn images_of_one_colour_give_finite_numbers() {
    let net = init(&small(&[4, 6], &[2, 2], RELU));
    let on_host = net.as_conv_stack().unwrap().parameters();
    let pass = on_host.stack().forward(&vec![0.7; 6 * 3 * 64], [8, 8]);
    assert!(pass.features.iter().all(|v| v.is_finite()));
    let gradients = pass.backward(&numbers(6 * 6, 3));
    assert!(gradients.iter().all(|g| g.kernel.iter().chain(&g.gamma).chain(&g.beta).all(|v| v.is_finite())));
}

/// What is not a number is not hidden by a ReLU or a variance.
#[test]
fn a_kernel_that_is_not_a_number_gives_features_that_are_none() {
    for last in [RELU, SYMMETRIC] {
        let mut net = init(&small(&[4, 3], &[2, 2], last));
        let kernel = net.layers[0].conv.weight.val();
        net.layers[0].conv.weight = Param::from_tensor((kernel * f32::NAN).detach().require_grad());
        let on_host = net.as_conv_stack().unwrap().parameters();
        let pixels = numbers(6 * 3 * 64, 5);
        let pass = on_host.stack().forward(&pixels, [8, 8]);
        assert!(pass.features.iter().all(|v| v.is_nan()), "{:?}", pass.features);
        let moments = net.as_conv_stack().unwrap().running_moments();
        assert!(on_host.stack().infer(&pixels, [8, 8], &moments).iter().all(|v| v.is_nan()));
    }
}
