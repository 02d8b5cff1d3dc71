//! What a test says after a vote.

use serde::{Deserialize, Serialize};

/// The standing of a test after the votes it has seen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Decision {
    /// More votes are needed.
    Continue,
    /// A label is certified. Final.
    Certified(Certified),
    /// No label is certified, and none will be. Final.
    Abstained(Abstained),
}

impl Decision {
    /// Whether no further vote changes it.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Continue)
    }

    /// The certified claim, if there is one.
    pub fn certified(&self) -> Option<&Certified> {
        match self {
            Self::Certified(certified) => Some(certified),
            Self::Continue | Self::Abstained(_) => None,
        }
    }
}

/// A claim that holds with probability at least 1-α, and the votes it rests on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Certified {
    /// The label, by the caller's number.
    pub class: usize,
    /// No L2 perturbation below this radius changes the label of the smoothed classifier; rounded down, in
    /// the unit of σ. 0 for PREDICT, whose claim is about the picture as it is.
    pub radius: f64,
    /// Lower bound on the probability of the label, for tests that bound it alone or together with the rival.
    pub p_lower: Option<f64>,
    /// Upper bound on the probability of the strongest rival, for tests that bound it too.
    pub rival_upper: Option<f64>,
    /// The votes behind the claim.
    pub evidence: Evidence,
}

/// Why and when a test gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abstained {
    /// What ended it.
    pub reason: Reason,
    /// The label that had the most votes or was asked for, if any.
    pub class: Option<usize>,
    /// The votes it saw.
    pub evidence: Evidence,
}

/// Why a test abstains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No continuation of the votes could certify any more.
    OutOfReach,
    /// Certification was possible but had become unlikely, by the test's futility rule.
    Futile,
    /// The last vote that the test allows was cast.
    Exhausted,
    /// No label led the selection votes.
    NoLabel,
    /// The caller stopped before the test had decided.
    Stopped,
    /// A claim before it in the sequence, whose level it shares, was not certified.
    Preceded,
    /// The question asks about labels of the answer about the clean picture, and that holds none to ask about.
    NoCleanLabel,
    /// The same, and the clean picture was never answered.
    NoCleanAnswer,
}

/// The votes a decision rests on: 0..`votes` in index order, of which 0..`selection` only chose the label.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Votes used, selection votes included.
    pub votes: usize,
    /// Of these, the selection votes.
    pub selection: usize,
    /// Votes for the label among the others.
    pub agree: usize,
    /// Votes of the strongest rival plus failures, among the others.
    pub rival: usize,
}
