//! Which call gets which fault, how long it takes and which model version it shows.
//!
//! A plan is a function of its seed and the number of a call: the same plan gives the same faults to the same calls,
//! whatever the time and the pictures. Calls are numbered from 1 in the order in which they were read.

mod error;
mod file;
mod names;
mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::fault::{Fault, Kind};

pub use error::PlanError;
pub use text::{Chance, Latency, Span};

/// A fault plan. The default has no faults and no latency.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Where all chance comes from.
    pub seed: u64,
    /// How long every reply is held back, counted from the request's arrival.
    pub latency: Latency,
    /// What is added where this label is the best of an answer. Names are compared without case.
    pub latency_by_label: BTreeMap<String, Duration>,
    /// Faults by chance.
    pub rates: Vec<Rate>,
    /// Faults by number. They come before those by chance, and the first that fits counts.
    pub script: Vec<Scripted>,
    /// Model versions in the order of their calls: from call `.0` on, answers name `.1` (where their format names one).
    pub models: Vec<(u64, String)>,
}

/// A fault that strikes calls by chance.
#[derive(Clone, Debug, PartialEq)]
pub struct Rate {
    /// The fault.
    pub fault: Fault,
    /// The share of calls, 0 to 1.
    pub share: f64,
    /// Calls in these formats. Empty means all.
    pub apis: Vec<String>,
}

/// A fault that strikes calls by their number.
#[derive(Clone, Debug, PartialEq)]
pub struct Scripted {
    /// The fault.
    pub fault: Fault,
    /// The first and the last call that it strikes, counted from 1.
    pub calls: Span,
    /// Count calls in this format alone. `None` counts all.
    pub api: Option<String>,
}

/// What a plan has decided for one call.
#[derive(Debug)]
pub struct Verdict<'a> {
    /// The fault, mostly none.
    pub fault: Option<Fault>,
    /// How long the reply is held back, before what a label adds.
    pub latency: Duration,
    /// The model version to show, where the plan names one.
    pub model: Option<&'a str>,
    /// For whatever else is left to chance in this call.
    pub(super) dice: ChaCha8Rng,
}

impl Plan {
    /// A plan in which this share of calls gets a fault, of every kind of [`Kind::PASSING`] equally often.
    ///
    /// # Errors
    /// [`PlanError::Share`] where it is not from 0 to 1, [`PlanError::TooMany`].
    pub fn with_fault_rate(self, share: f64) -> Result<Self, PlanError> {
        self.with_chance(Chance { kind: None, share })
    }

    /// A plan with these faults besides.
    ///
    /// # Errors
    /// As for [`with_fault_rate`](Self::with_fault_rate).
    pub fn with_chance(mut self, chance: Chance) -> Result<Self, PlanError> {
        let kinds = chance.kind.as_ref().map_or(&Kind::PASSING[..], std::slice::from_ref);
        let share = chance.share / kinds.len() as f64;
        self.rates.extend(kinds.iter().map(|kind| Rate { fault: Fault::new(*kind), share, apis: vec![] }));
        self.check()?;
        Ok(self)
    }

    /// The plan in a TOML text.
    ///
    /// # Errors
    /// [`PlanError`] names the line, what is wrong there and how to mend it.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        file::parse(text)
    }

    /// Checks what the types do not: shares from 0 to 1 that do not add up to more than all calls of a format.
    ///
    /// # Errors
    /// [`PlanError::Share`], [`PlanError::TooMany`].
    pub fn check(&self) -> Result<(), PlanError> {
        for Rate { fault, share, .. } in &self.rates {
            if !(0.0..=1.0).contains(share) {
                return Err(PlanError::Share { fault: fault.kind, share: *share });
            }
        }
        for api in smoothgate_providers::served::all() {
            let sum: f64 =
                self.rates.iter().filter(|rate| rate.strikes(api.name())).map(|rate| rate.share).sum();
            if sum > 1.0 + 1e-9 {
                return Err(PlanError::TooMany { api: api.name(), sum });
            }
        }
        Ok(())
    }

    /// What happens to call number `call`, which is number `of_api` in the format `api`. Both count from 1.
    pub fn verdict(&self, call: u64, api: &str, of_api: u64) -> Verdict<'_> {
        let mut dice = ChaCha8Rng::seed_from_u64(self.seed);
        dice.set_stream(call);
        // Drawn first and always, so that a script does not move the chances of other calls.
        let mut chance: f64 = dice.random();
        let latency = self.latency.draw(dice.random());
        let scripted = self.script.iter().find(|entry| match &entry.api {
            None => entry.calls.holds(call),
            Some(own) => own == api && entry.calls.holds(of_api),
        });
        let mut by_chance = || {
            self.rates.iter().filter(|rate| rate.strikes(api)).find(|rate| {
                let strikes = chance < rate.share;
                chance -= rate.share;
                strikes
            })
        };
        let fault = scripted.map(|entry| entry.fault).or_else(|| by_chance().map(|rate| rate.fault));
        let model = self.models.iter().rev().find(|(from, _)| *from <= call).map(|(_, name)| name.as_str());
        Verdict { fault, latency, model, dice }
    }

    /// What is added to the latency of an answer whose best label is this one.
    pub fn latency_of_label(&self, label: &str) -> Duration {
        if self.latency_by_label.is_empty() {
            return Duration::ZERO;
        }
        self.latency_by_label.get(&label.to_lowercase()).copied().unwrap_or_default()
    }
}

