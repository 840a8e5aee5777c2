//! What follows an encoder: the head for supervised objectives, the projector for the others.

use super::task::shapes;
use burn::module::Param;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use cl_data::{Part, Purpose, Stream, standard_normal};
use cl_model::{Encoder, EncoderConfig, ProjectorConfig, Siamese};
use std::sync::Mutex;

/// What follows the features.
#[derive(Debug, Clone, Copy)]
pub enum Behind<'a> {
    /// The projector of a two-view objective, if any.
    Projector(Option<&'a ProjectorConfig>),
    /// The linear head for this many classes.
    Head(usize),
}

/// A model with its initial weights: standard normal numbers of the seed, in the order of the forward pass. Burn's own
/// initialisers draw from the device, which is seeded here as well: the same seed gives the same bytes.
pub fn init<C: EncoderConfig>(
    config: &C,
    shape: <C::Encoder as Encoder>::Shape,
    behind: Behind,
    seed: u64,
    device: &Device,
) -> Siamese<C::Encoder> {
    // A device has one generator for the whole process.
    static SEEDED: Mutex<()> = Mutex::new(());
    let _seeded = SEEDED.lock();
    device.seed(seed);
    let mut rng = Stream::new(seed, Purpose::InitialWeights).rng(Part::Whole, 0);
    let mut normals = |count| standard_normal(&mut rng, count);
    let encoder = config.init(shape, &mut normals, device);
    let features = encoder.feature_dim();
    let (projector, head) = match behind {
        Behind::Projector(config) => (config.map(|config| config.init(features, &mut normals, device)), None),
        Behind::Head(classes) => (None, Some(zero_head(features, classes, device))),
    };
    let model = Siamese { encoder, projector, head };
    // What Burn would draw on first use is drawn now.
    shapes(&model);
    model
}

/// A head that starts at zero, so that it takes no random numbers.
fn zero_head(inputs: usize, classes: usize, device: &Device) -> Linear {
    let mut head = LinearConfig::new(inputs, classes).init(device);
    head.weight = Param::from_tensor(Tensor::zeros([inputs, classes], device));
    head.bias = Some(Param::from_tensor(Tensor::zeros([classes], device)));
    head
}
