//! The records around a call, as SQL: open, close, withdraw, settle.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::StrDeserializer;
use smoothgate_providers::{Attempt, AttemptEnd, Money, Outcome, OutcomeClass, Price};

use super::accounts::{Charge, text};
use super::batch::Batch;
use super::budget::{Budgets, Standing};
use super::clock::Day;
use super::filing::Place;
use super::row::RowError;
use super::{LedgerError, answers};
use crate::engine::Settled;

/// The stored number of a draw; -1 for the clean answer.
pub(super) fn number(draw: Option<u64>) -> Result<i64, LedgerError> {
    draw.map_or(Ok(-1), |i| {
        i64::try_from(i)
            .map_err(|_| LedgerError::Invalid(format!("draw {i} is beyond what a ledger can number")))
    })
}

fn words(draw: i64) -> String {
    if draw < 0 { "the clean answer".to_owned() } else { format!("draw {draw}") }
}

/// Admits the call, reserves its price and records the intent.
///
/// Refused for a draw that is settled (it would be paid twice) and for other bytes than were sent for it before (it
/// would be another draw). An attempt at the same draw that is still open was abandoned by its caller: its billing is
/// unknown from here on, so a draw has at most one open attempt and at most one answer.
pub(super) fn open(
    batch: &mut Batch<'_>,
    place: &Place,
    attempt: &Attempt,
    draw: i64,
) -> Result<OpenAttempt, RowError> {
    let picture = place.picture(batch)?;
    let before = seen(batch, picture, draw)?;
    if let Some(before) = &before {
        if before.settled {
            let (what, name) = (words(draw), &place.name);
            return Err(LedgerError::Misuse(format!(
                "{what} of {name} is settled: asking again would pay for it twice"
            ))
            .into());
        }
        before.same_bytes(place, draw, &attempt.picture)?;
    }
    let charge = place.charge(batch.day);
    let admitted = batch.accounts.reserve(batch.db, &charge, &place.budgets, &place.cap(), attempt.price);
    if let Err(refusal) = admitted {
        return Err(batch.explain(refusal));
    }
    if before.is_some() {
        abandon(batch, &place.charge(batch.day), picture, draw)?;
    }
    let price = attempt.price.of(1);
    let (number, now, day) = (attempt.number, batch.now, batch.day);
    let insert = batch.prepare(
        "INSERT INTO attempt (picture, draw, number, opened, day, price, standing, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7)",
    )?;
    let values = params![picture, draw, number, now, day.0, price.map(text), attempt.picture];
    let id = insert.insert(values)?;
    Ok(OpenAttempt { id, picture, draw, day, price })
}

/// What [`close`] records, taken out of the borrowed [`AttemptEnd`].
#[derive(Clone, Debug)]
pub(super) struct End {
    standing: Standing,
    class: OutcomeClass,
    status: Option<u16>,
    latency: Duration,
    reason: Option<String>,
    /// The encoded answer.
    answer: Option<Vec<u8>>,
}

impl End {
    /// Did it bring an answer?
    pub(super) fn is_answer(&self) -> bool {
        self.answer.is_some()
    }

    pub(super) fn of(id: i64, end: &AttemptEnd<'_>) -> Result<Self, LedgerError> {
        let answer = match end.outcome {
            Outcome::Answered(answer) => Some(answers::encode(id, answer).map_err(LedgerError::Misuse)?),
            _ => None,
        };
        Ok(Self {
            standing: Standing::of_end(end.billed, end.status.is_some() || answer.is_some()),
            class: end.outcome.class(),
            status: end.status,
            latency: end.latency,
            reason: end.outcome.reason().map(str::to_owned),
            answer,
        })
    }
}

/// Records how an open attempt ended and settles its reserve. An answer settles its draw in the same transaction: no
/// instant exists at which an answer is on record and its draw could be asked again. An answer that is no vote and a refusal of the
/// picture do so too: to ask again because of what was said would choose among answers.
pub(super) fn close(
    batch: &mut Batch<'_>,
    place: &Place,
    open: &OpenAttempt,
    end: &End,
) -> Result<(), RowError> {
    let id = open.id;
    let closed = batch
        .prepare(
            "UPDATE attempt SET standing = ?3, class = ?4, status = ?5, latency = ?6, reason = ?7
             WHERE id = ?1 AND picture = ?2 AND standing = 0",
        )?
        .execute(params![
            id,
            open.picture,
            end.standing.code(),
            class_name(end.class),
            end.status,
            i64::try_from(end.latency.as_micros()).unwrap_or(i64::MAX),
            end.reason
        ])?;
    if closed == 0 {
        return Err(not_open(place, id).into());
    }
    batch.latencies.add(end.latency);
    open.settle(batch, &place.charge(open.day), end.standing)?;
    if let Some(answer) = &end.answer {
        batch.prepare("INSERT INTO answer (attempt, body) VALUES (?1, ?2)")?.execute(params![id, answer])?;
    }
    if end.class.settles() && !end.is_answer() {
        batch
            .prepare(
                "INSERT INTO draw (picture, draw, class, reason, retry_after, bytes)
                 SELECT picture, draw, class, reason, NULL, bytes FROM attempt WHERE id = ?1
                 ON CONFLICT DO NOTHING",
            )?
            .execute([id])?;
    }
    Ok(())
}