impl Rate {
    fn strikes(&self, api: &str) -> bool {
        self.apis.is_empty() || self.apis.iter().any(|own| own == api)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_plan_strikes_the_same_calls() {
        let plan = |seed| Plan { seed, ..Plan::default() }.with_fault_rate(0.2).unwrap();
        let faults = |plan: &Plan| -> Vec<Option<Kind>> {
            (1..=20_000).map(|n| plan.verdict(n, "google", n).fault.map(|fault| fault.kind)).collect()
        };
        let one = faults(&plan(1));
        assert_eq!(one, faults(&plan(1)));
        assert_ne!(one, faults(&plan(2)));
        // 20 000 draws: 4000 expected, four standard deviations are 226; of each kind 364 and 76.
        let struck = one.iter().flatten().count();
        assert!((3774..=4226).contains(&struck), "{struck}");
        for kind in Kind::PASSING {
            let of_kind = one.iter().flatten().filter(|k| **k == kind).count();
            assert!((288..=440).contains(&of_kind), "{kind}: {of_kind}");
        }
    }

    #[test]
    fn scripts_come_first_and_move_no_other_call() {
        let chance = Plan { seed: 3, ..Plan::default() }.with_fault_rate(0.5).unwrap();
        let mut scripted = chance.clone();
        let calls = "2..4".parse().unwrap();
        scripted.script.push(Scripted { fault: Fault::new(Kind::Silence), calls, api: None });
        for n in 1..=200 {
            let (a, b) = (chance.verdict(n, "aws", n).fault, scripted.verdict(n, "aws", n).fault);
            if (2..=4).contains(&n) {
                assert_eq!(b, Some(Fault::new(Kind::Silence)));
            } else {
                assert_eq!(a, b, "call {n}");
            }
        }
    }

    #[test]
    fn scripts_of_one_format_count_its_calls_alone() {
        let script = vec![Scripted {
            fault: Fault::new(Kind::Reset),
            calls: "2".parse().unwrap(),
            api: Some("aws".into()),
        }];
        let plan = Plan { script, ..Plan::default() };
        assert!(plan.verdict(2, "google", 2).fault.is_none());
        assert!(plan.verdict(7, "aws", 2).fault.is_some());
        assert!(plan.verdict(2, "aws", 1).fault.is_none());
    }

    #[test]
    fn models_change_at_their_call() {
        let plan = Plan { models: vec![(1, "a".into()), (5, "b".into())], ..Plan::default() };
        let model = |n| plan.verdict(n, "aws", n).model;
        assert_eq!((model(1), model(4), model(5), model(99)), (Some("a"), Some("a"), Some("b"), Some("b")));
    }

    #[test]
    fn shares_must_fit_together() {
        let too_many = Plan::default().with_fault_rate(0.6).unwrap().with_fault_rate(0.6);
        assert!(matches!(too_many, Err(PlanError::TooMany { .. })), "{too_many:?}");
        assert!(matches!(Plan::default().with_fault_rate(-0.1), Err(PlanError::Share { .. })));
        assert!(Plan::default().with_fault_rate(f64::NAN).is_err());
    }
}
