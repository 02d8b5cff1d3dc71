//! The ledger: every attempt, answer and certificate on record, and no budget exceeded.
//!
//! Each vote is a paid call, so a call is recorded before it is sent and its outcome before it counts. The ledger is one
//! `SQLite` file that any number of runs and processes share. It decides nothing statistical: it knows draws and
//! outcomes, not labels that win.
//!
//! # The way of a call
//!
//! [`Ledger::begin_run`] takes the run's lock, [`Run::picture`] gives a [`Picture`], and the picture is the
//! [`Journal`](smoothgate_providers::Journal) that the transport records in:
//!
//! 1. *open*: one transaction checks every budget with the call's price added, reserves it, and records the intent.
//!    Refused for a draw that is settled, and for bytes other than those sent for the draw before.
//! 2. the call is sent.
//! 3. *close*: one transaction records the outcome and moves the reserve to billed, unknown or nothing. An answer, or a
//!    refusal of the picture, settles its draw there and then. Nobody waits for this one, since nothing can overtake it: records are written in the
//!    order in which they were handed over, so the next call is sent, and the certificate stored, only when it is on record,
//!    and where it failed both are refused. So no more calls than were in flight can be lost with the process, and no
//!    certificate rests on an answer that is not on record. It shares the commit of the next record that somebody waits for,
//!    or goes after 2 ms.
//! 4. [`Picture::settle`]: the engine says that a failure is the draw's last word. Failures before that are retries.
//!
//! # What survives what
//!
//! An acknowledged record was handed to the operating system: it survives the end of the process, also by `kill -9`.
//! The end of a call is acknowledged with the next intent or the certificate of its picture, or by [`Picture::recorded`].
//! A record was forced to the disk if it is older than [`Options::sync_within`] (100 ms), and certificates are forced before
//! they are acknowledged, together with all that came before them. So a power cut can cost the answers of the last
//! tenth of a second, never one that a certificate on the disk or on the screen rests on, and never the file's
//! integrity. Where the log could not be forced once, no certificate is acknowledged and no call opened any more until the ledger
//! is opened anew: what the system says of the next try is no evidence.
//!
//! The alternative, forcing every group of records to the disk before anybody hears of it (`sync_within` zero), would also
//! keep that tenth of a second, at the price of two waits for the disk in every call (1 to 15 ms each). What it
//! protects is small: a vote is counted in memory that the same power cut erases, so the loss is a few calls that are
//! paid again, and a budget may be exceeded by those few.
//!
//! What was in flight when a process ended is an attempt that was opened and never closed. The next process to take the
//! run over marks it *unknown*: it counts as spent, and its draw is asked once more.
//!
//! # Processes
//!
//! Any number of processes may use one ledger. Every record is written in an immediate transaction, budgets of a
//! provider's day and month are read and charged inside it, and a run belongs to the process that holds an advisory
//! lock on the run's file in the folder `LEDGER-locks`, which the system releases however the process ends. The
//! ledger must lie on a local disk: network file systems offer neither lock reliably.
//!
//! Where another process holds the ledger for longer than [`Options::busy`], no call is opened, and what calls brought is kept
//! until it lets go. Dropping the last handle tries again, for a few times that long at most.
//!
//! # A full disk
//!
//! `LEDGER-reserve` is given back to the disk when a write finds no space, so that answers in flight can be recorded;
//! no call is opened until there is space again.

mod accounts;
mod answers;
mod attempts;
mod ballast;
mod batch;
mod budget;
mod clock;
mod company;
mod error;
mod export;
mod filing;
mod forcer;
mod job;
mod lock;
mod log;
mod looker;
mod options;
mod patience;
mod picture;
mod place;
mod queries;
mod row;
mod run;
mod runs;
mod schema;
mod spec;
mod stems;
mod stored;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use budget::{Budgets, Caller, Cap, Spend};
pub use clock::Clock;
pub use error::LedgerError;
pub use export::{LogHead, LogLine, LoggedAnswer, Overwritten};
pub use options::{Options, Retention};
pub use picture::Picture;
pub use place::default_path;
pub use queries::{PictureSummary, Reader, RunReport, RunSummary};
pub use run::{Begin, Known, PictureId, PictureSpec, Run, RunId, RunSpec};
pub use spec::{Change, Spec};
pub use stored::StoredPicture;

