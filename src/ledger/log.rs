//! The write-ahead log, forced to the disk.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::place::beside;

/// The log beside an open ledger, for every thread that forces it.
///
/// `SQLite` would force it within a commit (`synchronous = FULL`), and everybody in the group would wait. Forced from here,
/// after a commit that left it to the operating system (`NORMAL`), only those wait who must. To the same effect: all frames
/// up to the commit are on the disk when [`force`](Self::force) returns, and the log is never replaced by another file while
/// a connection is open.
pub(super) struct Log {
    path: PathBuf,
    file: OnceLock<File>,
    /// Why it could not be forced once.
    pub(super) failed: OnceLock<String>,
}

impl Log {
    pub(super) fn of(ledger: &Path) -> Self {
        Self { path: beside(ledger, "-wal"), file: OnceLock::new(), failed: OnceLock::new() }
    }

    /// Returns when everything that was committed is on the disk.
    ///
    /// Once that failed it fails for ever: systems forget what they could not write and say of the next try that it went well
    /// (Rebello et al. 2020, "Can Applications Recover from fsync Failures?"), while behind a gap in the log nothing is found
    /// again. Opening the ledger anew begins with what is there.
    pub(super) fn force(&self) -> io::Result<()> {
        if let Some(failure) = self.failure() {
            return Err(failure);
        }
        self.file()?.sync_data().inspect_err(|error| {
            // The first says why.
            let _ = self.failed.set(error.to_string());
        })
    }

    /// Why it cannot be forced any more, where that is so.
    pub(super) fn failure(&self) -> Option<io::Error> {
        let reason = self.failed.get()?;
        Some(io::Error::other(format!(
            "it could not be forced to the disk before: {reason}; see to the disk, then start anew and resume"
        )))
    }

    fn file(&self) -> io::Result<&File> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        // Only Windows needs the right to write.
        let opened = OpenOptions::new().read(true).write(true).open(&self.path)?;
        // Whoever comes second has opened the same file.
        Ok(self.file.get_or_init(|| opened))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_forced_once_is_not_said_to_be_on_the_disk_later() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = folder.path().join("ledger.db");
        let log = Log::of(&ledger);
        assert!(log.force().is_err(), "there is none");
        std::fs::write(beside(&ledger, "-wal"), "frames").unwrap();
        log.force().unwrap();
        log.failed.set("input/output error".to_owned()).unwrap();
        assert!(log.force().unwrap_err().to_string().contains("before: input/output error"));
    }
}
