//! Image encoders, NT-Xent and SGD against PyTorch (`reference/image_encoders.py`), and weights by
//! torchvision's names in safetensors, both ways.

mod reference;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::store::{BurnToPyTorchAdapter, ModuleSnapshot, PyTorchToBurnAdapter, SafetensorsStore};
use burn::tensor::{Device, Tensor, TensorData};
use cl_model::conv::{ImageEncoder, ImageShape, ResNet18Config, SmallConvNetConfig, WideResNetConfig};
use cl_model::{
    Encoder, EncoderConfig, Normalization, OptimizerConfig, ProjectorConfig, Siamese, nt_xent,
    settle_running_statistics,
};
use reference::noise;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value;
use std::collections::BTreeMap;

/// The reference computes in double precision. What remains is single precision here: PyTorch's own is within
/// 9e-6 of the largest value for features and losses, and within 2e-5 for what the weights have moved by, a
/// sum of many terms that nearly cancel.
const FEATURE_TOLERANCE: f64 = 1e-5;
const STEP_TOLERANCE: f64 = 1e-4;

const TEMPERATURE: f64 = 0.5;

/// Values by torchvision's names.
type Named = BTreeMap<String, Vec<f32>>;

fn reference() -> Value {
    serde_json::from_str(include_str!("reference/image_encoders.json")).unwrap()
}

/// `images_of` of the reference program, `[count, 3, size, size]`.
fn images(count: usize, size: usize, device: &Device) -> Tensor<4> {
    let blocks = noise(1_000_003, count * 3 * 16);
    let mut values = noise(2_000_000, count * 3 * size * size);
    for (i, value) in values.iter_mut().enumerate() {
        let (plane, y, x) = (i / (size * size), i / size % size, i % size);
        *value += blocks[plane * 16 + y * 4 / size * 4 + x * 4 / size] * 4.0;
    }
    Tensor::from_data(TensorData::new(values, [count, 3, size, size]), device)
}

/// `fill` of the reference program, as a file of safetensors that PyTorch could have written.
fn weights(tensors: &Value) -> (Named, Vec<u8>) {
    let (mut named, mut bytes) = (Named::new(), Vec::new());
    for (number, entry) in tensors.as_array().unwrap().iter().enumerate() {
        let name = entry[0].as_str().unwrap().to_string();
        let shape: Vec<usize> = entry[1].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect();
        if name.ends_with("num_batches_tracked") {
            bytes.push((name, Dtype::I64, vec![], 0i64.to_le_bytes().to_vec()));
            continue;
        }
        let mut values = noise(number as u64, shape.iter().product());
        let (scale, shift) = match shape.len() {
            1 => (0.25, if name.ends_with("running_var") || name.ends_with("weight") { 1.0 } else { 0.0 }),
            _ => ((24.0 / (values.len() / shape[1]) as f64).sqrt() as f32, 0.0),
        };
        values.iter_mut().for_each(|v| *v = shift + scale * *v);
        bytes.push((name.clone(), Dtype::F32, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect()));
        named.insert(name, values);
    }
    // A classifier, which an encoder does not have.
    bytes.push(("encoder.fc.bias".into(), Dtype::F32, vec![1], vec![0; 4]));
    let views = bytes
        .iter()
        .map(|(name, dtype, shape, data)| (name.clone(), TensorView::new(*dtype, shape.clone(), data).unwrap()));
    (named, safetensors::serialize(views, None).unwrap())
}

fn load<C: EncoderConfig>(config: &C, dims: [usize; 2], file: Vec<u8>, device: &Device) -> Siamese<C::Encoder>
where
    C::Encoder: ImageEncoder,
{
    let mut zeros = |n: usize| vec![0.0; n];
    let encoder = config.init(ImageShape { height: 32, width: 32 }, &mut zeros, device);
    let [hidden, output_dim] = dims;
    let normalization = Normalization::None;
    let projector = ProjectorConfig { hidden_dims: vec![hidden], output_dim, normalization, frozen: false };
    let projector = projector.init(encoder.feature_dim(), &mut zeros, device);
    let mut model = Siamese { projector: Some(projector), ..Siamese::of_encoder(encoder) };
    let mut store = SafetensorsStore::from_bytes(Some(file))
        .with_from_adapter(PyTorchToBurnAdapter)
        .with_key_remapping(r"downsample\.0\.", "downsample.conv.")
        .with_key_remapping(r"downsample\.1\.", "downsample.norm.")
        .with_key_remapping(r"projector\.0\.", "projector.hidden.0.")
        .with_key_remapping(r"projector\.2\.", "projector.output.");
    let result = model.load_from(&mut store).unwrap();
    assert!(result.missing.is_empty() && result.errors.is_empty(), "{result}");
    model
}

fn save(model: &Siamese<impl ImageEncoder>) -> Named {
    let mut store = SafetensorsStore::from_bytes(None)
        .with_to_adapter(BurnToPyTorchAdapter)
        .with_key_remapping(r"downsample\.conv\.", "downsample.0.")
        .with_key_remapping(r"downsample\.norm\.", "downsample.1.")
        .with_key_remapping(r"projector\.hidden\.0\.", "projector.0.")
        .with_key_remapping(r"projector\.output\.", "projector.2.");
    settle_running_statistics(model);
    model.save_into(&mut store).unwrap();
    let bytes = store.get_bytes().unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let values = |view: &TensorView<'_>| {
        view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    };
    let single = file.iter().filter(|(_, view)| view.dtype() == Dtype::F32);
    single.map(|(name, view)| (name.into(), values(&view))).collect()
}

