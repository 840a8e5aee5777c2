//! Learning rates for the drivers.

use burn::optim::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use cl_model::LearningRate;

/// [`LearningRate`] as burn-train's scheduler. (Burn's own schedulers reject rates above 1.)
#[derive(Debug, Clone)]
pub struct LearningRateScheduler {
    schedule: LearningRate,
    next: u64,
}

impl LearningRateScheduler {
    /// A scheduler whose first step is `next`.
    pub fn new(schedule: LearningRate, next: u64) -> Self {
        Self { schedule, next }
    }
}

impl LrScheduler for LearningRateScheduler {
    fn step(&mut self) -> f64 {
        self.next += 1;
        self.schedule.at(self.next - 1)
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new().with_scalar("next", self.next)
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        if let Some(next) = record.scalar("next") {
            self.next = next;
        }
    }
}
