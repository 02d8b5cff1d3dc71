//! The one thread that writes, and how many records share one commit.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot};

use super::ballast::Ballast;
use super::batch::{Batch, Latencies};
use super::company::Company;
use super::forcer::Forcer;
use super::job::{Job, Kind, Task, refuse, tell};
use super::log::Log;
use super::looker::Looker;
use super::row::RowError;
use super::schema::FORMAT;
use super::{LedgerError, Options};

/// Pages of the log, of 4 KiB, until it is folded into the database: that forces both to the disk while everybody waits.
const LOG_PAGES: u32 = 4096;

/// Memory for pages: those that records come to again and again, of the indices above all, are not read each time.
const CACHE_KIB: i32 = 16 << 10;

fn set_up(db: &Connection) -> rusqlite::Result<()> {
    // What must be on the disk is forced there from here ([`Log`]).
    db.pragma_update(None, "synchronous", "NORMAL")?;
    db.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    // Negative: so many KiB, and not pages.
    db.pragma_update(None, "cache_size", -CACHE_KIB)
}

/// The way to the writing thread. Dropping it commits everything that waits and ends the thread.
pub(super) struct Writer {
    /// Who looks on beside it.
    pub(super) looker: Looker,
    jobs: Option<Sender<Box<dyn Job>>>,
    room: Arc<Semaphore>,
    #[cfg(test)]
    pub(super) log: Arc<Log>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread on an open ledger.
    pub(super) fn start(db: Connection, path: &Path, options: &Options) -> Result<Self, LedgerError> {
        set_up(&db).map_err(|e| LedgerError::from_sql(path, e))?;
        let (jobs, inbox) = channel();
        let no_thread =
            |e: std::io::Error| LedgerError::CannotOpen { path: path.to_owned(), problem: e.to_string() };
        let log = Arc::new(Log::of(path));
        #[cfg(test)]
        let shared = Arc::clone(&log);
        let state = Loop {
            db,
            inbox,
            path: path.to_owned(),
            options: options.clone(),
            ballast: Ballast::new(path, options.reserve),
            starved: false,
            company: Company::new(options.commit_every, options.patient),
            forcer: Forcer::start(path, Arc::clone(&log)).map_err(no_thread)?,
            log,
            unsynced_since: None,
            kept: Vec::new(),
        };
        let thread = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || state.run())
            .map_err(no_thread)?;
        let room = Arc::new(Semaphore::new(options.queue.clamp(1, Semaphore::MAX_PERMITS)));
        Ok(Self {
            looker: Looker::new(path.to_owned()),
            jobs: Some(jobs),
            room,
            #[cfg(test)]
            log: shared,
            thread: Mutex::new(Some(thread)),
        })
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
        let task = Task {
            kind,
            work,
            done: None,
            reply: Some(reply),
            unclaimed,
            failed: None,
            _permit: Some(permit),
        };
        self.post(Box::new(task))?;
        Ok(answer)
    }

    /// Hands over what happened at once, without room as well: whoever waited could be dropped, and what was paid for with
    /// them. There are no more of these than calls that are out and pictures that begin. Nobody waits for the commit. Records
    /// are written in the order in which they were handed over, so whoever hears that a later one is on record knows it of
    /// this one; unless it failed, of which `failed` hears before anything later is written alone.
    pub(super) fn hand_over(
        &self,
        failed: impl FnOnce(LedgerError) + Send + 'static,
        work: impl FnMut(&mut Batch<'_>) -> Result<(), RowError> + Send + 'static,
    ) -> Result<(), LedgerError> {
        self.post(Box::new(Task {
            kind: Kind::Records,
            work,
            done: None,
            reply: None,
            unclaimed: None,
            failed: Some(Box::new(failed)),
            _permit: None,
        }))
    }

    /// Hands a record over at once, for callers that cannot wait.
    pub(super) fn post(&self, job: Box<dyn Job>) -> Result<(), LedgerError> {
        self.jobs.as_ref().and_then(|jobs| jobs.send(job).ok()).ok_or(LedgerError::Closed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // First: whoever closes the ledger last folds the log into it, and a reader cannot.
        self.looker.close();
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
    company: Company,
    log: Arc<Log>,
    forcer: Forcer,
    unsynced_since: Option<Instant>,
    /// What waits, in its order, for another process to let go of the ledger.
    kept: Vec<Box<dyn Job>>,
}

impl Loop {
    fn run(mut self) {
        self.starved = self.ballast.ensure().is_err();
        loop {
            if !self.kept.is_empty() {
                if self.begin_again() {
                    continue;
                }
                break;
            }
            match self.inbox.recv_timeout(self.patience()) {
                Ok(first) => {
                    let group = self.company.gather(first, &self.inbox, |job| job.is_awaited());
                    self.group(group);
                }
                Err(RecvTimeoutError::Timeout) => {
                    if !self.sync() {
                        // Not at once again: the loop would spin.
                        std::thread::sleep(Duration::from_millis(100));
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.forcer.finish();
        self.sync();
    }

    /// How long to wait for the next record before what is committed must be forced to the disk.
    fn patience(&self) -> Duration {
        match self.unsynced_since {
            Some(since) => self.options.sync_within.saturating_sub(since.elapsed()),
            None => Duration::from_hours(1),
        }
    }

    /// Tries once more to commit what is kept, before what came meanwhile. False where nobody can hand over anything any more and
    /// this last try was in vain: whoever ends the process waits for it.
    fn begin_again(&mut self) -> bool {
        let mut group = std::mem::take(&mut self.kept);
        // Not at once: where the database does not wait itself, the loop would spin.
        let ended = match self.inbox.recv_timeout(Duration::from_millis(100)) {
            Ok(next) => {
                group.push(next);
                false
            }
            Err(end) => end == RecvTimeoutError::Disconnected,
        };
        group.extend(self.inbox.try_iter());
        if self.patience().is_zero() {
            self.sync();
        }
        self.group(group);
        if !ended || self.kept.is_empty() {
            return true;
        }
        let failure = LedgerError::Busy { path: self.path.clone() };
        for job in std::mem::take(&mut self.kept) {
            tell(job, &failure);
        }
        false
    }

    /// Commits the group, but for what would be paid for in vain.
    fn group(&mut self, mut group: Vec<Box<dyn Job>>) {
        if self.starved && group.iter().any(|job| job.kind() == Kind::Spends) {
            self.starved = self.ballast.ensure().is_err();
        }
        let refusal = if self.starved {
            Some(LedgerError::Full { path: self.path.clone() })
        } else {
            // No certificate could rest on what the call brings.
            self.log.failure().map(|error| LedgerError::from_io(&self.path, error))
        };
        if let Some(refusal) = refusal {
            group = refuse(group, &refusal, |kind| kind == Kind::Spends);
        }
        self.commit(group);
    }

    /// Keeps what happened for the next try, since another process holds the ledger; whoever asked may ask again.
    fn keep(&mut self, group: Vec<Box<dyn Job>>, busy: &LedgerError) {
        self.kept = refuse(group, busy, |kind| !kind.is_kept());
        if !self.kept.is_empty() {
            let records = self.kept.len();
            tracing::warn!(error = %busy, records, "records wait for the ledger, no call is sent meanwhile");
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
            None => self.settle(group),
            Some(LedgerError::Full { .. }) if !self.starved => {
                self.ballast.release();
                self.starved = true;
                let refusal = LedgerError::Full { path: self.path.clone() };
                let rest = refuse(group, &refusal, |kind| kind == Kind::Spends);
                self.commit_each(rest);
            }
            // Whoever holds the ledger would let none of them in.
            Some(busy @ LedgerError::Busy { .. }) => self.keep(group, &busy),
            Some(failure) if alone => group.into_iter().for_each(|job| tell(job, &failure)),
            Some(_) => self.commit_each(group),
        }
    }

    /// Commits each record on its own.
    fn commit_each(&mut self, group: Vec<Box<dyn Job>>) {
        let mut group = group.into_iter();
        while let Some(job) = group.next() {
            let mut alone = [job];
            let failure = self.transaction(&mut alone).err().map(|e| e.at(&self.path));
            let [job] = alone;
            match failure {
                None => self.settle(vec![job]),
                // With all that follow: none of them overtakes it.
                Some(busy @ LedgerError::Busy { .. }) => {
                    let rest = std::iter::once(job).chain(group).collect();
                    return self.keep(rest, &busy);
                }
                Some(failure) => tell(job, &failure),
            }
        }
    }

    /// Tells the callers of committed records: at once, but for those whose records must be on the disk first.
    fn settle(&mut self, group: Vec<Box<dyn Job>>) {
        let all = self.options.sync_within.is_zero();
        let mut later = Vec::new();
        for job in group {
            if all || job.kind().is_forced() {
                later.push(job);
            } else {
                self.acknowledge(job, None);
            }
        }
        if later.is_empty() {
            if self.patience().is_zero() {
                self.sync();
            }
            return;
        }
        // One alone is done sooner here. Where several wait more will come, and need not wait for the disk as well. What shared
        // their commit is forced in its own time all the same.
        if !all && (later.len() > 1 || self.forcer.is_busy()) {
            match self.forcer.force(later) {
                Ok(()) => return,
                Err(back) => later = back,
            }
        }
        let failure = self.force().err();
        for job in later {
            self.acknowledge(job, failure.as_ref());
        }
    }

    /// Returns when everything that was committed is on the disk.
    fn force(&mut self) -> Result<(), LedgerError> {
        self.log.force().map_err(|error| LedgerError::from_io(&self.path, error))?;
        self.unsynced_since = None;
        Ok(())
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
        self.db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let done = self.records(group).and_then(|latencies| {
            self.db.prepare_cached("COMMIT")?.execute([])?;
            Ok(latencies)
        });
        match done {
            Ok(latencies) => {
                if let Some(mean) = latencies.mean() {
                    self.company.learn(mean);
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
        self.unsynced_since.get_or_insert_with(Instant::now);
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

    /// Forces what is committed to the disk where nobody waits for it.
    fn sync(&mut self) -> bool {
        let forced = if self.unsynced_since.is_some() { self.force() } else { Ok(()) };
        if let Err(error) = &forced {
            tracing::warn!(%error, "the ledger could not be forced to the disk");
        }
        forced.is_ok()
    }
}
