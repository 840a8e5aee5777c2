//! One training step, written once, over explicit state `(w, b, step)`.
//!
//! [`EncoderLearner`] is a Burn module with burn-train's `TrainStep`: the dashboard's learner and the light
//! loop of [`crate::run::headless`] both call the same two functions, `step` and `optimize`. On Flex the contrastive gradient comes from
//! [`cl_model::closed_form`], everywhere else from Burn's autodiff.

use crate::spec::{Objective, TrainingSpec};
use crate::tasks::head::zero_head;
use crate::tasks::task::{Learning, StepOutput};
use burn::module::{Module, Param, ParamGroup};
use burn::nn::Linear;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsParams, ModuleOptimizer, MultiGradientsParams, SgdConfig, decay::WeightDecayConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn::train::{TrainOutput, TrainStep};
use cl_data::{Matrix, Part, Purpose, Stream, standard_normal};
use cl_model::closed_form::{ContrastiveLoss, HostBatch, HostEncoder, Rows};
use cl_model::{Bias, EncoderConfig, InfoNceOutput, Normalization, SymmetricReluEncoder, cross_entropy, nt_xent};

/// Steps in closed form between two [sweeps](sweep_graph) of Burn's graph.
const SWEEP_EVERY: u64 = 512;

/// The encoder in training: Algorithm 1 of Wen & Li 2021, or its supervised counterpart.
#[derive(Module, Debug)]
pub struct EncoderLearner {
    /// `f`.
    pub encoder: SymmetricReluEncoder,
    /// The linear head of the supervised objective.
    pub head: Option<Linear>,
    /// The next step, counted from 0.
    #[module(skip)]
    pub step: u64,
    #[module(skip)]
    objective: Objective,
    #[module(skip)]
    bias: Bias,
    #[module(skip)]
    code_dim: usize,
    #[module(skip)]
    gradient: GradientSource,
}

/// Where the gradient of a step comes from. Both give the same numbers up to rounding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GradientSource {
    /// Burn's autodiff over the plain formulation, on any backend.
    Autodiff,
    /// [`cl_model::closed_form`], in host memory.
    ClosedForm(ContrastiveLoss),
    /// The same for the loss alone; autodiff for the encoder.
    LossInClosedForm(ContrastiveLoss),
}

impl GradientSource {
    /// The fastest one there is for a specification on a device.
    pub fn fastest(spec: &TrainingSpec, device: &Device) -> Self {
        let loss = match spec.objective {
            Objective::Contrastive(c) => ContrastiveLoss::InfoNce(c.info_nce()),
            Objective::NtXent(s) => ContrastiveLoss::NtXent { temperature: s.temperature },
            Objective::Supervised(_) => return Self::Autodiff,
        };
        match (device.clone().inner() == Device::flex(), spec.encoder.normalization) {
            (false, _) => Self::Autodiff,
            (true, Normalization::None) => Self::ClosedForm(loss),
            (true, Normalization::Batch) => Self::LossInClosedForm(loss),
        }
    }
}

/// What one step trains on.
#[derive(Debug, Clone)]
pub struct TrainingBatch {
    /// The step it belongs to.
    pub step: u64,
    /// The samples, on the device.
    pub samples: Samples,
}

/// Samples of one step.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "one exists at a time, for the length of a step")]
pub enum Samples {
    /// Positive pairs and negatives.
    Contrastive {
        /// `x⁺`, `[B, d1]`.
        x_plus: Tensor<2>,
        /// `x⁺⁺`, `[B, d1]`.
        x_plus_plus: Tensor<2>,
        /// `[N, d1]`, or the other keys.
        negatives: Option<Tensor<2>>,
    },
    /// Observations and their classes.
    Supervised {
        /// `[B, d1]`.
        x: Tensor<2>,
        /// `[B]`, in 0..K.
        classes: Tensor<1, Int>,
    },
}

/// The loss of a batch with the similarities behind it.
#[derive(Debug, Clone)]
pub struct BatchLoss {
    /// Mean loss, `[1]`.
    pub loss: Tensor<1>,
    /// Similarities of InfoNCE.
    pub contrastive: Option<InfoNceOutput>,
}

