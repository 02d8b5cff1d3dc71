//! The rate limiter: GCRA on calls and on pictures, which a throttle answer slows down and success speeds up again.
//!
//! Two promises pull against each other. No window of one second may hold more than limit + burst calls, so calls
//! must be spaced. But the whole quota is to be used, and a timer that fires 1 ms late loses 3 % of 30 calls a second
//! for good if the next call is spaced from the late one. So time is cut finer than calls: a call takes
//! many cells of a GCRA whose bucket holds the cells of `burst` calls and, for lateness, less than one call's
//! more. Then a call that leaves late by up to 20 ms (or most of the spacing of calls, where that is less) does
//! not delay the next one; still never more than `burst` calls leave at once; and any window of one second holds at most
//! limit + burst, since the bucket and the second together do not make one more whole call.
//!
//! Permissions are given in the order in which they are asked for, give or take a timer's tick.

mod meter;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::Quota;

use meter::{Meter, Recent, Start};

/// The least and the most that a cut takes off the rate. In between it takes off the share of calls that were
/// throttled: an API that throttles one call in ten can take nine tenths of the rate.
const CUT: (f64, f64) = (0.05, 0.5);
/// The least share of the limit that cuts leave.
const LEAST_SHARE: f64 = 1.0 / 64.0;
/// What is given back of the limit every [`PERIOD`] with answers.
const RECOVERY: f64 = 0.02;
/// How often the rate may fall, and how often it may rise.
const PERIOD: Duration = Duration::from_secs(1);
/// A learned limit above this many calls a second is none.
const LEARNED_MOST: f64 = 20_000.0;

/// What the limiter allows now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RateState {
    /// The configured limit in calls a second, `None` where there is none.
    pub limit: Option<f64>,
    /// The rate in calls a second that is allowed now: lower than the limit after throttling. `None`: no limit.
    pub allowed: Option<f64>,
    /// The configured limit in pictures a second.
    pub picture_limit: Option<f64>,
    /// The rate in pictures a second that is allowed now.
    pub pictures_allowed: Option<f64>,
    /// Throttle answers that have lowered the rate so far.
    pub cuts: u64,
}

/// Gives permissions to call.
///
/// Waiting asks hold nothing that another ask needs: each sleeps until its own place in the queue is due. So an ask
/// that its caller keeps but does not poll for a while holds up nobody else.
#[derive(Debug)]
pub(crate) struct Limiter {
    state: Mutex<State>,
    /// Somebody has left the queue, or the rate has changed: times are to be reckoned anew.
    changed: Notify,
    seen: watch::Sender<RateState>,
}

#[derive(Debug)]
struct State {
    limits: Limits,
    lanes: [Lane; 2],
    /// The share of the limits that is allowed now, in (0, 1].
    share: f64,
    /// A limit in calls a second, learned from throttling where none is configured.
    learned: Option<f64>,
    changed: Instant,
    cut: Option<Instant>,
    paused_until: Option<Instant>,
    cuts: u64,
    tickets: u64,
    /// Calls that got their permission.
    sent: Recent,
    /// Calls that came back answered.
    answered: Recent,
    /// Calls that came back throttled.
    throttled: Recent,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    calls: Option<f64>,
    pictures: Option<f64>,
    burst: Option<u32>,
}

/// An ask that is this late is not being polled.
const ASLEEP: Duration = Duration::from_millis(20);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Call,
    Picture,
}

/// The queue for one unit.
#[derive(Debug)]
struct Lane {
    meter: Option<Meter>,
    /// Those who wait, by ticket.
    waiting: BTreeMap<u64, Waiting>,
    /// When the first in the queue is due, as far as is known.
    next: Instant,
}

/// An ask in a queue.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// Units it still wants.
    units: usize,
    /// When it means to take them.
    due: Instant,
}

impl Lane {
    /// Units that those before `ticket` still want, without those that have let their time pass: their caller keeps
    /// them without polling.
    fn before(&self, ticket: u64, now: Instant) -> usize {
        let there = self.waiting.range(..ticket).filter(|(_, waiting)| now < waiting.due + ASLEEP);
        there.map(|(_, waiting)| waiting.units).sum()
    }
}

