//! Counts calls as they leave, and closes the door when no more are wanted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use futures::future::BoxFuture;
use smoothgate_providers::{Attempt, AttemptEnd, AttemptId, Journal, JournalError};
use tokio::sync::Notify;

/// A journal in front of another that knows how many attempts were sent and how many of them are still out.
pub(super) struct Meter<'a> {
    inner: &'a dyn Journal,
    opened: AtomicU64,
    closed: AtomicU64,
    /// Draws whose last word is being recorded.
    recording: AtomicU64,
    /// Told when nothing is out and nothing is being recorded.
    landed: Notify,
    /// Set once the verdict has fallen: asks that still wait for a permit or a retry are turned away unsent.
    shut: AtomicBool,
}

impl<'a> Meter<'a> {
    pub(super) fn new(inner: &'a dyn Journal) -> Self {
        Self {
            inner,
            opened: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            recording: AtomicU64::new(0),
            landed: Notify::new(),
            shut: AtomicBool::new(false),
        }
    }

    /// Attempts that were sent.
    pub(super) fn sent(&self) -> u64 {
        self.opened.load(SeqCst)
    }

    /// Attempts that were sent and whose end is not recorded.
    fn in_flight(&self) -> u64 {
        self.opened.load(SeqCst) - self.closed.load(SeqCst)
    }

    /// Is all on record that was sent?
    fn has_landed(&self) -> bool {
        self.in_flight() == 0 && self.recording.load(SeqCst) == 0
    }

    /// Records the last word about a draw: whoever waits for the end of calls waits for that too.
    pub(super) async fn recording<T>(&self, record: impl Future<Output = T>) -> T {
        self.recording.fetch_add(1, SeqCst);
        let recorded = record.await;
        self.recording.fetch_sub(1, SeqCst);
        self.tell();
        recorded
    }

    fn tell(&self) {
        if self.has_landed() {
            self.landed.notify_one();
        }
    }

    /// Drives the asks until nothing of them is out, once the door is shut: not through the pauses of those that would
    /// try again. From the end of an attempt an ask goes on without a wait to its pause, or to the record of its last word.
    pub(super) async fn until_landed(&self, asks: impl Future<Output = ()>) {
        let landed = async {
            while !self.has_landed() {
                self.landed.notified().await;
            }
        };
        tokio::select! {
            biased;
            () = landed => {}
            () = asks => {}
        }
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
                self.inner.withdraw(id).await?;
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
            self.tell();
            recorded
        })
    }

    fn withdraw(&self, id: AttemptId) -> BoxFuture<'_, Result<(), JournalError>> {
        Box::pin(async move {
            let withdrawn = self.inner.withdraw(id).await;
            self.opened.fetch_sub(1, SeqCst);
            self.tell();
            withdrawn
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smoothgate_providers::{Outcome, Price, Unrecorded};

    /// Shuts the door while it records an intent.
    #[derive(Default)]
    struct Slow {
        shut: tokio::sync::Notify,
        go_on: tokio::sync::Notify,
        taken_back: std::sync::Mutex<Vec<AttemptId>>,
    }

    impl Journal for Slow {
        fn open<'a>(&'a self, _: &'a Attempt) -> BoxFuture<'a, Result<AttemptId, JournalError>> {
            Box::pin(async {
                self.shut.notify_one();
                self.go_on.notified().await;
                Ok(AttemptId(7))
            })
        }

        fn close<'a>(&'a self, _: AttemptId, _: AttemptEnd<'a>) -> BoxFuture<'a, Result<(), JournalError>> {
            panic!("an attempt that was not sent would be on record")
        }

        fn withdraw(&self, id: AttemptId) -> BoxFuture<'_, Result<(), JournalError>> {
            self.taken_back.lock().unwrap().push(id);
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
        assert_eq!(*slow.taken_back.lock().unwrap(), [AttemptId(7)]);
    }

    #[tokio::test]
    async fn the_last_word_about_a_draw_is_waited_for_and_a_pause_is_not() {
        let meter = Meter::new(&Unrecorded);
        let attempt = Attempt { draw: Some(0), number: 1, price: Price::Free, picture: [0; 32] };
        let id = meter.open(&attempt).await.unwrap();
        meter.shut();
        let recorded = AtomicBool::new(false);
        let failure = Outcome::Transient { reason: "connection reset".to_owned() };
        let ask = async {
            tokio::task::yield_now().await;
            meter.close(id, AttemptEnd::not_sent(&failure)).await.unwrap();
            let record = async {
                tokio::task::yield_now().await;
                recorded.store(true, SeqCst);
            };
            meter.recording(record).await;
            std::future::pending::<()>().await;
        };
        meter.until_landed(ask).await;
        assert!(recorded.into_inner());
        // Nothing is out: nobody is waited for.
        meter.until_landed(std::future::pending()).await;
    }
}