impl EncoderLearner {
    /// The learner at step 0; `device` decides whether gradients can be taken.
    pub fn new(spec: &TrainingSpec, seed: u64, device: &Device) -> Self {
        let (m, d1) = (spec.encoder.num_neurons, spec.data.input_dim);
        let config = EncoderConfig { bias: spec.encoder.bias, normalization: spec.encoder.normalization };
        Self {
            encoder: config.init(initial_weights(m, d1, spec.encoder.initial_scale, seed).into_tensor(device)),
            head: match spec.objective {
                Objective::Contrastive(_) | Objective::NtXent(_) => None,
                Objective::Supervised(s) => Some(zero_head(m, s.num_classes, device)),
            },
            step: 0,
            objective: spec.objective,
            bias: spec.encoder.bias,
            code_dim: spec.data.code_dim,
            gradient: GradientSource::fastest(spec, device),
        }
    }

    /// The same learner with its gradients from elsewhere.
    pub fn with_gradient_from(self, gradient: GradientSource) -> Self {
        Self { gradient, ..self }
    }

    /// The same learner with other weights `[m, d1]` and thresholds `[m]`, outside autodiff.
    pub fn with_state(mut self, weights: Tensor<2>, biases: Tensor<1>) -> Self {
        self.encoder.weights = Param::initialized(self.encoder.weights.id, weights);
        self.encoder.biases = Param::initialized(self.encoder.biases.id, biases);
        self
    }

    /// The same learner with each weight multiplied by a number of its own, `[m, d1]`.
    pub fn with_weights_times(mut self, factors: Matrix) -> Self {
        self.encoder.weights = self.encoder.weights.map(|w| {
            let factors = factors.into_tensor(&w.device());
            (w.detach() * factors).detach().require_grad()
        });
        self
    }

    /// Plain SGD with weight decay on the encoder's weights alone.
    pub fn optimizer(spec: &TrainingSpec) -> ModuleOptimizer {
        let plain = SgdConfig::new();
        let decayed = plain.clone().with_weight_decay(Some(WeightDecayConfig::new(spec.training.weight_decay as f32)));
        plain.init().with_group(ParamGroup::from_path("encoder.weights"), decayed.build(), None)
    }

    /// The loss of samples.
    ///
    /// # Panics
    /// When the samples belong to the other objective.
    pub fn loss(&self, samples: Samples) -> BatchLoss {
        match (samples, self.objective, &self.head) {
            (Samples::Contrastive { x_plus, x_plus_plus, negatives }, Objective::Contrastive(spec), _) => {
                let key = |x| match spec.key_gradient {
                    cl_model::KeyGradient::Stopped => self.encoder.forward_detached(x),
                    cl_model::KeyGradient::Flows => self.encoder.forward(x),
                };
                let out = spec.info_nce().forward(self.encoder.forward(x_plus), key(x_plus_plus), negatives.map(key));
                BatchLoss { loss: out.loss.clone(), contrastive: Some(out) }
            }
            (Samples::Contrastive { x_plus, x_plus_plus, .. }, Objective::NtXent(spec), _) => {
                let loss = nt_xent(self.encoder.forward(x_plus), self.encoder.forward(x_plus_plus), spec.temperature);
                BatchLoss { loss, contrastive: None }
            }
            (Samples::Supervised { x, classes }, Objective::Supervised(_), Some(head)) => {
                let loss = cross_entropy(head.forward(self.encoder.forward(x)), classes);
                BatchLoss { loss, contrastive: None }
            }
            _ => panic!("the samples belong to another objective"),
        }
    }

    /// Loss and gradients of samples by [`cl_model::closed_form`].
    fn closed_form(&self, loss: ContrastiveLoss, samples: Samples) -> TrainOutput<Tensor<1>> {
        let Samples::Contrastive { x_plus, x_plus_plus, negatives } = samples else {
            panic!("the samples belong to another objective");
        };
        let [m, d1] = self.encoder.weights.dims();
        let (w, b) = (self.encoder.weights.val().into_data(), self.encoder.biases.val().into_data());
        let batch = [Some(x_plus), Some(x_plus_plus), negatives].map(|x| x.map(Tensor::into_data));
        let [x_plus, x_plus_plus, negatives] = batch.each_ref().map(|x| x.as_ref().map(|x| Rows::new(values(x), d1)));
        let (Some(x_plus), Some(x_plus_plus)) = (x_plus, x_plus_plus) else { unreachable!("both views are there") };
        let out = loss.loss_and_gradient(
            HostEncoder { weights: Rows::new(values(&w), d1), biases: values(&b) },
            HostBatch { x_plus, x_plus_plus, negatives },
        );
        let mut grads = GradientsParams::new();
        let device = Device::flex();
        grads.register(self.encoder.weights.id, Tensor::<2>::from_data(TensorData::new(out.weights, [m, d1]), &device));
        if self.encoder.biases.is_require_grad() {
            grads.register(self.encoder.biases.id, Tensor::<1>::from_data(TensorData::new(out.biases, [m]), &device));
        }
        TrainOutput { grads, item: Tensor::from_data([out.loss as f32], &device) }
    }

