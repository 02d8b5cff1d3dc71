//! What can go wrong in a replay.

use std::io;

use crate::stats::StatsError;

/// What is wrong with one record or with what is asked of it. The caller's to mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The line is not a record.
    #[error(
        "this is not a record of answers ({0}); a line holds one JSON object with `api`, `denoiser`, `sigma`, `idx`, `n0`, \
         `n`, `names`, `votes` and, if known, `clean` and `logged`"
    )]
    Syntax(#[from] serde_json::Error),
    /// An answer names a label that the record does not list.
    #[error("{place} names label {index}, but `names` lists {names}: the record is damaged")]
    NoSuchName {
        /// Which answer.
        place: String,
        /// The position it names.
        index: usize,
        /// How many names there are.
        names: usize,
    },
    /// The line is too long to be a record.
    #[error("the line is longer than {0} bytes: this is no log with one record a line")]
    TooLong(usize),
    /// The test cannot work.
    #[error(transparent)]
    Stats(#[from] StatsError),
    /// The test does not prove what the question asks.
    #[error(
        "the test `{test}` does not prove what `{question}` asks: `topk:K` and the test `topk` with the same K go together"
    )]
    Unsuited {
        /// The question.
        question: String,
        /// The test's name.
        test: &'static str,
    },
    /// Nothing to ask, or one thing twice.
    #[error("give at least one question, and each once: questions share alpha")]
    Questions,
    /// A question about what records do not hold.
    #[error("records hold labels and no levels: `{0}` cannot be answered from them")]
    Levels(String),
    /// The paper's rules for another question than `top1`.
    #[error("the paper's rules say how `top1` votes, not `{0}`: leave out one of them")]
    PaperRules(String),
}

/// Why a replay ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The log cannot be read on.
    #[error("`{name}` cannot be read after line {after}: {source}")]
    Read {
        /// The log.
        name: String,
        /// The last line that was read whole.
        after: u64,
        /// Why.
        source: io::Error,
    },
    /// A line of the log is bad.
    #[error("`{name}`, line {line}: {problem}")]
    Line {
        /// The log.
        name: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        problem: Problem,
    },
    /// The rows could not be handed on.
    #[error("the rows cannot be written: {0}")]
    Write(#[source] io::Error),
}

impl ReplayError {
    pub(super) fn read(name: &str, after: u64, source: io::Error) -> Self {
        Self::Read { name: name.to_owned(), after, source }
    }

    pub(super) fn line(name: &str, line: u64, problem: Problem) -> Self {
        Self::Line { name: name.to_owned(), line, problem }
    }
}
