//! What can be wrong with a log.

use thiserror::Error;

/// Why there is no report. All of these are the user's to mend, but [`ReportError::Read`], which may also be the disk's.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A file or folder that cannot be read.
    #[error("cannot read `{file}`")]
    Read {
        /// As it was named.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Bytes that are no text.
    #[error("`{file}`, line {line}: not UTF-8 text; a log is tab-separated values or JSON")]
    NotText {
        /// As it was named.
        file: String,
        /// From 1.
        line: usize,
    },
    /// Nothing in it.
    #[error("`{file}` holds no rows: there is nothing to report")]
    Empty {
        /// As it was named.
        file: String,
    },
    /// Text of another kind.
    #[error(
        "`{file}`, line {line}: not a log that is known here; expected rows of `certify --format jsonl`, a certificate \
         document, or tab-separated values under a header like `idx label predict radius correct time`"
    )]
    UnknownFormat {
        /// As it was named.
        file: String,
        /// From 1.
        line: usize,
    },
    /// A bad row.
    #[error("`{file}`, line {line}: {what}")]
    Row {
        /// As it was named.
        file: String,
        /// From 1. For a document of several lines, its first.
        line: usize,
        /// What is wrong and what was expected.
        what: String,
    },
    /// More series than can be told apart.
    #[error(
        "{given} series are too many for one drawing: name fewer logs, at most {most} series can be told apart"
    )]
    TooManySeries {
        /// How many there are.
        given: usize,
        /// How many there may be.
        most: usize,
    },
    /// More panels than one can look at.
    #[error(
        "{given} panels are too many for one drawing, at most {most}: name fewer logs, or split by something else"
    )]
    TooManyPanels {
        /// How many there are.
        given: usize,
        /// How many there may be.
        most: usize,
    },
    /// Nothing to draw votes of.
    #[error(
        "no votes to draw{}: give certificate documents (`certify --out DIR`) or a run of the ledger (`--run N`)",
        picture.as_ref().map_or_else(String::new, |name| format!(" of a picture called `{name}`"))
    )]
    NoVotes {
        /// The picture that was asked for.
        picture: Option<String>,
    },
    /// A log of answers alone.
    #[error(
        "`{file}`, line {line}: answers without a result; put them to a question and a test first: `smoothgate replay {file} \
         --format jsonl`"
    )]
    Answers {
        /// As it was named.
        file: String,
        /// From 1.
        line: usize,
    },
    /// A compressed log that would fill the memory.
    #[error("`{file}` unpacks to more than {most} bytes: this is no log")]
    TooLarge {
        /// As it was named.
        file: String,
        /// How many there may be.
        most: u64,
    },
    /// The drawing could not be turned into pixels: ours to mend.
    #[error("the drawing could not be turned into a PNG: {0}")]
    Png(String),
}
