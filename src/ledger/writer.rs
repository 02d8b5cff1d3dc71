//! The one thread that writes, and how many records share one commit.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::accounts::Accounts;
use super::ballast::Ballast;
use super::clock::Day;
use super::row::RowError;
use super::schema::FORMAT;
use super::{LedgerError, Options};

/// Most records of one commit: bounds how long the first of them waits.
const LARGEST_GROUP: usize = 512;

/// The longest distance of two commits under load, in least distances.
const LONGEST_DISTANCE: u32 = 4;

/// With so many records in a group the price of a commit is small for each of them: nobody waits for more.
const ENOUGH: usize = 32;

/// A group of fewer records was not worth the wait: a commit costs a tenth of it.
const WORTH_WAITING: usize = 8;

/// Commits without a wait after one that was not worth it. Then it is tried again: the load may have changed.
const WITHOUT_WAITING: u32 = 256;

/// What the writer must know of a record before it looks into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Leads to a paid call: refused when space is short, so that what is in flight can still be recorded.
    Spends,
    /// Says what happened.
    Records,
    /// Will be relied on outside: on the disk before it is acknowledged.
    Publishes,
}

/// The transaction that a group of records shares.
pub(super) struct Batch<'c> {
    pub(super) db: &'c Connection,
    pub(super) accounts: Accounts,
    /// The clock's milliseconds since 1970-01-01 UTC.
    pub(super) now: i64,
    /// The day that calls are charged to: the clock's, unless the ledger has seen a later one.
    pub(super) day: Day,
    /// Has the ledger seen a later day?
    behind: bool,
}

