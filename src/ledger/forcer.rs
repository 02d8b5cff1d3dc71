//! Forces the log to the disk beside the thread that writes.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SendError, Sender, channel};
use std::thread::JoinHandle;

use super::LedgerError;
use super::job::Job;
use super::log::Log;

/// Publications that are committed and wait to be on the disk.
pub(super) type Publications = Vec<Box<dyn Job>>;

/// The thread that forces the log while others commit: a disk takes a millisecond or several for it, and what is committed
/// meanwhile waits for the next time.
pub(super) struct Forcer {
    committed: Option<Sender<Publications>>,
    /// Handed over and not done.
    waiting: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Forcer {
    /// Starts the thread for the log of the ledger at `path`.
    pub(super) fn start(path: &Path, log: Arc<Log>) -> io::Result<Self> {
        let (committed, inbox) = channel();
        let (path, waiting) = (path.to_owned(), Arc::new(AtomicUsize::new(0)));
        let left = Arc::clone(&waiting);
        let thread = std::thread::Builder::new()
            .name("ledger-forcer".to_owned())
            .spawn(move || run(&path, &log, &inbox, &left))?;
        Ok(Self { committed: Some(committed), waiting, thread: Some(thread) })
    }

    /// Is it at work?
    pub(super) fn is_busy(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Tells their callers once they are on the disk. Gives them back where the thread has ended.
    pub(super) fn force(&self, publications: Publications) -> Result<(), Publications> {
        let Some(committed) = &self.committed else { return Err(publications) };
        self.waiting.fetch_add(1, Ordering::Relaxed);
        committed.send(publications).map_err(|SendError(back)| back)
    }

    /// Returns when all that was handed over is done. The log is let go.
    pub(super) fn finish(&mut self) {
        self.committed = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was ours and has been reported by the panic hook; whoever waited got `Closed`.
            let _ = thread.join();
        }
    }
}

impl Drop for Forcer {
    fn drop(&mut self) {
        self.finish();
    }
}

fn run(path: &Path, log: &Log, inbox: &Receiver<Publications>, waiting: &AtomicUsize) {
    while let Ok(first) = inbox.recv() {
        // They are committed, so one time does for all that wait.
        let groups: Vec<Publications> = std::iter::once(first).chain(inbox.try_iter()).collect();
        let failure = log.force().err().map(|error| LedgerError::from_io(path, error));
        if let Some(error) = &failure {
            tracing::warn!(%error, "certificates could not be forced to the disk");
        }
        waiting.fetch_sub(groups.len(), Ordering::Relaxed);
        for publication in groups.into_iter().flatten() {
            // Nothing follows a publication that nobody hears of.
            let _ = publication.acknowledge(failure.as_ref());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::super::batch::Batch;
    use super::super::job::{Kind, Task};
    use super::super::place::beside;
    use super::super::row::RowError;
    use super::*;

    type Reply = oneshot::Receiver<Result<u8, LedgerError>>;

    fn publication(number: u8) -> (Box<dyn Job>, Reply) {
        let (reply, answer) = oneshot::channel();
        let work = move |_: &mut Batch<'_>| -> Result<u8, RowError> { Ok(number) };
        let (done, unclaimed, failed) = (Some(Ok(number)), None, None);
        let kind = Kind::Publishes;
        (Box::new(Task { kind, work, done, reply: Some(reply), unclaimed, failed, _permit: None }), answer)
    }

    fn forced(folder: &Path) -> Vec<Result<u8, LedgerError>> {
        let mut forcer = {
            let ledger = folder.join("ledger.db");
            Forcer::start(&ledger, Arc::new(Log::of(&ledger))).unwrap()
        };
        let (publications, replies): (Vec<_>, Vec<_>) = (0..5).map(publication).unzip();
        for publication in publications {
            assert!(forcer.force(vec![publication]).is_ok());
        }
        forcer.finish();
        assert_eq!(forcer.force(vec![publication(9).0]).unwrap_err().len(), 1);
        replies.into_iter().map(|mut reply| reply.try_recv().unwrap()).collect()
    }

    #[test]
    fn every_publication_is_told_before_the_end() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(beside(&folder.path().join("ledger.db"), "-wal"), "").unwrap();
        let told: Vec<_> = forced(folder.path()).into_iter().map(Result::unwrap).collect();
        assert_eq!(told, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn none_is_said_to_be_on_the_disk_where_the_log_cannot_be_forced() {
        let folder = tempfile::tempdir().unwrap();
        assert!(forced(folder.path()).iter().all(Result::is_err));
    }
}
