//! What it takes to verify a certificate, from its tests and the numbers of its claims and votes.
//!
//! Whoever verifies a document makes its tests anew and believes nothing of it, so what a stranger's document can make a
//! program compute is bounded. The same bounds hold before anything is paid: a certificate that nobody checks is worth nothing.

use super::plan::{Ladder, Method};

/// Most claims.
const MOST_CLAIMS: usize = 1000;

/// Most votes of a test. Each is paid for, so no honest document is near this.
const MOST_VOTES: usize = 1_000_000;

/// Most votes of all claims together.
const MOST_CAST: usize = 3_000_000;

/// Most votes times rungs of a ladder by one bound: the tables are built one by one.
const MOST_ONE_BOUND: usize = 2_000_000;

/// The same against a rival, where each table takes longer.
const MOST_TWO_CLASS: usize = 20_000;

/// And with the votes squared, as the states of a long table are: one table of 10 000 votes, the most that one has, takes minutes
/// (docs/benchmarks.md).
const MOST_SQUARED: usize = 100_000_000;

/// Most looks of an anytime test: each solves for a bound.
const MOST_LOOKS: usize = 20_000;

/// Most labels that a top-k test may bound.
const MOST_TOP: usize = 100;

/// Whether two-class tables of this ladder are no more work than is done to verify a certificate.
pub(crate) fn two_classes_can_be_verified(ladder: &Ladder) -> bool {
    let mut work = Work::default();
    work.two_classes(ladder);
    work.check().is_ok()
}

/// More work than is done to verify a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {value}, and {most} is the most that is checked")]
pub struct TooMuch {
    what: &'static str,
    value: usize,
    most: usize,
}

impl TooMuch {
    /// Says that `what` is too much, if it is.
    pub(crate) fn over(what: &'static str, value: usize, most: usize) -> Result<(), Self> {
        if value <= most { Ok(()) } else { Err(Self { what, value, most }) }
    }
}

/// The work of one certificate, summed up.
#[derive(Debug, Default)]
pub(crate) struct Work {
    claims: usize,
    cast: usize,
    looks: usize,
    votes: usize,
    one_bound: usize,
    two_class: usize,
    squared: usize,
}

fn add(sum: &mut usize, more: usize) {
    *sum = sum.saturating_add(more);
}

impl Work {
    /// Adds this many claims of so many votes each. Their test is added by [`Self::test`], once for all of them.
    ///
    /// # Errors
    /// [`TooMuch`] for too many claims, before anybody compares each with the others.
    pub(crate) fn claims(&mut self, method: &Method, claims: usize, votes: usize) -> Result<(), TooMuch> {
        add(&mut self.claims, claims);
        TooMuch::over("the number of claims", self.claims, MOST_CLAIMS)?;
        add(&mut self.cast, claims.saturating_mul(votes));
        if let Method::Anytime { every, .. } = *method {
            add(&mut self.looks, claims.saturating_mul(votes / every.max(1)));
        }
        Ok(())
    }

    /// Adds the making of a test.
    ///
    /// # Errors
    /// [`TooMuch`] for a number that no test may have.
    pub(crate) fn test(&mut self, method: &Method) -> Result<(), TooMuch> {
        match *method {
            Method::Cohen { .. } | Method::Predict { .. } | Method::Fixed { .. } => {
                add(&mut self.votes, method.most_votes());
            }
            Method::Topk { k, .. } => {
                TooMuch::over("k", k, MOST_TOP)?;
                add(&mut self.votes, method.most_votes());
            }
            Method::Table(ref ladder) => self.two_classes(ladder),
            Method::Table1(ref ladder) => {
                add(&mut self.one_bound, ladder.n_max.saturating_mul(ladder.radii.len()));
            }
            Method::Anytime { n_max, every, n_min, .. } => {
                TooMuch::over("n_max", n_max, MOST_VOTES)?;
                TooMuch::over("n_min", n_min, MOST_VOTES)?;
                TooMuch::over("every", every, MOST_VOTES)?;
            }
        }
        Ok(())
    }

    fn two_classes(&mut self, ladder: &Ladder) {
        let votes = ladder.n_max.saturating_mul(ladder.radii.len());
        add(&mut self.two_class, votes);
        add(&mut self.squared, votes.saturating_mul(ladder.n_max));
    }

    /// Says what is too much, if anything is.
    ///
    /// # Errors
    /// [`TooMuch`].
    pub(crate) fn check(&self) -> Result<(), TooMuch> {
        TooMuch::over("the number of votes", self.cast, MOST_CAST)?;
        TooMuch::over("the number of looks", self.looks, MOST_LOOKS)?;
        TooMuch::over("the number of votes of all tests", self.votes, MOST_VOTES)?;
        TooMuch::over("n_max times radii of tables with one bound", self.one_bound, MOST_ONE_BOUND)?;
        TooMuch::over("n_max times radii of two-class tables", self.two_class, MOST_TWO_CLASS)?;
        TooMuch::over("n_max squared times radii of two-class tables", self.squared, MOST_SQUARED)
    }
}
