//! The transaction that a group of records shares.

use std::time::Duration;

use rusqlite::{CachedStatement, Connection};

use super::LedgerError;
use super::accounts::Accounts;
use super::clock::Day;
use super::row::RowError;

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

    pub(super) fn mean(&self) -> Option<Duration> {
        self.sum.checked_div(self.calls)
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
    pub(super) fn begin(db: &'c Connection, now: i64) -> Result<Self, RowError> {
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
