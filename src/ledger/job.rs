//! One record on its way to the thread that writes.

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::LedgerError;
use super::batch::Batch;
use super::row::RowError;

/// What the writer must know of a record before it looks into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Leads to a paid call: refused when space is short, so that what is in flight can still be recorded.
    Spends,
    /// Asks for something, and whoever waits for it may ask again.
    Asks,
    /// Says what happened. Not given up while another process holds the ledger: it would be paid for again.
    Records,
    /// Will be relied on outside: on the disk before it is acknowledged. Kept like what happened: it was paid for.
    Publishes,
    /// Is to be on the disk before it is acknowledged, with all before it; whoever waits for it may ask again.
    Confirms,
}

impl Kind {
    /// Is it kept until the ledger can be written again?
    pub(super) fn is_kept(self) -> bool {
        matches!(self, Self::Records | Self::Publishes)
    }

    /// Must it be on the disk before it is acknowledged?
    pub(super) fn is_forced(self) -> bool {
        matches!(self, Self::Publishes | Self::Confirms)
    }
}

/// One record on its way into the ledger.
pub(super) trait Job: Send {
    fn kind(&self) -> Kind;
    /// Does somebody wait for it?
    fn is_awaited(&self) -> bool;
    /// Writes the record. May be called again after a rollback. An error is a failure of the database: a refusal is
    /// kept for [`acknowledge`](Self::acknowledge).
    fn apply(&mut self, batch: &mut Batch<'_>) -> Result<(), RowError>;
    /// Tells the caller, after the commit or in place of it. Returns what must follow when nobody listens any more.
    fn acknowledge(self: Box<Self>, failure: Option<&LedgerError>) -> Option<Box<dyn Job>>;
}

/// A [`Job`] made of a closure.
pub(super) struct Task<T, W> {
    pub(super) kind: Kind,
    pub(super) work: W,
    pub(super) done: Option<Result<T, LedgerError>>,
    pub(super) reply: Option<oneshot::Sender<Result<T, LedgerError>>>,
    /// What follows a success that nobody heard of.
    pub(super) unclaimed: Option<fn(T) -> Box<dyn Job>>,
    /// Who hears of a failure where no caller waits.
    pub(super) failed: Option<Box<dyn FnOnce(LedgerError) + Send>>,
    pub(super) _permit: Option<OwnedSemaphorePermit>,
}

impl<T, W> Job for Task<T, W>
where
    T: Send + 'static,
    W: FnMut(&mut Batch<'_>) -> Result<T, RowError> + Send + 'static,
{
    fn kind(&self) -> Kind {
        self.kind
    }

    fn is_awaited(&self) -> bool {
        self.reply.is_some()
    }

    fn apply(&mut self, batch: &mut Batch<'_>) -> Result<(), RowError> {
        self.done = Some(match (self.work)(batch) {
            Ok(value) => Ok(value),
            Err(RowError::Decided(refusal)) => Err(refusal),
            Err(failure) => return Err(failure),
        });
        Ok(())
    }

    fn acknowledge(self: Box<Self>, failure: Option<&LedgerError>) -> Option<Box<dyn Job>> {
        let done = match failure {
            Some(failure) => Err(failure.clone()),
            None => self.done.unwrap_or(Err(LedgerError::Closed)),
        };
        let Some(reply) = self.reply else {
            if let (Err(failure), Some(failed)) = (done, self.failed) {
                failed(failure);
            }
            return None;
        };
        let unheard = reply.send(done).err()?.ok()?;
        self.unclaimed.map(|follows| follows(unheard))
    }
}

/// A record without a caller that waits.
pub(super) fn unattended<T: Send + 'static>(
    work: impl FnMut(&mut Batch<'_>) -> Result<T, RowError> + Send + 'static,
) -> Box<dyn Job> {
    let kind = Kind::Records;
    Box::new(Task { kind, work, done: None, reply: None, unclaimed: None, failed: None, _permit: None })
}

/// Tells the callers of such records that they are refused. Returns the others.
pub(super) fn refuse(
    group: Vec<Box<dyn Job>>,
    refusal: &LedgerError,
    such: impl Fn(Kind) -> bool,
) -> Vec<Box<dyn Job>> {
    let (refused, rest): (Vec<_>, Vec<_>) = group.into_iter().partition(|job| such(job.kind()));
    for job in refused {
        tell(job, refusal);
    }
    rest
}

/// Tells the caller why it is not on record.
pub(super) fn tell(job: Box<dyn Job>, failure: &LedgerError) {
    // Nothing follows what is not on record.
    let _ = job.acknowledge(Some(failure));
}
