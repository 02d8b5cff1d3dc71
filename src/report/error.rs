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
}
