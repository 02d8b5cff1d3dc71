//! What can go wrong with a ledger, whose fault it is and whether it may be tried again.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::ErrorCode;
use smoothgate_providers::{Fault, JournalError};

use super::{Change, RunId};

/// An error of the ledger. Each says what was bad, where, and what to do about it.
///
/// No error loses what was acknowledged before: a failed group is rolled back as a whole.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerError {
    /// Neither `XDG_STATE_HOME` nor a home folder tells where the ledger belongs.
    #[error(
        "no place for the ledger: neither XDG_STATE_HOME nor {variable} is set to an absolute path; \
         set one, give --ledger PATH, or run with --no-ledger"
    )]
    NoHome {
        /// The variable that usually names the home folder on this system.
        variable: &'static str,
    },
    /// The file or its folder cannot be opened or created.
    #[error("the ledger {} cannot be opened: {problem}; give another --ledger PATH", path.display())]
    CannotOpen {
        /// The ledger.
        path: PathBuf,
        /// The system's words.
        problem: String,
    },
    /// The ledger may be read but not written.
    #[error(
        "the ledger {} cannot be written; make the file and its folder writable or give another --ledger PATH",
        path.display()
    )]
    ReadOnly {
        /// The ledger.
        path: PathBuf,
    },
    /// Some other file is where the ledger should be. It was not touched.
    #[error("{} is not a smoothgate ledger and was left as it is; give another --ledger PATH", path.display())]
    NotALedger {
        /// The file.
        path: PathBuf,
    },
    /// A later version of this software wrote the ledger. It was not touched.
    #[error(
        "the ledger {} has format {found}, this version knows formats up to {known}; \
         update smoothgate or give another --ledger PATH",
        path.display()
    )]
    Newer {
        /// The ledger.
        path: PathBuf,
        /// The format found.
        found: i64,
        /// The latest format this version knows.
        known: i64,
    },
    /// An earlier version wrote the ledger, and it was opened for reading only.
    #[error(
        "the ledger {} has the older format {found} (now {known}): any command that writes it brings it forward",
        path.display()
    )]
    Older {
        /// The ledger.
        path: PathBuf,
        /// The format found.
        found: i64,
        /// The format of this version.
        known: i64,
    },
    /// The file is damaged.
    #[error(
        "the ledger {} is damaged: {problem}; keep a copy of the file, recover what can be read with \
         `sqlite3 LEDGER .recover`, and continue with another --ledger PATH",
        path.display()
    )]
    Corrupt {
        /// The ledger.
        path: PathBuf,
        /// What is damaged.
        problem: String,
    },
    /// The disk is full. Nothing that was acknowledged is lost.
    #[error(
        "no space left for the ledger {}: free some space and resume; everything acknowledged is kept",
        path.display()
    )]
    Full {
        /// The ledger.
        path: PathBuf,
    },
    /// Another process holds the ledger longer than the time allowed.
    #[error(
        "the ledger {} stayed locked by another process: end that process or wait, then resume",
        path.display()
    )]
    Busy {
        /// The ledger.
        path: PathBuf,
    },
    /// Any other failure of the file system or the database.
    #[error("the ledger {} failed: {source}", path.display())]
    Storage {
        /// The ledger.
        path: PathBuf,
        /// The database's words, or the system's.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The writer has ended: the ledger was closed, or its thread broke.
    #[error("the ledger is closed, nothing more can be recorded")]
    Closed,
    /// The run is being continued elsewhere.
    #[error("run {run} is already running ({holder}): two processes would pay twice; wait for it or stop it")]
    AlreadyRunning {
        /// The run.
        run: RunId,
        /// What is known of the process that holds it.
        holder: String,
    },
    /// No run of that number.
    #[error("the ledger has no run {run}: `smoothgate runs` lists them")]
    NoSuchRun {
        /// The number asked for.
        run: RunId,
    },
    /// A run or picture cannot be continued with other parameters: its certificate would mix two classifiers.
    #[error(
        "{what} cannot be continued with changed parameters ({}); restore them, or begin another run (`certify --new-run`)",
        list(changes)
    )]
    Changed {
        /// The run, or the picture of a run.
        what: String,
        /// What differs.
        changes: Vec<Change>,
    },
    /// A budget does not admit the next call.
    #[error("{0}")]
    Budget(String),
    /// A cost budget is set and the price is not known.
    #[error(
        "the price of `{instance}` is unknown, so a cost budget cannot be kept: give its price (--price, or in the \
         configuration), or limit calls instead of cost"
    )]
    UnknownPrice {
        /// The provider instance.
        instance: String,
    },
    /// The parameters given by the caller cannot be recorded.
    #[error("{0}")]
    Invalid(String),
    /// The caller broke the ledger's contract: a defect of ours, stopped before it could cost money.
    #[error("{0} (a defect in smoothgate: please report it)")]
    Misuse(String),
}

impl LedgerError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Closed | Self::Misuse(_) => Fault::Us,
            _ => Fault::User,
        }
    }

    /// May the same be tried again without changing anything first?
    pub fn may_retry(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::AlreadyRunning { .. })
    }

    /// Names a failure of the database at `path`.
    pub(super) fn from_sql(path: &Path, error: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full { path },
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly { path },
            Some(ErrorCode::NotADatabase) => Self::NotALedger { path },
            Some(ErrorCode::DatabaseCorrupt) => Self::Corrupt { path, problem: error.to_string() },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path },
            Some(ErrorCode::CannotOpen) => Self::CannotOpen { path, problem: error.to_string() },
            _ => Self::Storage { path, source: Arc::new(error) },
        }
    }

    /// Names a failure of the system about a file of the ledger at `path`.
    pub(super) fn from_io(path: &Path, error: std::io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full { path },
            ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => Self::ReadOnly { path },
            _ => Self::Storage { path, source: Arc::new(error) },
        }
    }
}

impl From<LedgerError> for JournalError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Budget(_) | LedgerError::UnknownPrice { .. } => Self::Budget(error.to_string()),
            other => Self::Storage(Box::new(other)),
        }
    }
}

/// `field: before -> after`, separated by semicolons.
fn list(changes: &[Change]) -> String {
    changes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
