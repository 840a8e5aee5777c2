//! What follows an encoder: the head for supervised objectives; projector, predictor, momentum copy and queue for the others.

use super::task::shapes;
use crate::spec::ModelSpec;
use burn::module::Param;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use cl_data::{Part, Purpose, Stream, standard_normal};
use cl_model::{Encoder, EncoderConfig, MomentumCopy, Siamese, StandardNormals};
use std::sync::Mutex;

/// What follows the features.
#[derive(Debug, Clone, Copy)]
pub enum Behind<'a, S> {
    /// Nothing: the objective sees features.
    Nothing,
    /// What the model specifies for a two-view objective.
    Outputs(&'a ModelSpec<S>),
    /// The linear head for this many classes.
    Head(usize),
}

type ShapeOf<C> = <<C as EncoderConfig>::Encoder as Encoder>::Shape;

/// A model with its initial weights: standard normal numbers of the seed, in the order of the forward pass. Burn's own
/// initialisers draw from the device, which is seeded here as well: the same seed gives the same bytes.
pub fn init<C: EncoderConfig>(
    config: &C,
    shape: ShapeOf<C>,
    behind: Behind<ShapeOf<C>>,
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
    let mut model = Siamese::of_encoder(encoder);
    match behind {
        Behind::Nothing => {}
        Behind::Head(classes) => model.head = Some(zero_head(features, classes, device)),
        Behind::Outputs(spec) => {
            let projector = |normals: &mut StandardNormals<'_>| {
                spec.projector.as_ref().map(|config| config.init(features, normals, device))
            };
            model.projector = projector(&mut normals);
            let outputs = spec.projector.as_ref().map_or(features, |config| config.output_dim);
            model.predictor = spec.predictor.as_ref().map(|config| config.init(outputs, &mut normals, device));
            model.queue = spec.queue.map(|config| config.init(outputs, &mut normals, device));
            if let Some(copy) = spec.momentum_copy {
                // Its own numbers are overwritten, so any will do.
                let mut ones = |count| vec![1.0; count];
                let blank = (config.init(shape, &mut ones, device), projector(&mut ones));
                shapes(&model);
                let trained = (&model.encoder, model.projector.as_ref());
                model.momentum_copy = Some(MomentumCopy::new(copy, trained, blank));
            }
        }
    }
    // What Burn would draw on first use is drawn now.
    shapes(&model);
    model
}

/// A head that starts at zero, so that it takes no random numbers.
pub fn zero_head(inputs: usize, classes: usize, device: &Device) -> Linear {
    let mut head = LinearConfig::new(inputs, classes).init(device);
    head.weight = Param::from_tensor(Tensor::zeros([inputs, classes], device));
    head.bias = Some(Param::from_tensor(Tensor::zeros([classes], device)));
    head
}
