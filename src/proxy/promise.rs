//! Calls that certificates in progress may still need: what a budget must last for beside what is spent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use smoothgate_providers::Price;
use smoothgate_providers::served::{Refusal, RefusalClass};

use super::refusals;
use crate::ledger::Run;

/// All promises about one upstream. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub(super) struct Promises(Arc<AtomicU64>);

/// What one certificate may still need. Dropping it gives back what it did not.
#[derive(Debug)]
pub(super) struct Promise {
    all: Promises,
    left: AtomicU64,
}

impl Promises {
    /// Sets `calls` aside, if the budgets of the run last for them beside those of everybody else: a certificate is not
    /// begun that the budget would break off, since what it had cost would have bought nothing.
    pub(super) async fn make(&self, calls: u64, run: &Run, price: Price) -> Result<Promise, Refusal> {
        let promise = Promise { all: self.clone(), left: AtomicU64::new(calls) };
        // First told, then compared: two that come at once may both be turned away, and never both be let in.
        let promised = self.0.fetch_add(calls, SeqCst) + calls;
        match run.room(price).await.map_err(|error| refusals::ledger(&error))? {
            Some(room) if room < calls => {
                let what = "what is left of the budget does not last for a certificate";
                Err(Refusal::new(RefusalClass::QuotaSpent, what))
            }
            Some(room) if room < promised => Err(refusals::busy(std::time::Duration::from_secs(1))),
            _ => Ok(promise),
        }
    }
}

impl Promise {
    /// A call was sent: it is in the accounts now.
    pub(super) fn keep(&self) {
        let took = self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        if took.is_ok() {
            self.all.0.fetch_sub(1, SeqCst);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.all.0.fetch_sub(*self.left.get_mut(), SeqCst);
    }
}
