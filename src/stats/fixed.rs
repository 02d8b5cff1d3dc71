//! Tests with a number of votes fixed in advance: CERTIFY and PREDICT of Cohen et al. 2019, and the
//! certificate that needs no selection votes.
//!
//! All of them look at nothing but the final counts, so they can give up as soon as no continuation of the
//! votes could certify: the answer is the one that running to the end would give.

use super::boundary::Boundary;
use super::bounds::first_count;
use super::criterion::{Claim, Criterion, Proof};
use super::decision::{Abstained, Certified, Decision, Evidence, Reason};
use super::error::StatsError;
use super::selection::Selection;
use super::vote::{Tally, Vote};

/// No count of votes certifies.
const NEVER: usize = usize::MAX;

/// Votes that a test can have at most.
const MOST_VOTES: usize = 100_000_000;

/// Rival counts for which the least agreement is kept; where there are more, this many evenly spaced ones.
const RIVAL_GRID: usize = 1024;

/// For every final count of the rival, the least agreement that certifies.
#[derive(Debug, Clone, PartialEq)]
struct Reach {
    votes: usize,
    step: usize,
    least: Vec<usize>,
}

impl Reach {
    fn new(criterion: &Criterion, votes: usize) -> Self {
        let step = match criterion.claim {
            Claim::Majority => votes + 1,
            Claim::Gap { .. } | Claim::MostLikely => (votes / 2).div_ceil(RIVAL_GRID).max(1),
        };
        let mut least = Vec::new();
        let mut agree = 0;
        for rival in (0..=votes).step_by(step) {
            agree = first_count(agree, votes - rival, |k| criterion.prove(k, rival, votes).is_some());
            if agree > votes - rival {
                break;
            }
            least.push(agree);
        }
        Self { votes, step, least }
    }

    /// No more than the least final agreement that certifies against `rival` (exactly that, but for the
    /// grid).
    fn at_least(&self, rival: usize) -> usize {
        self.least.get(rival / self.step).copied().unwrap_or(NEVER)
    }

    /// No less than the least final agreement that certifies against `rival`.
    fn at_most(&self, rival: usize) -> usize {
        self.least.get(rival.div_ceil(self.step)).copied().unwrap_or(NEVER)
    }

    /// Whether nothing that the remaining votes say can certify.
    fn lost(&self, seen: usize, agree: usize, rival: usize) -> bool {
        agree + (self.votes - seen) < self.at_least(rival)
    }

    /// Whether nothing that the remaining votes say can prevent the certificate.
    fn won(&self, seen: usize, agree: usize, rival: usize) -> bool {
        agree >= self.at_most(rival + (self.votes - seen))
    }

    /// Votes still to spare, relative to those at the start, is no less than the votes still to come,
    /// relative to all.
    fn on_course(&self, seen: usize, agree: usize, rival: usize) -> bool {
        let left = self.votes - seen;
        let spare = (agree + left).saturating_sub(self.at_least(rival));
        let spare_at_start = self.votes.saturating_sub(self.at_least(0));
        spare as f64 * self.votes as f64 >= spare_at_start as f64 * left as f64
    }
}

/// A test with a fixed number of votes, ready to run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FixedSize {
    criterion: Criterion,
    selection: usize,
    reach: Reach,
    /// Whether a result that the remaining votes cannot change may be given before they are cast. Only where
    /// the result holds no number that they would change.
    stops_when_won: bool,
}

impl FixedSize {
    /// A test of `selection` votes that choose the label (0: none do) and `votes` that are counted.
    pub(crate) fn new(criterion: Criterion, selection: usize, votes: usize) -> Result<Self, StatsError> {
        criterion.check()?;
        if votes == 0 || votes > MOST_VOTES {
            return Err(StatsError::Parameter { name: "n", value: votes, range: "between 1 and 100000000" });
        }
        let reach = Reach::new(&criterion, votes);
        if reach.least.is_empty() {
            // The level is at least 5e-324 < 2⁻¹⁰⁷⁴, so a few more unanimous votes than that always certify.
            let needed = first_count(votes + 1, votes + 2048, |n| criterion.prove(n, 0, n).is_some());
            return Err(StatsError::Infeasible {
                claim: "any label".to_owned(),
                votes,
                needed,
                largest: None,
            });
        }
        Ok(Self { stops_when_won: criterion.claim == Claim::MostLikely, criterion, selection, reach })
    }

    pub(crate) fn max_votes(&self) -> usize {
        self.selection + self.reach.votes
    }

    /// The largest radius that the votes can give, by unanimity.
    pub(crate) fn largest_radius(&self) -> f64 {
        self.criterion.prove(self.reach.votes, 0, self.reach.votes).map_or(0.0, |proof| proof.radius)
    }
}

