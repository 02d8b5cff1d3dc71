//! Several claims tested on the same draws.
//!
//! Every draw gives each claim one vote, so the votes of two claims may depend on one another in any way. What holds of all
//! claims together holds all the same, because neither rule by which claims share α asks how they depend:
//!
//! - Apart, each claim has a level of its own and the levels sum to α: the probability that any of them errs is at most the
//!   sum of those that each errs (union bound, Bonferroni).
//! - In sequence, the claims are tested in an order that was fixed before the votes, each at the whole level, and one counts
//!   only if all before it were certified at the largest radius that their tests can give (fixed-sequence procedure: Maurer,
//!   Hothorn and Lehmacher 1995; Westfall and Krishen 2001). Let j be the first claim of the order that is not true to the
//!   largest radius; which one that is depends on the classifier, not on the votes. Those before j cannot err at all. j errs
//!   with probability at most α. And for one behind j to count, j must have been certified at its largest radius, where it is
//!   false: the same error of j. So any error at all is an error of j's own test. (A radius that a test reads off the votes is
//!   covered too: its test is one of the nested claims "true to r" in the order of r.)
//!
//! Each run stops by a rule of its own or because the others are over; stopping without a claim is always sound.

use serde::{Deserialize, Serialize};

use super::decision::{Abstained, Decision, Evidence, Reason};
use super::error::StatsError;
use super::run::Run;
use super::test::Test;
use super::vote::Vote;

/// How the claims of one question share its level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// The same part for each.
    ///
    /// α/m for m claims is more than the open-vocabulary level α τ/m of [`LabelRule::Open`](super::LabelRule::Open): that one
    /// also pays for labels that are read off the votes, and the claims of a question are fixed before them.
    #[default]
    Even,
    /// The whole level for each, in their order, up to the first that is not certified at its largest radius.
    Sequence,
}

impl Sharing {
    /// The level of each of `claims` claims that share `alpha`.
    pub fn level(self, alpha: f64, claims: usize) -> f64 {
        match self {
            Self::Even => alpha / claims.max(1) as f64,
            Self::Sequence => alpha,
        }
    }
}

/// Runs over the same draws, one a claim: fed with one vote a claim for every draw, in index order.
#[derive(Debug, Clone, Default)]
pub struct Joint {
    claims: Vec<Claim>,
}

/// One claim.
#[derive(Debug, Clone)]
struct Claim {
    run: Option<Run>,
    /// The class that is asked about, if it is fixed.
    label: Option<usize>,
    /// Counts only behind the claim before it, whose level it shares.
    follows: bool,
    /// The largest radius that the test can give.
    largest: f64,
    /// How it ended; `Continue` before.
    decision: Decision,
}

impl Claim {
    /// Certified at the largest radius: those that follow may count.
    fn is_passed(&self) -> bool {
        self.decision.certified().is_some_and(|certified| certified.radius >= self.largest)
    }
}

impl Joint {
    /// No claims yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a claim before the first vote. `label` as for [`Test::start`]. One that `follows` shares the level of the claim
    /// before it and counts only behind that one; the others have a level of their own.
    ///
    /// # Errors
    /// As [`Test::start`].
    pub fn add(&mut self, test: &Test, label: Option<usize>, follows: bool) -> Result<(), StatsError> {
        let run = Some(test.start(label)?);
        let largest = test.largest_radius();
        self.claims.push(Claim { run, label, follows, largest, decision: Decision::Continue });
        Ok(())
    }

    /// Adds a claim that there is nothing to ask for: it has abstained before the first vote.
    pub fn add_abstained(&mut self, reason: Reason) {
        let decision = Decision::Abstained(Abstained { reason, class: None, evidence: Evidence::default() });
        self.claims.push(Claim { run: None, label: None, follows: false, largest: f64::INFINITY, decision });
    }

    /// How many claims there are.
    pub fn len(&self) -> usize {
        self.claims.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    /// Does the vote of the next draw count for this claim? Not once its own test has decided, nor once it has ended because
    /// of a claim before it.
    pub fn counts(&self, claim: usize) -> bool {
        self.claims.get(claim).is_some_and(|claim| {
            !claim.decision.is_final() && claim.run.as_ref().is_some_and(|run| !run.decision().is_final())
        })
    }

    /// Counts the next draw. `vote` says what it votes for each claim, and is asked about those for which it
    /// [counts](Self::counts), in order.
    pub fn push(&mut self, mut vote: impl FnMut(usize) -> Vote) {
        for at in 0..self.claims.len() {
            if self.counts(at)
                && let Some(run) = &mut self.claims[at].run
            {
                run.push(vote(at));
            }
        }
        self.conclude();
    }

    /// Ends what has been decided.
    fn conclude(&mut self) {
        for at in 0..self.claims.len() {
            let (before, rest) = self.claims.split_at_mut(at);
            let Some(claim) = rest.first_mut().filter(|claim| !claim.decision.is_final()) else { continue };
            let Some(run) = &claim.run else { continue };
            let own = run.decision();
            claim.decision = match before.last().filter(|_| claim.follows) {
                Some(before) if before.is_passed() => own,
                Some(before) if before.decision.is_final() => match own {
                    // It had given up by itself.
                    Decision::Abstained(_) => own,
                    Decision::Continue | Decision::Certified(_) => Decision::Abstained(Abstained {
                        reason: Reason::Preceded,
                        class: claim.label,
                        evidence: run.evidence(),
                    }),
                },
                Some(_) => match own {
                    Decision::Abstained(_) => own,
                    // Certified, it waits for those before it.
                    Decision::Continue | Decision::Certified(_) => Decision::Continue,
                },
                None => own,
            };
        }
    }

    /// The decision on a claim so far.
    pub fn decision(&self, claim: usize) -> Decision {
        self.claims.get(claim).map_or(Decision::Continue, |claim| claim.decision)
    }

    /// Whether no further vote changes any decision.
    pub fn is_final(&self) -> bool {
        self.claims.iter().all(|claim| claim.decision.is_final())
    }

    /// How many further draws some open claim needs, whatever they say: as many may be on their way without a wasted call. 0
    /// once all are decided, else at least 1.
    ///
    /// Of claims in sequence only the first open one is sure to need any: those behind it are over if it fails.
    pub fn needed(&self) -> usize {
        self.fronts().map(Run::needed).max().unwrap_or(0)
    }

    /// How many further draws may be on their way at once if up to `extra` beyond [`Self::needed`] may turn out to be of no
    /// use: never beyond the earliest vote at which a claim that needs votes could be certified.
    pub fn ahead(&self, extra: usize) -> usize {
        self.fronts().map(|run| run.ahead(extra)).max().unwrap_or(0)
    }

    /// The runs of the open claims that no other open claim stands before.
    fn fronts(&self) -> impl Iterator<Item = &Run> {
        let front = |at: usize| {
            let claim = &self.claims[at];
            let blocked = claim.follows
                && at.checked_sub(1).is_some_and(|before| !self.claims[before].decision.is_final());
            claim.run.as_ref().filter(|_| !claim.decision.is_final() && !blocked)
        };
        (0..self.claims.len()).filter_map(front)
    }
}