/// One record on its way into the ledger.
pub(super) trait Job: Send {
    fn kind(&self) -> Kind;
    /// Writes the record. May be called again after a rollback. An error is a failure of the database: a refusal is
    /// kept for [`acknowledge`](Self::acknowledge).
    fn apply(&mut self, batch: &mut Batch<'_>) -> Result<(), RowError>;
    /// Tells the caller, after the commit or in place of it. Returns what must follow when nobody listens any more.
    fn acknowledge(self: Box<Self>, failure: Option<&LedgerError>) -> Option<Box<dyn Job>>;
}

/// A [`Job`] made of a closure.
struct Task<T, W> {
    kind: Kind,
    work: W,
    done: Option<Result<T, LedgerError>>,
    reply: Option<oneshot::Sender<Result<T, LedgerError>>>,
    /// What follows a success that nobody heard of.
    unclaimed: Option<fn(T) -> Box<dyn Job>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl<T, W> Job for Task<T, W>
where
    T: Send + 'static,
    W: FnMut(&mut Batch<'_>) -> Result<T, RowError> + Send + 'static,
{
    fn kind(&self) -> Kind {
        self.kind
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
        let unheard = match self.reply {
            Some(reply) => reply.send(done).err()?,
            None => return None,
        };
        Some((self.unclaimed?)(unheard.ok()?))
    }
}

/// A record without a caller that waits.
pub(super) fn unattended<T: Send + 'static>(
    work: impl FnMut(&mut Batch<'_>) -> Result<T, RowError> + Send + 'static,
) -> Box<dyn Job> {
    let kind = Kind::Records;
    Box::new(Task { kind, work, done: None, reply: None, unclaimed: None, _permit: None })
}

/// The way to the writing thread. Dropping it commits everything that waits and ends the thread.
pub(super) struct Writer {
    jobs: Option<Sender<Box<dyn Job>>>,
    room: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread on an open ledger.
    pub(super) fn start(db: Connection, path: &Path, options: &Options) -> Result<Self, LedgerError> {
        let (jobs, inbox) = channel();
        let state = Loop {
            db,
            inbox,
            path: path.to_owned(),
            options: options.clone(),
            ballast: Ballast::new(path, options.reserve),
            starved: false,
            committed: None,
            in_vain: 0,
            unsynced_since: None,
            syncing: true,
        };
        let thread = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || state.run())
            .map_err(|e| LedgerError::CannotOpen { path: path.to_owned(), problem: e.to_string() })?;
        let room = Arc::new(Semaphore::new(options.queue.clamp(1, Semaphore::MAX_PERMITS)));
        Ok(Self { jobs: Some(jobs), room, thread: Mutex::new(Some(thread)) })
    }

    /// Records, and returns when the record is as durable as promised.
    pub(super) async fn submit<T: Send + 'static>(
        &self,
        kind: Kind,
        work: impl FnMut(&mut Batch<'_>) -> Result<T, RowError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.enqueue(kind, None, work).await?.await.unwrap_or(Err(LedgerError::Closed))
    }

    /// Hands a record over, waiting for room. From then on it is recorded whether the caller waits or not;
    /// `unclaimed` follows if the caller has gone when it is.
    pub(super) async fn enqueue<T: Send + 'static>(
        &self,
        kind: Kind,
        unclaimed: Option<fn(T) -> Box<dyn Job>>,
        work: impl FnMut(&mut Batch<'_>) -> Result<T, RowError> + Send + 'static,
    ) -> Result<oneshot::Receiver<Result<T, LedgerError>>, LedgerError> {
        let permit = Arc::clone(&self.room).acquire_owned().await.map_err(|_| LedgerError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let task = Task { kind, work, done: None, reply: Some(reply), unclaimed, _permit: Some(permit) };
        self.post(Box::new(task))?;
        Ok(answer)
    }

    /// Hands a record over at once, for callers that cannot wait: destructors.
    pub(super) fn post(&self, job: Box<dyn Job>) -> Result<(), LedgerError> {
        self.jobs.as_ref().and_then(|jobs| jobs.send(job).ok()).ok_or(LedgerError::Closed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic there was ours and has been reported by the panic hook; every waiting caller got `Closed`.
            let _ = thread.join();
        }
    }
}

/// The writing thread.
struct Loop {
    db: Connection,
    inbox: Receiver<Box<dyn Job>>,
    path: PathBuf,
    options: Options,
    ballast: Ballast,
    /// Space ran out and the ballast is gone.
    starved: bool,
    committed: Option<Instant>,
    /// Commits that nothing is waited for before, since that was in vain.
    in_vain: u32,
    unsynced_since: Option<Instant>,
    /// What `PRAGMA synchronous` was last set to.
    syncing: bool,
}

impl Loop {
    fn run(mut self) {
        self.starved = self.ballast.ensure().is_err();
        loop {
            match self.inbox.recv_timeout(self.patience()) {
                Ok(first) => self.group(first),
                Err(RecvTimeoutError::Timeout) => self.sync(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.sync();
    }

    /// How long to wait for the next record before what is committed must be forced to the disk.
    fn patience(&self) -> Duration {
        match self.unsynced_since {
            Some(since) => self.options.sync_within.saturating_sub(since.elapsed()),
            None => Duration::from_secs(3600),
        }
    }

    /// Collects what waits and commits it.
    fn group(&mut self, first: Box<dyn Job>) {
        let mut group = self.gather(first);
        if self.starved && group.iter().any(|job| job.kind() == Kind::Spends) {
            self.starved = self.ballast.ensure().is_err();
        }
        if self.starved {
            let refusal = LedgerError::Full { path: self.path.clone() };
            let (spending, rest): (Vec<_>, Vec<_>) =
                group.into_iter().partition(|j| j.kind() == Kind::Spends);
            for job in spending {
                self.acknowledge(job, Some(&refusal));
            }
            group = rest;
        }
        self.commit(group);
        self.committed = Some(Instant::now());
    }

    /// Commits keep their distance, so that records share the price of one: under load the least distance, and as long
    /// as more records come, several times that. A record that comes alone, and one that all others wait for, goes at
    /// once; and where waiting has brought too few together, for instance since one caller makes one record after the
    /// other, nobody waits for the next few hundred commits.
    fn gather(&mut self, first: Box<dyn Job>) -> Vec<Box<dyn Job>> {
        let mut group = vec![first];
        if self.in_vain > 0 {
            group.extend(self.inbox.try_iter().take(LARGEST_GROUP - 1));
            self.in_vain = if group.len() < WORTH_WAITING { self.in_vain - 1 } else { 0 };
            return group;
        }
        let waited = self.wait_for_more(&mut group);
        if waited && group.len() < WORTH_WAITING {
            self.in_vain = WITHOUT_WAITING;
        }
        group
    }

    /// Waits for more records. Was there anything to wait for?
    fn wait_for_more(&self, group: &mut Vec<Box<dyn Job>>) -> bool {
        let (least, longest) = (self.options.commit_every, self.options.commit_every * LONGEST_DISTANCE);
        let mut waited = false;
        loop {
            let before = group.len();
            group.extend(self.inbox.try_iter().take(LARGEST_GROUP - before));
            let since = self.committed.map_or(longest, |at| at.elapsed());
            let waits = if since < least {
                least.saturating_sub(since)
            } else if since < longest && group.len() > before {
                since.min(longest.saturating_sub(since))
            } else {
                return waited;
            };
            if group.len() >= ENOUGH {
                return waited;
            }
            // In steps, since there may soon be enough; waking up for every record would cost more than a commit does.
            std::thread::sleep(waits.min(least / 4));
            waited = true;
        }
    }

    /// Commits the group; where that fails, each record on its own, so that one bad page or the last free block
    /// costs as few records as it must.
    fn commit(&mut self, mut group: Vec<Box<dyn Job>>) {
        if group.is_empty() {
            return;
        }
        let failure = match self.transaction(&mut group) {
            Ok(()) => None,
            Err(failure) => Some(failure.at(&self.path)),
        };
        let alone = group.len() == 1;
        match failure {
            None => group.into_iter().for_each(|job| self.acknowledge(job, None)),
            Some(LedgerError::Full { .. }) if !self.starved => {
                self.ballast.release();
                self.starved = true;
                let refusal = LedgerError::Full { path: self.path.clone() };
                for job in group {
                    if job.kind() == Kind::Spends {
                        self.acknowledge(job, Some(&refusal));
                    } else {
                        self.commit_alone(job);
                    }
                }
            }
            // Whoever holds the ledger would let none of them in.
            Some(failure) if alone || matches!(failure, LedgerError::Busy { .. }) => {
                for job in group {
                    self.acknowledge(job, Some(&failure));
                }
            }
            Some(_) => group.into_iter().for_each(|job| self.commit_alone(job)),
        }
    }

    fn commit_alone(&mut self, job: Box<dyn Job>) {
        let mut alone = [job];
        let failure = self.transaction(&mut alone).err().map(|e| e.at(&self.path));
        let [job] = alone;
        self.acknowledge(job, failure.as_ref());
    }

    /// Tells the caller; what must follow because nobody listens any more is committed at once.
    fn acknowledge(&mut self, job: Box<dyn Job>, failure: Option<&LedgerError>) {
        if let Some(follow_up) = job.acknowledge(failure) {
            // Nobody waits for it. Should it fail, the attempt stays open, which counts as spent: safe.
            let _ = self.transaction(&mut [follow_up]);
        }
    }

    /// One immediate transaction around the records.
    fn transaction(&mut self, group: &mut [Box<dyn Job>]) -> Result<(), RowError> {
        let due =
            self.unsynced_since.map_or(Duration::ZERO, |since| since.elapsed()) >= self.options.sync_within;
        let publishes = group.iter().any(|job| job.kind() == Kind::Publishes);
        let sync = due || publishes;
        self.set_sync(sync)?;
        let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let format: i64 = tx.prepare_cached("PRAGMA user_version")?.query_row([], |row| row.get(0))?;
        if format != FORMAT {
            // A later version has migrated the file under us.
            return Err(LedgerError::Newer { path: self.path.clone(), found: format, known: FORMAT }.into());
        }
        let mut batch = Batch::begin(&tx, self.options.clock.now_ms())?;
        for job in group {
            job.apply(&mut batch)?;
        }
        batch.accounts.store(&tx)?;
        tx.commit()?;
        self.unsynced_since = if sync { None } else { self.unsynced_since.or_else(|| Some(Instant::now())) };
        Ok(())
    }

    /// Forces what is committed to the disk. A failure is not lost: the next record is committed with a sync, too, and
    /// reports it.
    fn sync(&mut self) {
        if self.unsynced_since.is_some()
            && let Err(error) = self.transaction(&mut [unattended(|batch| {
                // A commit that changes nothing would sync nothing.
                let mut touch = batch.db.prepare_cached("UPDATE clock SET latest_day = latest_day")?;
                Ok(touch.execute([])?)
            })])
        {
            tracing::warn!(ledger = %self.path.display(), ?error, "the ledger could not be forced to the disk");
            // Not at once again: the loop would spin.
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn set_sync(&mut self, sync: bool) -> rusqlite::Result<()> {
        if sync != self.syncing {
            self.db.pragma_update(None, "synchronous", if sync { "FULL" } else { "NORMAL" })?;
            self.syncing = sync;
        }
        Ok(())
    }
}

impl<'c> Batch<'c> {
    /// Adds to a refusal why the day in it is not today's.
    pub(super) fn explain(&self, refusal: RowError) -> RowError {
        match refusal {
            RowError::Decided(LedgerError::Budget(text)) if self.behind => LedgerError::Budget(format!(
                "{text} (the clock is behind {}, the latest day on record, so that day is charged)",
                self.day.name()
            ))
            .into(),
            other => other,
        }
    }

    /// Begins with a look at the calendar: the day only moves forward, so a clock that jumps back opens no budget that
    /// was used up.
    fn begin(db: &'c Connection, now: i64) -> Result<Self, RowError> {
        let latest: i64 =
            db.prepare_cached("SELECT latest_day FROM clock")?.query_row([], |row| row.get(0))?;
        let today = Day::of_ms(now);
        if today > Day(latest) {
            db.prepare_cached("UPDATE clock SET latest_day = ?1")?.execute([today.0])?;
        }
        let (day, behind) = (today.max(Day(latest)), today < Day(latest));
        Ok(Self { db, accounts: Accounts::default(), now, day, behind })
    }
}

/// Takes the clock's day for the latest, although a later one is on record.
pub(super) fn trust_clock(batch: &mut Batch<'_>) -> Result<(), RowError> {
    batch.day = Day::of_ms(batch.now);
    batch.behind = false;
    batch.db.prepare_cached("UPDATE clock SET latest_day = ?1")?.execute([batch.day.0])?;
    Ok(())
}

/// Writes what is there already.
pub(super) fn touch(batch: &mut Batch<'_>) -> Result<(), RowError> {
    batch.db.prepare_cached("UPDATE clock SET latest_day = latest_day")?.execute([])?;
    Ok(())
}
