//! Tests of the ledger as its callers use it.

mod budgets;
mod faults;
mod formats;
#[cfg(unix)]
mod kill;
mod queries;
mod records;
mod resume;

use std::time::Duration;

use serde_json::json;
use smoothgate_providers::{
    Answer, Attempt, AttemptEnd, AttemptId, Billed, Journal as _, JournalError, Money, Outcome, Price,
};
use tempfile::TempDir;

use crate::engine::Settled;

use super::{Begin, Budgets, Cap, Ledger, LedgerError, Options, Picture, PictureSpec, Run, RunSpec, Spec};

/// A tenth of a cent: what a call costs in these tests.
pub(super) fn price() -> Price {
    Price::PerPicture(Money::new(1, 3))
}

pub(super) fn money(text: &str) -> Money {
    text.parse().unwrap()
}

/// A folder for a ledger, and options that keep no reserve (tests open hundreds of ledgers).
pub(super) fn folder() -> (TempDir, Options) {
    (tempfile::tempdir().unwrap(), Options { reserve: 0, ..Options::default() })
}

pub(super) fn open(folder: &TempDir, options: &Options) -> Ledger {
    Ledger::open(folder.path().join("ledger.db"), options).unwrap()
}

pub(super) fn run_spec(sigma: f64) -> RunSpec {
    RunSpec {
        parameters: Spec::new(&json!({ "sigma": sigma, "test": { "name": "cohen", "n": 100 } })).unwrap(),
        arguments: json!({ "paths": ["pictures"] }),
        instance: "google".to_owned(),
        price: price(),
        budgets: Budgets::default(),
        pictures: Some(2),
    }
}

pub(super) fn with_cap(calls: Option<u64>, cost: Option<&str>) -> RunSpec {
    let run = Cap { calls, cost: cost.map(money) };
    RunSpec { budgets: Budgets { run, ..Budgets::default() }, ..run_spec(0.25) }
}

pub(super) fn picture_spec(name: &str) -> PictureSpec {
    PictureSpec {
        name: name.to_owned(),
        parameters: Spec::new(&json!({ "hash": name.len(), "size": 224 })).unwrap(),
        seed: [7; 32],
    }
}

pub(super) async fn begin(ledger: &Ledger, spec: RunSpec) -> Run {
    ledger.begin_run(spec, Begin::ContinueOrNew).await.unwrap()
}

pub(super) fn attempt(draw: u64) -> Attempt {
    Attempt { draw: Some(draw), number: 1, price: price(), picture: [draw as u8; 32] }
}

/// The end of a draw with the bytes that [`attempt`] sends for it.
pub(super) fn ended(draw: u64, outcome: &Outcome) -> Settled {
    Settled { outcome: outcome.clone(), copy: attempt(draw).picture }
}

pub(super) fn answered(label: &str) -> Outcome {
    Outcome::Answered(Answer::of([(label, 0.9), ("other", 0.1)]))
}

pub(super) fn transient() -> Outcome {
    Outcome::Transient { reason: "connection reset".to_owned() }
}

pub(super) async fn close(
    picture: &Picture,
    id: AttemptId,
    outcome: &Outcome,
    status: Option<u16>,
    billed: Billed,
) -> Result<(), JournalError> {
    picture.close(id, AttemptEnd { outcome, status, latency: Duration::from_millis(12), billed }).await
}

/// One whole call: open and close.
pub(super) async fn call(picture: &Picture, draw: u64, outcome: &Outcome, billed: Billed) {
    let id = picture.open(&attempt(draw)).await.unwrap();
    close(picture, id, outcome, Some(200), billed).await.unwrap();
}

/// The ledger's error inside the journal's.
pub(super) fn cause(error: JournalError) -> LedgerError {
    match error {
        JournalError::Storage(source) => *source.downcast::<LedgerError>().unwrap(),
        JournalError::Budget(text) => LedgerError::Budget(text),
        JournalError::NotWanted => panic!("a ledger never turns a call away unasked"),
    }
}