impl Limiter {
    pub(crate) fn new(quota: Option<Quota>, burst: Option<u32>) -> Self {
        let per_second = |per_minute: u32| f64::from(per_minute.max(1)) / 60.0;
        let limits = Limits {
            calls: quota.map(|q| per_second(q.calls_per_minute)),
            pictures: quota.and_then(|q| q.pictures_per_minute).map(per_second),
            burst,
        };
        let now = Instant::now();
        let lane = |rate: Option<f64>| Lane {
            meter: rate.map(|rate| Meter::new(rate, burst, Start::Burst)),
            waiting: BTreeMap::new(),
            next: now,
        };
        let state = State {
            limits,
            lanes: [lane(limits.calls), lane(limits.pictures)],
            share: 1.0,
            learned: None,
            changed: now,
            cut: None,
            paused_until: None,
            cuts: 0,
            tickets: 0,
            sent: Recent::from(now),
            answered: Recent::from(now),
            throttled: Recent::from(now),
        };
        let seen = watch::Sender::new(state.seen());
        Self { state: Mutex::new(state), changed: Notify::new(), seen }
    }

    /// Waits until one call may be sent. A dropped wait takes nothing.
    pub(crate) async fn call(&self) {
        self.wait(Unit::Call, 1).await;
    }

    /// Waits until `pictures` pictures may be sent, in a call whose own permission has been given.
    pub(crate) async fn pictures(&self, pictures: usize) {
        self.wait(Unit::Picture, pictures).await;
    }

    async fn wait(&self, unit: Unit, mut units: usize) {
        let ticket = {
            let mut state = self.lock();
            // Whoever comes while others wait goes to the end of the queue.
            let now = Instant::now();
            while units > 0 && state.lane(unit).before(u64::MAX, now) == 0 && state.admit(unit).is_ok() {
                units -= 1;
            }
            if units == 0 {
                return;
            }
            state.tickets += 1;
            let ticket = state.tickets;
            state.lane(unit).waiting.insert(ticket, Waiting { units, due: now });
            ticket
        };
        let mut place = Place { limiter: self, unit, ticket, served: false };
        while !place.served {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let due = self.lock().due(unit, ticket);
            tokio::select! {
                () = tokio::time::sleep_until(due) => place.served = self.lock().serve(unit, ticket),
                () = changed => {}
            }
        }
    }

    /// The API throttled a call that was sent at `sent`, and asked to wait for `pause`.
    pub(crate) fn throttled(&self, name: &str, sent: Instant, pause: Option<Duration>) {
        let mut state = self.lock();
        let now = Instant::now();
        if let Some(pause) = pause {
            state.paused_until = state.paused_until.max(Some(now + pause));
        }
        state.throttled.count(now);
        // Calls that were in flight at the last cut say nothing about the rate since.
        if state.cut.is_some_and(|cut| sent < cut || now < cut + PERIOD) {
            return;
        }
        if state.limits.calls.is_none() && state.limits.pictures.is_none() && state.learned.is_none() {
            state.learned = Some(state.sent.rate(now).max(1.0));
        }
        let (throttled, answered) = (state.throttled.sum(now), state.answered.sum(now));
        let cut = (throttled / (throttled + answered)).clamp(CUT.0, CUT.1);
        state.share = (state.share * (1.0 - cut)).max(LEAST_SHARE);
        (state.cut, state.cuts) = (Some(now), state.cuts + 1);
        let seen = self.rebuild(state, now);
        tracing::warn!(endpoint = name, calls_per_second = seen.allowed, "throttled: calling more slowly");
    }

    /// The API did some work without throttling.
    pub(crate) fn answered(&self) {
        let mut state = self.lock();
        let now = Instant::now();
        state.answered.count(now);
        if (state.share >= 1.0 && state.learned.is_none()) || now < state.changed + PERIOD {
            return;
        }
        state.share += RECOVERY;
        if state.share >= 1.0 - 1e-9 {
            state.share = 1.0;
            // A learned limit is only where the API throttled once: go on looking for more.
            state.learned =
                state.learned.map(|rate| rate * (1.0 + RECOVERY)).filter(|rate| *rate < LEARNED_MOST);
        }
        self.rebuild(state, now);
    }

