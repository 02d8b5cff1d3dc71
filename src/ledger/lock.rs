//! One process at a time on one run.
//!
//! The lock is an advisory lock on a file of the run. The operating system releases it when the process ends, however
//! it ends, so a run is free again after `kill -9` with nothing to clean up. The file holds who took it last, for
//! messages only.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::place::beside;
use super::{LedgerError, RunId};

/// The exclusive right to continue a run, held until dropped.
#[derive(Debug)]
pub(super) struct RunLock {
    _file: File,
    path: PathBuf,
}

impl RunLock {
    /// Takes the lock of `run` in the ledger at `ledger`.
    ///
    /// Waits a moment where it is held: [`is_held`](Self::is_held) of another process holds it for microseconds.
    pub(super) async fn take(ledger: &Path, run: RunId) -> Result<Self, LedgerError> {
        for _ in 0..20 {
            match Self::try_take(ledger, run) {
                Err(LedgerError::AlreadyRunning { .. }) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                other => return other,
            }
        }
        Self::try_take(ledger, run)
    }

    fn try_take(ledger: &Path, run: RunId) -> Result<Self, LedgerError> {
        let path = lock_path(ledger, run);
        let fail = |problem: &std::io::Error| LedgerError::CannotOpen {
            path: path.clone(),
            problem: problem.to_string(),
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|e| fail(&e))?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| fail(&e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Unreadable under a mandatory lock (Windows): the message then names no process.
                let _ = file.read_to_string(&mut holder);
                if holder.is_empty() {
                    "another process".clone_into(&mut holder);
                }
                return Err(LedgerError::AlreadyRunning { run, holder });
            }
            Err(TryLockError::Error(e)) => return Err(fail(&e)),
        }
        // Only for the message above: the lock holds without it, also on a full disk.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "process {}", std::process::id()));
        Ok(Self { _file: file, path })
    }

    /// Is some process continuing this run now?
    pub(super) fn is_held(ledger: &Path, run: RunId) -> bool {
        File::open(lock_path(ledger, run))
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Removes the lock's file, for a run that was removed. Run numbers are never used again, so a process that waits
    /// on the removed file finds no run.
    pub(super) fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// `ledger.db-locks/12`.
fn lock_path(ledger: &Path, run: RunId) -> PathBuf {
    beside(ledger, "-locks").join(run.0.to_string())
}
