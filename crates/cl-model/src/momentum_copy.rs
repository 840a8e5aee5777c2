//! The slowly moving copy of a model whose outputs are targets.

use crate::Projector;
use crate::encoders::Encoder;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;
use cl_config::{Component, ConfigError, check};
use serde::{Deserialize, Serialize};

/// How fast a [`MomentumCopy`] follows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MomentumCopyConfig {
    /// `μ` in [0, 1): after every update `θ̄ ← μ θ̄ + (1 − μ) θ`.
    pub momentum: f64,
}

impl Component for MomentumCopyConfig {
    const VERSION: u32 = 1;

    fn checked(self) -> Result<Self, ConfigError> {
        check((0.0..1.0).contains(&self.momentum), "momentum", self.momentum, "at least 0 and below 1")?;
        Ok(self)
    }
}

/// Encoder and projector whose parameters, thresholds included, are an exponential moving average of the trained ones
/// (Grill et al. 2020; He et al. 2020). No gradient reaches it. Running statistics of batch norms are its own, of what it has seen.
#[derive(Module, Debug)]
pub struct MomentumCopy<E: Module> {
    /// Follows the encoder.
    pub encoder: E,
    /// Follows the projector, if there is one.
    pub projector: Option<Projector>,
    #[module(skip)]
    momentum: f64,
}

impl<E: Encoder> MomentumCopy<E> {
    /// A copy of a model, in other modules of the same shapes.
    ///
    /// # Panics
    /// When shapes differ.
    pub fn new(config: MomentumCopyConfig, model: (&E, Option<&Projector>), blank: (E, Option<Projector>)) -> Self {
        let copy =
            Self { encoder: blank.0.no_grad(), projector: blank.1.map(Module::no_grad), momentum: config.momentum };
        copy.moved(model, 0.0)
    }

    /// `θ̄ ← μ θ̄ + (1 − μ) θ`.
    #[must_use]
    pub fn following(self, encoder: &E, projector: Option<&Projector>) -> Self {
        let momentum = self.momentum;
        self.moved((encoder, projector), momentum)
    }

    /// Outputs that no gradient passes, `[n, k]`.
    pub fn output(&self, x: E::Input) -> Tensor<2> {
        self.output_of(self.encoder.forward_detached(x))
    }

    /// Outputs of features of its encoder, `[n, k]`.
    pub fn output_of(&self, features: Tensor<2>) -> Tensor<2> {
        match &self.projector {
            None => features.detach(),
            Some(projector) => projector.forward(features).detach(),
        }
    }

    fn moved(self, (encoder, projector): (&E, Option<&Projector>), momentum: f64) -> Self {
        Self {
            encoder: average(self.encoder, encoder, momentum),
            projector: self.projector.zip(projector).map(|(copy, model)| average(copy, model, momentum)),
            momentum: self.momentum,
        }
    }
}

/// Whether a field holds running statistics.
fn is_statistic(field: &str) -> bool {
    matches!(field, "running_mean" | "running_var")
}

/// `copy ← momentum · copy + (1 − momentum) · model`, parameter by parameter.
fn average<M: Module>(copy: M, model: &M, momentum: f64) -> M {
    /// What to average, in order; statistics of batch norms are visited like parameters.
    struct Values(Vec<Tensor<1>>, bool);
    impl ModuleVisitor for Values {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.1 = is_statistic(name);
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.1 = false;
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if !self.1 {
                self.0.push(param.val().detach().flatten(0, D - 1));
            }
        }
    }
    struct Average(std::vec::IntoIter<Tensor<1>>, f64, bool);
    impl ModuleMapper for Average {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.2 = is_statistic(name);
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.2 = false;
        }

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if self.2 {
                return param;
            }
            let value = self.0.next().expect("as many parameters as the model");
            param.map(|own| {
                let value = value.reshape(own.dims());
                let moved = if self.1 == 0.0 { value } else { own.detach() * self.1 + value * (1.0 - self.1) };
                moved.set_require_grad(false)
            })
        }
    }
    let mut values = Values(Vec::new(), false);
    model.visit(&mut values);
    copy.map(&mut Average(values.0.into_iter(), momentum, false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SymmetricReluEncoder;
    use burn::tensor::Device;

    fn encoder(weight: f32, bias: f64) -> SymmetricReluEncoder {
        SymmetricReluEncoder::new(Tensor::from_data([[weight]], &Device::flex().autodiff())).with_trained_bias(bias)
    }

    #[test]
    fn it_starts_equal_follows_slowly_and_keeps_its_own_identities() {
        let config = MomentumCopyConfig { momentum: 0.9 }.checked().unwrap();
        let model = encoder(2.0, 0.5);
        let copy = MomentumCopy::new(config, (&model, None), (encoder(7.0, 7.0), None));
        let values =
            |e: &SymmetricReluEncoder| (e.weights.val().into_scalar::<f32>(), e.biases.val().into_scalar::<f32>());
        assert_eq!(values(&copy.encoder), (2.0, 0.5));
        assert_ne!(copy.encoder.weights.id, model.weights.id, "else it would receive the model's gradient");
        let copy = copy.following(&encoder(4.0, 1.5), None);
        let (weight, bias) = values(&copy.encoder);
        assert!((weight - 2.2).abs() < 1e-6 && (bias - 0.6).abs() < 1e-6, "{weight} {bias}");
        assert!(!copy.encoder.weights.is_require_grad() && !copy.encoder.biases.is_require_grad());
        assert!(MomentumCopyConfig { momentum: 1.0 }.checked().is_err());
    }

    /// Following moves no statistics: the copy's are those of what it has seen.
    #[test]
    fn statistics_of_batch_norms_are_its_own() {
        use crate::EncoderConfig;
        use crate::conv::{ImageShape, SmallConvNetConfig};
        let device = Device::flex().autodiff();
        let config = SmallConvNetConfig { channels: vec![2], strides: vec![2], ..Default::default() };
        let mut source = |n: usize| (0..n).map(|i| (i as f32).sin()).collect::<Vec<f32>>();
        let shape = ImageShape { height: 4, width: 4 };
        let mut made = || config.init(shape, &mut source, &device);
        let (model, blank) = (made(), made());
        let copy = MomentumCopy::new(MomentumCopyConfig { momentum: 0.5 }, (&model, None), (blank, None));
        let images = || Tensor::<4>::random([3, 3, 4, 4], burn::tensor::Distribution::Default, &device);
        let mean = |e: &crate::conv::SmallConvNet| {
            e.layers[0].norm.running_mean.value_sync().into_data().try_to_vec::<f32>().unwrap()
        };
        model.forward(images());
        copy.output(images());
        let before = mean(&copy.encoder);
        assert_ne!(before, mean(&model));
        let copy = copy.following(&model, None);
        assert_eq!(mean(&copy.encoder), before);
    }
}
