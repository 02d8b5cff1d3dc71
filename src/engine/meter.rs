//! Counts calls as they leave, and closes the door when no more are wanted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use futures::future::BoxFuture;
use smoothgate_providers::{Attempt, AttemptEnd, AttemptId, Journal, JournalError};

/// A journal in front of another that knows how many attempts were sent and how many of them are still out.
pub(super) struct Meter<'a> {
    inner: &'a dyn Journal,
    opened: AtomicU64,
    closed: AtomicU64,
    /// Set once the verdict has fallen: asks that still wait for a permit or a retry are turned away unsent.
    shut: AtomicBool,
}

impl<'a> Meter<'a> {
    pub(super) fn new(inner: &'a dyn Journal) -> Self {
        Self { inner, opened: AtomicU64::new(0), closed: AtomicU64::new(0), shut: AtomicBool::new(false) }
    }

    /// Attempts that were sent.
    pub(super) fn sent(&self) -> u64 {
        self.opened.load(SeqCst)
    }

    /// Attempts that were sent and whose end is not recorded.
    pub(super) fn in_flight(&self) -> u64 {
        self.opened.load(SeqCst) - self.closed.load(SeqCst)
    }

    /// Sends nothing more.
    pub(super) fn shut(&self) {
        self.shut.store(true, SeqCst);
    }
}

impl Journal for Meter<'_> {
    fn open<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<AttemptId, JournalError>> {
        Box::pin(async move {
            if self.shut.load(SeqCst) {
                return Err(JournalError::NotWanted);
            }
            let id = self.inner.open(attempt).await?;
            self.opened.fetch_add(1, SeqCst);
            Ok(id)
        })
    }

    fn close<'a>(&'a self, id: AttemptId, end: AttemptEnd<'a>) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move {
            let recorded = self.inner.close(id, end).await;
            self.closed.fetch_add(1, SeqCst);
            recorded
        })
    }
}
