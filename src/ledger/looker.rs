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
        let mut place = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out: after a failure or a panic, in the middle of a transaction perhaps, it is not used again.
        let reader = match place.take() {
            Some(reader) => reader,
            None => Reader::open(&self.path)?,
        };
        let found = query(&reader)?;
        *place = Some(reader);
        Ok(found)
    }
}