/// Compares values with a sample of the reference's, beside the largest of them.
fn assert_agrees(name: &str, found: &[f32], expected: &Value, tolerance: f64) {
    let stride = expected["stride"].as_u64().unwrap() as usize;
    let sample: Vec<f64> = expected["values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    assert_eq!(found.len().div_ceil(stride), sample.len(), "{name}");
    let largest = expected["largest"].as_f64().unwrap();
    for (f, e) in found.iter().step_by(stride).zip(&sample) {
        let off = (f64::from(*f) - e).abs() / largest;
        assert!(off < tolerance, "{name}: {f} instead of {e}, {off:.1e} of the largest value");
    }
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// Compares features under running and under batch statistics.
fn features_agree<C: EncoderConfig>(config: &C, dims: [usize; 2], file: Vec<u8>, x: &Tensor<4>, expected: &Value)
where
    C::Encoder: ImageEncoder,
{
    let model = load(config, dims, file, &x.device());
    let eval = floats(model.encoder.valid().forward(x.clone().inner()));
    assert_agrees("eval features", &eval, &expected["eval features"], FEATURE_TOLERANCE);
    let train = floats(model.encoder.forward(x.clone()));
    assert_agrees("train features", &train, &expected["train features"], FEATURE_TOLERANCE);
}

/// Takes SGD steps and compares losses, what the weights have moved by, and running statistics.
fn steps_agree<C: EncoderConfig>(
    config: &C,
    dims: [usize; 2],
    (before, file): (Named, Vec<u8>),
    x: &Tensor<4>,
    (rates, nesterov): (&[f64], bool),
    expected: &Value,
) where
    C::Encoder: ImageEncoder,
{
    let mut model = load(config, dims, file, &x.device());
    let half = x.dims()[0] / 2;
    let mut optimizer = OptimizerConfig::Sgd { momentum: 0.9, nesterov, weight_decay: 5e-4 }.init();
    for (step, rate) in rates.iter().enumerate() {
        let projected = model.output(x.clone());
        if step == 0 {
            assert_agrees("projected", &floats(projected.clone()), &expected["projected"], FEATURE_TOLERANCE);
        }
        let loss =
            nt_xent(projected.clone().slice_dim(0, 0..half), projected.slice_dim(0, half..2 * half), TEMPERATURE);
        let name = format!("loss {step}");
        assert_agrees(&name, &floats(loss.clone()), &expected[&name], FEATURE_TOLERANCE);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(*rate, model, gradients);
    }
    let after = save(&model);
    let names: Vec<&String> = after.keys().collect();
    assert_eq!(names, before.keys().collect::<Vec<_>>(), "exported names are those of the file that was read");
    for (name, after) in &after {
        if name.contains("running_") {
            assert_agrees(name, after, &expected[format!("state {name}")], FEATURE_TOLERANCE);
        } else {
            let moved: Vec<f32> = after.iter().zip(&before[name]).map(|(a, b)| a - b).collect();
            assert_agrees(name, &moved, &expected[format!("moved {name}")], STEP_TOLERANCE);
        }
    }
}

#[test]
fn resnet18_has_torchvisions_features() {
    let (device, reference) = (Device::flex().autodiff(), reference());
    let config = ResNet18Config::default();
    let (_, file) = weights(&reference["tensors"]["resnet18"]);
    features_agree(&config, [128, 64], file.clone(), &images(4, 32, &device), &reference["resnet18"]);
    features_agree(&config, [128, 64], file, &images(8, 8, &device), &reference["resnet18 steps"]);
}

#[test]
fn a_step_of_resnet18_equals_pytorchs() {
    let (device, reference) = (Device::flex().autodiff(), reference());
    let config = ResNet18Config::default();
    let file = weights(&reference["tensors"]["resnet18"]);
    let x = images(8, 8, &device);
    steps_agree(&config, [128, 64], file, &x, (&[1.0], false), &reference["resnet18 steps"]);
}

/// The reference's Wide-ResNet: two blocks in each group, 128 features.
fn wide_resnet() -> WideResNetConfig {
    WideResNetConfig { depth: 16, widen_factor: 2, ..Default::default() }
}

#[test]
fn wide_resnet_has_the_features_of_the_reference() {
    let (device, reference) = (Device::flex().autodiff(), reference());
    let (_, file) = weights(&reference["tensors"]["wide_resnet"]);
    features_agree(&wide_resnet(), [128, 64], file.clone(), &images(4, 32, &device), &reference["wide_resnet"]);
    features_agree(&wide_resnet(), [128, 64], file, &images(10, 4, &device), &reference["wide_resnet steps"]);
}

#[test]
fn a_step_of_wide_resnet_equals_pytorchs() {
    let (device, reference) = (Device::flex().autodiff(), reference());
    let file = weights(&reference["tensors"]["wide_resnet"]);
    let x = images(10, 4, &device);
    steps_agree(&wide_resnet(), [128, 64], file, &x, (&[1.0], false), &reference["wide_resnet steps"]);
}

#[test]
fn three_steps_of_the_small_network_equal_pytorchs() {
    let (device, reference) = (Device::flex().autodiff(), reference());
    let config = SmallConvNetConfig::default();
    let file = weights(&reference["tensors"]["small"]);
    let x = images(16, 32, &device);
    features_agree(&config, [128, 64], file.1.clone(), &x, &reference["small steps"]);
    steps_agree(&config, [128, 64], file, &x, (&[0.2, 0.1, 0.05], true), &reference["small steps"]);
}
