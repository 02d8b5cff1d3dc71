//! The learning rate over a run.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// What the learning rate is multiplied by from step to step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "name")]
#[non_exhaustive]
pub enum Schedule {
    /// 1.
    Constant,
    /// Half a cosine from 1 to 0 (Loshchilov and Hutter 2017, equation 5, without restarts).
    Cosine,
    /// Times `factor` after every `every` steps.
    Step {
        /// Steps from one change to the next, at least 1.
        every: u64,
        /// Above 0.
        factor: f64,
    },
}

impl Schedule {
    /// The factor of step `step`, counted from 0, in a run of `steps`.
    pub fn factor(self, step: u64, steps: u64) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Cosine => 0.5 * (1.0 + (PI * step as f64 / steps.max(1) as f64).cos()),
            Self::Step { every, factor } => {
                factor.powi(i32::try_from(step / every.max(1)).unwrap_or(i32::MAX))
            }
        }
    }
}

/// Rises from near 0 to 1 in the first `steps` steps: large steps from random weights can leave a network dead.
pub(super) fn warmup(step: u64, steps: u64) -> f64 {
    if step < steps { (step as f64 + 1.0) / (steps as f64 + 1.0) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "these factors are exact")]
    fn schedules_are_what_they_say() {
        assert!((Schedule::Cosine.factor(0, 10) - 1.0).abs() < 1e-12);
        assert!((Schedule::Cosine.factor(5, 10) - 0.5).abs() < 1e-12);
        assert!(Schedule::Cosine.factor(9, 10) < 0.03);
        let step = Schedule::Step { every: 3, factor: 0.5 };
        let factors: Vec<f64> = (0..7).map(|s| step.factor(s, 7)).collect();
        assert_eq!(factors, [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25]);
        assert_eq!([0, 1, 2, 3, 4].map(|s| warmup(s, 3)), [0.25, 0.5, 0.75, 1.0, 1.0]);
        assert_eq!(warmup(0, 0), 1.0);
        assert!((0.0..1e-18).contains(&warmup(0, u64::MAX)));
    }
}
