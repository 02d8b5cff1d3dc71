//! The generic cell rate algorithm, and counts over the last two seconds.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota as Cells, RateLimiter};
use tokio::time::Instant;

/// Cells of the GCRA that one call takes.
const CELLS: u32 = 64;
/// How much lateness is made up for, at most.
const SLACK: f64 = 0.020;
/// What is left of the spacing for calls that leave on time and arrive late.
const JITTER: f64 = 0.002;
/// Timers are no finer than this: so much time's worth of calls may leave at once by default.
pub(super) const TIMER: f64 = 0.004;

/// One GCRA.
pub(super) struct Meter {
    governor: RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>,
    clock: TokioClock,
    pub(super) per_second: f64,
    /// How far behind its schedule it may fall and still catch up.
    pub(super) tolerance: Duration,
}

/// What a new meter lets through at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Burst,
    Empty,
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Meter({}/s)", self.per_second)
    }
}

impl Meter {
    pub(super) fn new(per_second: f64, burst: Option<u32>, start: Start) -> Self {
        let burst = burst.unwrap_or((per_second * TIMER) as u32).clamp(1, 1 << 20);
        let slack = (SLACK.min(1.0 / per_second - JITTER) * per_second * f64::from(CELLS)) as u32;
        let slack = slack.clamp(1, CELLS - 1);
        let capacity = non_zero(CELLS * burst + slack);
        // Rounded up, so that rounding never makes it faster than the limit.
        let cell = Duration::from_nanos((1e9 / (per_second * f64::from(CELLS))).ceil().max(1.0) as u64);
        let cells = Cells::with_period(cell).unwrap_or_else(|| Cells::per_second(NonZeroU32::MIN));
        let clock = TokioClock(Instant::now());
        let governor = RateLimiter::direct_with_clock(cells.allow_burst(capacity), clock);
        // The bucket is full, so none of this can be refused.
        let _ = governor.check_n(if start == Start::Empty { capacity } else { non_zero(slack) });
        Self { governor, clock, per_second, tolerance: cell * (CELLS * (burst - 1) + slack) }
    }

    pub(super) fn spacing(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.per_second)
    }

    pub(super) fn admit(&self) -> Result<(), Duration> {
        match self.governor.check_n(non_zero(CELLS)) {
            Ok(Err(not_until)) => Err(not_until.wait_time_from(self.clock.now())),
            // The error is for more cells than the bucket ever holds, but it holds more than CELLS.
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
pub(super) struct Recent {
    since: Instant,
    now: u32,
    before: u32,
}

impl Recent {
    pub(super) fn from(now: Instant) -> Self {
        Self { since: now, now: 0, before: 0 }
    }

    fn turn(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.since).as_secs();
        if seconds > 0 {
            self.before = if seconds == 1 { self.now } else { 0 };
            (self.now, self.since) = (0, self.since + Duration::from_secs(seconds));
        }
    }

    pub(super) fn count(&mut self, now: Instant) {
        self.turn(now);
        self.now = self.now.saturating_add(1);
    }

    pub(super) fn sum(&mut self, now: Instant) -> f64 {
        self.turn(now);
        f64::from(self.now) + f64::from(self.before)
    }

    /// The rate a second, from the second before or, where that is more, from this one so far.
    pub(super) fn rate(&mut self, now: Instant) -> f64 {
        self.turn(now);
        let so_far = now.saturating_duration_since(self.since).as_secs_f64().max(0.05);
        (f64::from(self.now) / so_far).max(f64::from(self.before))
    }
}