/// Finds an attempt of the picture that is open, for a caller that has only its number.
pub(super) fn find(batch: &mut Batch<'_>, place: &Place, id: i64) -> Result<OpenAttempt, RowError> {
    let picture = place.picture(batch)?;
    Ok(OpenAttempt::find(batch.db, picture, id)?.ok_or_else(|| not_open(place, id))?)
}

fn not_open(place: &Place, id: i64) -> LedgerError {
    LedgerError::Misuse(format!("attempt {id} of {} is not open and cannot be closed", place.name))
}

/// Takes back an intent whose caller has gone before it could send anything.
pub(super) fn withdraw(batch: &mut Batch<'_>, place: &Place, open: &OpenAttempt) -> Result<(), RowError> {
    let id = open.id;
    if let Some(open) = OpenAttempt::find(batch.db, open.picture, id)? {
        open.settle(batch, &place.charge(open.day), Standing::NeverLeft)?;
        batch.db.prepare_cached("DELETE FROM attempt WHERE id = ?1")?.execute([id])?;
    }
    Ok(())
}

/// Marks a draw's open attempt as one whose end nobody knows.
fn abandon(batch: &mut Batch<'_>, owner: &Charge<'_>, picture: i64, draw: i64) -> Result<(), RowError> {
    let open: Vec<i64> = batch
        .db
        .prepare_cached("SELECT id FROM attempt WHERE picture = ?1 AND draw = ?2 AND standing = 0")?
        .query_map(params![picture, draw], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for id in open {
        if let Some(open) = OpenAttempt::find(batch.db, picture, id)? {
            open.settle(batch, owner, Standing::Unknown)?;
            batch
                .db
                .prepare_cached("UPDATE attempt SET standing = ?2 WHERE id = ?1")?
                .execute(params![id, Standing::Unknown.code()])?;
        }
    }
    Ok(())
}

/// Marks every open attempt of the run so: for a run that is taken over or ended. Returns how many there were.
pub(super) fn abandon_all(batch: &mut Batch<'_>, run: i64, instance: &str) -> Result<u64, RowError> {
    let open: Vec<(i64, i64, Option<String>)> = batch
        .db
        .prepare_cached(
            "SELECT a.picture, a.draw, p.caller FROM attempt a JOIN picture p ON p.id = a.picture
             WHERE a.standing = 0 AND p.run = ?1",
        )?
        .query_map([run], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    for (picture, draw, caller) in &open {
        let owner = Charge { run, instance, day: batch.day, caller: caller.as_deref() };
        abandon(batch, &owner, *picture, *draw)?;
    }
    Ok(open.len() as u64)
}

/// Records that the engine has given up on a draw: this failure is its vote. Returns the picture's number.
pub(super) fn give_up(
    batch: &mut Batch<'_>,
    place: &Place,
    draw: i64,
    settled: &Settled,
) -> Result<i64, RowError> {
    let Settled { outcome: failure, copy } = settled;
    let picture = place.picture(batch)?;
    let before = seen(batch, picture, draw)?;
    if let Some(before) = &before {
        before.same_bytes(place, draw, copy)?;
    }
    if let Some(before) = before.filter(|b| b.settled) {
        let same = before.class.as_deref() == Some(class_name(failure.class()));
        let (what, name) = (words(draw), &place.name);
        return if same {
            Ok(picture)
        } else {
            Err(LedgerError::Misuse(format!("{what} of {name} is settled and cannot be given up")).into())
        };
    }
    abandon(batch, &place.charge(batch.day), picture, draw)?;
    let retry_after = match failure {
        Outcome::Throttled { retry_after, .. } => *retry_after,
        _ => None,
    };
    batch
        .db
        .prepare_cached(
            "INSERT INTO draw (picture, draw, class, reason, retry_after, bytes) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO UPDATE SET class = ?3, reason = ?4, retry_after = ?5, bytes = ?6",
        )?
        .execute(params![
            picture,
            draw,
            class_name(failure.class()),
            failure.reason(),
            retry_after.map(|d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)),
            copy
        ])?;
    Ok(picture)
}

/// What is on record of a draw.
struct Seen {
    bytes: Option<[u8; 32]>,
    settled: bool,
    /// As what it was given up.
    class: Option<String>,
}

impl Seen {
    /// Refuses other bytes than those on record: they would be another draw.
    fn same_bytes(&self, place: &Place, draw: i64, now: &[u8; 32]) -> Result<(), LedgerError> {
        match &self.bytes {
            Some(before) if before != now => Err(LedgerError::Changed {
                what: format!("{} of {}", words(draw), place.name),
                changes: vec![super::Change {
                    field: "bytes sent (BLAKE3)".to_owned(),
                    before: Some(hex(before)),
                    after: Some(hex(now)),
                }],
            }),
            _ => Ok(()),
        }
    }
}

/// What is on record of a draw: its attempts, and whether it was given up. Nearly every draw is new, so that is found out
/// by one look.
fn seen(batch: &mut Batch<'_>, picture: i64, draw: i64) -> Result<Option<Seen>, RowError> {
    let select = batch.prepare(
        "SELECT t.id, t.bytes, t.class, d.bytes, d.class FROM (SELECT 1)
         LEFT JOIN attempt t ON t.picture = ?1 AND t.draw = ?2
         LEFT JOIN draw d ON d.picture = ?1 AND d.draw = ?2",
    )?;
    let mut rows = select.query(params![picture, draw])?;
    let mut seen: Option<Seen> = None;
    while let Some(row) = rows.next()? {
        let (attempt, ended): (Option<i64>, Option<String>) = (row.get(0)?, row.get(2)?);
        let (sent, given_up): (Option<[u8; 32]>, Option<[u8; 32]>) = (row.get(1)?, row.get(3)?);
        let class: Option<String> = row.get(4)?;
        if attempt.is_none() && class.is_none() {
            continue;
        }
        let before = seen.take().is_some_and(|before| before.settled);
        let settled = before || class.is_some() || ended.as_deref() == Some(ANSWERED);
        seen = Some(Seen { bytes: sent.or(given_up), settled, class });
    }
    Ok(seen)
}

/// An attempt that was opened and not closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenAttempt {
    pub(super) id: i64,
    pub(super) picture: i64,
    pub(super) draw: i64,
    /// The day that it is charged to.
    day: Day,
    price: Option<Money>,
}

