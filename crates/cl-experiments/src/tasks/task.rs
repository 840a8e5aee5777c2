//! What a kind of training has to offer to whoever carries it out. It knows neither folders nor dashboards.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::ModuleOptimizer;
use burn::tensor::{Device, ExecutionError, Tensor};
use burn::train::{ItemLazy, TrainOutput, TrainStep};
use cl_model::StepSize;
use serde::{Serialize, de::DeserializeOwned};

/// A kind of training under one specification and seed: what is trained, on what, and how it is measured.
pub trait Training: Send + Sync + Sized + 'static {
    /// The module in training.
    type Learner: Learning + TrainStep<Input = Self::Batch, Output = StepOutput>;
    /// What one step trains on.
    type Batch: Send + 'static;
    /// What is measured at the end of an epoch.
    type Snapshot: Measured;

    /// Length and step sizes.
    fn schedule(&self) -> Schedule;

    /// The learner at step 0, able to take gradients.
    fn fresh(&self) -> Self::Learner;

    /// The learner at step 0, outside autodiff.
    fn untrained(&self) -> Self::Learner;

    /// How parameters move.
    fn optimizer(&self) -> ModuleOptimizer;

    /// What is trained on at a step: a pure function of it.
    fn batch(&self, step: u64) -> Self::Batch;

    /// Whether steps take their gradient from [`cl_model::closed_form`]. Then they come to the same bits whatever else the
    /// threads do, so that the next batch may be drawn meanwhile. (Burn's reductions on Flex are cut according to which
    /// threads are free.)
    fn has_closed_form(&self) -> bool {
        false
    }

    /// Measures a learner outside autodiff.
    fn snapshot(&self, learner: &Self::Learner) -> Self::Snapshot;

    /// How good a snapshot is, where the best learner is scored beside the last one: larger is better, and of equals the first is
    /// the best. `None` where no other learner is kept.
    fn quality(_snapshot: &Self::Snapshot) -> Option<f64> {
        None
    }

    /// Scores the learner at the end, and the best one where one is kept, outside autodiff.
    ///
    /// # Errors
    /// In words, when a probe fails.
    fn evaluate(&self, last: &Self::Learner, best: Option<&Self::Learner>) -> Result<Evaluated, String>;
}

/// What a finished training leaves behind.
#[derive(Debug, Clone)]
pub struct Evaluated {
    /// Names of files and what they hold.
    pub files: Vec<(&'static str, Vec<u8>)>,
    /// What came out, in a line.
    pub summary: String,
}

/// One step, and the batch of the next, drawn at the same time where that is allowed and rayon has a thread for it.
///
/// `ahead` is what the step before has drawn. A batch is a pure function of its step, so that drawing ahead changes no number.
pub fn step_and_draw<T: Training>(
    training: &T,
    learner: &T::Learner,
    ahead: Option<T::Batch>,
) -> (TrainOutput<StepOutput>, Option<T::Batch>) {
    let step = learner.steps_done();
    let batch = ahead.unwrap_or_else(|| training.batch(step));
    if training.has_closed_form() && rayon::current_num_threads() > 1 && step + 1 < training.schedule().steps {
        let (output, next) = rayon::join(|| TrainStep::step(learner, batch), || training.batch(step + 1));
        (output, Some(next))
    } else {
        (TrainStep::step(learner, batch), None)
    }
}

/// How long is trained, and with which step sizes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// `T`.
    pub steps: u64,
    /// Steps between two snapshots.
    pub steps_per_epoch: u64,
    /// `η`.
    pub step_size: StepSize,
}

/// A module that counts its steps.
pub trait Learning: Module + Sync + 'static {
    /// Steps done.
    fn steps_done(&self) -> u64;

    /// The same module after another number of steps.
    fn at_step(self, steps_done: u64) -> Self;
}

/// A snapshot: a line of `metrics.jsonl`, numbers of the dashboard.
pub trait Measured: Serialize + DeserializeOwned + Clone + std::fmt::Debug + Send + Sync + 'static {
    /// Steps done.
    fn step(&self) -> u64;

    /// The loss shown; a run stops once it is not finite.
    fn loss(&self) -> f64;

    /// What the dashboard and the lines on a pipe show.
    fn shown() -> Vec<Shown<Self>>;

    /// The shown numbers in a line.
    fn line(&self) -> String {
        Self::shown().iter().map(|s| format!("{} {:.3}", s.name, (s.read)(self))).collect::<Vec<_>>().join("  ")
    }
}

/// One number of a snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Shown<S> {
    /// Its name.
    pub name: &'static str,
    /// How it is read.
    pub read: fn(&S) -> f64,
    /// Whether more is better.
    pub higher_is_better: bool,
}

/// What a step leaves behind.
#[derive(Debug, Clone)]
pub struct StepOutput {
    /// The step, counted from 0.
    pub step: u64,
    /// Mean loss, `[1]`, outside the gradient.
    pub loss: Tensor<1>,
}

impl ItemLazy for StepOutput {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(Self { loss: Tensor::from_data(self.loss.try_into_data()?, &Device::flex()), ..self })
    }
}

/// Whether every parameter of a module is a finite number.
pub fn is_finite<M: Module>(module: &M) -> bool {
    struct Finite(bool);
    impl ModuleVisitor for Finite {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            self.0 = self.0 && parameter.val().detach().is_finite().all().into_scalar::<bool>();
        }
    }
    let mut finite = Finite(true);
    module.visit(&mut finite);
    finite.0
}

/// Shapes of a module's parameters, in order.
pub fn shapes<M: Module>(module: &M) -> Vec<Vec<usize>> {
    struct Shapes(Vec<Vec<usize>>);
    impl ModuleVisitor for Shapes {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            self.0.push(parameter.shape().to_vec());
        }
    }
    let mut shapes = Shapes(Vec::new());
    module.visit(&mut shapes);
    shapes.0
}