    /// Loss and gradients of samples, the loss by [`cl_model::closed_form`] and the encoder by autodiff.
    fn loss_in_closed_form(&self, loss: ContrastiveLoss, samples: Samples) -> TrainOutput<Tensor<1>> {
        let Samples::Contrastive { x_plus, x_plus_plus, negatives } = samples else {
            panic!("the samples belong to another objective");
        };
        let [b, _] = x_plus.dims();
        let key = |x| if loss.keys_flow() { self.encoder.forward(x) } else { self.encoder.forward_detached(x) };
        let views = [Some(self.encoder.forward(x_plus)), Some(key(x_plus_plus)), negatives.map(key)];
        let f = Tensor::cat(views.into_iter().flatten().collect(), 0);
        let [_, m] = f.dims();
        let (value, gradient) = loss.in_embeddings(values(&f.clone().detach().into_data()).to_vec(), m, b);
        let rows = gradient.len() / m;
        let gradient = Tensor::<2>::from_data(TensorData::new(gradient, [rows, m]), &f.device());
        // Its gradient is that of the loss.
        let product = (f.narrow(0, 0, rows) * gradient).sum();
        TrainOutput::new(self, product.backward(), Tensor::from_data([value as f32], &Device::flex()))
    }

    /// Lets thresholds follow the weights, then counts the step.
    fn finish_step(mut self, norms_before: Option<Tensor<1>>) -> Self {
        if let (Bias::Scheduled(rule), Some(before)) = (self.bias, norms_before) {
            let after = self.encoder.weight_norms();
            let (step, code_dim) = (self.step, self.code_dim);
            self.encoder.biases = self
                .encoder
                .biases
                .map(|b| rule.apply(b.detach(), before, after, step, code_dim).set_require_grad(false));
        }
        self.step += 1;
        if self.step.is_multiple_of(SWEEP_EVERY) && matches!(self.gradient, GradientSource::ClosedForm(_)) {
            sweep_graph(&self.encoder.weights.device().inner().autodiff());
        }
        self
    }

    /// `‖w_i‖` before the step, where the bias rule will ask for it.
    fn norms_for_bias_rule(&self) -> Option<Tensor<1>> {
        match self.bias {
            Bias::Scheduled(rule) if self.step >= rule.start_step => Some(self.encoder.weight_norms()),
            _ => None,
        }
    }
}

impl TrainStep for EncoderLearner {
    type Input = TrainingBatch;
    type Output = StepOutput;

    fn step(&self, batch: TrainingBatch) -> TrainOutput<StepOutput> {
        assert_eq!(batch.step, self.step, "the batch belongs to another step");
        let TrainOutput { grads, item: loss } = match self.gradient {
            GradientSource::ClosedForm(loss) => self.closed_form(loss, batch.samples),
            GradientSource::LossInClosedForm(loss) => self.loss_in_closed_form(loss, batch.samples),
            GradientSource::Autodiff => {
                let loss = self.loss(batch.samples).loss;
                let gradients = loss.backward();
                TrainOutput::new(self, gradients, loss.detach())
            }
        };
        TrainOutput { grads, item: StepOutput { step: self.step, loss } }
    }

    fn optimize(self, optim: &mut ModuleOptimizer, lr: ModuleLearningRate, grads: GradientsParams) -> Self {
        let before = self.norms_for_bias_rule();
        optim.step(lr, self, grads).finish_step(before)
    }

    fn optimize_multi(self, optim: &mut ModuleOptimizer, lr: ModuleLearningRate, grads: MultiGradientsParams) -> Self {
        let before = self.norms_for_bias_rule();
        optim.step_multi(lr, self, grads).finish_step(before)
    }
}

impl Learning for EncoderLearner {
    fn steps_done(&self) -> u64 {
        self.step
    }

    fn at_step(self, steps_done: u64) -> Self {
        Self { step: steps_done, ..self }
    }
}

/// Lets Burn forget parameters of earlier steps: it keeps an entry for each tensor that may ask for a gradient, until a backward
/// pass looks which of them are still there. Steps in closed form make no backward pass.
fn sweep_graph(device: &Device) {
    let _ = Tensor::<1>::zeros([1], device).require_grad().sum().backward();
}