impl OpenAttempt {
    fn find(db: &Connection, picture: i64, id: i64) -> Result<Option<Self>, RowError> {
        let mut select = db.prepare_cached(
            "SELECT draw, day, price FROM attempt WHERE id = ?1 AND picture = ?2 AND standing = 0",
        )?;
        let row = select.query_row(params![id, picture], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, Option<String>>(2)?))
        });
        let Some((draw, day, price)) = row.optional()? else { return Ok(None) };
        let price =
            price.map(|p| p.parse().map_err(|_| RowError::damaged(format!("attempt {id} costs `{p}`"))));
        Ok(Some(Self { id, picture, draw, day: Day(day), price: price.transpose()? }))
    }

    /// Moves its price from the reserve to where it ended, in the accounts of `owner` for the day it was opened.
    fn settle(&self, batch: &mut Batch<'_>, owner: &Charge<'_>, to: Standing) -> Result<(), RowError> {
        let charge = Charge { day: self.day, ..*owner };
        batch.accounts.settle(batch.db, &charge, self.price, Standing::Reserved, to)
    }
}

/// The class of an attempt that settles its draw.
const ANSWERED: &str = "answered";

/// The stored name of a class: as its serialised form, without the cost of serialising.
pub(super) fn class_name(class: OutcomeClass) -> &'static str {
    match class {
        OutcomeClass::Answered => ANSWERED,
        OutcomeClass::Refused => "refused",
        OutcomeClass::BadPicture => "bad_picture",
        OutcomeClass::Throttled => "throttled",
        OutcomeClass::Transient => "transient",
        OutcomeClass::Auth => "auth",
        OutcomeClass::QuotaSpent => "quota_spent",
        OutcomeClass::Misconfigured => "misconfigured",
        OutcomeClass::Malformed => "malformed",
        OutcomeClass::Unusable => "unusable",
    }
}

/// The class of a stored name.
pub(super) fn class_of(name: &str) -> Result<OutcomeClass, RowError> {
    let name_of: StrDeserializer<'_, serde::de::value::Error> = name.into_deserializer();
    OutcomeClass::deserialize(name_of)
        .map_err(|_| RowError::damaged(format!("an outcome is of the unknown class `{name}`")))
}

pub(super) fn hex(bytes: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*bytes).to_hex().to_string()
}

/// Is a price known where a budget needs it?
pub(super) fn price_is_enough(instance: &str, price: Price, budgets: &Budgets) -> Result<(), LedgerError> {
    if budgets.limit_cost() && price.of(1).is_none() {
        return Err(LedgerError::UnknownPrice { instance: instance.to_owned() });
    }
    Ok(())
}
