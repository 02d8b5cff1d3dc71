//! One run of a test, vote by vote.

use std::sync::Arc;

use super::anytime::{Anytime, AnytimeRun};
use super::boundary::Boundary;
use super::decision::{Decision, Evidence, Reason};
use super::fixed::{FixedSize, FixedSizeRun};
use super::staircase::{Staircase, StaircaseRun};
use super::test::Design;
use super::topk::{TopK, TopKRun};
use super::vote::Vote;

/// From this vote on, more votes may be on their way than are surely needed.
const PATIENCE: usize = 10;

/// One run of a test: fed with votes in index order, it says after each whether to go on.
///
/// The decision after vote n is a function of votes 0..n-1 alone. It may be stopped at any vote for any
/// reason (budget, interrupt, impatience) without harm to the guarantee.
#[derive(Debug, Clone)]
pub struct Run {
    state: State,
    decision: Decision,
}

/// The design with the votes so far.
#[derive(Debug, Clone)]
enum State {
    FixedSize(Arc<FixedSize>, FixedSizeRun),
    Staircase(Arc<Staircase>, StaircaseRun),
    Anytime(Arc<Anytime>, AnytimeRun),
    TopK(Arc<TopK>, TopKRun),
}

impl Run {
    /// A run before its first vote.
    pub(crate) fn new(design: &Design, label: Option<usize>) -> Self {
        let state = match design {
            Design::FixedSize(test) => State::FixedSize(Arc::clone(test), FixedSizeRun::new(test, label)),
            Design::Staircase(ladder) => {
                State::Staircase(Arc::clone(ladder), StaircaseRun::new(ladder, label))
            }
            Design::Anytime(test) => State::Anytime(Arc::clone(test), AnytimeRun::new(label)),
            Design::TopK(test) => State::TopK(Arc::clone(test), TopKRun::new(test, label)),
        };
        Self { state, decision: Decision::Continue }
    }

    /// Counts the next vote in index order. After a final decision further votes are no evidence: they are
    /// ignored, and the decision stays.
    pub fn push(&mut self, vote: Vote) -> Decision {
        if !self.decision.is_final() {
            self.decision = match &mut self.state {
                State::FixedSize(test, run) => run.push(test, vote),
                State::Staircase(ladder, run) => run.push(ladder, vote),
                State::Anytime(test, run) => run.push(test, vote),
                State::TopK(test, run) => run.push(test, vote),
            };
        }
        self.decision
    }

    /// Ends the run where it stands: what is proven by now is certified (the lower rungs of a ladder, the
    /// radius at the last look), else it abstains.
    pub fn stop(&mut self) -> Decision {
        if !self.decision.is_final() {
            self.decision = match &mut self.state {
                State::FixedSize(_, run) => run.abstain(Reason::Stopped),
                State::Staircase(ladder, run) => run.settle(ladder, Reason::Stopped),
                State::Anytime(_, run) => run.settle(Reason::Stopped),
                State::TopK(_, run) => run.abstain(Reason::Stopped),
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
            State::Staircase(_, run) => run.evidence(),
            State::Anytime(_, run) => run.evidence(),
            State::TopK(_, run) => run.evidence(),
        }
    }

    /// What the votes against the label are held against at the vote that was counted last; `None` for the tests that do
    /// not go by it: PREDICT, `anytime` and `topk`.
    pub fn boundary(&self) -> Option<Boundary> {
        match &self.state {
            State::FixedSize(test, run) => run.boundary(test),
            State::Staircase(ladder, run) => Some(run.boundary(ladder)),
            State::Anytime(..) | State::TopK(..) => None,
        }
    }

    /// How many further votes are needed before any decision can fall, whatever they say: as many may be on
    /// their way at once without a wasted call. 0 once decided, else at least 1.
    pub fn needed(&self) -> usize {
        if self.decision.is_final() {
            return 0;
        }
        match &self.state {
            State::FixedSize(test, run) => run.needed(test),
            State::Staircase(ladder, run) => run.needed(ladder),
            State::Anytime(test, run) => run.needed(test),
            State::TopK(test, run) => run.needed(test),
        }
    }

    /// How many further votes may be on their way at once if up to `extra` beyond [`Self::needed`] may turn out to be of no
    /// use: never more than up to the earliest vote at which a claim could be given. 0 once decided.
    pub fn ahead(&self, extra: usize) -> usize {
        let needed = self.needed();
        if needed == 0 || extra == 0 {
            return needed;
        }
        let earliest = match &self.state {
            State::FixedSize(test, run) => run.ramp(test, 0),
            State::Staircase(ladder, run) => run.ramp(ladder, 0),
            State::Anytime(..) | State::TopK(..) => needed,
        };
        earliest.clamp(needed, needed.saturating_add(extra))
    }

    /// How many further votes may be on their way at once: [`Self::needed`] at first, and from vote 10 on,
    /// while the votes point to a certificate, up to the earliest vote at which it could be given. Never less
    /// than `needed`.
    pub fn ramp(&self) -> usize {
        let needed = self.needed();
        if needed == 0 {
            return 0;
        }
        let ramp = match &self.state {
            State::FixedSize(test, run) => run.ramp(test, PATIENCE),
            State::Staircase(ladder, run) => run.ramp(ladder, PATIENCE),
            State::Anytime(..) | State::TopK(..) => needed,
        };
        ramp.max(needed)
    }
}