/// Numbers that a tensor on the host holds.
fn values(data: &TensorData) -> &[f32] {
    data.as_slice().expect("tensors on Flex hold 32-bit floats")
}

/// `w_i⁽⁰⁾ ~ N(0, σ_0² I)` with `σ_0 = initial_scale / √d1`, `[m, d1]`.
fn initial_weights(m: usize, d1: usize, initial_scale: f64, seed: u64) -> Matrix {
    let mut rng = Stream::new(seed, Purpose::InitialWeights).rng(Part::Whole, 0);
    let std = (initial_scale / (d1 as f64).sqrt()) as f32;
    Matrix::from_values(m, d1, standard_normal(&mut rng, m * d1).into_iter().map(|v| v * std).collect())
}

/// Draws the batch of any step on any device.
#[derive(Debug, Clone)]
pub struct BatchSource {
    sampler: cl_data::PairSampler,
    objective: Objective,
    /// `C` of the supervised classes, `[K, d]`.
    class_matrix: Matrix,
}

impl BatchSource {
    /// The batches of one seed.
    pub fn new(spec: &TrainingSpec, seed: u64) -> Self {
        let d = spec.data.code_dim;
        let classes = match spec.objective {
            Objective::Contrastive(_) | Objective::NtXent(_) => 0,
            Objective::Supervised(s) => s.num_classes,
        };
        let mut rng = Stream::new(seed, Purpose::Classes).rng(Part::Whole, 0);
        let class_matrix = Matrix::from_values(classes, d, standard_normal(&mut rng, classes * d));
        Self { sampler: spec.sampler(seed), objective: spec.objective, class_matrix }
    }

    /// What is trained on at `step`.
    pub fn training(&self, step: u64, device: &Device) -> TrainingBatch {
        let samples = match self.objective {
            Objective::Contrastive(_) | Objective::NtXent(_) => on_device(self.sampler.batch(step), device),
            Objective::Supervised(_) => self.labelled(Purpose::TrainingPairs, step, device),
        };
        TrainingBatch { step, samples }
    }

    /// The contrastive batch of `step` in host memory.
    pub fn on_host(&self, step: u64) -> cl_data::ContrastiveBatch {
        self.sampler.batch(step)
    }

    /// Held-out samples of the same make, for the loss shown at `step`.
    pub fn held_out(&self, step: u64, device: &Device) -> Samples {
        match self.objective {
            Objective::Contrastive(_) | Objective::NtXent(_) => on_device(self.sampler.held_out_batch(step), device),
            Objective::Supervised(_) => self.labelled(Purpose::HeldOutPairs, step, device),
        }
    }

    /// The data model.
    pub fn data(&self) -> &cl_data::SparseCodingModel {
        &self.sampler.data
    }

    fn labelled(&self, purpose: Purpose, step: u64, device: &Device) -> Samples {
        let stream = Stream::new(self.sampler.seed, purpose);
        let observations = self.sampler.data.sample(self.sampler.batch_size, stream, step);
        let mut classes: Vec<i64> = observations.z.iter_rows().map(|z| self.class_of(z) as i64).collect();
        if matches!(self.objective, Objective::Supervised(s) if s.shuffled_labels) {
            // Observations are independent, so that the class of the next one is as good as any.
            classes.rotate_left(1);
        }
        let count = classes.len();
        Samples::Supervised {
            x: observations.x.into_tensor(device),
            classes: Tensor::from_data(TensorData::new(classes, [count]), device),
        }
    }

    /// `argmax_k (C z)_k`; the smallest k of equals, so z = 0 is class 0.
    fn class_of(&self, z: &[f32]) -> usize {
        let scores = self.class_matrix.iter_rows().map(|c| c.iter().zip(z).map(|(c, z)| c * z).sum::<f32>());
        let best =
            scores.enumerate().fold((0, f32::NEG_INFINITY), |best, (k, s)| if s > best.1 { (k, s) } else { best });
        best.0
    }
}

fn on_device(batch: cl_data::ContrastiveBatch, device: &Device) -> Samples {
    Samples::Contrastive {
        x_plus: batch.pair.x_plus.into_tensor(device),
        x_plus_plus: batch.pair.x_plus_plus.into_tensor(device),
        negatives: batch.negatives.map(|n| n.into_tensor(device)),
    }
}
