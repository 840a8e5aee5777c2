//! What is measured while an encoder of signals trains.

use crate::tasks::spread::ViewDistances;
use crate::tasks::task::{Measured, Shown};
use cl_model::representation::OutputMeasures;
use serde::{Deserialize, Serialize};

/// One line of `metrics.jsonl`: the state after `step` steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SignalSnapshot {
    /// Steps done.
    pub step: u64,
    /// `η` of the last step (of the first, at step 0).
    pub learning_rate: f64,
    /// Loss on a held-out batch.
    pub loss: f64,
    /// How far the views of 512 signals are apart; `None` where all are alike.
    pub view_distances: Option<ViewDistances>,
    /// Effective rank of the features of the same; `None` where one is not finite.
    pub feature_rank: Option<f64>,
    /// Of the outputs for the held-out batch, before any predictor.
    pub outputs: Option<OutputMeasures>,
    /// Norm of the gradient of all parameters together for the next training batch, before any bound; `None` where it is not finite.
    pub gradient_norm: Option<f64>,
}

impl Measured for SignalSnapshot {
    fn step(&self) -> u64 {
        self.step
    }

    fn loss(&self) -> f64 {
        self.loss
    }

    fn shown() -> Vec<Shown<Self>> {
        vec![
            Shown { name: "Held-out loss", read: |s| s.loss, higher_is_better: false },
            Shown {
                name: "View distance, features",
                read: |s| s.view_distances.map_or(0.0, |d| d.features),
                higher_is_better: false,
            },
            Shown {
                name: "View distance, outputs",
                read: |s| s.view_distances.map_or(0.0, |d| d.outputs),
                higher_is_better: false,
            },
            Shown { name: "Effective rank", read: |s| s.feature_rank.unwrap_or(0.0), higher_is_better: true },
            Shown { name: "Gradient norm", read: |s| s.gradient_norm.unwrap_or(0.0), higher_is_better: false },
        ]
    }

    fn warning(&self) -> Option<String> {
        self.outputs?.collapse().map(String::from)
    }
}
