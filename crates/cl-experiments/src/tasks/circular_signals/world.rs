//! Signals on a circle as a [`World`].

use super::evaluation::evaluate;
use super::spec::SignalSpec;
use crate::io::files::{pretty, safetensors_bytes};
use crate::io::undefined::or_nan;
use crate::tasks::task::Evaluated;
use crate::tasks::two_views::World;
use crate::tasks::weights;
use burn::tensor::Device;
use cl_data::{CircularSignals, Matrix, Purpose, Stream};
use cl_model::{Siamese, VectorEncoder};

/// A seed's signals.
#[derive(Debug, Clone)]
pub struct Signals {
    spec: SignalSpec,
    seed: u64,
    signals: CircularSignals,
}

impl World for Signals {
    type Spec = SignalSpec;

    fn new(spec: &SignalSpec, seed: u64) -> Self {
        let signals = CircularSignals::random(spec.data, Stream::new(seed, Purpose::Dictionary));
        Self { spec: spec.clone(), seed, signals: signals.expect("the specification has been checked") }
    }

    fn views(&self, count: usize, purpose: Purpose, step: u64) -> [Matrix; 2] {
        self.signals.sample(count, self.spec.views.shift, Stream::new(self.seed, purpose), step).views
    }

    fn evaluate<E: VectorEncoder>(&self, model: &Siamese<E>, device: &Device) -> Result<Evaluated, String> {
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
