//! What moves the parameters against their gradients.

use serde::{Deserialize, Serialize};

use super::{Adam, Learner, Sgd};

/// An optimiser with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "name")]
#[non_exhaustive]
pub enum OptimizerKind {
    /// [`Adam`].
    Adam {
        /// Decay of the average of gradients, in 0..1.
        beta1: f64,
        /// Decay of the average of squared gradients, in 0..1.
        beta2: f64,
        /// Added to the root of the average square.
        epsilon: f64,
    },
    /// [`Sgd`].
    Sgd {
        /// Decay of the sum of gradients, in 0..1.
        momentum: f64,
        /// Times the weights, added to their gradients; biases and gains are left alone.
        weight_decay: f64,
    },
}

impl OptimizerKind {
    /// Adam with the paper's settings.
    pub fn adam() -> Self {
        let Adam { beta1, beta2, epsilon, .. } = Adam::default();
        Self::Adam { beta1, beta2, epsilon }
    }

    pub(super) fn start(self) -> Optimizer {
        match self {
            Self::Adam { beta1, beta2, epsilon } => {
                Optimizer::Adam(Adam { beta1, beta2, epsilon, ..Adam::default() })
            }
            Self::Sgd { momentum, weight_decay } => {
                Optimizer::Sgd(Sgd { momentum, weight_decay, ..Sgd::default() })
            }
        }
    }
}

/// An optimiser and what it remembers.
pub(super) enum Optimizer {
    Adam(Adam),
    Sgd(Sgd),
}

impl Optimizer {
    pub(super) fn step(&mut self, learner: &mut Learner, rate: f64) {
        match self {
            Self::Adam(adam) => adam.step(learner, rate),
            Self::Sgd(sgd) => sgd.step(learner, rate),
        }
    }

    /// What it remembers, one list for each kind of memory, with one entry for each parameter, or none before the first step.
    pub(super) fn memory(&self) -> Vec<(&'static str, &Vec<Vec<f32>>)> {
        match self {
            Self::Adam(adam) => vec![("mean", &adam.means), ("square", &adam.squares)],
            Self::Sgd(sgd) => vec![("velocity", &sgd.velocities)],
        }
    }

    /// Puts back what [`Optimizer::memory`] gave after this many steps.
    pub(super) fn restore(&mut self, steps: u64, mut memory: impl FnMut(&str) -> Vec<Vec<f32>>) {
        match self {
            Self::Adam(adam) => {
                adam.steps = steps;
                (adam.means, adam.squares) = (memory("mean"), memory("square"));
            }
            Self::Sgd(sgd) => sgd.velocities = memory("velocity"),
        }
    }
}
