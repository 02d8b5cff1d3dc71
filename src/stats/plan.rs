//! What a test is, as a certificate records it.

use serde::{Deserialize, Serialize};

use super::label::LabelRule;

/// All that defines a test. Fixed, and recorded, before the first noisy vote; whoever verifies a certificate
/// derives the decision again from the plan and the votes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Standard deviation of the noise, in the unit in which radii are stated; positive.
    pub sigma: f64,
    /// The probability granted to a wrong certificate, in (0, 1); below 0.2 for the tests by tables. It
    /// covers every claim of the test together.
    pub alpha: f64,
    /// When the label is chosen.
    pub label: LabelRule,
    /// The test.
    pub method: Method,
}

/// The tests, by the names that the command line and certificates use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "test", rename_all = "lowercase")]
pub enum Method {
    /// CERTIFY of Cohen et al. 2019: `n0` selection votes choose the label, `n` estimation votes bound its
    /// probability. When the label is fixed in advance, no selection votes are cast.
    Cohen {
        /// Selection votes.
        n0: usize,
        /// Estimation votes.
        n: usize,
    },
    /// PREDICT of Cohen et al. 2019: the most common label of `n` votes, if it beats the runner-up in a
    /// two-sided binomial test. It claims no radius, and stops as soon as the votes to come cannot change its
    /// answer.
    Predict {
        /// Votes.
        n: usize,
    },
    /// All `n` votes bound the label's probability, whether it was fixed in advance or leads those votes.
    Fixed {
        /// Votes.
        n: usize,
        /// If given, the strongest rival is bounded too, with this share of α (0.1 is a good one): a little
        /// less radius when all dissent is for one rival, much more when it is spread.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rival_share: Option<f64>,
    },
    /// The exact sequential test against the strongest rival (two-class table), for one radius or a ladder of
    /// them.
    Table(Ladder),
    /// The exact sequential test of the label's own probability (one-bound table), for one radius or a ladder
    /// of them.
    Table1(Ladder),
    /// The largest radius, bounded at every vote at once; it goes on while that pays.
    Anytime {
        /// The last vote.
        n_max: usize,
        /// Votes between two looks at the radius.
        every: usize,
        /// It stops where the next `every` votes would gain less radius than this; 0 goes on to the last
        /// vote.
        gain: f64,
        /// No look before this vote stops it.
        #[serde(default)]
        n_min: usize,
        /// As for `Fixed`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rival_share: Option<f64>,
    },
    /// Whether the label is among the k most likely ones, with a fixed number of votes (Jia et al. 2020).
    /// When the label is fixed in advance, no selection votes are cast.
    Topk {
        /// How many labels may be more likely, less one.
        k: usize,
        /// Selection votes.
        n0: usize,
        /// Estimation votes.
        n: usize,
    },
}

/// The radii and the horizon of a test by tables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ladder {
    /// Radii to certify, strictly increasing, in the unit of σ; at most 8 σ. Several cost no more than the
    /// first.
    pub radii: Vec<f64>,
    /// The last vote. It cannot be raised after votes were seen: α is spent over this horizon.
    pub n_max: usize,
    /// The probability of certifying that is given up for early rejections, where a label would otherwise be
    /// certified with probability 0.95: 0.05 unless said otherwise, 0 to reject only what is out of reach.
    #[serde(default = "Ladder::usual_futility")]
    pub futility: f64,
}

impl Ladder {
    /// A ladder with the usual futility rule.
    pub fn new(radii: Vec<f64>, n_max: usize) -> Self {
        Self { radii, n_max, futility: Self::usual_futility() }
    }

    fn usual_futility() -> f64 {
        0.05
    }
}

impl Method {
    /// Does the test go by tables, which take time to build?
    pub fn has_tables(&self) -> bool {
        matches!(self, Self::Table(_) | Self::Table1(_))
    }

    /// The most votes that a run can ask for, those included that choose a label which is not fixed in advance.
    pub(crate) fn most_votes(&self) -> usize {
        match *self {
            Self::Cohen { n0, n } | Self::Topk { n0, n, .. } => n0.saturating_add(n),
            Self::Predict { n } | Self::Fixed { n, .. } => n,
            Self::Table(ref ladder) | Self::Table1(ref ladder) => ladder.n_max,
            Self::Anytime { n_max, .. } => n_max,
        }
    }

    /// The test's name on the command line and in certificates.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cohen { .. } => "cohen",
            Self::Predict { .. } => "predict",
            Self::Fixed { .. } => "fixed",
            Self::Table(_) => "table",
            Self::Table1(_) => "table1",
            Self::Anytime { .. } => "anytime",
            Self::Topk { .. } => "topk",
        }
    }
}
