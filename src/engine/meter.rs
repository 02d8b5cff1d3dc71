//! Counts calls as they leave, and closes the door when no more are wanted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use futures::future::BoxFuture;
use smoothgate_providers::{Attempt, AttemptEnd, AttemptId, Journal, JournalError, Outcome};

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
            if self.shut.load(SeqCst) {
                // The door was closed while the intent was being recorded.
                let outcome = Outcome::Transient { reason: "not sent: no more calls are wanted".to_owned() };
                self.inner.close(id, AttemptEnd::not_sent(&outcome)).await?;
                return Err(JournalError::NotWanted);
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use smoothgate_providers::{Billed, Price};

    /// Shuts the door while it records an intent.
    #[derive(Default)]
    struct Slow {
        shut: tokio::sync::Notify,
        go_on: tokio::sync::Notify,
        ends: std::sync::Mutex<Vec<Billed>>,
    }

    impl Journal for Slow {
        fn open<'a>(&'a self, _: &'a Attempt) -> BoxFuture<'a, Result<AttemptId, JournalError>> {
            Box::pin(async {
                self.shut.notify_one();
                self.go_on.notified().await;
                Ok(AttemptId(7))
            })
        }

        fn close<'a>(&'a self, _: AttemptId, end: AttemptEnd<'a>) -> BoxFuture<'a, Result<(), JournalError>> {
            self.ends.lock().unwrap().push(end.billed);
            Box::pin(async { Ok(()) })
        }
    }

    #[tokio::test]
    async fn a_call_whose_intent_is_recorded_when_the_door_closes_is_not_sent() {
        let slow = Slow::default();
        let meter = Meter::new(&slow);
        let attempt = Attempt { draw: Some(0), number: 1, price: Price::Free, picture: [0; 32] };
        let close = async {
            slow.shut.notified().await;
            meter.shut();
            slow.go_on.notify_one();
        };
        let (opened, ()) = tokio::join!(meter.open(&attempt), close);
        assert!(matches!(opened, Err(JournalError::NotWanted)));
        assert_eq!((meter.sent(), meter.in_flight()), (0, 0));
        assert_eq!(*slow.ends.lock().unwrap(), [Billed::No]);
    }
}
