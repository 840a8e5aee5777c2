//! Observations with a class as a [`World`].

use super::evaluation::{ClassEvaluation, score};
use super::spec::ClassSpec;
use crate::io::error::UserError;
use crate::io::files::{pretty, safetensors_bytes};
use crate::io::undefined::or_nan;
use crate::tasks::task::{Evaluated, Place};
use crate::tasks::two_views::World;
use crate::tasks::weights;
use burn::tensor::{Device, Tensor};
use cl_data::{ClassFeatures, LabelledObservations, Matrix, Purpose, Stream};
use cl_model::prototypes::PrototypeMeasures;
use cl_model::{Encoder, Siamese};

/// A seed's observations.
#[derive(Debug, Clone)]
pub struct Classes {
    spec: ClassSpec,
    seed: u64,
    model: ClassFeatures,
}

/// What losses and prototypes are measured on.
struct Measured {
    classes: Vec<usize>,
    queries: Matrix,
    /// Draw by draw.
    keys: Vec<Matrix>,
    /// One second view each of other observations.
    others: Matrix,
    classes_of_others: Vec<usize>,
}

impl Classes {
    /// Queries are first views, keys are second views of the same observations: those of the first draw belong to the queries' masks.
    fn measured(&self) -> Measured {
        let stream = Stream::new(self.seed, Purpose::Evaluation);
        let LabelledObservations { classes, x } = self.model.sample(self.spec.evaluation.samples, stream, 0);
        // Masks of their own: the observations are those of step 0.
        let pairs = (1..=self.spec.evaluation.draws as u64)
            .map(|step| self.spec.views.augmentation().apply(x.clone(), stream, step));
        let (mut queries, keys): (Vec<Matrix>, Vec<Matrix>) = pairs.map(|pair| (pair.x_plus, pair.x_plus_plus)).unzip();
        let others = self.model.sample_balanced(self.spec.evaluation.prototype_samples_per_class, stream, 0x1000);
        let of_others = self.spec.views.augmentation().apply(others.x, stream, 0x1000).x_plus_plus;
        Measured {
            classes,
            queries: queries.swap_remove(0),
            keys,
            others: of_others,
            classes_of_others: others.classes,
        }
    }

    fn measure_prototypes<E: Encoder<Input = Tensor<2>>>(
        &self,
        model: &Siamese<E>,
        device: &Device,
    ) -> PrototypeMeasures {
        let Measured { classes, queries, keys, others, classes_of_others } = self.measured();
        let output = |x: Matrix| model.output(x.into_tensor(device));
        let keys = keys.into_iter().map(output).collect();
        let samples = (output(queries), keys, &classes[..]);
        PrototypeMeasures::new(samples, (output(others), &classes_of_others), self.spec.evaluation.temperature)
    }
}

impl World for Classes {
    type Spec = ClassSpec;
    type Input = Tensor<2>;

    fn new(spec: &ClassSpec, seed: u64, _: Place) -> Result<Self, UserError> {
        let model = ClassFeatures::random(spec.data, Stream::new(seed, Purpose::Dictionary));
        Ok(Self { spec: spec.clone(), seed, model: model.expect("the specification has been checked") })
    }

    fn views(&self, count: usize, purpose: Purpose, step: u64, device: &Device) -> [Tensor<2>; 2] {
        let views = (self.spec.views.positives, self.spec.views.augmentation());
        let pair = self.model.pairs(count, views, Stream::new(self.seed, purpose), step);
        [pair.x_plus, pair.x_plus_plus].map(|view| view.into_tensor(device))
    }

    fn prototypes<E: Encoder<Input = Tensor<2>>>(
        &self,
        model: &Siamese<E>,
        device: &Device,
    ) -> Option<PrototypeMeasures> {
        Some(self.measure_prototypes(model, device))
    }

    fn evaluate<E: Encoder<Input = Tensor<2>>>(
        &self,
        model: &Siamese<E>,
        _: impl FnOnce() -> Siamese<E>,
        device: &Device,
    ) -> Result<Evaluated, String> {
        let drawn = [Purpose::ProbeTraining, Purpose::ProbeTest].map(|purpose| {
            let each = self.spec.evaluation.probe_samples_per_class;
            self.model.sample_balanced(each, Stream::new(self.seed, purpose), 0)
        });
        let inputs = drawn.each_ref().map(|o| o.x.to_tensor(device));
        let features = inputs.clone().map(|x| model.encoder.forward(x));
        let outputs = features.clone().map(|h| model.project(h));
        let probe =
            |x: [Tensor<2>; 2]| score(x, [&drawn[0], &drawn[1]], self.spec.data.classes).map_err(|e| e.to_string());
        let (of_features, of_outputs, of_inputs) = (probe(features)?, probe(outputs)?, probe(inputs)?);
        let evaluation = ClassEvaluation {
            features_minus_outputs: of_features.accuracy - of_outputs.accuracy,
            features: of_features,
            outputs: of_outputs,
            inputs: of_inputs,
            prototypes: self.measure_prototypes(model, device),
        };
        let Measured { queries, keys, classes, others, classes_of_others } = self.measured();
        let rows = keys.len() * queries.rows;
        let keys = Matrix::from_values(rows, queries.cols, keys.into_iter().flat_map(|k| k.values).collect());
        let column =
            |values: &[usize]| Matrix::from_values(values.len(), 1, values.iter().map(|v| *v as f32).collect());
        let tensors = [
            ("dictionary", self.model.dictionary().features().clone()),
            ("queries", queries),
            ("keys", keys),
            ("classes", column(&classes)),
            ("others", others),
            ("classes_of_others", column(&classes_of_others)),
            ("probe_fitted", drawn[0].x.clone()),
            ("probe_fitted_classes", column(&drawn[0].classes)),
            ("probe_scored", drawn[1].x.clone()),
            ("probe_scored_classes", column(&drawn[1].classes)),
        ];
        let tensors = tensors.map(|(name, matrix)| (name, matrix.into_tensor(device).into_data()));
        let summary = format!(
            "probe {:.3} on features, {:.3} on outputs, relative prototype bias {:.3}",
            evaluation.features.accuracy,
            evaluation.outputs.accuracy,
            or_nan(evaluation.prototypes.relative_bias)
        );
        let files = vec![
            ("evaluation.json", pretty(&evaluation).into_bytes()),
            ("classes.safetensors", safetensors_bytes(tensors)),
            ("model.safetensors", weights::to_safetensors(model)?),
        ];
        Ok(Evaluated { files, summary })
    }
}
