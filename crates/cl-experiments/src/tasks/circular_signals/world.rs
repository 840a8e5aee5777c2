//! Signals on a circle as a [`World`].

use super::evaluation::evaluate;
use super::spec::SignalSpec;
use crate::io::error::UserError;
use crate::io::files::{pretty, safetensors_bytes};
use crate::io::undefined::or_nan;
use crate::tasks::task::{Evaluated, Place};
use crate::tasks::two_views::World;
use crate::tasks::weights;
use burn::tensor::{Device, Tensor};
use cl_data::{CircularSignals, Purpose, Stream};
use cl_model::{Encoder, Siamese};

/// A seed's signals.
#[derive(Debug, Clone)]
pub struct Signals {
    spec: SignalSpec,
    seed: u64,
    signals: CircularSignals,
}

impl World for Signals {
    type Spec = SignalSpec;
    type Input = Tensor<2>;

    fn new(spec: &SignalSpec, seed: u64, _: Place) -> Result<Self, UserError> {
        let signals = CircularSignals::random(spec.data, Stream::new(seed, Purpose::Dictionary));
        Ok(Self { spec: spec.clone(), seed, signals: signals.expect("the specification has been checked") })
    }

    fn views(&self, count: usize, purpose: Purpose, step: u64, device: &Device) -> [Tensor<2>; 2] {
        let sample = self.signals.sample(count, self.spec.views.shift, Stream::new(self.seed, purpose), step);
        sample.views.map(|view| view.into_tensor(device))
    }

    fn evaluate<E: Encoder<Input = Tensor<2>>>(
        &self,
        model: &Siamese<E>,
        _: impl FnOnce() -> Siamese<E>,
        device: &Device,
    ) -> Result<Evaluated, String> {
        let (evaluation, tensors) =
            evaluate((&self.signals, &self.spec, self.seed), model, device).map_err(|e| e.to_string())?;
        let summary = format!(
            "view distance of outputs over features {:.3}, rank ratio {:.3}, phase R² of features {:.3}",
            or_nan(evaluation.outputs_over_features),
            or_nan(evaluation.rank_ratio),
            or_nan(evaluation.features.phase_r_squared)
        );
        let files = vec![
            ("evaluation.json", pretty(&evaluation).into_bytes()),
            ("geometry.safetensors", safetensors_bytes(tensors)),
            ("model.safetensors", weights::to_safetensors(model)?),
        ];
        Ok(Evaluated { files, summary })
    }
}
