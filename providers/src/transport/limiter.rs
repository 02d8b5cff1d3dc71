//! The rate limiter: GCRA on calls and on pictures, which a throttle answer slows down and success speeds up again.
//!
//! Two promises pull against each other. No window of one second may hold more than limit + burst calls, so calls
//! must be spaced. But the whole quota is to be used, and a timer that fires 1 ms late loses 3 % of 30 calls a second
//! for good if the next call is spaced from the late one. So time is cut finer than calls: a call takes
//! `CELLS` cells of a GCRA whose bucket holds one cell less than burst + 1 calls. Never more than `burst` calls
//! leave at once, any window of one second holds at most limit + burst (the bucket's 16·(burst + 1) - 1 cells and the
//! second's 16·limit make limit + burst whole calls), and a call that leaves late by up to 15/16 of the spacing does
//! not delay the next one.
//!
//! Permissions are given in the order in which they are asked for, give or take a timer's tick.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota as Cells, RateLimiter};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::Quota;

/// Cells of the GCRA that one call takes.
const CELLS: u32 = 16;
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
/// Timers are no finer than this: so much time's worth of calls may leave at once by default.
const TIMER: f64 = 0.004;

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
            meter: rate.map(|rate| Meter::new(rate, burst, false)),
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
            lane.meter = rate.map(|rate| Meter::new(rate * share, limits.burst, true));
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
            Ok(()) => lane.next.max(now) + lane.meter.as_ref().map_or(Duration::ZERO, Meter::spacing),
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

/// One GCRA.
struct Meter {
    governor: RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>,
    clock: TokioClock,
    per_second: f64,
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Meter({}/s)", self.per_second)
    }
}

impl Meter {
    fn new(per_second: f64, burst: Option<u32>, empty: bool) -> Self {
        let burst = burst.unwrap_or((per_second * TIMER) as u32).clamp(1, 1 << 20);
        let capacity = non_zero(CELLS * (burst + 1) - 1);
        // Rounded up, so that rounding never makes it faster than the limit.
        let cell = Duration::from_nanos((1e9 / (per_second * f64::from(CELLS))).ceil().max(1.0) as u64);
        let cells = Cells::with_period(cell).unwrap_or_else(|| Cells::per_second(NonZeroU32::MIN));
        let clock = TokioClock(Instant::now());
        let governor = RateLimiter::direct_with_clock(cells.allow_burst(capacity), clock);
        if empty {
            // The bucket is full and this is all of it, so it cannot be refused.
            let _ = governor.check_n(capacity);
        }
        Self { governor, clock, per_second }
    }

    fn spacing(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.per_second)
    }

    fn admit(&self) -> Result<(), Duration> {
        match self.governor.check_n(non_zero(CELLS)) {
            Ok(Err(not_until)) => Err(not_until.wait_time_from(self.clock.now())),
            // The error is for more cells than the bucket ever holds, but it holds at least 2·CELLS - 1.
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}

fn non_zero(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)
}

/// Tokio's clock for governor: tests can pause it.
#[derive(Clone, Copy, Debug)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A count over this second and the one before.
#[derive(Debug)]
struct Recent {
    since: Instant,
    now: u32,
    before: u32,
}

impl Recent {
    fn from(now: Instant) -> Self {
        Self { since: now, now: 0, before: 0 }
    }

