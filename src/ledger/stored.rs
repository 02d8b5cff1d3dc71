//! What a ledger already holds about a picture: where a resume starts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row};
use smoothgate_providers::{Outcome, OutcomeClass};

use super::answers;
use super::attempts::class_of;
use super::row::RowError;
use crate::engine::Settled;

/// Everything that is settled about a picture. None of it may be asked again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredPicture {
    /// The clean answer, where it was asked for.
    pub clean: Option<Settled>,
    /// For each settled draw the outcome that counts: its answer, or the failure it was given up with.
    pub draws: BTreeMap<u64, Settled>,
    /// Draws that are not settled and have attempts whose end nobody knows. They may have been billed; they are asked
    /// once more.
    pub unknown: BTreeSet<u64>,
    /// Attempts made so far, of whatever end.
    pub attempts: u64,
    /// Of these, attempts that were billed or may have been.
    pub billable: u64,
    /// The certificate, for a picture that is finished.
    pub certificate: Option<String>,
    /// The answers were overwritten when the certificate was stored: `draws` holds only failures.
    pub redacted: bool,
}

/// Reads what is stored of a picture.
pub(super) fn load(db: &Connection, picture: i64) -> Result<StoredPicture, RowError> {
    let mut stored = StoredPicture { certificate: certificate(db, picture)?, ..StoredPicture::default() };
    let mut select = db.prepare_cached(
        "SELECT t.draw, t.id, NULL, NULL, NULL, a.body, t.bytes
         FROM attempt t LEFT JOIN answer a ON a.attempt = t.id
         WHERE t.picture = ?1 AND t.class = 'answered'
         UNION ALL
         SELECT draw, NULL, class, reason, retry_after, NULL, bytes FROM draw WHERE picture = ?1",
    )?;
    let mut rows = select.query([picture])?;
    while let Some(row) = rows.next()? {
        let Some(outcome) = outcome(row)? else {
            stored.redacted = true;
            continue;
        };
        let (draw, copy): (i64, Option<[u8; 32]>) = (row.get(0)?, row.get(6)?);
        let copy =
            copy.ok_or_else(|| RowError::damaged(format!("draw {draw} has no record of its bytes")))?;
        let settled = Settled { outcome, copy };
        match u64::try_from(draw) {
            Ok(draw) => drop(stored.draws.insert(draw, settled)),
            Err(_) => stored.clean = Some(settled),
        }
    }
    let mut select = db.prepare_cached(
        "SELECT DISTINCT a.draw FROM attempt a
         WHERE a.picture = ?1 AND a.standing IN (0, 2)
           AND NOT EXISTS (SELECT 1 FROM draw d WHERE d.picture = a.picture AND d.draw = a.draw)
           AND NOT EXISTS
             (SELECT 1 FROM attempt t WHERE t.picture = a.picture AND t.draw = a.draw AND t.class = 'answered')",
    )?;
    for draw in select.query_map([picture], |row| row.get::<_, i64>(0))? {
        stored.unknown.extend(u64::try_from(draw?).ok());
    }
    (stored.attempts, stored.billable) = attempts(db, picture)?;
    Ok(stored)
}

/// How many attempts were made at a picture, and how many of them were billed or may have been.
pub(super) fn attempts(db: &Connection, picture: i64) -> Result<(u64, u64), RowError> {
    let mut select = db.prepare_cached(
        "SELECT count(*), count(*) FILTER (WHERE standing IN (0, 1, 2)) FROM attempt WHERE picture = ?1",
    )?;
    let count = |row: &Row<'_>, column| Ok::<_, rusqlite::Error>(row.get::<_, i64>(column)?.unsigned_abs());
    Ok(select.query_row([picture], |row| Ok((count(row, 0)?, count(row, 1)?)))?)
}

/// How many draws of a picture are settled, the clean answer among them, and how that has ended.
pub(super) fn settled(db: &Connection, picture: i64) -> Result<(u64, Option<OutcomeClass>), RowError> {
    let mut select = db.prepare_cached(
        "SELECT count(*), max(class) FILTER (WHERE draw = -1) FROM
           (SELECT draw, class FROM attempt WHERE picture = ?1 AND class = 'answered'
            UNION ALL SELECT draw, class FROM draw WHERE picture = ?1)",
    )?;
    let row =
        select.query_row([picture], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?)));
    let (count, clean) = row?;
    Ok((count.unsigned_abs(), clean.map(|class| class_of(&class)).transpose()?))
}

/// The certificate of a picture, where it has one.
pub(super) fn certificate(db: &Connection, picture: i64) -> Result<Option<String>, RowError> {
    let mut select = db.prepare_cached("SELECT text, digest FROM certificate WHERE picture = ?1")?;
    let row = select.query_row([picture], |row| Ok((row.get(0)?, row.get(1)?)));
    let Some((text, digest)) = row.optional()? else { return Ok(None) };
    let (text, digest): (String, Option<[u8; 32]>) = (text, digest);
    if digest != Some(*blake3::hash(text.as_bytes()).as_bytes()) {
        return Err(RowError::damaged(format!(
            "the certificate of picture {picture} does not match its digest"
        )));
    }
    Ok(Some(text))
}

/// The outcome of a settled draw; `None` where its answer was overwritten.
fn outcome(row: &Row<'_>) -> Result<Option<Outcome>, RowError> {
    let reason = row.get::<_, Option<String>>(3)?.unwrap_or_default();
    if let Some(attempt) = row.get::<_, Option<i64>>(1)? {
        let Some(body) = row.get::<_, Option<Vec<u8>>>(5)? else { return Ok(None) };
        return Ok(Some(Outcome::Answered(answers::decode(attempt, &body).map_err(RowError::Damaged)?)));
    }
    let retry_after = row.get::<_, Option<i64>>(4)?.map(|ms| Duration::from_millis(ms.unsigned_abs()));
    Ok(Some(match class_of(&row.get::<_, String>(2)?)? {
        OutcomeClass::Answered => return Err(RowError::damaged("a draw was given up as answered")),
        OutcomeClass::Refused => Outcome::Refused { reason },
        OutcomeClass::BadPicture => Outcome::BadPicture { reason },
        OutcomeClass::Throttled => Outcome::Throttled { retry_after, reason },
        OutcomeClass::Transient => Outcome::Transient { reason },
        OutcomeClass::Auth => Outcome::Auth { reason },
        OutcomeClass::QuotaSpent => Outcome::QuotaSpent { reason },
        OutcomeClass::Misconfigured => Outcome::Misconfigured { reason },
        OutcomeClass::Malformed => Outcome::Malformed { reason },
        OutcomeClass::Unusable => Outcome::Unusable { reason },
    }))
}
