//! The one thread that writes, and how many records share one commit.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{CachedStatement, Connection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::accounts::Accounts;
use super::ballast::Ballast;
use super::clock::Day;
use super::row::RowError;
use super::schema::FORMAT;
use super::{LedgerError, Options};

/// Most records of one commit: bounds how long the first of them waits.
const LARGEST_GROUP: usize = 512;

/// How long the first looks at what came are apart, while a group waits for more.
const FIRST_LOOK: Duration = Duration::from_millis(1);

/// And all others.
const LOOK: Duration = Duration::from_millis(2);

/// After so many groups in a row for which the first look brought nothing, nobody waits for a while.
const LOOKS_IN_VAIN: u32 = 3;

/// So many commits. Then it is tried again: the load may have changed.
const WITHOUT_WAITING: u32 = 64;

/// Unless so many records come at once.
const WORTH_WAITING: usize = 8;

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
    prepared: Vec<(&'static str, CachedStatement<'c>)>,
    /// The clock's milliseconds since 1970-01-01 UTC.
    pub(super) now: i64,
    /// The day that calls are charged to: the clock's, unless the ledger has seen a later one.
    pub(super) day: Day,
    /// Has the ledger seen a later day?
    behind: bool,
    /// How long the calls took whose ends are recorded.
    pub(super) latencies: Latencies,
}

/// A sum of latencies.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Latencies {
    sum: Duration,
    calls: u32,
}

impl Latencies {
    pub(super) fn add(&mut self, latency: Duration) {
        self.sum += latency;
        self.calls += 1;
    }

    fn mean(&self) -> Option<Duration> {
        self.sum.checked_div(self.calls)
    }
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
            in_vain: 0,
            latency: Duration::ZERO,
            steady: false,
            without_waiting: 0,
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
    /// Groups in a row for which the first look brought nothing.
    in_vain: u32,
    /// What calls take lately.
    latency: Duration,
    /// Records came for as long as the last group waited.
    steady: bool,
    /// Commits to come that wait for nothing.
    without_waiting: u32,
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
    }

    /// A commit costs several times what a record in it does, so a group waits for more records as long as more come, but
    /// not for long beside what a call takes anyway: an eighth of that, and at most [`Options::commit_every`]. One that all
    /// others wait for goes after the first look in vain; and where that happens again and again, for instance since one
    /// caller makes one record after the other, groups go at once.
    fn gather(&mut self, first: Box<dyn Job>) -> Vec<Box<dyn Job>> {
        let mut group = vec![first];
        self.take_what_came(&mut group);
        if self.without_waiting > 0 {
            self.without_waiting = if group.len() < WORTH_WAITING { self.without_waiting - 1 } else { 0 };
            return group;
        }
        let worth_it =
            if self.steady { self.wait_for_half_and_half(&mut group) } else { self.look(&mut group) };
        self.in_vain = if worth_it { 0 } else { self.in_vain + 1 };
        if self.in_vain >= LOOKS_IN_VAIN {
            // One more look in vain is enough for the next time.
            (self.in_vain, self.without_waiting) = (LOOKS_IN_VAIN - 1, WITHOUT_WAITING);
        }
        group
    }

    /// Waits for more records as long as they come as fast as before: where everybody waits for this group already, they
    /// stop coming. Did any come?
    fn look(&mut self, group: &mut Vec<Box<dyn Job>>) -> bool {
        let (begun, at_first) = (Instant::now(), group.len());
        let longest = self.longest();
        if longest.is_zero() {
            return false;
        }
        let mut waited = Duration::ZERO;
        while waited < longest && group.len() < LARGEST_GROUP {
            let look = if waited < LOOK { FIRST_LOOK } else { LOOK };
            let (before, pause) = (group.len(), look.min(longest.saturating_sub(waited)));
            self.pause(group, pause);
            let came = (group.len() - before) as f64 / pause.as_secs_f64();
            let as_fast = waited.is_zero() || 3.0 * came * waited.as_secs_f64() >= (before - at_first) as f64;
            if group.len() == before || !as_fast {
                return group.len() > at_first;
            }
            waited = begun.elapsed();
        }
        self.steady = true;
        true
    }

    /// Where records came steadily last time, waking up for more looks would cost more than what they could save. Did any
    /// come?
    fn wait_for_half_and_half(&mut self, group: &mut Vec<Box<dyn Job>>) -> bool {
        let (half, at_first) = (self.longest() / 2, group.len());
        self.pause(group, half);
        let early = group.len();
        if early < LARGEST_GROUP {
            self.pause(group, half);
            self.steady = 2 * (group.len() - early) >= early;
        }
        group.len() > at_first
    }

    /// The longest that a group waits.
    fn longest(&self) -> Duration {
        (self.latency / 8).max(LOOK).min(self.options.commit_every)
    }

    fn pause(&self, group: &mut Vec<Box<dyn Job>>, pause: Duration) {
        std::thread::sleep(pause);
        self.take_what_came(group);
    }

    fn take_what_came(&self, group: &mut Vec<Box<dyn Job>>) {
        group.extend(self.inbox.try_iter().take(LARGEST_GROUP - group.len()));
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
        self.db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let done = self.records(group).and_then(|latencies| {
            self.db.prepare_cached("COMMIT")?.execute([])?;
            Ok(latencies)
        });
        match done {
            Ok(latencies) => {
                if let Some(mean) = latencies.mean() {
                    self.latency = (7 * self.latency + mean) / 8;
                }
            }
            Err(failure) => {
                if !self.db.is_autocommit() {
                    // Where even this fails the next transaction does, too, and says so.
                    let _ = self.db.execute_batch("ROLLBACK");
                }
                return Err(failure);
            }
        }
        self.unsynced_since = if sync { None } else { self.unsynced_since.or_else(|| Some(Instant::now())) };
        Ok(())
    }

    /// What is inside of a transaction. Returns what the calls took that ended.
    fn records(&self, group: &mut [Box<dyn Job>]) -> Result<Latencies, RowError> {
        let db = &self.db;
        let format: i64 = db.prepare_cached("PRAGMA user_version")?.query_row([], |row| row.get(0))?;
        if format != FORMAT {
            // A later version has migrated the file under us.
            return Err(LedgerError::Newer { path: self.path.clone(), found: format, known: FORMAT }.into());
        }
        let mut batch = Batch::begin(db, self.options.clock.now_ms())?;
        for job in group {
            job.apply(&mut batch)?;
        }
        batch.accounts.store(db)?;
        Ok(batch.latencies)
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
    /// A statement that many records of a group share: taken out of the connection's cache once.
    pub(super) fn prepare(&mut self, sql: &'static str) -> rusqlite::Result<&mut CachedStatement<'c>> {
        let known = self.prepared.iter().position(|(known, _)| std::ptr::eq(*known, sql));
        let at = known.unwrap_or(self.prepared.len());
        if known.is_none() {
            self.prepared.push((sql, self.db.prepare_cached(sql)?));
        }
        Ok(&mut self.prepared[at].1)
    }

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
        Ok(Self {
            db,
            accounts: Accounts::default(),
            prepared: Vec::new(),
            now,
            day,
            behind,
            latencies: Latencies::default(),
        })
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
