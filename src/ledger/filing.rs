//! Where a picture's records are filed, and what its calls are charged to.

use std::sync::{Arc, OnceLock};

use super::accounts::Charge;
use super::attempts::hex;
use super::batch::Batch;
use super::budget::{Budgets, Caller, Cap};
use super::clock::Day;
use super::row::RowError;
use super::run::{Lease, PictureSpec};
use super::{Change, LedgerError, Spec, runs};

/// What a picture's records are charged to and filed under.
#[derive(Debug)]
pub(super) struct Place {
    /// Held as long as a record is on its way: the run stays ours until its last record is in.
    pub(super) lease: Arc<Lease>,
    pub(super) budgets: Budgets,
    /// The picture's name.
    pub(super) name: String,
    /// Who asked for it.
    pub(super) caller: Option<Caller>,
    parameters: Spec,
    seed: [u8; 32],
    /// The picture's number, once it is on record.
    number: OnceLock<i64>,
    /// Why the end of a call is not on record: then nothing more is recorded of the picture.
    lost: OnceLock<LedgerError>,
}

impl Place {
    /// A picture that is not on record yet. The first record about it puts it there, in one transaction with itself.
    pub(super) fn new(
        lease: Arc<Lease>,
        budgets: Budgets,
        caller: Option<Caller>,
        spec: PictureSpec,
    ) -> Self {
        let PictureSpec { name, parameters, seed } = spec;
        let (number, lost) = (OnceLock::new(), OnceLock::new());
        Self { lease, budgets, name, caller, parameters, seed, number, lost }
    }

    /// The picture is on record under this number.
    pub(super) fn is_on_record(&self, number: i64) {
        // Numbers do not change: whoever comes second says the same.
        let _ = self.number.set(number);
    }

    /// The end of a call could not be recorded.
    pub(super) fn lose(&self, failure: LedgerError) {
        tracing::error!(picture = %self.name, error = %failure, "what came of a call is not on record");
        // The first says why.
        let _ = self.lost.set(failure);
    }

    /// Refuses to go on where the end of a call is not on record.
    pub(super) fn check(&self) -> Result<(), LedgerError> {
        self.lost.get().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    /// The picture's number; `None` before anything about it is on record.
    pub(super) fn number(&self) -> Option<i64> {
        self.number.get().copied()
    }

    pub(super) fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The picture's number, under which it is put on record where it is not. It may not be remembered before the transaction
    /// is committed ([`is_on_record`](Self::is_on_record)). Refused where the end of a call is not on record: what follows
    /// might rest on it.
    pub(super) fn picture(&self, batch: &mut Batch<'_>) -> Result<i64, RowError> {
        self.check()?;
        if let Some(number) = self.number() {
            return Ok(number);
        }
        let run = self.lease.id;
        let (caller, name, parameters) = (self.caller(), self.name.as_str(), &self.parameters);
        if let Some(number) = runs::add(batch, run, caller, name, parameters, &self.seed)? {
            return Ok(number);
        }
        let (number, seed) = runs::find(batch.db, run, caller, name, parameters)?
            .ok_or_else(|| LedgerError::Misuse(format!("{name} is in run {run} and is not found there")))?;
        if seed == self.seed {
            return Ok(number);
        }
        // Whoever was about to begin it, and was cancelled, got there first. Nothing was asked with this seed.
        let [before, after] = [seed, self.seed].map(|seed| Some(hex(&seed)));
        let changes = vec![Change { field: "seed".to_owned(), before, after }];
        Err(LedgerError::Changed { what: format!("{name} in run {run}"), changes }.into())
    }

    fn caller(&self) -> Option<&str> {
        self.caller.as_ref().map(|caller| caller.name.as_str())
    }

    /// What a call for this picture on `day` is charged to.
    pub(super) fn charge(&self, day: Day) -> Charge<'_> {
        Charge { caller: self.caller(), ..self.lease.charge(day) }
    }

    pub(super) fn cap(&self) -> Cap {
        self.caller.as_ref().map(|caller| caller.cap).unwrap_or_default()
    }
}
