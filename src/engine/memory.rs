//! Where a picture's draws are remembered.

use futures::future::BoxFuture;
use smoothgate_providers::{Attempt, AttemptEnd, AttemptId, Journal, JournalError, Outcome, Unrecorded};

/// The memory of one picture under one set of settings and one seed.
///
/// The engine asks it before a draw is made, and tells it the outcome that counts before that outcome becomes a vote.
/// A stored outcome is the same draw again, never a second one.
pub trait Memory: Journal {
    /// What is settled about this draw, `None` for the clean answer.
    fn recall(&self, draw: Option<u64>) -> Option<Settled>;

    /// Keeps the outcome that counts for this draw. Called once a draw, after its last attempt, and awaited before
    /// the draw votes.
    ///
    /// # Errors
    /// [`JournalError::Storage`]: the outcome is not safe, so it must not count.
    fn settle<'a>(
        &'a self,
        draw: Option<u64>,
        settled: &'a Settled,
    ) -> BoxFuture<'a, Result<(), JournalError>>;

    /// Attempts that were made before this memory was taken up.
    fn attempts(&self) -> u64;

    /// This memory as the journal that transports write to.
    fn as_journal(&self) -> &dyn Journal;
}

/// The end of one draw.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// The outcome that counts.
    pub outcome: Outcome,
    /// BLAKE3 of the encoded copy that it is about.
    pub copy: [u8; 32],
}

/// A memory that keeps nothing: an interrupted picture starts again, and pays again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forgetful;

impl Journal for Forgetful {
    fn open<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<AttemptId, JournalError>> {
        Unrecorded.open(attempt)
    }

    fn close<'a>(&'a self, id: AttemptId, end: AttemptEnd<'a>) -> BoxFuture<'a, Result<(), JournalError>> {
        Unrecorded.close(id, end)
    }
}

impl Memory for Forgetful {
    fn recall(&self, _: Option<u64>) -> Option<Settled> {
        None
    }

    fn settle<'a>(&'a self, _: Option<u64>, _: &'a Settled) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async { Ok(()) })
    }

    fn attempts(&self) -> u64 {
        0
    }

    fn as_journal(&self) -> &dyn Journal {
        self
    }
}
