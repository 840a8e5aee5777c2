//! The stack of convolutions on the host against Burn's module and autodiff.

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use cl_model::conv::{ImageEncoder, ImageShape, LastActivation, SmallConvNet, SmallConvNetConfig};
use cl_model::{Encoder, EncoderConfig};

/// Numbers in [−√3, √3) with variance 1.
fn numbers(count: usize, offset: usize) -> Vec<f32> {
    (0..count).map(|i| (12f64.sqrt() * (((i + offset) as f64 * 0.754_877_666).fract() - 0.5)) as f32).collect()
}

fn network(channels: &[usize], strides: &[usize], last_activation: LastActivation) -> SmallConvNet {
    let config = SmallConvNetConfig { channels: channels.into(), strides: strides.into(), last_activation };
    let device = Device::flex().autodiff();
    let mut at = 0;
    let mut source = |n: usize| {
        at += n;
        numbers(n, at)
    };
    let mut net = config.init(ImageShape { height: 8, width: 8 }, &mut source, &device);
    // Norms that are not at their start: γ around 1, β around 0.
    for (i, layer) in net.layers.iter_mut().enumerate() {
        let c = channels[i];
        let moved = |offset: usize, mean: f32| -> Param<Tensor<1>> {
            let values: Vec<f32> = numbers(c, offset).iter().map(|v| mean + 0.2 * v).collect();
            Param::from_tensor(Tensor::from_data(values.as_slice(), &device))
        };
        layer.norm.gamma = moved(11 * i, 1.0);
        layer.norm.beta = moved(70 + i, 0.0);
    }
    net
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

struct Case {
    channels: &'static [usize],
    strides: &'static [usize],
    size: [usize; 2],
    count: usize,
    last: LastActivation,
}

fn cases() -> Vec<Case> {
    let relu = LastActivation::Relu;
    let symmetric = LastActivation::SymmetricRelu { threshold: 0.4 };
    let case = |channels, strides, size, count, last| Case { channels, strides, size, count, last };
    vec![
        case(&[8, 12, 16, 20], &[2, 2, 2, 1], [32, 32], 70, relu),
        case(&[4, 6], &[1, 2], [7, 5], 9, relu),
        case(&[5], &[2], [9, 4], 3, symmetric),
        case(&[3, 4, 5], &[2, 1, 1], [8, 8], 1, symmetric),
        case(&[16, 8], &[1, 1], [1, 3], 150, relu),
    ]
}

fn images(case: &Case) -> TensorData {
    let [h, w] = case.size;
    TensorData::new(numbers(case.count * 3 * h * w, 1234), [case.count, 3, h, w])
}

#[test]
fn features_moments_and_gradients_are_those_of_the_module() {
    for case in cases() {
        let what = format!("{:?} at strides {:?} on {:?}", case.channels, case.strides, case.size);
        let device = Device::flex().autodiff();
        let net = network(case.channels, case.strides, case.last);
        let outputs = *case.channels.last().unwrap();
        let direction = numbers(case.count * outputs, 77);
        let weights = Tensor::<2>::from_data(TensorData::new(direction.clone(), [case.count, outputs]), &device);

        let stack = net.as_conv_stack().unwrap();
        let before = stack.running_moments();
        let on_host = stack.parameters();
        let pixels: Vec<f32> = images(&case).try_to_vec().unwrap();
        let pass = on_host.stack().forward(&pixels, case.size);
        let moments: Vec<_> = pass.moments().cloned().collect();
        let features = pass.features.clone();
        let found = pass.backward(&direction);

        let plain = net.forward(Tensor::<4>::from_data(images(&case), &device));
        assert!(off(&features, &read(plain.clone())) < 2e-5, "{what}: features {}", off(&features, &read(plain)));
        let gradients = GradientsParams::from_grads((plain * weights).sum().backward(), &net);
        for (i, (layer, found)) in net.layers.iter().zip(&found).enumerate() {
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
                let tolerance = if case.count == 1 { 1e-3 } else { 1e-4 };
                assert!(
                    off(found, expected) < tolerance,
                    "{what}: {name} of layer {i} off by {}",
                    off(found, expected)
                );
            }
        }
        // The module has moved its running moments; the stack does the same to another copy.
        let other = network(case.channels, case.strides, case.last);
        let other = other.as_conv_stack().unwrap();
        assert_eq!(other.running_moments(), before);
        other.update_running_moments(moments.iter());
        for (found, expected) in other.running_moments().iter().zip(net.as_conv_stack().unwrap().running_moments()) {
            let single = |values: &[f64]| values.iter().map(|v| *v as f32).collect::<Vec<f32>>();
            assert!(off(&single(&found.mean), &single(&expected.mean)) < 1e-5, "{what}");
            assert!(off(&single(&found.variance), &single(&expected.variance)) < 1e-5, "{what}");
        }
    }
}

#[test]
fn inference_uses_the_running_moments() {
    for case in cases() {
        let net = network(case.channels, case.strides, case.last);
        // A batch, so that the running moments are not those of the start.
        net.forward(Tensor::<4>::from_data(images(&case), &Device::flex().autodiff()));
        let net = net.valid();
        let stack = net.as_conv_stack().unwrap();
        let pixels: Vec<f32> = images(&case).try_to_vec().unwrap();
        let found = stack.parameters().stack().infer(&pixels, case.size, &stack.running_moments());
        let expected = read(net.forward(Tensor::<4>::from_data(images(&case), &Device::flex())));
        assert!(off(&found, &expected) < 2e-5, "{:?}: {}", case.channels, off(&found, &expected));
    }
}

/// Blocks do not depend on how many threads there are.
#[test]
fn one_thread_and_several_give_the_same_bits() {
    let case = &cases()[0];
    let net = network(case.channels, case.strides, case.last);
    let on_host = net.as_conv_stack().unwrap().parameters();
    let pixels: Vec<f32> = images(case).try_to_vec().unwrap();
    let direction = numbers(case.count * 20, 77);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let pass = on_host.stack().forward(&pixels, case.size);
            (pass.features.clone(), pass.backward(&direction))
        })
    };
    let one = run(1);
    assert!(run(2) == one && run(3) == one);
}

/// A channel that is constant has a variance of 0, and its gradient is finite.
#[test]
fn images_of_one_colour_give_finite_numbers() {
    let net = network(&[4, 6], &[2, 2], LastActivation::Relu);
    let on_host = net.as_conv_stack().unwrap().parameters();
    let pass = on_host.stack().forward(&vec![0.7; 6 * 3 * 64], [8, 8]);
    assert!(pass.features.iter().all(|v| v.is_finite()));
    let gradients = pass.backward(&numbers(6 * 6, 3));
    assert!(gradients.iter().all(|g| g.kernel.iter().chain(&g.gamma).chain(&g.beta).all(|v| v.is_finite())));
}

/// What is not a number is not hidden by a ReLU or a variance.
#[test]
fn a_kernel_that_is_not_a_number_gives_features_that_are_none() {
    for last in [LastActivation::Relu, LastActivation::SymmetricRelu { threshold: 0.4 }] {
        let mut net = network(&[4, 3], &[2, 2], last);
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
