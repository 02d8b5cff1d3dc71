//! What is on record, for `runs`, `runs show` and whoever else looks on without writing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};
use serde::Serialize;
use serde_json::Value;
use smoothgate_providers::{Money, OutcomeClass};

use super::accounts::{Charge, Scope};
use super::attempts::class_of;
use super::clock::{Day, rfc3339};
use super::lock::RunLock;
use super::place::beside;
use super::row::RowError;
use super::stored::{self, StoredPicture};
use super::{Cap, Known, LedgerError, Options, PictureId, PictureSpec, RunId, Spec, Spend, runs, schema};

/// A ledger opened for reading: also one that cannot be written, and one that other processes write at the moment.
///
/// Each query sees the state of one instant.
pub struct Reader {
    path: PathBuf,
    db: Connection,
}

/// A run in one line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunSummary {
    /// Its number.
    pub id: RunId,
    /// BLAKE3 of its parameters, hexadecimal.
    pub key: String,
    /// The provider instance it asks.
    pub instance: String,
    /// When it was begun, RFC 3339 in UTC.
    pub begun: String,
    /// When it was finished; `None` while pictures are left.
    pub finished: Option<String>,
    /// Is a process working on it now?
    pub active: bool,
    /// Pictures expected, where that is known.
    pub expected: Option<u64>,
    /// Pictures begun.
    pub pictures: u64,
    /// Pictures with a certificate.
    pub certified: u64,
    /// What it may spend.
    pub budget: Cap,
    /// What it has spent.
    pub spend: Spend,
}

/// A run in detail.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunReport {
    /// The line of `runs`.
    #[serde(flatten)]
    pub summary: RunSummary,
    /// Every parameter that decides its certificates.
    pub parameters: Value,
    /// What its command needs to start again besides.
    pub arguments: Value,
    /// Attempts by how they ended.
    pub attempts: BTreeMap<OutcomeClass, u64>,
    /// Attempts whose end nobody knows, since their process was killed or cancelled them.
    pub unknown: u64,
    /// Attempts in flight now. Of a run that is not active these are unknown, too, and are counted there.
    pub in_flight: u64,
    /// Its pictures, in the order in which they were begun.
    pub pictures: Vec<PictureSummary>,
}

/// A picture in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PictureSummary {
    /// Its name in the run.
    pub name: String,
    /// Draws that are settled.
    pub settled: u64,
    /// Of these, draws that were given up.
    pub given_up: u64,
    /// Attempts made, retries included.
    pub attempts: u64,
    /// Is the clean answer settled, where one was asked for?
    pub clean: bool,
    /// Has it a certificate?
    pub certified: bool,
}

impl Reader {
    /// Opens the ledger at `path`. Creates nothing.
    ///
    /// # Errors
    /// [`LedgerError::CannotOpen`] where there is none, and the cases of [`Ledger::open`](super::Ledger::open) that do
    /// not concern writing. An older format is refused as [`LedgerError::Older`]: opening it for writing brings it
    /// forward.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LedgerError> {
        let path = path.as_ref();
        if let Err(e) = std::fs::metadata(path) {
            return Err(LedgerError::CannotOpen { path: path.to_owned(), problem: e.to_string() });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let fail = |e| LedgerError::from_sql(path, e);
        let db = Connection::open_with_flags(path, flags).map_err(fail)?;
        db.busy_timeout(Options::default().busy).map_err(fail)?;
        let (db, format) = match schema::identify(&db, path) {
            Ok(format) => (db, format),
            Err(LedgerError::CannotOpen { .. } | LedgerError::ReadOnly { .. }) if unwritten(path) => {
                // On a medium that cannot be written not even readers' locks can be. Nobody writes it, then.
                let flags = flags | OpenFlags::SQLITE_OPEN_URI;
                let db = Connection::open_with_flags(immutable(path), flags).map_err(fail)?;
                let format = schema::identify(&db, path)?;
                (db, format)
            }
            Err(error) => return Err(error),
        };
        if format < schema::FORMAT {
            return Err(LedgerError::Older { path: path.to_owned(), found: format, known: schema::FORMAT });
        }
        schema::keep_statements(&db).map_err(fail)?;
        Ok(Self { path: path.canonicalize().unwrap_or_else(|_| path.to_owned()), db })
    }

