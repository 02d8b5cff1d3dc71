//! What the emulator has seen: calls, pictures and bytes, by outcome and by fault, in all and in the last second.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::fault::Kind;

/// The width of a window.
const SECOND: Duration = Duration::from_secs(1);

/// Counts since the start or the last reset.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Seconds since then.
    pub seconds: f64,
    /// Everything since then.
    pub total: Counts,
    /// What arrived or was answered within the last second.
    pub last_second: Counts,
    /// Most calls that arrived within any one second.
    pub fullest_second: u64,
    /// Calls that have arrived and have no outcome yet.
    pub in_flight: u64,
    /// Calls by format.
    pub apis: BTreeMap<&'static str, ApiCounts>,
    /// Requests that are no calls: health, descriptions of models.
    pub plain: u64,
    /// Requests in none of the formats.
    pub unrecognised: u64,
}

/// Counts of calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Requests for labels, refused and broken ones included.
    pub calls: u64,
    /// Pictures in them, as far as they could be read.
    pub pictures: u64,
    /// Pictures that the real API would bill.
    pub billed_pictures: u64,
    /// Bytes of request bodies.
    pub bytes_in: u64,
    /// Bytes of reply bodies.
    pub bytes_out: u64,
    /// Calls by their end: `answered`, `fault` (no whole answer on purpose), `gone` (the client went away first), or why
    /// the request itself was refused.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Calls by fault, those included whose answer came through (`drip`, `reorder`).
    pub faults: BTreeMap<&'static str, FaultCounts>,
}

/// Calls with one kind of fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FaultCounts {
    /// Calls.
    pub calls: u64,
    /// Pictures of theirs that the real API would bill.
    pub billed_pictures: u64,
}

/// Calls in one format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ApiCounts {
    /// Calls.
    pub calls: u64,
    /// Pictures in them.
    pub pictures: u64,
    /// Pictures that the real API would bill.
    pub billed_pictures: u64,
}

/// The end of one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) outcome: &'static str,
    pub(super) fault: Option<Kind>,
    pub(super) pictures: u64,
    pub(super) billed_pictures: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

impl Counts {
    fn add(&mut self, end: &End) {
        self.pictures += end.pictures;
        self.billed_pictures += end.billed_pictures;
        self.bytes_in += end.bytes_in;
        self.bytes_out += end.bytes_out;
        *self.outcomes.entry(end.outcome).or_default() += 1;
        if let Some(kind) = end.fault {
            let fault = self.faults.entry(kind.name()).or_default();
            fault.calls += 1;
            fault.billed_pictures += end.billed_pictures;
        }
    }
}

/// Counts while the server runs.
pub(super) struct Tally(Mutex<Inner>);

struct Inner {
    since: Instant,
    /// Counts of resets, so that the end of a call from before one is not counted after it.
    era: u64,
    stats: Stats,
    numbers: BTreeMap<&'static str, u64>,
    arrivals: VecDeque<Instant>,
    ends: VecDeque<(Instant, End)>,
}

impl Inner {
    fn new(era: u64) -> Self {
        Self {
            since: Instant::now(),
            era,
            stats: Stats::default(),
            numbers: BTreeMap::new(),
            arrivals: VecDeque::new(),
            ends: VecDeque::new(),
        }
    }

    /// Forgets what is more than a second old.
    fn prune(&mut self, now: Instant) {
        let old = |at: &Instant| now.saturating_duration_since(*at) > SECOND;
        while self.arrivals.front().is_some_and(old) {
            self.arrivals.pop_front();
        }
        while self.ends.front().is_some_and(|(at, _)| old(at)) {
            self.ends.pop_front();
        }
    }
}

impl Tally {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Inner::new(0)))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A count that is off by one is better than a server that stops.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call has arrived. Its end is counted when the result is told to [`Ticket::end`], or dropped.
    pub(super) fn arrive(&self, api: &'static str) -> Ticket<'_> {
        let mut inner = self.lock();
        let now = Instant::now();
        inner.arrivals.push_back(now);
        inner.prune(now);
        inner.stats.fullest_second = inner.stats.fullest_second.max(inner.arrivals.len() as u64);
        inner.stats.total.calls += 1;
        inner.stats.in_flight += 1;
        inner.stats.apis.entry(api).or_default().calls += 1;
        Ticket { tally: self, era: inner.era, api, at: now, bytes_in: 0, pictures: 0, ended: false }
    }

    pub(super) fn unrecognised(&self) {
        self.lock().stats.unrecognised += 1;
    }

    /// The counts now.
    pub(super) fn stats(&self) -> Stats {
        let mut inner = self.lock();
        let now = Instant::now();
        inner.prune(now);
        let mut last_second = Counts { calls: inner.arrivals.len() as u64, ..Counts::default() };
        inner.ends.iter().for_each(|(_, end)| last_second.add(end));
        Stats { seconds: (now - inner.since).as_secs_f64(), last_second, ..inner.stats.clone() }
    }

    /// Counts from nothing again, numbers of calls included.
    pub(super) fn reset(&self) {
        let mut inner = self.lock();
        *inner = Inner::new(inner.era + 1);
    }
}

