//! An endpoint that looks on at the calls of one certificate.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use smoothgate_providers::{
    AskError, Attempt, AttemptEnd, AttemptId, Billed, Description, EncodedPicture, Endpoint, Journal,
    JournalError, Outcome, Price,
};
use tracing::Span;

use super::access::Spent;
use super::observer::{Event, Observer};
use super::promise::Promise;
use crate::traces;

/// What was sent, and what of it was billed.
#[derive(Debug, Default)]
pub(super) struct Tally {
    attempts: AtomicU64,
    unbilled: AtomicU64,
    never_left: AtomicU64,
}

impl Tally {
    /// Attempts, those that never left among them.
    pub(super) fn attempts(&self) -> u64 {
        self.attempts.load(SeqCst)
    }

    /// As the ledger has it: a call that never left counts nowhere, and one whose end is not known as billed.
    pub(super) fn spent(&self, price: Price) -> Spent {
        let attempts = self.attempts();
        let billable = attempts.saturating_sub(self.unbilled.load(SeqCst));
        let calls = attempts.saturating_sub(self.never_left.load(SeqCst));
        Spent { calls, billable, cost: price.of(billable) }
    }
}

/// The endpoint behind it, with every call counted and told.
pub(super) struct Watched {
    pub(super) inner: Arc<dyn Endpoint>,
    pub(super) tally: Arc<Tally>,
    pub(super) promise: Arc<Promise>,
    pub(super) observer: Arc<dyn Observer>,
}

impl Endpoint for Watched {
    fn describe(&self) -> &Description {
        self.inner.describe()
    }

    fn ask<'a>(
        &'a self,
        draw: Option<u64>,
        picture: EncodedPicture,
        journal: &'a dyn Journal,
    ) -> BoxFuture<'a, Result<Outcome, AskError>> {
        Box::pin(async move {
            let journal = Witness { watched: self, inner: journal, spans: Mutex::default() };
            self.inner.ask(draw, picture, &journal).await
        })
    }
}

/// The journal behind it, with every attempt counted and told.
struct Witness<'a> {
    watched: &'a Watched,
    inner: &'a dyn Journal,
    /// Attempts that are out.
    spans: Mutex<Vec<(AttemptId, Span)>>,
}

impl Witness<'_> {
    fn spans(&self) -> MutexGuard<'_, Vec<(AttemptId, Span)>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for Witness<'_> {
    fn open<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<AttemptId, JournalError>> {
        Box::pin(async move {
            let id = self.inner.open(attempt).await?;
            self.watched.tally.attempts.fetch_add(1, SeqCst);
            self.watched.promise.keep();
            let span = tracing::debug_span!(
                target: traces::TARGET,
                "attempt",
                otel.kind = "client",
                smoothgate.draw = attempt.draw,
                smoothgate.attempt = u64::from(attempt.number),
            );
            if !span.is_disabled() {
                self.spans().push((id, span));
            }
            Ok(id)
        })
    }

    fn close<'a>(&'a self, id: AttemptId, end: AttemptEnd<'a>) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move {
            if end.billed == Billed::No {
                self.watched.tally.unbilled.fetch_add(1, SeqCst);
                // Not billed and without any reply: nothing of it reached the API.
                if end.status.is_none() && !matches!(end.outcome, Outcome::Answered(_)) {
                    self.watched.tally.never_left.fetch_add(1, SeqCst);
                }
            }
            let event = Event::Attempt {
                upstream: &self.watched.describe().name,
                class: end.outcome.class(),
                billed: end.billed,
                status: end.status,
                latency: end.latency,
            };
            let span = {
                let mut spans = self.spans();
                spans.iter().position(|(open, _)| *open == id).map(|at| spans.swap_remove(at).1)
            };
            span.unwrap_or_else(Span::none).in_scope(|| self.watched.observer.observe(&event));
            self.inner.close(id, end).await
        })
    }

    fn withdraw(&self, id: AttemptId) -> BoxFuture<'_, Result<(), JournalError>> {
        Box::pin(async move {
            self.spans().retain(|(open, _)| *open != id);
            self.watched.tally.attempts.fetch_sub(1, SeqCst);
            self.inner.withdraw(id).await
        })
    }
}