    fn turn(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.since).as_secs();
        if seconds > 0 {
            self.before = if seconds == 1 { self.now } else { 0 };
            (self.now, self.since) = (0, self.since + Duration::from_secs(seconds));
        }
    }

    fn count(&mut self, now: Instant) {
        self.turn(now);
        self.now = self.now.saturating_add(1);
    }

    fn sum(&mut self, now: Instant) -> f64 {
        self.turn(now);
        f64::from(self.now) + f64::from(self.before)
    }

    /// The rate a second, from the second before or, where that is more, from this one so far.
    fn rate(&mut self, now: Instant) -> f64 {
        self.turn(now);
        let so_far = now.saturating_duration_since(self.since).as_secs_f64().max(0.05);
        (f64::from(self.now) / so_far).max(f64::from(self.before))
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use futures::stream::FuturesUnordered;
    use proptest::prelude::*;

    use super::*;

    fn quota(calls_per_second: u32, pictures_per_second: impl Into<Option<u32>>) -> Option<Quota> {
        let pictures_per_second = pictures_per_second.into();
        (calls_per_second > 0).then(|| Quota {
            calls_per_minute: calls_per_second * 60,
            pictures_per_minute: pictures_per_second.map(|p| p * 60),
        })
    }

    /// The instants at which `n` waiting asks get their permission. The clock is Tokio's paused one, whose timers
    /// fire up to 1 ms late, as real ones do; `late` adds to that.
    async fn permissions(limiter: &Limiter, n: usize, late: impl Fn(usize) -> Duration) -> Vec<Duration> {
        let start = Instant::now();
        let mut seen = Vec::new();
        for i in 0..n {
            tokio::time::sleep(late(i)).await;
            limiter.call().await;
            seen.push(start.elapsed());
        }
        seen
    }

    fn fullest_second(times: &[Duration]) -> usize {
        let mut first = 0;
        let mut most = 0;
        for (last, time) in times.iter().enumerate() {
            while time.saturating_sub(times[first]) > Duration::from_secs(1) {
                first += 1;
            }
            most = most.max(last - first + 1);
        }
        most
    }

    #[tokio::test(start_paused = true)]
    async fn the_whole_quota_is_used_and_no_window_is_overfull() {
        for (rate, n) in [(1, 20), (30, 900), (200, 2000), (1000, 5000)] {
            let limiter = Limiter::new(quota(rate, None), None);
            let burst = (f64::from(rate) * TIMER).max(1.0) as usize;
            let times = permissions(&limiter, n, |_| Duration::ZERO).await;
            assert!(fullest_second(&times) <= rate as usize + burst, "{rate}/s: {}", fullest_second(&times));
            let ideal = (n - 1) as f64 / f64::from(rate);
            let taken = times[n - 1].as_secs_f64();
            assert!(taken <= ideal * 1.01 + 0.002, "{rate}/s: {taken} s for {ideal} s of quota");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Whatever the asks' timing, no second holds more than limit + burst.
        #[test]
        fn no_second_holds_more_than_limit_and_burst(
            rate in 1u32..400,
            burst in 1u32..5,
            gaps in proptest::collection::vec(prop_oneof![6 => Just(0u64), 2 => 0u64..20, 1 => 0u64..3000], 300),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let limiter = Limiter::new(quota(rate, None), Some(burst));
                let times = permissions(&limiter, gaps.len(), |i| Duration::from_millis(gaps[i])).await;
                prop_assert!(fullest_second(&times) <= (rate + burst) as usize);
                Ok(())
            })?;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn first_come_first_served() {
        let limiter = Limiter::new(quota(100, None), None);
        let mut asks: FuturesUnordered<_> = (0..200)
            .map(|i| {
                let l = &limiter;
                async move {
                    l.call().await;
                    i
                }
            })
            .collect();
        let mut order: Vec<i32> = Vec::new();
        while let Some(i) = asks.next().await {
            order.push(i);
        }
        let out_of_place = order.iter().zip(0..).map(|(i, place)| (i - place).abs()).max();
        assert!(out_of_place <= Some(1), "{order:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn pictures_have_a_limit_of_their_own() {
        let limiter = Limiter::new(quota(1000, Some(32)), Some(1));
        let start = Instant::now();
        for _ in 0..20 {
            limiter.call().await;
            limiter.pictures(16).await;
        }
        let taken = start.elapsed().as_secs_f64();
        assert!((9.9..10.1).contains(&taken), "320 pictures at 32/s in {taken} s");
    }

    #[tokio::test(start_paused = true)]
    async fn throttling_lowers_the_rate_once_a_round_and_it_recovers() {
        let limiter = Limiter::new(quota(100, None), None);
        let seen = limiter.subscribe();
        let allowed = || seen.borrow().allowed.unwrap();
        assert!((allowed() - 100.0).abs() < 1e-9);
        let sent = Instant::now();
        tokio::time::sleep(Duration::from_millis(200)).await;
        for _ in 0..50 {
            limiter.throttled("test", sent, None); // All in flight together: one lesson.
        }
        assert!((allowed() - 50.0).abs() < 1e-9 && seen.borrow().cuts == 1);

        let times = permissions(&limiter, 100, |_| Duration::ZERO).await;
        assert!(fullest_second(&times) <= 51, "the lower rate holds from its first second");
        let mut last = allowed();
        for _ in 0..30 {
            tokio::time::sleep(PERIOD).await;
            limiter.answered();
            limiter.answered(); // The second one comes too early to count.
            assert!(allowed() >= last && allowed() - last < 2.1);
            last = allowed();
        }
        assert!((last - 100.0).abs() < 1e-9, "{last}");
        for _ in 0..100 {
            tokio::time::sleep(PERIOD).await;
            limiter.throttled("test", Instant::now(), None);
        }
        assert!(allowed() >= 100.0 * LEAST_SHARE, "never stops for good");
    }

    /// An API that takes 40 calls a second of the 100 that its quota promises.
    #[tokio::test(start_paused = true)]
    async fn the_rate_settles_near_what_the_api_takes() {
        let limiter = Limiter::new(quota(100, None), None);
        let (mut second, mut taken, mut throttled) = (0, 0, 0);
        let start = Instant::now();
        for _ in 0..4000 {
            limiter.call().await;
            let now = start.elapsed().as_secs();
            if now > second {
                (second, taken) = (now, 0);
            }
            taken += 1;
            if taken > 40 {
                throttled += u32::from(second >= 20);
                limiter.throttled("test", Instant::now(), None);
            } else {
                limiter.answered();
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        assert!((75.0..105.0).contains(&seconds), "4000 calls in {seconds} s");
        assert!(throttled <= 300, "{throttled} of 3200 throttled");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_throttling_teaches_one() {
        let limiter = Limiter::new(None, None);
        let times = permissions(&limiter, 500, |_| Duration::from_millis(2)).await;
        assert!(times[499] < Duration::from_millis(1600));
        assert_eq!(limiter.subscribe().borrow().allowed, None);
        limiter.throttled("test", Instant::now(), None);
        let learned = limiter.subscribe().borrow().allowed.unwrap();
        assert!((150.0..260.0).contains(&learned), "half of about 500/s or 333/s: {learned}");
        for _ in 0..600 {
            tokio::time::sleep(PERIOD).await;
            limiter.answered();
        }
        assert_eq!(limiter.subscribe().borrow().allowed, None, "and forgets it in the end");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_everyone() {
        let limiter = Limiter::new(None, None);
        limiter.throttled("test", Instant::now(), Some(Duration::from_secs(7)));
        let start = Instant::now();
        limiter.call().await;
        assert!(start.elapsed() >= Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_wait_takes_nothing() {
        let limiter = Limiter::new(quota(1, None), None);
        limiter.call().await;
        let start = Instant::now();
        limiter.call().await; // 1/16 of the spacing after the first: the bucket was full.
        assert!(start.elapsed() <= Duration::from_millis(64));
        for _ in 0..10 {
            let wait = tokio::time::timeout(Duration::from_millis(10), limiter.call());
            assert!(wait.await.is_err());
        }
        // Those behind a cancelled ask move up.
        let (_, second) =
            tokio::join!(tokio::time::timeout(Duration::from_millis(10), limiter.call()), async {
                limiter.call().await;
                start.elapsed()
            });
        assert!(second <= Duration::from_millis(1070), "{second:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_ask_that_is_not_polled_holds_up_nobody() {
        let limiter = Limiter::new(quota(10, None), None);
        limiter.call().await;
        let mut idle = std::pin::pin!(limiter.call());
        assert!(futures::poll!(idle.as_mut()).is_pending());
        let start = Instant::now();
        for _ in 0..10 {
            limiter.call().await;
        }
        assert!(start.elapsed() <= Duration::from_millis(1300), "{:?}", start.elapsed());
        idle.await;
    }
}
