//! A model in training, for every task: what burn-train and the headless trainer step.

use super::task::{StepOutput, Task};
use burn::module::Module;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsParams, ModuleOptimizer, MultiGradientsParams};
use burn::train::{TrainOutput, TrainStep};
use cl_model::clip_to_norm;
use std::fmt::Debug;
use std::sync::Arc;

/// A model with its number of steps and a handle to the task that trains it.
#[derive(Module, Debug)]
pub struct Learner<M: Module, H: Clone + Debug + Send + Sync> {
    /// What is trained.
    pub model: M,
    #[module(skip)]
    step: u64,
    #[module(skip)]
    task: H,
}

/// The learner of a task.
pub type LearnerOf<T> = Learner<<T as Task>::Model, Arc<T>>;

impl<T: Task> Learner<T::Model, Arc<T>> {
    /// The learner at step 0, able to take gradients.
    pub fn start(task: &Arc<T>) -> Self {
        let model = task.init(&task.device().clone().autodiff());
        Self { model, step: 0, task: task.clone() }
    }

    /// The learner at step 0, outside autodiff.
    pub fn untrained(task: &Arc<T>) -> Self {
        Self { model: task.untrained(), step: 0, task: task.clone() }
    }

    /// Steps done.
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// The same learner, set to another number of steps.
    #[must_use]
    pub fn at_step(self, steps_done: u64) -> Self {
        Self { step: steps_done, ..self }
    }

    /// The task that trains it.
    pub fn task(&self) -> &Arc<T> {
        &self.task
    }

    /// The same learner with another model.
    #[must_use]
    pub fn with_model(self, model: T::Model) -> Self {
        Self { model, ..self }
    }

    /// The snapshot of its current state, outside autodiff.
    pub fn snapshot(&self) -> T::Snapshot {
        self.task.snapshot(&self.model.valid(), self.step)
    }

    /// Gradients of one step, and the next batch, drawn concurrently if allowed and if rayon has a thread for it.
    ///
    /// `ahead` was drawn by the previous step. A batch is a pure function of its step: drawing ahead changes nothing.
    pub fn step_and_draw(&self, ahead: Option<T::Batch>) -> (TrainOutput<StepOutput>, Option<T::Batch>) {
        let (task, step) = (&self.task, self.step);
        let batch = ahead.unwrap_or_else(|| task.batch(step));
        if task.may_draw_ahead() && rayon::current_num_threads() > 1 && step + 1 < task.schedule().steps {
            let (output, next) = rayon::join(|| TrainStep::step(self, batch), || task.batch(step + 1));
            (output, Some(next))
        } else {
            (TrainStep::step(self, batch), None)
        }
    }

    fn moved(self, gradients: GradientsParams, optimize: impl FnOnce(T::Model, GradientsParams) -> T::Model) -> Self {
        let model = self.task.update(self.model, self.step, gradients, optimize);
        Self { model, step: self.step + 1, task: self.task }
    }
}

impl<T: Task> TrainStep for Learner<T::Model, Arc<T>> {
    type Input = T::Batch;
    type Output = StepOutput;

    fn step(&self, batch: T::Batch) -> TrainOutput<StepOutput> {
        let TrainOutput { grads, item } = self.task.gradients(&self.model, batch);
        let grads = match self.task.schedule().gradient_clip {
            Some(most) => clip_to_norm(grads, &self.model, most),
            None => grads,
        };
        TrainOutput { grads, item: StepOutput { step: self.step, loss: item } }
    }

    fn optimize(self, optim: &mut ModuleOptimizer, lr: ModuleLearningRate, grads: GradientsParams) -> Self {
        self.moved(grads, |model, grads| optim.step(lr, model, grads))
    }

    fn optimize_multi(self, optim: &mut ModuleOptimizer, lr: ModuleLearningRate, grads: MultiGradientsParams) -> Self {
        self.moved(GradientsParams::new(), |model, _| optim.step_multi(lr, model, grads))
    }
}