/// The votes of one fixed-size test so far.
#[derive(Debug, Clone)]
pub(crate) struct FixedSizeRun {
    selection: Selection,
    tally: Tally,
}

impl FixedSizeRun {
    pub(crate) fn new(test: &FixedSize, label: Option<usize>) -> Self {
        let size = if label.is_some() { 0 } else { test.selection };
        Self { selection: Selection::new(label, size), tally: Tally::new() }
    }

    /// Counts one vote and decides.
    pub(crate) fn push(&mut self, test: &FixedSize, vote: Vote) -> Decision {
        if self.selection.left() > 0 {
            self.selection.push(vote);
            let no_label = self.selection.left() == 0 && self.selection.label().is_none();
            return if no_label { self.abstain(Reason::NoLabel) } else { Decision::Continue };
        }
        self.tally.push(vote);
        self.decide(test)
    }

    fn decide(&self, test: &FixedSize) -> Decision {
        let evidence = self.evidence();
        let Evidence { agree, rival, .. } = evidence;
        let seen = self.tally.votes();
        if test.reach.lost(seen, agree, rival) {
            return self.abstain(Reason::OutOfReach);
        }
        let over = seen == test.reach.votes || test.stops_when_won && test.reach.won(seen, agree, rival);
        if !over {
            return Decision::Continue;
        }
        // Votes that are missing at an early end cannot change the result: count them for the rival.
        let rival_at_end = rival + (test.reach.votes - seen);
        let proof = test.criterion.prove(agree, rival_at_end, test.reach.votes);
        match (self.class(), proof) {
            (Some(class), Some(Proof { radius, p_lower, rival_upper })) => {
                Decision::Certified(Certified { class, radius, p_lower, rival_upper, evidence })
            }
            _ => self.abstain(Reason::OutOfReach),
        }
    }

    /// Further votes that are needed whatever they say; at least 1 while the test is open.
    pub(crate) fn needed(&self, test: &FixedSize) -> usize {
        let Evidence { agree, rival, .. } = self.evidence();
        let (reach, seen) = (&test.reach, self.tally.votes());
        let left = reach.votes - seen;
        let over_after = |j: usize| {
            let won = test.stops_when_won && reach.won(seen + j, agree + j, rival);
            won || reach.lost(seen + j, agree, rival + j)
        };
        let estimation = first_count(1, left, over_after).min(left);
        match self.selection.left() {
            0 => estimation,
            selection if self.selection.will_choose() => selection + estimation,
            selection => selection,
        }
    }

    /// Further votes up to the end, if the test is on its way to a certificate, else [`Self::needed`].
    pub(crate) fn ramp(&self, test: &FixedSize, patience: usize) -> usize {
        let Evidence { agree, rival, .. } = self.evidence();
        let seen = self.tally.votes();
        if seen >= patience && test.reach.on_course(seen, agree, rival) {
            test.reach.votes - seen
        } else {
            self.needed(test)
        }
    }

    /// What the votes against the label are held against at the vote that was counted last; `None` for PREDICT, which
    /// compares two labels.
    pub(crate) fn boundary(&self, test: &FixedSize) -> Option<Boundary> {
        if test.criterion.claim == Claim::MostLikely {
            return None;
        }
        if self.selection.left() > 0 || self.tally.votes() == 0 {
            return Some(Boundary::open(1));
        }
        let (seen, rival) = (self.tally.votes(), self.evidence().rival);
        let votes = test.reach.votes;
        let proves = |against: usize| {
            seen == votes && test.criterion.prove(votes - against, rival.min(against), votes).is_some()
        };
        let certify = first_count(0, seen, |against| !proves(against)).checked_sub(1);
        let ends = |against: usize| {
            let lost = test.reach.lost(seen, seen - against, rival.min(against));
            lost || seen == votes && !proves(against)
        };
        let give_up = Some(first_count(0, seen, ends)).filter(|&against| against <= seen);
        Some(Boundary { certify: vec![certify], give_up })
    }

    fn class(&self) -> Option<usize> {
        self.selection.label().or_else(|| self.tally.leader())
    }

    pub(crate) fn evidence(&self) -> Evidence {
        let seen = self.tally.votes();
        let class = self.class();
        Evidence {
            votes: self.selection.votes() + seen,
            selection: self.selection.votes(),
            agree: class.map_or(0, |class| self.tally.agree(class)),
            // Without a vote for any class, everything is against whichever comes.
            rival: class.map_or(seen, |class| self.tally.rival(class)),
        }
    }

    pub(crate) fn abstain(&self, reason: Reason) -> Decision {
        let class = self.class().or_else(|| self.selection.leader());
        Decision::Abstained(Abstained { reason, class, evidence: self.evidence() })
    }
}
