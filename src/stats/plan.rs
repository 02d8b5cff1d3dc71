//! A test: its parameters as a certificate records them, the test made from them, and one run of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::decision::{Decision, Evidence};
use super::error::StatsError;
use super::fixed::{Claim, Criterion, FixedSize, FixedSizeRun};
use super::label::LabelRule;
use super::vote::Vote;

/// From this vote on more votes may be on their way than are surely needed (stats.md section 6, "ramp").
const PATIENCE: usize = 10;

/// All that defines a test. Fixed, and recorded, before the first noisy vote; a certificate holds it, and whoever
/// verifies the certificate derives the decision again from it and the votes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Standard deviation of the noise, in the unit in which radii are stated.
    pub sigma: f64,
    /// The probability granted to a wrong certificate, in (0, 1). It covers every claim of the test.
    pub alpha: f64,
    /// When the label is chosen.
    pub label: LabelRule,
    /// The test.
    pub method: Method,
}

/// The tests, by the names that the command line and certificates use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "test", rename_all = "snake_case")]
pub enum Method {
    /// CERTIFY of Cohen et al. 2019: `n0` selection votes choose the label, `n` estimation votes bound its probability.
    /// When the label is fixed in advance, no selection votes are cast.
    Cohen {
        /// Selection votes.
        n0: usize,
        /// Estimation votes.
        n: usize,
    },
    /// PREDICT of Cohen et al. 2019: the most common label of `n` votes, if it beats the runner-up in a two-sided
    /// binomial test. It claims no radius, and stops as soon as the votes to come cannot change its answer.
    Predict {
        /// Votes.
        n: usize,
    },
    /// All `n` votes bound the label's probability, whether it was fixed in advance or leads those votes.
    Fixed {
        /// Votes.
        n: usize,
        /// If given, the strongest rival is bounded too, with this share of α (0.1 is a good one): a little less radius
        /// when all dissent is for one rival, much more when it is spread.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rival_share: Option<f64>,
    },
}

impl Method {
    /// The test's name on the command line and in certificates.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cohen { .. } => "cohen",
            Self::Predict { .. } => "predict",
            Self::Fixed { .. } => "fixed",
        }
    }
}

/// A test that is ready to run, any number of times and on any thread. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Test {
    plan: Arc<Plan>,
    design: Design,
}

/// What was computed from the plan, once for all runs.
#[derive(Debug, Clone)]
enum Design {
    FixedSize(Arc<FixedSize>),
}

impl Test {
    /// Makes the test that a plan describes.
    ///
    /// # Errors
    /// [`StatsError::OutOfRange`] and [`StatsError::Parameter`] for a plan that makes no sense;
    /// [`StatsError::Infeasible`], with the number of votes that would do, for one that could not certify even if all
    /// votes agreed. Nothing needs to be paid to find out.
    pub fn new(plan: Plan) -> Result<Self, StatsError> {
        let Plan { sigma, alpha, label, .. } = plan;
        let design = match plan.method {
            Method::Cohen { n0, n } => {
                // The selection votes have paid for the choice: to the estimation votes the label is a fixed one.
                let (selection, label) = match label {
                    LabelRule::Leader if n0 == 0 => {
                        return Err(StatsError::Parameter { name: "n0", value: n0, range: "at least 1" });
                    }
                    LabelRule::Leader => (n0, LabelRule::Fixed),
                    LabelRule::Fixed | LabelRule::Open { .. } => (0, label),
                };
                fixed_size(Criterion { claim: Claim::Majority, sigma, alpha, label }, selection, n)?
            }
            Method::Predict { n } => {
                fixed_size(Criterion { claim: Claim::MostLikely, sigma, alpha, label }, 0, n)?
            }
            Method::Fixed { n, rival_share } => {
                let claim = rival_share.map_or(Claim::Majority, |rival_share| Claim::Gap { rival_share });
                fixed_size(Criterion { claim, sigma, alpha, label }, 0, n)?
            }
        };
        Ok(Self { plan: Arc::new(plan), design })
    }

    /// The plan it was made from.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The most votes that a run can ask for.
    pub fn max_votes(&self) -> usize {
        match &self.design {
            Design::FixedSize(test) => test.max_votes(),
        }
    }

    /// The largest radius that a run can certify, in the unit of σ; 0 for PREDICT.
    pub fn largest_radius(&self) -> f64 {
        match &self.design {
            Design::FixedSize(test) => test.largest_radius(),
        }
    }

    /// A run, before its first vote. `label` is the class that is asked about, if it is fixed before the votes.
    ///
    /// A test whose level pays for the choice of the label may be run for a fixed label; the reverse may not.
    ///
    /// # Errors
    /// [`StatsError::LabelNotFixed`] if the plan's label rule is not `leader` and no label is given.
    pub fn start(&self, label: Option<usize>) -> Result<Run, StatsError> {
        if label.is_none() && self.plan.label != LabelRule::Leader {
            return Err(StatsError::LabelNotFixed);
        }
        let state = match &self.design {
            Design::FixedSize(test) => State::FixedSize(Arc::clone(test), FixedSizeRun::new(label)),
        };
        Ok(Run { state, decision: Decision::Continue })
    }
}

fn fixed_size(criterion: Criterion, selection: usize, votes: usize) -> Result<Design, StatsError> {
    Ok(Design::FixedSize(Arc::new(FixedSize::new(criterion, selection, votes)?)))
}

/// One run of a test: fed with votes in index order, it says after each whether to go on.
///
/// The decision after vote n is a function of votes 0..n-1 alone. It may be abandoned at any vote for any reason
/// (budget, interrupt, impatience) without harm to the guarantee: that is only an abstention.
#[derive(Debug, Clone)]
pub struct Run {
    state: State,
    decision: Decision,
}

/// The design with the votes so far.
#[derive(Debug, Clone)]
enum State {
    FixedSize(Arc<FixedSize>, FixedSizeRun),
}

impl Run {
    /// Counts the next vote in index order. After a final decision further votes are no evidence: they are ignored, and
    /// the decision stays.
    pub fn push(&mut self, vote: Vote) -> Decision {
        if self.decision == Decision::Continue {
            self.decision = match &mut self.state {
                State::FixedSize(test, run) => run.push(test, vote),
            };
        }
        self.decision
    }

    /// The decision so far.
    pub fn decision(&self) -> Decision {
        self.decision
    }

    /// The votes counted so far.
    pub fn evidence(&self) -> Evidence {
        match &self.state {
            State::FixedSize(_, run) => run.evidence(),
        }
    }

    /// How many further votes are needed before any decision can fall, whatever they say: as many may be on their way
    /// at once without a wasted call (`free_window` of stats.md section 6). 0 once decided.
    pub fn needed(&self) -> usize {
        if self.decision.is_final() {
            return 0;
        }
        match &self.state {
            State::FixedSize(test, run) => run.needed(test),
        }
    }

    /// How many further votes may be on their way at once: [`Self::needed`] at first, and from vote 10 on, while the
    /// votes point to a certificate, up to the earliest vote at which it could be given. Never less than `needed`.
    pub fn ramp(&self) -> usize {
        if self.decision.is_final() {
            return 0;
        }
        match &self.state {
            State::FixedSize(test, run) => run.ramp(test, PATIENCE).max(run.needed(test)),
        }
    }
}
