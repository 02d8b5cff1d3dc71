//! A reader beside the writer of the same process.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::LedgerError;
use super::queries::Reader;

/// A [`Reader`] beside the writer of the same process, opened when somebody looks for the first time.
#[derive(Debug)]
pub(super) struct Looker {
    path: PathBuf,
    reader: Mutex<Option<Reader>>,
}

impl Looker {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, reader: Mutex::default() }
    }

    /// Closes its connection, which the next look opens again.
    pub(super) fn close(&self) {
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Looks. Blocks for as long as it takes.
    pub(super) fn look<T>(
        &self,
        query: impl FnOnce(&Reader) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = match &mut *reader {
            Some(reader) => reader,
            none => none.insert(Reader::open(&self.path)?),
        };
        query(reader)
    }
}
