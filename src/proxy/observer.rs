//! What others may watch: requests, certificates, votes and calls as they end.

use std::time::Duration;

use serde::Serialize;
use smoothgate_providers::served::RefusalClass;
use smoothgate_providers::{Billed, Money, OutcomeClass};

use super::Evidence;
use super::access::Spent;
use crate::certificate::Outcome;

/// Something that has happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A request has its reply, or its client has gone.
    Request {
        /// The format; empty where none has the path.
        api: &'a str,
        /// The route; `None` where it did not come to one.
        route: Option<&'a str>,
        /// Who asked; `None` where it is not known.
        caller: Option<&'a str>,
        /// The request id that the reply carries.
        request_id: &'a str,
        /// The status of the reply; `None` where the client has gone.
        status: Option<u16>,
        /// Pictures in it.
        pictures: usize,
        /// Time since its head had arrived.
        elapsed: Duration,
    },
    /// A picture has its certificate.
    Certified {
        /// The route.
        route: &'a str,
        /// Certified or abstained.
        outcome: Outcome,
        /// Where it came from.
        evidence: Evidence,
        /// Its votes.
        votes: u64,
        /// Calls of this sitting.
        calls: u64,
        /// What they cost at most; `None` where the price is not known.
        cost: Option<Money>,
        /// Time since the picture was first asked about.
        elapsed: Duration,
    },
    /// Work on a picture has ended, with a certificate or without.
    Spent {
        /// The route.
        route: &'a str,
        /// What the calls of this sitting took.
        spent: Spent,
    },
    /// A picture got no certificate.
    Refused {
        /// The route.
        route: &'a str,
        /// Why.
        class: RefusalClass,
    },
    /// A vote was counted.
    Vote {
        /// The route.
        route: &'a str,
    },
    /// An attempt at a call has ended.
    Attempt {
        /// The upstream instance.
        upstream: &'a str,
        /// How.
        class: OutcomeClass,
        /// Whether it was billed.
        billed: Billed,
        /// The status of the reply, where there was one.
        status: Option<u16>,
        /// How long it took.
        latency: Duration,
    },
}

/// The name of a case as it is written elsewhere, too: in exports and logs.
pub(crate) fn word(case: impl Serialize + std::fmt::Debug) -> String {
    match serde_json::to_value(&case) {
        Ok(serde_json::Value::String(word)) => word,
        _ => format!("{case:?}").to_lowercase(),
    }
}

/// Is told every [`Event`]. Called in the middle of the work: it must return at once.
pub trait Observer: Send + Sync + 'static {
    /// Takes note.
    fn observe(&self, event: &Event<'_>);
}

/// Takes no note.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn observe(&self, _: &Event<'_>) {}
}

/// Tells both, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Both<A, B>(pub A, pub B);

impl<A: Observer, B: Observer> Observer for Both<A, B> {
    fn observe(&self, event: &Event<'_>) {
        self.0.observe(event);
        self.1.observe(event);
    }
}

impl<O: Observer + ?Sized> Observer for std::sync::Arc<O> {
    fn observe(&self, event: &Event<'_>) {
        (**self).observe(event);
    }
}
