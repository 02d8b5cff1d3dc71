//! Runs and pictures as SQL: begin, take over, find, finish, remove.

use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::accounts::{Scope, text};
use super::attempts::abandon_all;
use super::batch::Batch;
use super::filing::Place;
use super::row::RowError;
use super::run::{Begin, Known, PictureId, RunSpec};
use super::stored;
use super::{Change, LedgerError, Retention, RunId, Spec, Spend};

/// Finds the run that `spec` continues, or creates one. Returns its number and whether it is new.
pub(super) fn begin(batch: &mut Batch<'_>, spec: &RunSpec, begin: Begin) -> Result<(RunId, bool), RowError> {
    match begin {
        Begin::New => {}
        Begin::ContinueOrNew => {
            if let Some(run) = latest_with(batch.db, &spec.parameters)? {
                return Ok((run, false));
            }
        }
        Begin::Continue(run) => {
            let before = batch
                .db
                .prepare_cached("SELECT spec FROM run WHERE id = ?1")?
                .query_row([run.0], |row| row.get(0))
                .optional()?
                .ok_or(LedgerError::NoSuchRun { run })?;
            let changes = Spec::stored(before).difference(&spec.parameters);
            if !changes.is_empty() {
                return Err(LedgerError::Changed { what: format!("run {run}"), changes }.into());
            }
            return Ok((run, false));
        }
    }
    let id = batch
        .db
        .prepare_cached(
            "INSERT INTO run (key, spec, arguments, instance, begun) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .insert(params![
            spec.parameters.key(),
            spec.parameters.canonical(),
            spec.arguments.to_string(),
            spec.instance,
            batch.now
        ])?;
    Ok((RunId(id), true))
}

/// The latest run with these parameters.
pub(super) fn latest_with(db: &Connection, parameters: &Spec) -> rusqlite::Result<Option<RunId>> {
    let mut select = db.prepare_cached("SELECT max(id) FROM run WHERE key = ?1 AND spec = ?2")?;
    let latest = select.query_row(params![parameters.key(), parameters.canonical()], |row| row.get(0));
    latest.map(|id: Option<i64>| id.map(RunId))
}

/// Takes a run over, with its lock held: what was in flight when its last process ended is unknown now, and the
/// arguments that do not change a certificate are those of this time. Returns how many attempts were in flight.
pub(super) fn take_over(batch: &mut Batch<'_>, run: RunId, spec: &RunSpec) -> Result<u64, RowError> {
    let before: Option<String> = batch
        .db
        .prepare_cached("SELECT instance FROM run WHERE id = ?1")?
        .query_row([run.0], |row| row.get(0))
        .optional()?;
    let instance = before.ok_or(LedgerError::NoSuchRun { run })?;
    let in_flight = abandon_all(batch, run.0, &instance)?;
    restate(batch, run, spec)?;
    Ok(in_flight)
}

/// Writes what does not change a certificate as it is this time.
pub(super) fn restate(batch: &mut Batch<'_>, run: RunId, spec: &RunSpec) -> Result<(), RowError> {
    batch
        .db
        .prepare_cached(
            "UPDATE run SET arguments = ?2, instance = ?3, max_calls = ?4, max_cost = ?5, pictures = ?6,
                 finished = NULL WHERE id = ?1",
        )?
        .execute(params![
            run.0,
            spec.arguments.to_string(),
            spec.instance,
            spec.budgets.run.calls.map(|n| i64::try_from(n).unwrap_or(i64::MAX)),
            spec.budgets.run.cost.map(text),
            spec.pictures.map(|n| i64::try_from(n).unwrap_or(i64::MAX)),
        ])?;
    Ok(())
}

/// The number and the seed of a picture of the run. Refused where what decides its certificate changed.
pub(super) fn find(
    db: &Connection,
    run: RunId,
    caller: Option<&str>,
    name: &str,
    parameters: &Spec,
) -> Result<Option<(i64, [u8; 32])>, RowError> {
    let before = db
        .prepare_cached("SELECT id, spec, seed, caller FROM picture WHERE run = ?1 AND name = ?2")?
        .query_row(params![run.0, name], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get::<_, Option<String>>(3)?))
        })
        .optional()?;
    let Some((id, stored, seed, before)) = before else { return Ok(None) };
    let mut changes = Spec::stored(stored).difference(parameters);
    // What is open is settled in the account that it was reserved in.
    if before.as_deref() != caller {
        let after = caller.map(str::to_owned);
        changes.push(Change { field: "caller".to_owned(), before, after });
    }
    if !changes.is_empty() {
        let what = format!("{name}, which run {run} knows as another picture or of another caller,");
        return Err(LedgerError::Changed { what, changes }.into());
    }
    Ok(Some((id, seed)))
}

