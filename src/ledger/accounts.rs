//! The accounts that calls are charged to, as one transaction sees them.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use smoothgate_providers::{Money, Price};

use super::LedgerError;
use super::budget::{Budgets, Cap, Spend, Standing};
use super::clock::Day;
use super::row::RowError;

/// What a call is charged to: its run, its provider instance on the day it was opened, and whoever asked for the
/// picture, where that is one of several.
#[derive(Clone, Copy, Debug)]
pub(super) struct Charge<'a> {
    pub(super) run: i64,
    pub(super) instance: &'a str,
    pub(super) day: Day,
    pub(super) caller: Option<&'a str>,
}

impl<'a> Charge<'a> {
    /// The accounts of this charge, in the order of the caps of [`Budgets`].
    pub(super) fn scopes(&self) -> [Scope<'a>; 3] {
        [
            Scope::run(self.run),
            Scope { kind: Kind::Day, instance: self.instance, number: self.day.0 },
            Scope { kind: Kind::Month, instance: self.instance, number: self.day.month_number() },
        ]
    }

    /// All accounts of this charge: those of [`scopes`](Self::scopes), then the caller's.
    fn all(&self) -> impl Iterator<Item = Scope<'a>> {
        self.scopes().into_iter().chain(self.caller.map(Scope::caller))
    }
}

/// One account: a run, a provider instance for a day or a month, or a caller for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scope<'a> {
    kind: Kind,
    instance: &'a str,
    /// The run, the day since 1970-01-01 or the month since year 0.
    number: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Run,
    Day,
    Month,
    Caller,
}

impl<'a> Scope<'a> {
    /// The account of a caller. Its name stands where others have their instance.
    pub(super) fn caller(name: &'a str) -> Self {
        Self { kind: Kind::Caller, instance: name, number: 0 }
    }
}

impl Scope<'static> {
    /// The account of a run.
    pub(super) fn run(run: i64) -> Self {
        Self { kind: Kind::Run, instance: "", number: run }
    }
}

impl Scope<'_> {
    /// The setting that raises this scope's cap on `what`, "calls" or "cost".
    pub(super) fn option(&self, what: &str) -> String {
        match self.kind {
            Kind::Run => format!("--max-{what}"),
            Kind::Day => format!("the daily {what} budget of `{}` in the configuration", self.instance),
            Kind::Month => format!("the monthly {what} budget of `{}` in the configuration", self.instance),
            Kind::Caller => format!("--max-{what} of the key {}", self.instance),
        }
    }

    /// `12`, `2026-01-31` or `2026-01`: how the period is stored and shown.
    fn period(&self) -> String {
        match self.kind {
            Kind::Run => self.number.to_string(),
            Kind::Caller => "all".to_owned(),
            Kind::Day => Day(self.number).name(),
            Kind::Month => format!("{:04}-{:02}", self.number.div_euclid(12), self.number.rem_euclid(12) + 1),
        }
    }

    fn kind(&self) -> &'static str {
        match self.kind {
            Kind::Run => "run",
            Kind::Day => "day",
            Kind::Month => "month",
            Kind::Caller => "caller",
        }
    }

    /// What this account holds; nothing where it has no row yet.
    pub(super) fn load(&self, db: &Connection) -> Result<Spend, RowError> {
        let mut select = db.prepare_cached(
            "SELECT calls, billed, unknown, reserved, unpriced FROM account
             WHERE kind = ?1 AND instance = ?2 AND period = ?3",
        )?;
        let row = select.query_row(params![self.kind(), self.instance, self.period()], |row| Ok(spend(row)));
        row.optional()?.unwrap_or_else(|| Ok(Spend::default()))
    }

    fn store(&self, db: &Connection, spend: &Spend) -> rusqlite::Result<()> {
        let mut upsert = db.prepare_cached(
            "INSERT INTO account (kind, instance, period, calls, billed, unknown, reserved, unpriced)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT DO UPDATE SET calls = ?4, billed = ?5, unknown = ?6, reserved = ?7, unpriced = ?8",
        )?;
        upsert.execute(params![
            self.kind(),
            self.instance,
            self.period(),
            spend.calls.cast_signed(),
            text(spend.billed),
            text(spend.unknown),
            text(spend.reserved),
            spend.unpriced.cast_signed(),
        ])?;
        Ok(())
    }
}

impl std::fmt::Display for Scope<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            Kind::Run => write!(f, "of run {}", self.number),
            Kind::Caller => write!(f, "of the key {}", self.instance),
            Kind::Day | Kind::Month => write!(f, "of `{}` for {} (UTC)", self.instance, self.period()),
        }
    }
}

/// The amount as the ledger stores it: a plain decimal, every digit kept.
pub(super) fn text(amount: Money) -> String {
    amount.dollars().normalize().to_string()
}

fn spend(row: &Row<'_>) -> Result<Spend, RowError> {
    let count = |column| -> Result<u64, RowError> {
        u64::try_from(row.get::<_, i64>(column)?)
            .map_err(|_| RowError::damaged("an account counts below zero"))
    };
    let amount = |column| -> Result<Money, RowError> {
        let text: String = row.get(column)?;
        text.parse().map_err(|_| RowError::damaged(format!("an account holds `{text}`")))
    };
    Ok(Spend {
        calls: count(0)?,
        billed: amount(1)?,
        unknown: amount(2)?,
        reserved: amount(3)?,
        unpriced: count(4)?,
    })
}

