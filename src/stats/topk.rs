//! Is the label among the k most likely ones? A test with a fixed number of votes (Jia et al. 2020).
//!
//! k + 1 bounds at α/(k+1) each are enough, for any vocabulary: a lower bound on the label, and upper bounds
//! from the k largest counts that were observed for others. Those counts, in order, are at least the counts
//! of the k truly most likely others in order, so their bounds hold whenever the bounds of these k fixed
//! labels do.

use std::sync::OnceLock;

use super::bounds::{first_count, lower_bound};
use super::decision::{Abstained, Certified, Decision, Evidence, Reason};
use super::error::{StatsError, check_alpha, check_sigma};
use super::radius::{MOST_LABELS, is_topk, radius_topk, report};
use super::selection::Selection;
use super::vote::{Tally, Vote};

/// Votes that the test can have at most: it keeps a bound for every count.
const MOST_VOTES: usize = 1_000_000;

/// A top-k test, ready to run.
#[derive(Debug)]
pub(crate) struct TopK {
    k: usize,
    sigma: f64,
    selection: usize,
    votes: usize,
    /// The level of each bound.
    level: f64,
    /// Lower bounds by count, as far as they were needed.
    lower: Vec<OnceLock<f64>>,
}

impl TopK {
    /// A test of `selection` votes that choose the label (0: none do) and `votes` that are counted.
    pub(crate) fn new(
        k: usize,
        sigma: f64,
        alpha: f64,
        selection: usize,
        votes: usize,
    ) -> Result<Self, StatsError> {
        check_sigma(sigma)?;
        check_alpha(alpha)?;
        if k == 0 || k > MOST_LABELS {
            return Err(StatsError::Parameter { name: "k", value: k, range: "between 1 and 1000" });
        }
        if votes == 0 || votes > MOST_VOTES {
            return Err(StatsError::Parameter { name: "n", value: votes, range: "between 1 and 1000000" });
        }
        let sized = |votes: usize| {
            let lower = (0..=votes).map(|_| OnceLock::new()).collect();
            Self { k, sigma, selection, votes, level: alpha / (k as f64 + 1.0), lower }
        };
        let test = sized(votes);
        let certifies = |test: &Self| test.is_certified(test.votes, &vec![0; k]);
        if certifies(&test) {
            return Ok(test);
        }
        let needed = first_count(votes + 1, votes + 4096, |n| certifies(&sized(n)));
        Err(StatsError::Infeasible {
            claim: format!("a label among the {k} most likely"),
            votes,
            needed,
            largest: None,
        })
    }

    fn lower(&self, agree: usize) -> f64 {
        *self.lower[agree].get_or_init(|| lower_bound(agree, self.votes, self.level))
    }

    fn upper(&self, rival: usize) -> f64 {
        (1.0 - self.lower(self.votes - rival)).next_up().min(1.0)
    }

    fn uppers(&self, rivals: &[usize]) -> Vec<f64> {
        rivals.iter().map(|&rival| self.upper(rival.min(self.votes))).collect()
    }

    fn is_certified(&self, agree: usize, rivals: &[usize]) -> bool {
        is_topk(self.lower(agree), &self.uppers(rivals), self.k)
    }

    /// Whether nothing that the remaining votes say can certify.
    fn lost(&self, seen: usize, agree: usize, rivals: &[usize]) -> bool {
        !self.is_certified(agree + self.votes - seen, rivals)
    }

    fn radius(&self, agree: usize, rivals: &[usize]) -> f64 {
        radius_topk(self.lower(agree), &self.uppers(rivals), self.k, self.sigma).map_or(0.0, report)
    }

    pub(crate) fn max_votes(&self) -> usize {
        self.selection + self.votes
    }

    pub(crate) fn selection(&self) -> usize {
        self.selection
    }

    /// The largest radius that the votes can give, by unanimity.
    pub(crate) fn largest_radius(&self) -> f64 {
        self.radius(self.votes, &vec![0; self.k])
    }
}

/// The votes of one top-k test so far.
#[derive(Debug, Clone)]
pub(crate) struct TopKRun {
    selection: Selection,
    tally: Tally,
}

impl TopKRun {
    pub(crate) fn new(test: &TopK, label: Option<usize>) -> Self {
        let size = if label.is_some() { 0 } else { test.selection() };
        Self { selection: Selection::new(label, size), tally: Tally::new() }
    }

    /// Counts one vote and decides.
    pub(crate) fn push(&mut self, test: &TopK, vote: Vote) -> Decision {
        if self.selection.left() > 0 {
            self.selection.push(vote);
            let no_label = self.selection.left() == 0 && self.selection.label().is_none();
            return if no_label { self.abstain(Reason::NoLabel) } else { Decision::Continue };
        }
        self.tally.push(vote);
        let Some(class) = self.selection.label() else { return self.abstain(Reason::NoLabel) };
        let (seen, agree) = (self.tally.votes(), self.tally.agree(class));
        let rivals = self.tally.rivals(class, test.k);
        if test.lost(seen, agree, &rivals) {
            return self.abstain(Reason::OutOfReach);
        }
        if seen < test.votes {
            return Decision::Continue;
        }
        let rival_upper = rivals.first().map(|&rival| test.upper(rival.min(test.votes)));
        Decision::Certified(Certified {
            class,
            radius: test.radius(agree, &rivals),
            p_lower: Some(test.lower(agree)),
            rival_upper,
            evidence: self.evidence(),
        })
    }

    /// Further votes that are needed whatever they say; at least 1 while the test is open.
    pub(crate) fn needed(&self, test: &TopK) -> usize {
        let class = self.selection.label().unwrap_or(usize::MAX);
        let (seen, agree) = (self.tally.votes(), self.tally.agree(class));
        let rivals = self.tally.rivals(class, test.k);
        let left = test.votes - seen;
        // Worse than any votes can be: each one for all k rivals at once.
        let lost_after = |j: usize| {
            let raised: Vec<usize> = rivals.iter().map(|rival| rival + j).collect();
            test.lost(seen + j, agree, &raised)
        };
        let estimation = first_count(1, left, lost_after).min(left);
        match self.selection.left() {
            0 => estimation,
            selection if self.selection.will_choose() => selection + estimation,
            selection => selection,
        }
    }

    pub(crate) fn evidence(&self) -> Evidence {
        let seen = self.tally.votes();
        let label = self.selection.label();
        Evidence {
            votes: self.selection.votes() + seen,
            selection: self.selection.votes(),
            agree: label.map_or(0, |class| self.tally.agree(class)),
            rival: label.map_or(seen, |class| self.tally.rival(class)),
        }
    }

    pub(crate) fn abstain(&self, reason: Reason) -> Decision {
        Decision::Abstained(Abstained { reason, class: self.selection.leader(), evidence: self.evidence() })
    }
}
