//! A plan that cannot work. The user's to mend.

use crate::emulate::fault::Kind;

/// What is wrong with a plan.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// The text of a plan.
    #[error("line {line}: {problem}")]
    Text {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong there and how to mend it.
        problem: String,
    },
    /// A share that is none.
    #[error("the share of `{fault}` is {share}: write a number from 0 to 1, such as 0.05")]
    Share {
        /// The fault.
        fault: Kind,
        /// Its share.
        share: f64,
    },
    /// More faults than calls.
    #[error("the shares of all faults of `{api}` add up to {sum}: together they can be 1 at most")]
    TooMany {
        /// The format.
        api: &'static str,
        /// The sum.
        sum: f64,
    },
}
