//! Failures inside a transaction, before they have the path of the ledger.

use std::path::Path;

use super::LedgerError;

/// What can stop an operation inside a transaction.
#[derive(Debug)]
pub(super) enum RowError {
    /// The database failed.
    Sql(rusqlite::Error),
    /// A row holds what the ledger never writes.
    Damaged(String),
    /// A decision of the ledger: a budget, a contract that was broken.
    Decided(LedgerError),
}

impl RowError {
    pub(super) fn damaged(problem: impl Into<String>) -> Self {
        Self::Damaged(problem.into())
    }

    /// Names the ledger.
    pub(super) fn at(self, path: &Path) -> LedgerError {
        match self {
            Self::Sql(error) => LedgerError::from_sql(path, error),
            Self::Damaged(problem) => LedgerError::Corrupt { path: path.to_owned(), problem },
            Self::Decided(error) => error,
        }
    }
}

impl From<rusqlite::Error> for RowError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<LedgerError> for RowError {
    fn from(error: LedgerError) -> Self {
        Self::Decided(error)
    }
}
