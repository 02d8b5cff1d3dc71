//! A run of the ledger as series.

use super::error::ReportError;
use super::read::{Truth, grouped, rows};
use super::series::Series;
use crate::ledger::{LedgerError, Reader, RunId};

/// What a run has on record.
#[derive(Debug)]
pub struct OnRecord {
    /// Its certificates: one series, or one a setting.
    pub series: Vec<Series>,
    /// Pictures without a certificate, which are left out.
    pub open: u64,
}

/// Why a run gives no series.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// What is on record.
    #[error(transparent)]
    Report(#[from] ReportError),
}

/// Reads the certificates of a run with the calls of each picture, retries included, and what all of them cost.
///
/// # Errors
/// [`RunError`]; [`ReportError::Empty`] for a run without a certificate.
pub fn on_record(ledger: &Reader, run: RunId) -> Result<OnRecord, RunError> {
    let name = format!("run {run}");
    let spend = ledger.run(run)?.summary.spend;
    let mut all = Vec::new();
    let mut open = 0;
    let mut failed = None;
    ledger.stored(run, |picture, _, _, stored| {
        let Some(text) = stored.certificate else {
            open += 1;
            return;
        };
        match rows(&format!("{name}, {picture}"), text.as_bytes(), Truth::Known) {
            Ok(rows) => all.extend(rows.into_iter().map(|mut row| {
                picture.clone_into(&mut row.picture.name);
                row.picture.calls = Some(stored.attempts);
                // Each of its pictures is one, also where two have the same file and seed.
                row.identity = None;
                row
            })),
            Err(error) => failed = Some(error),
        }
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    if all.is_empty() {
        return Err(ReportError::Empty { file: name }.into());
    }
    let mut series = grouped(&name, all)?;
    // What a run cost is known of all its pictures together.
    if let ([one], 0) = (&mut series[..], open) {
        *one = one.clone().costing(spend);
    }
    Ok(OnRecord { series, open })
}
