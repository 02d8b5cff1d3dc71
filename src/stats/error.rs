//! What can be wrong with a statistical question.

use thiserror::Error;

/// Why a bound, a radius or a test could not be computed.
///
/// All of these are the caller's: nothing here depends on an answer of an API, and a retry with the same
/// arguments gives the same error.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum StatsError {
    /// A number lies outside the range in which the question has a meaning (NaN always does).
    #[error("{name} = {value} is out of range: it must be {range}")]
    OutOfRange {
        /// The argument, by its name in the documentation.
        name: &'static str,
        /// What was given.
        value: f64,
        /// What would have been accepted, in words.
        range: &'static str,
    },
    /// Counts that no series of votes can have.
    #[error(
        "{agree} agreeing votes out of {votes}: there must be between 1 and 1000000000000 votes, and no more agreement \
         than votes"
    )]
    Counts {
        /// Votes for the label.
        agree: usize,
        /// All votes.
        votes: usize,
    },
    /// A test with a parameter that makes no sense.
    #[error("{name} = {value}: it must be {range}")]
    Parameter {
        /// The parameter, by its name in the plan.
        name: &'static str,
        /// What was given.
        value: usize,
        /// What would have been accepted, in words.
        range: &'static str,
    },
    /// Even unanimous votes could not certify. Refused before anything is paid.
    #[error(
        "{votes} votes can never certify {claim} at this alpha, even if all agree: at least {needed} are needed{}; \
         raise the number of votes, raise alpha or ask for a smaller radius",
        reach(*largest)
    )]
    Infeasible {
        /// What was to be certified, in words.
        claim: String,
        /// Votes the plan allows.
        votes: usize,
        /// The fewest votes with which the same claim can be certified.
        needed: usize,
        /// Where a radius was asked for, the largest that this many votes can certify, in the unit of σ; 0 for none.
        largest: Option<f64>,
    },
    /// A test whose level pays only for a label fixed in advance was started without one.
    #[error(
        "this test is for a label that is fixed before the first vote, and none was given: name the label, or plan \
         the test with the label rule `leader`"
    )]
    LabelNotFixed,
    /// A table that is none, or another plan's. A table from a cache is to be thrown away and built anew.
    #[error(
        "the table cannot be used: {fault}; if it was read from a cache, delete it there and it is built anew"
    )]
    Table {
        /// What is wrong with it.
        fault: String,
    },
    /// A table that would certify false claims too often.
    #[error(
        "the table certifies a false claim with probability {error:e}, above alpha = {alpha:e}; if it was read from a \
         cache, delete it there and it is built anew"
    )]
    Level {
        /// The probability, or a bound on it.
        error: f64,
        /// What is allowed.
        alpha: f64,
    },
    /// A test that bounds a rival was planned for labels of which an answer may hold several.
    #[error(
        "a test against the strongest rival needs labels that exclude one another, not an open vocabulary: use a test \
         with one bound"
    )]
    NotExclusive,
}

/// The part of a message that says what would do.
fn reach(largest: Option<f64>) -> String {
    match largest {
        Some(radius) if radius > 0.0 => format!(", and the largest radius within reach is {radius:.4}"),
        Some(_) => ", and no radius is within reach".to_owned(),
        None => String::new(),
    }
}

/// `value` if it is a probability strictly inside (0, 1), as every level must be.
pub(crate) fn check_alpha(alpha: f64) -> Result<f64, StatsError> {
    check("alpha", alpha, alpha > 0.0 && alpha < 1.0, "strictly between 0 and 1")
}

/// `value` if it is a positive finite noise level.
pub(crate) fn check_sigma(sigma: f64) -> Result<f64, StatsError> {
    check("sigma", sigma, sigma > 0.0 && sigma.is_finite(), "positive and finite")
}

/// `value` if it is a probability in [0, 1].
pub(crate) fn check_probability(name: &'static str, p: f64) -> Result<f64, StatsError> {
    check(name, p, (0.0..=1.0).contains(&p), "a probability between 0 and 1")
}

/// `value` if `good`, else the error that names it.
pub(crate) fn check(
    name: &'static str,
    value: f64,
    good: bool,
    range: &'static str,
) -> Result<f64, StatsError> {
    if good { Ok(value) } else { Err(StatsError::OutOfRange { name, value, range }) }
}

/// More votes than anybody will see; counts beyond are a mistake.
const MOST_VOTES: usize = 1_000_000_000_000;

/// Whether counts can be those of a series of votes.
pub(crate) fn check_counts(agree: usize, votes: usize) -> Result<(), StatsError> {
    if votes > 0 && votes <= MOST_VOTES && agree <= votes {
        Ok(())
    } else {
        Err(StatsError::Counts { agree, votes })
    }
}
