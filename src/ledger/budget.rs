//! Budgets: reserve before a call, settle after it, count what nobody knows as spent.
//!
//! An account holds the calls and the money of one scope: a run, a provider instance on one UTC day or in one UTC
//! month, or one of several callers. A call is admitted when every account it belongs to stays within its cap with the call's price added to what
//! was billed, what may have been billed and what is in flight. Accounts are read and written in the immediate
//! transaction that records the call, so no two calls, of whatever process, can pass on the same money.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smoothgate_providers::{Billed, Money, Price};

use super::LedgerError;
use super::accounts::Scope;

/// The most that may be spent in one scope. `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cap {
    /// Most calls that may be sent, retries included, billed or not. A call that never left does not count.
    #[serde(default)]
    pub calls: Option<u64>,
    /// Most that may be billed. A call whose billing is unknown counts as billed.
    #[serde(default)]
    pub cost: Option<Money>,
}

/// One of several for whom calls are made, with a budget of its own over all runs of the ledger and for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name that its account is kept under.
    pub name: String,
    /// What may be spent for it.
    pub cap: Cap,
}

/// The caps a call must respect, all at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budgets {
    /// Of the run.
    pub run: Cap,
    /// Of the provider instance, each UTC day, over all runs of the ledger.
    pub day: Cap,
    /// Of the provider instance, each UTC month, over all runs of the ledger.
    pub month: Cap,
}

impl Budgets {
    /// Is anything limited?
    pub fn limit(&self) -> bool {
        *self != Self::default()
    }

    /// Is any cost limited, so that prices must be known?
    pub fn limit_cost(&self) -> bool {
        [self.run, self.day, self.month].iter().any(|cap| cap.cost.is_some())
    }
}

/// What was spent in one scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spend {
    /// Calls sent or about to be sent, retries included.
    pub calls: u64,
    /// Price of the calls that were billed.
    pub billed: Money,
    /// Price of the calls that may or may not have been billed.
    pub unknown: Money,
    /// Price of the calls in flight, or left open by a process that was killed.
    pub reserved: Money,
    /// Calls that were, or may have been, billed at a price that was not known.
    pub unpriced: u64,
}

impl Spend {
    /// Everything that may have been billed in the end; `None` on overflow.
    pub fn at_most(&self) -> Option<Money> {
        self.billed.checked_add(self.unknown)?.checked_add(self.reserved)
    }

    /// Would one more call at `price` stay within `cap`? The refusal names the scope, what is spent and the cap.
    pub(super) fn admits(
        &self,
        cap: &Cap,
        price: Price,
        scope: &Scope<'_>,
        instance: &str,
    ) -> Result<(), LedgerError> {
        if let Some(most) = cap.calls
            && self.calls >= most
        {
            return Err(LedgerError::Budget(format!(
                "{} of {most} calls {scope} are used; raise {} to go on",
                self.calls,
                scope.option("calls")
            )));
        }
        let Some(most) = cap.cost else { return Ok(()) };
        let Some(each) = price.of(1) else {
            return Err(LedgerError::UnknownPrice { instance: instance.to_owned() });
        };
        // Calls made while the price was unknown are valued at the price known now.
        let earlier = each.times(self.unpriced).and_then(|earlier| self.at_most()?.checked_add(earlier));
        let within = earlier.and_then(|e| e.checked_add(each)).is_some_and(|total| total <= most);
        if within {
            return Ok(());
        }
        let spent = earlier.map_or_else(|| "more than can be counted".to_owned(), |e| e.to_string());
        let unsure = self.unknown.checked_add(self.reserved).filter(|m| *m > Money::ZERO);
        let unsure =
            unsure.map_or_else(String::new, |m| format!(" ({m} of it in flight or not known to be billed)"));
        Err(LedgerError::Budget(format!(
            "{spent}{unsure} of {most} {scope} are spent and the next call costs {each}; raise {} to go on",
            scope.option("cost")
        )))
    }

    /// How many more calls at `price` stay within `cap`; `None` where nothing limits them.
    pub(super) fn room(&self, cap: &Cap, price: Price) -> Option<u64> {
        let calls = cap.calls.map(|most| most.saturating_sub(self.calls));
        let cost = cap.cost.and_then(|most| {
            let each = price.of(1)?;
            let earlier = each.times(self.unpriced).and_then(|earlier| self.at_most()?.checked_add(earlier));
            let left = earlier.and_then(|earlier| most.checked_sub(earlier)).unwrap_or(Money::ZERO);
            left.over(each)
        });
        [calls, cost].into_iter().flatten().min()
    }

    /// Counts a call that is about to be sent.
    pub(super) fn reserve(&mut self, price: Price) -> Option<()> {
        self.calls += 1;
        match price.of(1) {
            Some(each) => self.reserved = self.reserved.checked_add(each)?,
            None => self.unpriced += 1,
        }
        Some(())
    }

    /// Moves a call from `from` to `to`.
    pub(super) fn settle(&mut self, price: Option<Money>, from: Standing, to: Standing) -> Option<()> {
        if let Some(each) = price {
            if let Some(pot) = self.pot(from) {
                *pot = pot.checked_sub(each)?;
            }
            if let Some(pot) = self.pot(to) {
                *pot = pot.checked_add(each)?;
            }
        } else if from.may_cost() && !to.may_cost() {
            self.unpriced = self.unpriced.checked_sub(1)?;
        } else if !from.may_cost() && to.may_cost() {
            self.unpriced += 1;
        }
        if to == Standing::NeverLeft && from != to {
            self.calls = self.calls.checked_sub(1)?;
        }
        Some(())
    }

    fn pot(&mut self, standing: Standing) -> Option<&mut Money> {
        match standing {
            Standing::Reserved => Some(&mut self.reserved),
            Standing::Billed => Some(&mut self.billed),
            Standing::Unknown => Some(&mut self.unknown),
            Standing::Refused | Standing::NeverLeft => None,
        }
    }
}

/// How a call stands in the accounts. Stored in an attempt's `standing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Opened, not closed.
    Reserved,
    /// Billed.
    Billed,
    /// May have been billed; counts as billed.
    Unknown,
    /// Sent and not billed.
    Refused,
    /// Not sent; counts nowhere.
    NeverLeft,
}

impl Standing {
    /// Where a closed attempt goes. One that was not billed and brought no reply never left: every other end has
    /// either a status or an answer, or may have been billed.
    pub(super) fn of_end(billed: Billed, replied: bool) -> Self {
        match billed {
            Billed::Yes => Self::Billed,
            Billed::Unknown => Self::Unknown,
            Billed::No if replied => Self::Refused,
            Billed::No => Self::NeverLeft,
        }
    }

    fn may_cost(self) -> bool {
        matches!(self, Self::Reserved | Self::Billed | Self::Unknown)
    }

    pub(super) fn code(self) -> i64 {
        match self {
            Self::Reserved => 0,
            Self::Billed => 1,
            Self::Unknown => 2,
            Self::Refused => 3,
            Self::NeverLeft => 4,
        }
    }
}