/// Adds a picture to the run, unless it has one of that name. Returns its number if it was added.
pub(super) fn add(
    batch: &mut Batch<'_>,
    run: RunId,
    caller: Option<&str>,
    name: &str,
    parameters: &Spec,
    seed: &[u8; 32],
) -> Result<Option<i64>, RowError> {
    let insert = batch.prepare(
        "INSERT INTO picture (run, name, spec, seed, caller) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (run, name) DO NOTHING",
    )?;
    let added = insert.execute(params![run.0, name, parameters.canonical(), seed, caller])? > 0;
    Ok(added.then(|| batch.db.last_insert_rowid()))
}

/// The picture that was added last among those whose names begin with `stem` and a slash.
pub(super) fn latest(db: &Connection, run: RunId, stem: &str) -> Result<Option<Known>, RowError> {
    // All names that begin with `stem/` lie between it and `stem0`, which is the next text: 0 follows the slash.
    let found = db
        .prepare_cached(
            "SELECT p.id, p.name, c.stored FROM picture p LEFT JOIN certificate c ON c.picture = p.id
             WHERE p.run = ?1 AND p.name > ?2 || '/' AND p.name < ?2 || '0' ORDER BY p.id DESC LIMIT 1",
        )?
        .query_row(params![run.0, stem], |row| {
            Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get::<_, Option<i64>>(2)?))
        })
        .optional()?;
    let Some((id, name, stored)) = found else { return Ok(None) };
    let (attempts, billable) = stored::attempts(db, id)?;
    let (settled, clean) = stored::settled(db, id)?;
    let text = stored::certificate(db, id)?;
    let at = |ms: i64| SystemTime::UNIX_EPOCH + Duration::from_millis(ms.unsigned_abs());
    let certificate = text.zip(stored.map(at));
    Ok(Some(Known { id: PictureId(id), name, attempts, billable, settled, clean, certificate }))
}

/// Stores the certificate of a picture; overwrites its answers where that was asked for. Returns the picture's number.
pub(super) fn certify(
    batch: &mut Batch<'_>,
    place: &Place,
    certificate: &str,
    answers: Retention,
) -> Result<i64, RowError> {
    let (picture, name) = (place.picture(batch)?, &place.name);
    if let Some(before) = stored::certificate(batch.db, picture)? {
        if before == certificate {
            return Ok(picture);
        }
        return Err(LedgerError::Misuse(format!("{name} has another certificate already")).into());
    }
    batch
        .db
        .prepare_cached("INSERT INTO certificate (picture, text, stored, digest) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![picture, certificate, batch.now, blake3::hash(certificate.as_bytes()).as_bytes()])?;
    if answers == Retention::UntilCertified {
        for sql in [
            "DELETE FROM answer WHERE attempt IN (SELECT id FROM attempt WHERE picture = ?1)",
            "UPDATE attempt SET reason = NULL WHERE picture = ?1",
            "UPDATE draw SET reason = NULL WHERE picture = ?1",
        ] {
            batch.db.prepare_cached(sql)?.execute([picture])?;
        }
    }
    Ok(picture)
}

/// Marks the run as finished. What is still in flight is abandoned. Returns how many attempts that were.
pub(super) fn finish(batch: &mut Batch<'_>, run: RunId, instance: &str, all: bool) -> Result<u64, RowError> {
    let in_flight = abandon_all(batch, run.0, instance)?;
    if all {
        batch
            .db
            .prepare_cached("UPDATE run SET finished = ?2 WHERE id = ?1")?
            .execute(params![run.0, batch.now])?;
    }
    Ok(in_flight)
}

/// Removes a run with everything filed under it. The accounts of days and months keep what it spent.
pub(super) fn remove(batch: &mut Batch<'_>, run: RunId) -> Result<(), RowError> {
    let instance = |row: &Row<'_>| row.get::<_, String>(0);
    let found = batch
        .db
        .prepare_cached("SELECT instance FROM run WHERE id = ?1")?
        .query_row([run.0], instance)
        .optional()?;
    let instance = found.ok_or(LedgerError::NoSuchRun { run })?;
    // Before they are gone: what was in flight stays counted as possibly billed.
    abandon_all(batch, run.0, &instance)?;
    batch.db.prepare_cached("DELETE FROM run WHERE id = ?1")?.execute([run.0])?;
    Ok(batch.accounts.delete(batch.db, &Scope::run(run.0))?)
}

/// What was spent for a caller so far, over all runs.
pub(super) fn spent_for(batch: &mut Batch<'_>, caller: &str) -> Result<Spend, RowError> {
    batch.accounts.spend(batch.db, &Scope::caller(caller))
}

/// What the run has spent so far.
pub(super) fn spend(batch: &mut Batch<'_>, run: RunId) -> Result<Spend, RowError> {
    batch.accounts.spend(batch.db, &Scope::run(run.0))
}
