//! Whether a file has changed since it was read.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How often the files are looked at, at most.
const EVERY: Duration = Duration::from_secs(1);

/// What tells one state of a file from another: a file that is replaced is another one on its disk, and one that is
/// written into has another time or length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    number: u64,
}

impl Stamp {
    /// `None` where there is no file that can be looked at.
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        #[cfg(unix)]
        let number = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let number = 0;
        Some(Self { modified: metadata.modified().ok(), length: metadata.len(), number })
    }
}

/// Files that are read again when they change. Cheap enough to ask at every request.
#[derive(Debug)]
pub(crate) struct Watched {
    paths: Vec<PathBuf>,
    last: Mutex<Last>,
}

#[derive(Debug)]
struct Last {
    stamps: Vec<Option<Stamp>>,
    looked: Instant,
}

impl Watched {
    /// Watches `paths`. To be called before they are read, so that no change is missed.
    pub(crate) fn new(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let paths: Vec<PathBuf> = paths.into_iter().collect();
        let stamps = paths.iter().map(|path| Stamp::of(path)).collect();
        Self { paths, last: Mutex::new(Last { stamps, looked: Instant::now() }) }
    }

    /// Has any of them changed since the last time that this said yes? Looks once a second at most.
    pub(crate) fn changed(&self) -> bool {
        // One thread looks; the others go on with what they have.
        let Ok(mut last) = self.last.try_lock() else { return false };
        if last.looked.elapsed() < EVERY {
            return false;
        }
        last.looked = Instant::now();
        let stamps: Vec<_> = self.paths.iter().map(|path| Stamp::of(path)).collect();
        let changed = stamps != last.stamps;
        last.stamps = stamps;
        changed
    }

    /// Takes the files as they are now for the last state, because they are about to be read anyway.
    pub(crate) fn settle(&self) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.stamps = self.paths.iter().map(|path| Stamp::of(path)).collect();
    }

    /// Says that they could not be read: they count as changed until [`settle`](Self::settle) and another look, since what
    /// was in the way may go without a trace in them, as permissions and a lack of descriptors do.
    pub(crate) fn unsettle(&self) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).stamps.clear();
    }
}