use job::Kind;
use lock::RunLock;
use run::{Lease, RunInner};
use writer::Writer;

/// An open ledger. Dropping the last handle (runs and pictures hold one, too) commits everything that waits.
///
/// Cloning is cheap.
#[derive(Clone)]
pub struct Ledger {
    path: PathBuf,
    answers: Retention,
    writer: Arc<Writer>,
}

impl Ledger {
    /// Opens the ledger at `path`, creates it and its folder where there is none (readable by the owner alone), and
    /// brings an older format forward.
    ///
    /// When it returns, the ledger was written to once: nothing is paid for that could not be recorded.
    ///
    /// # Errors
    /// Every case of [`LedgerError`] that names a path. A file that is not ours, is damaged or comes from a later
    /// version is left as it was.
    pub fn open(path: impl AsRef<Path>, options: &Options) -> Result<Self, LedgerError> {
        let path = path.as_ref();
        let db = schema::open(path, options)?;
        // One name for the lock's folder, by whatever link the ledger was reached.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let writer = Arc::new(Writer::start(db, &path, options)?);
        Ok(Self { path, answers: options.answers, writer })
    }

    /// The ledger's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a run or continues one, and takes its lock.
    ///
    /// # Errors
    /// [`LedgerError::AlreadyRunning`], [`LedgerError::Changed`] with the changed parameters,
    /// [`LedgerError::NoSuchRun`], [`LedgerError::UnknownPrice`] where a cost is limited and the price is not known.
    /// Failures of the storage.
    pub async fn begin_run(&self, spec: RunSpec, begin: Begin) -> Result<Run, LedgerError> {
        attempts::price_is_enough(&spec.instance, spec.price, &spec.budgets)?;
        let (instance, budgets, wanted) = (spec.instance.clone(), spec.budgets, spec.clone());
        let found = self.writer.submit(Kind::Asks, move |batch| runs::begin(batch, &wanted, begin)).await;
        let (id, new) = found?;
        let lock = RunLock::take(&self.path, id).await?;
        let taken = self.writer.submit(Kind::Asks, move |batch| runs::take_over(batch, id, &spec)).await;
        let (resumed, in_flight, answers) = (!new, taken?, self.answers);
        let writer = Arc::clone(&self.writer);
        let lease = Arc::new(Lease { id, instance, _lock: lock });
        Ok(Run {
            inner: Arc::new(RunInner {
                lease,
                stems: Arc::default(),
                resumed,
                in_flight,
                budgets,
                answers,
                writer,
            }),
        })
    }

    /// Writes once, as before a paid call, and changes nothing by it: an error says why no call could be recorded now.
    ///
    /// # Errors
    /// Failures of the storage, also an earlier one to force the log to the disk; [`LedgerError::Full`] where space is short.
    pub async fn probe(&self) -> Result<(), LedgerError> {
        self.writer.submit(Kind::Spends, batch::touch).await
    }

    /// What was spent for a caller so far, over all runs.
    ///
    /// # Errors
    /// Failures of the storage.
    pub async fn spent_for(&self, caller: &str) -> Result<Spend, LedgerError> {
        let caller = caller.to_owned();
        self.writer.submit(Kind::Asks, move |batch| runs::spent_for(batch, &caller)).await
    }

    /// Takes the day of the system's clock for today, although a later one is on record: for a ledger that once saw a
    /// clock set too far ahead. Until then, calls are charged to that later day, lest a clock set back opens a budget
    /// that was used up.
    ///
    /// # Errors
    /// Failures of the storage.
    pub async fn trust_clock(&self) -> Result<(), LedgerError> {
        self.writer.submit(Kind::Asks, batch::trust_clock).await
    }

    /// Removes a run with its pictures, answers and certificates. What it spent stays counted in the budgets of its
    /// provider's days and months.
    ///
    /// # Errors
    /// [`LedgerError::AlreadyRunning`], [`LedgerError::NoSuchRun`], failures of the storage.
    pub async fn remove_run(&self, run: RunId) -> Result<(), LedgerError> {
        let lock = RunLock::take(&self.path, run).await?;
        let removed = self.writer.submit(Kind::Confirms, move |batch| runs::remove(batch, run)).await;
        if matches!(removed, Ok(()) | Err(LedgerError::NoSuchRun { .. })) {
            lock.remove();
        }
        removed
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("path", &self.path).finish_non_exhaustive()
    }
}