    /// All runs, oldest first.
    ///
    /// # Errors
    /// Failures of the storage.
    pub fn runs(&self) -> Result<Vec<RunSummary>, LedgerError> {
        self.at(|db| {
            let ids: Vec<i64> = db
                .prepare("SELECT id FROM run ORDER BY id")?
                .query_map([], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            ids.into_iter().filter_map(|id| self.summary(db, RunId(id)).transpose()).collect()
        })
    }

    /// One run in one line, and its pictures in the order in which they were begun.
    ///
    /// # Errors
    /// [`LedgerError::NoSuchRun`], failures of the storage.
    pub fn progress(&self, run: RunId) -> Result<(RunSummary, Vec<PictureSummary>), LedgerError> {
        self.at(|db| {
            let summary = self.summary(db, run)?.ok_or(LedgerError::NoSuchRun { run })?;
            Ok((summary, pictures(db, run)?))
        })
    }

    /// One run in detail.
    ///
    /// # Errors
    /// [`LedgerError::NoSuchRun`], failures of the storage.
    pub fn run(&self, run: RunId) -> Result<RunReport, LedgerError> {
        self.at(|db| {
            let summary = self.summary(db, run)?.ok_or(LedgerError::NoSuchRun { run })?;
            let (parameters, arguments): (String, String) =
                db.query_row("SELECT spec, arguments FROM run WHERE id = ?1", [run.0], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?;
            let arguments = serde_json::from_str(&arguments)
                .map_err(|e| RowError::damaged(format!("the arguments of run {run}: {e}")))?;
            let mut report = RunReport {
                parameters: Spec::stored(parameters).value(),
                arguments,
                attempts: BTreeMap::new(),
                unknown: 0,
                in_flight: 0,
                pictures: pictures(db, run)?,
                summary,
            };
            let mut select = db.prepare(
                "SELECT a.class, a.standing, count(*) FROM attempt a JOIN picture p ON p.id = a.picture
                 WHERE p.run = ?1 GROUP BY a.class, a.standing",
            )?;
            let mut rows = select.query([run.0])?;
            while let Some(row) = rows.next()? {
                let count = unsigned(row, 2)?;
                match row.get::<_, Option<String>>(0)? {
                    Some(class) => *report.attempts.entry(class_of(&class)?).or_default() += count,
                    None if row.get::<_, i64>(1)? == 0 && report.summary.active => report.in_flight += count,
                    None => report.unknown += count,
                }
            }
            Ok(report)
        })
    }

    /// The parameters of a run: compare them with [`Spec::difference`].
    ///
    /// # Errors
    /// [`LedgerError::NoSuchRun`], failures of the storage.
    pub fn parameters(&self, run: RunId) -> Result<Spec, LedgerError> {
        self.at(|db| {
            let select = db.query_row("SELECT spec FROM run WHERE id = ?1", [run.0], |row| row.get(0));
            Ok(Spec::stored(select.optional()?.ok_or(LedgerError::NoSuchRun { run })?))
        })
    }

    /// The run that [`Begin::ContinueOrNew`](super::Begin::ContinueOrNew) with these parameters would continue, if there
    /// is one.
    ///
    /// # Errors
    /// Failures of the storage.
    pub fn latest_with(&self, parameters: &Spec) -> Result<Option<RunId>, LedgerError> {
        self.at(|db| Ok(runs::latest_with(db, parameters)?))
    }

    /// The runs that are not finished, the latest first.
    ///
    /// # Errors
    /// Failures of the storage.
    pub fn unfinished(&self) -> Result<Vec<RunId>, LedgerError> {
        self.at(|db| {
            let mut select = db.prepare("SELECT id FROM run WHERE finished IS NULL ORDER BY id DESC")?;
            let ids = select.query_map([], |row| row.get(0).map(RunId))?;
            Ok(ids.collect::<Result<_, _>>()?)
        })
    }

    /// The run, the name and the certificate of a picture; `None` where there is no such picture or it has none.
    ///
    /// # Errors
    /// Failures of the storage.
    pub fn certificate(&self, picture: PictureId) -> Result<Option<(RunId, String, String)>, LedgerError> {
        self.at(|db| {
            let found = db
                .query_row("SELECT run, name FROM picture WHERE id = ?1", [picture.0], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .optional()?;
            let Some((run, name)) = found else { return Ok(None) };
            Ok(stored::certificate(db, picture.0)?.map(|text| (RunId(run), name, text)))
        })
    }

    /// What a provider instance has spent today and this month (UTC), over all runs.
    ///
    /// # Errors
    /// Failures of the storage.
    pub fn spent_on(&self, instance: &str) -> Result<(Spend, Spend), LedgerError> {
        self.at(|db| {
            let latest: i64 = db.query_row("SELECT latest_day FROM clock", [], |row| row.get(0))?;
            let today = Day::of_ms(super::Clock::system().now_ms());
            let charge = Charge { run: 0, instance, day: today.max(Day(latest)), caller: None };
            let [_, day, month] = charge.scopes();
            Ok((day.load(db)?, month.load(db)?))
        })
    }

    /// What was spent for a caller so far, over all runs.
    ///
    /// # Errors
    /// Failures of the storage.
    pub fn spent_for(&self, caller: &str) -> Result<Spend, LedgerError> {
        self.at(|db| Scope::caller(caller).load(db))
    }

    /// Everything settled about the pictures of a run, in the order in which they were begun: name, parameters, seed and
    /// outcomes. What exports, plans and `verify --ledger` read.
    ///
    /// # Errors
    /// [`LedgerError::NoSuchRun`], failures of the storage.
    pub fn stored(
        &self,
        run: RunId,
        mut each: impl FnMut(&str, &Spec, &[u8; 32], StoredPicture),
    ) -> Result<(), LedgerError> {
        self.parameters(run)?;
        self.at(|db| {
            let mut select =
                db.prepare("SELECT id, name, spec, seed FROM picture WHERE run = ?1 ORDER BY id")?;
            let mut rows = select.query([run.0])?;
            while let Some(row) = rows.next()? {
                let (name, spec, seed): (String, String, [u8; 32]) = (row.get(1)?, row.get(2)?, row.get(3)?);
                each(&name, &Spec::stored(spec), &seed, stored::load(db, row.get(0)?)?);
            }
            Ok(())
        })
    }

    /// The number and the seed of a picture of a run.
    pub(super) fn picture(
        &self,
        run: RunId,
        caller: Option<&str>,
        spec: &PictureSpec,
    ) -> Result<Option<(i64, [u8; 32])>, LedgerError> {
        self.at(|db| runs::find(db, run, caller, &spec.name, &spec.parameters))
    }

    /// Gives the names of all pictures of a run.
    pub(super) fn names(&self, run: RunId, each: &mut dyn FnMut(&str)) -> Result<(), LedgerError> {
        self.at(|db| {
            let mut select = db.prepare_cached("SELECT name FROM picture WHERE run = ?1")?;
            let mut rows = select.query([run.0])?;
            while let Some(row) = rows.next()? {
                each(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?);
            }
            Ok(())
        })
    }

    /// The latest picture of a run whose name begins with `stem/`.
    pub(super) fn latest(&self, run: RunId, stem: &str) -> Result<Option<Known>, LedgerError> {
        self.at(|db| runs::latest(db, run, stem))
    }

    /// Runs a query in one transaction, so that it sees one instant.
    fn at<T>(&self, query: impl FnOnce(&Connection) -> Result<T, RowError>) -> Result<T, LedgerError> {
        let read = || -> Result<T, RowError> {
            self.db.prepare_cached("BEGIN")?.execute([])?;
            let found = query(&self.db);
            let ended = self.db.prepare_cached("ROLLBACK").and_then(|mut end| end.execute([]));
            // What failed first says why.
            let found = found?;
            ended?;
            Ok(found)
        };
        read().map_err(|e| e.at(&self.path))
    }

    fn summary(&self, db: &Connection, run: RunId) -> Result<Option<RunSummary>, RowError> {
        let mut select = db.prepare_cached(
            "SELECT key, instance, begun, finished, pictures, max_calls, max_cost,
                 (SELECT count(*) FROM picture WHERE run = run.id),
                 (SELECT count(*) FROM certificate c JOIN picture p ON p.id = c.picture WHERE p.run = run.id)
             FROM run WHERE id = ?1",
        )?;
        let row = select.query_row(params![run.0], |row| {
            let cost: Option<String> = row.get(6)?;
            let expected = row.get::<_, Option<i64>>(4)?.map(i64::unsigned_abs);
            let calls = row.get::<_, Option<i64>>(5)?.map(i64::unsigned_abs);
            let summary = RunSummary {
                id: run,
                key: blake3::Hash::from_bytes(row.get(0)?).to_hex().to_string(),
                instance: row.get(1)?,
                begun: rfc3339(row.get(2)?),
                finished: row.get::<_, Option<i64>>(3)?.map(rfc3339),
                active: RunLock::is_held(&self.path, run),
                expected,
                pictures: unsigned(row, 7)?,
                certified: unsigned(row, 8)?,
                budget: Cap { calls, cost: None },
                spend: Spend::default(),
            };
            Ok((summary, cost))
        });
        let Some((mut summary, cost)) = row.optional()? else { return Ok(None) };
        let parse = |text: String| {
            text.parse::<Money>()
                .map_err(|_| RowError::damaged(format!("the budget of run {run} is `{text}`")))
        };
        summary.budget.cost = cost.map(parse).transpose()?;
        summary.spend = Scope::run(run.0).load(db)?;
        Ok(Some(summary))
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("path", &self.path).finish_non_exhaustive()
    }
}

fn pictures(db: &Connection, run: RunId) -> Result<Vec<PictureSummary>, RowError> {
    let mut select = db.prepare(
        "SELECT name,
             (SELECT count(*) FROM draw WHERE picture = p.id AND draw >= 0)
                + (SELECT count(*) FROM attempt WHERE picture = p.id AND draw >= 0 AND class = 'answered'),
             (SELECT count(*) FROM draw WHERE picture = p.id AND draw >= 0),
             (SELECT count(*) FROM attempt WHERE picture = p.id),
             EXISTS (SELECT 1 FROM draw WHERE picture = p.id AND draw < 0)
                OR EXISTS (SELECT 1 FROM attempt WHERE picture = p.id AND draw < 0 AND class = 'answered'),
             EXISTS (SELECT 1 FROM certificate WHERE picture = p.id)
         FROM picture p WHERE run = ?1 ORDER BY id",
    )?;
    let rows = select.query_map([run.0], |row| {
        Ok(PictureSummary {
            name: row.get(0)?,
            settled: unsigned(row, 1)?,
            given_up: unsigned(row, 2)?,
            attempts: unsigned(row, 3)?,
            clean: row.get(4)?,
            certified: row.get(5)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A count: never negative.
fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::unsigned_abs)
}

/// Is nothing left in a write-ahead log, so that the file alone is the ledger?
fn unwritten(path: &Path) -> bool {
    std::fs::metadata(beside(path, "-wal")).map_or(true, |wal| wal.len() == 0)
}

/// The address under which `SQLite` takes no locks and looks for no companions.
fn immutable(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(char::from(*byte));
            }
            // Writing to a string cannot fail.
            other => drop(write!(uri, "%{other:02X}")),
        }
    }
    uri + "?immutable=1"
}
