//! What it costs in α that a label is read off the votes themselves.

use serde::{Deserialize, Serialize};

use super::error::{StatsError, check, check_alpha};

/// When the label of a claim is chosen, and so which share of α a claim about one label may spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelRule {
    /// The label is fixed before the first noisy vote, for instance as the label of the clean picture.
    Fixed,
    /// The label is the leader of the same votes. Only for exclusive votes: one label an answer.
    Leader,
    /// Any number of labels may be claimed at once, each by a test of its own over the same answers, when an
    /// answer holds at most `max_labels` of them, out of however large a vocabulary.
    Open {
        /// The most labels that one answer can hold.
        max_labels: usize,
    },
}

impl LabelRule {
    /// The level left for the claim "p ≥ m" about one label, m in [1/2, 1], so that all claims together err
    /// with probability at most α.
    ///
    /// Fixed: α. Leader: [`alpha_free`]. Open: α m/M, because the chance that a label of probability p ≤ m is
    /// wrongly certified is at most (p/m) times that at p = m, and the probabilities of all labels sum to at
    /// most M.
    pub(crate) fn level(self, m: f64, alpha: f64) -> f64 {
        match self {
            Self::Fixed => alpha,
            Self::Leader => free_level(m, alpha),
            Self::Open { max_labels } => alpha * m / max_labels as f64,
        }
    }

    /// The rule, if it can be used.
    pub(crate) fn check(self) -> Result<Self, StatsError> {
        match self {
            Self::Open { max_labels: 0 } => {
                Err(StatsError::Parameter { name: "max_labels", value: 0, range: "at least 1" })
            }
            _ => Ok(self),
        }
    }
}

/// The level for "p ≥ m" when the label is the leader of the same votes: α (1 - ½ (2-2m)^e₀), e₀ = ⌈log₂
/// 1/α⌉.
///
/// A label other than the most likely one has p ≤ 1-m; to be reported it must cross m = 1/2 at level α/2 or
/// less, which takes an excess of e₀+1 agreeing votes over dissenting ones, and so has probability at most
/// (α/2)(2-2m)^e₀ by a change of measure. That much is set aside: α/2 at m = 1/2, less than α/1000 from m =
/// 0.75 on for α = 0.001.
///
/// # Errors
/// [`StatsError::OutOfRange`] for m outside [1/2, 1] or α outside (0, 1).
pub fn alpha_free(m: f64, alpha: f64) -> Result<f64, StatsError> {
    check_alpha(alpha)?;
    Ok(free_level(check("m", m, (0.5..=1.0).contains(&m), "between 1/2 and 1")?, alpha))
}

/// [`alpha_free`] for arguments already checked.
fn free_level(m: f64, alpha: f64) -> f64 {
    let excess = alpha.recip().log2().ceil();
    alpha * (1.0 - 0.5 * (2.0 - 2.0 * m).powf(excess))
}
