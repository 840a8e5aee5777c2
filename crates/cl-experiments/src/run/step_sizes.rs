//! Step sizes for the drivers.

use burn::optim::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use cl_model::StepSize;

/// [`StepSize`] as burn-train's scheduler. (Burn's own refuse rates above 1.)
#[derive(Debug, Clone)]
pub struct StepSizeScheduler {
    schedule: StepSize,
    next: u64,
}

impl StepSizeScheduler {
    /// A scheduler whose first step is `next`.
    pub fn new(schedule: StepSize, next: u64) -> Self {
        Self { schedule, next }
    }
}

impl LrScheduler for StepSizeScheduler {
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
