//! The record around every call: reserve, record the attempt, send, record the outcome, settle.

use std::time::Duration;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::{Outcome, Price};

/// Where attempts are recorded. The transport calls [`open`](Self::open) before a byte leaves and
/// [`close`](Self::close) before an outcome may count. `open` returns only when the record is as durable as the journal
/// promises. `close` may return earlier, if nothing that comes after it, an intent or a certificate, can be on record
/// without it.
///
/// An attempt that was opened and never closed is one whose end nobody knows: the process died with it in flight. It
/// may have been billed.
pub trait Journal: Send + Sync {
    /// Reserves the price of `attempt` and records the intent to send it.
    ///
    /// # Errors
    /// [`JournalError::Budget`] when the reserve would break a budget, [`JournalError::Storage`] when it cannot be
    /// recorded. In both cases the call must not be sent.
    fn open<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<AttemptId, JournalError>>;

    /// Records how the attempt ended and settles its reserve.
    ///
    /// # Errors
    /// [`JournalError::Storage`]: the outcome could not be recorded and must not count.
    fn close<'a>(&'a self, id: AttemptId, end: AttemptEnd<'a>) -> BoxFuture<'a, Result<(), JournalError>>;

    /// Takes back an intent before anything was sent for it, where no such call is wanted any more: as if it had not been
    /// recorded, where the journal can do that, else as the end of an attempt that was not sent.
    ///
    /// # Errors
    /// [`JournalError::Storage`]: it could not be recorded, and counts as spent.
    fn withdraw(&self, id: AttemptId) -> BoxFuture<'_, Result<(), JournalError>> {
        Box::pin(async move {
            let outcome = Outcome::Transient { reason: "not sent: no more calls are wanted".to_owned() };
            self.close(id, AttemptEnd::not_sent(&outcome)).await
        })
    }
}

/// One attempt to get the answer to one draw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Which draw of the picture: the index of the vote. `None` for a call that is no vote (a clean answer).
    pub draw: Option<u64>,
    /// 1 for the first attempt at this draw in this process, 2 for its first retry, ...
    pub number: u32,
    /// What it will cost if it is billed.
    pub price: Price,
    /// BLAKE3 of the encoded bytes: a retry has the same.
    pub picture: [u8; 32],
}

/// Names an open attempt of a [`Journal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub i64);

/// How an attempt ended.
#[derive(Clone, Debug)]
pub struct AttemptEnd<'a> {
    /// The outcome, with the answer where there is one.
    pub outcome: &'a Outcome,
    /// The HTTP status, where one came.
    pub status: Option<u16>,
    /// Time from the first byte sent to the last byte read.
    pub latency: Duration,
    /// Whether it was billed, as far as one can know.
    pub billed: Billed,
}

impl<'a> AttemptEnd<'a> {
    /// Of an attempt that is on record and was not sent after all.
    pub fn not_sent(outcome: &'a Outcome) -> Self {
        Self { outcome, status: None, latency: Duration::ZERO, billed: Billed::No }
    }
}

/// Whether a call was billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Billed {
    /// The API answered: it bills that.
    Yes,
    /// The API refused before doing any work, or the request never left.
    No,
    /// Sent, and no reply that tells. Budgets count it as billed.
    Unknown,
}

/// Why an attempt could not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A budget is used up. What was paid is kept; raising the budget lets the run continue.
    #[error("budget reached: {0}")]
    Budget(String),
    /// The test has decided while this call waited for its turn. It was not sent.
    #[error("the call is no longer wanted and was not sent")]
    NotWanted,
    /// The record could not be written.
    #[error("the ledger could not record a call, so the call was not counted: {0}")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A journal that keeps nothing: for replays, examples and calls that cost nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unrecorded;

impl Journal for Unrecorded {
    fn open<'a>(&'a self, _: &'a Attempt) -> BoxFuture<'a, Result<AttemptId, JournalError>> {
        Box::pin(async { Ok(AttemptId(0)) })
    }

    fn close<'a>(&'a self, _: AttemptId, _: AttemptEnd<'a>) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async { Ok(()) })
    }
}
