//! What a key may still spend: set aside before a certificate is begun, given back when it took less.
//!
//! That a budget is kept is the ledger's affair, call by call. Here no certificate is begun that the budget could not pay
//! to its end, since what it had cost would have bought nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use smoothgate_providers::Money;

use super::{Cap, Denied, KeyId, Most, Spend, Spent, Tab};
use crate::ledger::Ledger;

/// Where it is on record what the holders of keys have spent, also in the lives of earlier processes.
pub trait Books: Send + Sync + 'static {
    /// What was, or may have been, spent for this key.
    fn spent(&self, key: KeyId) -> BoxFuture<'_, Result<Spend, String>>;
}

/// The ledger, which charges every call to the account of its key.
impl Books for Ledger {
    fn spent(&self, key: KeyId) -> BoxFuture<'_, Result<Spend, String>> {
        Box::pin(async move { self.spent_for(&key.to_string()).await.map_err(|error| error.to_string()) })
    }
}

/// Nothing was spent before this process began.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoBooks;

impl Books for NoBooks {
    fn spent(&self, _: KeyId) -> BoxFuture<'_, Result<Spend, String>> {
        Box::pin(async { Ok(Spend::default()) })
    }
}

/// The purses of all keys. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub(super) struct Purses(Arc<Mutex<HashMap<KeyId, Purse>>>);

/// What is spent and what is set aside.
#[derive(Clone, Copy, Debug, Default)]
struct Purse {
    spent: Amount,
    aside: Amount,
    /// Certificates that something is set aside for.
    open: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Amount {
    calls: u64,
    cost: Money,
}

impl Amount {
    /// The sum, at most what can be counted.
    fn plus(self, other: Self) -> Self {
        let cost = self.cost.checked_add(other.cost).unwrap_or(self.cost.max(other.cost));
        Self { calls: self.calls.saturating_add(other.calls), cost }
    }

    fn minus(self, other: Self) -> Self {
        let cost = self.cost.checked_sub(other.cost).unwrap_or_default();
        Self { calls: self.calls.saturating_sub(other.calls), cost }
    }
}

impl Purses {
    /// Sets `most` aside for `id` under `cap`.
    pub(super) async fn reserve(
        &self,
        books: &dyn Books,
        id: KeyId,
        cap: Cap,
        most: Most,
    ) -> Result<Reserved, Denied> {
        if cap.calls.is_none() && cap.cost.is_none() {
            // Not counted here, so what is on record counts once there is a cap again.
            self.lock().retain(|key, purse| *key != id || purse.open > 0);
            return Ok(Reserved { purses: self.clone(), id, aside: None });
        }
        if cap.cost.is_some() && most.cost.is_none() {
            return Err(Denied::Unpriced);
        }
        if !self.lock().contains_key(&id) {
            let spend = books.spent(id).await.map_err(|problem| {
                tracing::error!(%problem, key = %id, "what a key has spent cannot be read");
                Denied::NoBooks
            })?;
            let spent = Amount { calls: spend.calls, cost: spend.at_most().ok_or(Denied::NoBooks)? };
            // Whoever was here first has it from the same books.
            self.lock().entry(id).or_insert(Purse { spent, ..Purse::default() });
        }
        let aside = Amount { calls: most.calls, cost: most.cost.unwrap_or_default() };
        let mut purses = self.lock();
        let purse = purses.entry(id).or_default();
        purse.admits(id, cap, aside)?;
        purse.aside = purse.aside.plus(aside);
        purse.open += 1;
        drop(purses);
        Ok(Reserved { purses: self.clone(), id, aside: Some(aside) })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<KeyId, Purse>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Purse {
    /// Is there room for `more`? Where only what is set aside for others is in the way, there may be soon.
    fn admits(&self, id: KeyId, cap: Cap, more: Amount) -> Result<(), Denied> {
        if let Some(spent) = exceeds(cap, self.spent, more) {
            return Err(Denied::OverBudget { id, spent });
        }
        match exceeds(cap, self.spent.plus(self.aside), more) {
            Some(_) => Err(Denied::SetAside { id }),
            None => Ok(()),
        }
    }
}

/// How much of how much is spent, where that leaves no room for `more`.
fn exceeds(cap: Cap, spent: Amount, more: Amount) -> Option<String> {
    let after = spent.plus(more);
    if let Some(most) = cap.calls
        && after.calls > most
    {
        let (spent, more) = (spent.calls, more.calls);
        return Some(format!("{spent} of {most} calls are spent, and a certificate may take {more}"));
    }
    if let Some(most) = cap.cost
        && (after.cost > most || after.cost < spent.cost)
    {
        let (spent, more) = (spent.cost, more.cost);
        return Some(format!("{spent} of {most} are spent, and a certificate may take {more}"));
    }
    None
}

/// What is set aside for one certificate.
pub(super) struct Reserved {
    purses: Purses,
    id: KeyId,
    /// `None` where nothing is counted, and once it is settled.
    aside: Option<Amount>,
}

impl Reserved {
    fn close(&mut self, spent: impl FnOnce(Amount) -> Amount) {
        if let Some(aside) = self.aside.take()
            && let Some(purse) = self.purses.lock().get_mut(&self.id)
        {
            purse.aside = purse.aside.minus(aside);
            purse.spent = purse.spent.plus(spent(aside));
            purse.open = purse.open.saturating_sub(1);
        }
    }
}

impl Tab for Reserved {
    fn settle(mut self: Box<Self>, spent: &Spent) {
        // A price that was known before is known after; were it not, all that was set aside counts.
        self.close(|aside| Amount { calls: spent.calls, cost: spent.cost.unwrap_or(aside.cost) });
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.close(|aside| aside);
    }
}