    /// New meters for the present share. They start empty, so that no change of rate lets an extra burst through.
    fn rebuild(&self, mut state: MutexGuard<'_, State>, now: Instant) -> RateState {
        let (limits, share) = (state.limits, state.share);
        let rates = [limits.calls.or(state.learned), limits.pictures];
        for (lane, rate) in state.lanes.iter_mut().zip(rates) {
            lane.meter = rate.map(|rate| Meter::new(rate * share, limits.burst, Start::Empty));
            lane.next = now;
        }
        state.changed = now;
        let seen = state.seen();
        drop(state);
        self.changed.notify_waiters();
        self.seen.send_replace(seen);
        seen
    }

    /// What is allowed now, and every change of it.
    pub(crate) fn subscribe(&self) -> watch::Receiver<RateState> {
        self.seen.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held, and every state is a valid one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in a queue, given up when dropped.
struct Place<'a> {
    limiter: &'a Limiter,
    unit: Unit,
    ticket: u64,
    served: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.served {
            self.limiter.lock().lane(self.unit).waiting.remove(&self.ticket);
            self.limiter.changed.notify_waiters();
        }
    }
}

impl State {
    fn lane(&mut self, unit: Unit) -> &mut Lane {
        let [calls, pictures] = &mut self.lanes;
        match unit {
            Unit::Call => calls,
            Unit::Picture => pictures,
        }
    }

    /// One unit now, or how long until there is one.
    fn admit(&mut self, unit: Unit) -> Result<(), Duration> {
        let now = Instant::now();
        if let Some(until) = self.paused_until.filter(|_| unit == Unit::Call) {
            if now < until {
                self.lane(unit).next = until;
                return Err(until - now);
            }
            self.paused_until = None;
        }
        let lane = self.lane(unit);
        let admitted = lane.meter.as_ref().map_or(Ok(()), Meter::admit);
        lane.next = match admitted {
            // As the meter reckons: from when it was due, not from when it came.
            Ok(()) => match &lane.meter {
                Some(meter) => {
                    lane.next.max(now.checked_sub(meter.tolerance).unwrap_or(now)) + meter.spacing()
                }
                None => now,
            },
            Err(wait) => now + wait,
        };
        if admitted.is_ok() && unit == Unit::Call {
            self.sent.count(now);
        }
        admitted
    }

    /// When the ask with this ticket is due: after the units of those before it.
    fn due(&mut self, unit: Unit, ticket: u64) -> Instant {
        let lane = self.lane(unit);
        let before = u32::try_from(lane.before(ticket, Instant::now())).unwrap_or(u32::MAX);
        let spacing = lane.meter.as_ref().map_or(Duration::ZERO, Meter::spacing);
        let due = lane.next + spacing.saturating_mul(before);
        if let Some(waiting) = lane.waiting.get_mut(&ticket) {
            waiting.due = due;
        }
        due
    }

    /// Gives units to the ask with this ticket while there are some. Says whether it has all it wants.
    fn serve(&mut self, unit: Unit, ticket: u64) -> bool {
        while let Some(waiting) = self.lane(unit).waiting.get(&ticket).copied() {
            if self.admit(unit).is_err() {
                return false;
            }
            if waiting.units <= 1 {
                self.lane(unit).waiting.remove(&ticket);
                break;
            }
            self.lane(unit).waiting.insert(ticket, Waiting { units: waiting.units - 1, ..waiting });
        }
        true
    }

    fn seen(&self) -> RateState {
        let allowed = |lane: &Lane| lane.meter.as_ref().map(|m| m.per_second);
        let [calls, pictures] = &self.lanes;
        RateState {
            limit: self.limits.calls,
            allowed: allowed(calls),
            picture_limit: self.limits.pictures,
            pictures_allowed: allowed(pictures),
            cuts: self.cuts,
        }
    }
}
