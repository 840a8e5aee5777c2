//! An encoder and a linear head behind it, trained on a few labels.

use super::labels::Labels;
use super::spec::{Budget, TextEvaluationSpec};
use crate::tasks::initial_model::zero_head;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData};
use cl_data::{Purpose, Stream, epoch_order};
use cl_model::probe::accuracy;
use cl_model::{Encoder, OptimizerConfig, Siamese, Tokens};

/// Sentences that go through an encoder together during measurements.
pub const CHUNK: usize = 512;

/// Accuracy on the test of an encoder that is trained together with a head that starts at 0, by Adam, on the first `budget.labels` sentences.
pub fn fine_tuned_accuracy<E: Encoder<Input = Tokens>>(
    encoder: &E,
    labels: &Labels,
    (spec, budget): (&TextEvaluationSpec, Budget),
    seed: u64,
    device: &Device,
) -> f64 {
    let training = device.clone().autodiff();
    let head = zero_head(encoder.feature_dim(), labels.classes, &training);
    let mut model = Siamese { head: Some(head), ..Siamese::of_encoder(encoder.clone().train()) };
    let adam = OptimizerConfig::AdamW { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 0.0 };
    let mut optimizer = adam.init();
    let batch_size = spec.fine_tuning_batch.min(budget.labels);
    let steps_per_epoch = (budget.labels / batch_size) as u64;
    let mut order = Vec::new();
    for step in 0..budget.steps {
        if step % steps_per_epoch == 0 {
            let stream = Stream::new(seed, Purpose::TextLabels);
            order = epoch_order(budget.labels, stream, 1 + step / steps_per_epoch);
        }
        let from = (step % steps_per_epoch) as usize * batch_size;
        let rows = &order[from..from + batch_size];
        let sentences = Tokens::new(rows.iter().map(|i| labels.train.get(*i)), &training);
        let classes: Vec<i64> = rows.iter().map(|i| labels.train_classes[*i] as i64).collect();
        let classes = Tensor::<1, Int>::from_data(TensorData::new(classes, [batch_size]), &training);
        let loss = model.cross_entropy(model.encoder.forward(sentences), classes);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(spec.fine_tuning_rate, model, gradients);
    }
    let model = burn::module::Module::valid(&model);
    let mut told = Vec::with_capacity(labels.test.len());
    for start in (0..labels.test.len()).step_by(CHUNK) {
        let rows = start..(start + CHUNK).min(labels.test.len());
        let sentences = Tokens::new(rows.map(|i| labels.test.get(i)), device);
        let logits = model.logits(model.encoder.forward(sentences));
        told.extend(logits.argmax(1).into_data().iter::<i64>().map(|class| class as usize));
    }
    accuracy(&told, &labels.test_classes)
}