/// The accounts touched by one transaction: each read once and written once, however many calls it records.
#[derive(Default)]
pub(super) struct Accounts {
    open: Vec<OpenAccount>,
}

/// Up to four accounts of [`Accounts`], by index.
type Places = [Option<usize>; 4];

struct OpenAccount {
    kind: Kind,
    instance: String,
    number: i64,
    spend: Spend,
    changed: bool,
}

impl OpenAccount {
    fn scope(&self) -> Scope<'_> {
        Scope { kind: self.kind, instance: &self.instance, number: self.number }
    }
}

impl Accounts {
    /// Admits one more call under `budgets` and the caller's `cap`, and reserves its price. A refusal changes nothing.
    pub(super) fn reserve(
        &mut self,
        db: &Connection,
        charge: &Charge<'_>,
        budgets: &Budgets,
        cap: &Cap,
        price: Price,
    ) -> Result<(), RowError> {
        let caps = [&budgets.run, &budgets.day, &budgets.month, cap];
        let places = self.places(db, charge)?;
        for ((scope, at), cap) in charge.all().zip(places.iter().flatten()).zip(caps) {
            self.open[*at].spend.admits(cap, price, &scope, charge.instance)?;
        }
        self.change(&places, |spend| spend.reserve(price))
    }

    /// How many more calls at `price` all of `budgets` admit; `None` where nothing limits them.
    pub(super) fn room(
        &mut self,
        db: &Connection,
        charge: &Charge<'_>,
        budgets: &Budgets,
        price: Price,
    ) -> Result<Option<u64>, RowError> {
        let caps = [&budgets.run, &budgets.day, &budgets.month];
        let mut least = None;
        for (scope, cap) in charge.scopes().iter().zip(caps) {
            let room = self.spend(db, scope)?.room(cap, price);
            least = [least, room].into_iter().flatten().min();
        }
        Ok(least)
    }

    /// Moves a call that is charged to `charge` from one standing to another.
    pub(super) fn settle(
        &mut self,
        db: &Connection,
        charge: &Charge<'_>,
        price: Option<Money>,
        from: Standing,
        to: Standing,
    ) -> Result<(), RowError> {
        let places = self.places(db, charge)?;
        let settled = self.change(&places, |spend| spend.settle(price, from, to));
        // What was reserved can be settled: accounts that cannot are not what the ledger wrote, and the caller has
        // written already.
        settled.map_err(|failure| match failure {
            RowError::Decided(refusal) => RowError::damaged(refusal.to_string()),
            other => other,
        })
    }

    /// Writes what changed. Call once, before the commit.
    pub(super) fn store(&self, db: &Connection) -> rusqlite::Result<()> {
        self.open.iter().filter(|a| a.changed).try_for_each(|a| a.scope().store(db, &a.spend))
    }

    /// What the account holds within this transaction.
    pub(super) fn spend(&mut self, db: &Connection, scope: &Scope<'_>) -> Result<Spend, RowError> {
        let at = self.index(db, scope)?;
        Ok(self.open[at].spend)
    }

    /// Deletes an account, also one that was read or changed before in this transaction.
    pub(super) fn delete(&mut self, db: &Connection, scope: &Scope<'_>) -> rusqlite::Result<()> {
        self.open.retain(|a| a.scope() != *scope);
        let mut delete =
            db.prepare_cached("DELETE FROM account WHERE kind = ?1 AND instance = ?2 AND period = ?3")?;
        delete.execute(params![scope.kind(), scope.instance, scope.period()])?;
        Ok(())
    }

    /// All these accounts change, or none.
    fn change(&mut self, places: &Places, by: impl Fn(&mut Spend) -> Option<()>) -> Result<(), RowError> {
        let mut after = [None; 4];
        for (slot, at) in after.iter_mut().zip(places.iter().flatten()) {
            let account = &self.open[*at];
            let mut spend = account.spend;
            by(&mut spend).ok_or_else(|| {
                let scope = account.scope();
                LedgerError::Misuse(format!("the account {scope} cannot take this amount: {spend:?}"))
            })?;
            *slot = Some((*at, spend));
        }
        for (at, spend) in after.into_iter().flatten() {
            self.open[at].spend = spend;
            self.open[at].changed = true;
        }
        Ok(())
    }

    /// Where the accounts of a charge are, in their order.
    fn places(&mut self, db: &Connection, charge: &Charge<'_>) -> Result<Places, RowError> {
        let mut places = [None; 4];
        for (place, scope) in places.iter_mut().zip(charge.all()) {
            *place = Some(self.index(db, &scope)?);
        }
        Ok(places)
    }

    fn index(&mut self, db: &Connection, scope: &Scope<'_>) -> Result<usize, RowError> {
        if let Some(at) = self.open.iter().position(|a| a.scope() == *scope) {
            return Ok(at);
        }
        let spend = scope.load(db)?;
        let (kind, instance, number) = (scope.kind, scope.instance.to_owned(), scope.number);
        self.open.push(OpenAccount { kind, instance, number, spend, changed: false });
        Ok(self.open.len() - 1)
    }
}