/// One call that has no end yet.
pub(super) struct Ticket<'a> {
    tally: &'a Tally,
    era: u64,
    api: &'static str,
    pub(super) at: Instant,
    pub(super) bytes_in: u64,
    pub(super) pictures: u64,
    ended: bool,
}

impl Ticket<'_> {
    /// The number of this call in all and in its format, from 1.
    pub(super) fn number(&self) -> (u64, u64) {
        let mut inner = self.tally.lock();
        let mut next = |name| {
            let number = inner.numbers.entry(name).or_default();
            *number += 1;
            *number
        };
        (next(""), next(self.api))
    }

    /// It asked for no labels: not counted as a call after all.
    pub(super) fn was_plain(mut self) {
        self.ended = true;
        let mut inner = self.tally.lock();
        if inner.era == self.era {
            let stats = &mut inner.stats;
            stats.in_flight -= 1;
            stats.total.calls -= 1;
            stats.apis.entry(self.api).or_default().calls -= 1;
            stats.plain += 1;
            if let Some(index) = inner.arrivals.iter().rposition(|at| *at == self.at) {
                inner.arrivals.remove(index);
            }
        }
    }

    /// Its end.
    pub(super) fn end(
        &mut self,
        outcome: &'static str,
        fault: Option<Kind>,
        billed_pictures: u64,
        bytes_out: u64,
    ) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let mut inner = self.tally.lock();
        if inner.era != self.era {
            return;
        }
        let (pictures, bytes_in) = (self.pictures, self.bytes_in);
        let end = End { outcome, fault, pictures, billed_pictures, bytes_in, bytes_out };
        let now = Instant::now();
        inner.ends.push_back((now, end));
        inner.prune(now);
        inner.stats.in_flight -= 1;
        inner.stats.total.add(&end);
        let api = inner.stats.apis.entry(self.api).or_default();
        api.pictures += end.pictures;
        api.billed_pictures += end.billed_pictures;
    }
}

impl Drop for Ticket<'_> {
    /// The client went away before there was an end.
    fn drop(&mut self) {
        self.end("gone", None, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_one_end() {
        let tally = Tally::new();
        let mut ticket = tally.arrive("google");
        ticket.pictures = 2;
        ticket.bytes_in = 10;
        assert_eq!(ticket.number(), (1, 1));
        assert_eq!(tally.stats().in_flight, 1);
        ticket.end("answered", Some(Kind::Drip), 2, 5);
        ticket.end("answered", None, 2, 5);
        drop(ticket);
        let ticket = tally.arrive("aws");
        assert_eq!(ticket.number(), (2, 1));
        drop(ticket);
        tally.arrive("clarifai").was_plain();
        let stats = tally.stats();
        assert_eq!((stats.total.calls, stats.in_flight, stats.plain), (2, 0, 1));
        assert_eq!(stats.total.outcomes, BTreeMap::from([("answered", 1), ("gone", 1)]));
        assert_eq!(stats.total.faults["drip"], FaultCounts { calls: 1, billed_pictures: 2 });
        assert_eq!(stats.last_second, stats.total);
        assert_eq!(stats.fullest_second, 3);
        assert_eq!(stats.apis["google"], ApiCounts { calls: 1, pictures: 2, billed_pictures: 2 });
    }

    #[test]
    fn the_end_of_a_call_from_before_a_reset_is_not_counted() {
        let tally = Tally::new();
        let mut ticket = tally.arrive("google");
        tally.reset();
        ticket.end("answered", None, 1, 1);
        tally.arrive("google").was_plain();
        let stats = tally.stats();
        assert_eq!((stats.total, stats.in_flight), (Counts::default(), 0));
    }
}
