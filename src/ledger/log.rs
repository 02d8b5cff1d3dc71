//! The write-ahead log, forced to the disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::place::beside;

/// The log beside an open ledger.
///
/// `SQLite` would force it within a commit (`synchronous = FULL`), and everybody in the group would wait. Forced from here,
/// after a commit that left it to the operating system (`NORMAL`), only those wait who must. To the same effect: all frames
/// up to the commit are on the disk when [`force`](Self::force) returns, and the log is never replaced by another file while
/// a connection is open.
pub(super) struct Log {
    path: PathBuf,
    file: Option<File>,
}

impl Log {
    pub(super) fn of(ledger: &Path) -> Self {
        Self { path: beside(ledger, "-wal"), file: None }
    }

    /// Returns when everything that was committed is on the disk.
    pub(super) fn force(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            // Only Windows needs the right to write.
            none => none.insert(OpenOptions::new().read(true).write(true).open(&self.path)?),
        };
        file.sync_data()
    }
}
