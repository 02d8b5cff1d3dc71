//! Whether groups of records may wait long for company.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::company::{COMPANY, LARGEST_GROUP, wait};

/// How long records are counted before short and long waits are compared.
pub(super) const TRIAL: Duration = Duration::from_millis(250);

/// And before that not counted: when waits become longer, records come later, and that is not fewer.
pub(super) const SETTLING: Duration = Duration::from_millis(125);

/// Trials until they are compared again.
const TRIALS_TO_REST: u32 = 32;

/// Waits are too long where they cost one record of so many.
const TOO_DEAR: f64 = 1.0 / 16.0;

/// Records that must be expected for a long wait, or it is not tried.
const CROWD: f64 = 4.0 * COMPANY as f64;

/// Whether records keep coming as fast when they wait long for their commits.
///
/// Where a limit on calls in flight holds a run back, its rate falls with every wait: with calls of 20 ms, waits of 50 ms
/// would halve it. Where a limit on the rate does, or the arrival of requests, waits cost nothing. Which it is cannot be seen
/// from here, but tried: records are counted for a while with short waits, and then with long ones. The better is kept, and
/// both are compared again from time to time. Where the long waits lose, that costs a trial of every so many; where nobody
/// comes in half of one, that one wait.
pub(super) struct Patience {
    /// How long a long wait is.
    wait: Duration,
    long: bool,
    /// Records a second with short waits.
    short: f64,
    /// Trials until the next comparison.
    rest: u32,
    settling: bool,
    since: Instant,
    records: usize,
}

impl Patience {
    pub(super) fn new(wait: Duration) -> Self {
        let since = Instant::now();
        Self { wait, long: false, short: 0.0, rest: 0, settling: true, since, records: 0 }
    }

    pub(super) fn waits_long(&self) -> bool {
        self.long
    }

    /// Waits long for more records; no longer where they wait for this group themselves.
    pub(super) fn wait<T>(&mut self, inbox: &Receiver<T>, group: &mut Vec<T>) {
        let at_first = group.len();
        wait(inbox, group, self.wait / 2);
        if group.len() - at_first < COMPANY && group.len() < LARGEST_GROUP {
            (self.long, self.rest) = (false, TRIALS_TO_REST);
            self.begin(true);
        } else if group.len() < LARGEST_GROUP {
            wait(inbox, group, self.wait / 2);
        }
    }

    /// So many records shared a commit.
    pub(super) fn count(&mut self, records: usize) {
        self.records += records;
        let took = self.since.elapsed();
        if took < if self.settling { SETTLING } else { TRIAL } {
            return;
        }
        let before = self.long;
        // Where none came for a while, that says nothing of the waits.
        if !self.settling && took < 2 * TRIAL {
            self.tried(self.records as f64 / took.as_secs_f64());
        }
        self.begin(self.long != before);
    }

    fn begin(&mut self, settling: bool) {
        (self.settling, self.since, self.records) = (settling, Instant::now(), 0);
    }

    /// A trial has ended; so many records came a second.
    fn tried(&mut self, rate: f64) {
        if self.rest > 0 {
            self.rest -= 1;
        } else if self.long {
            self.long = rate >= (1.0 - TOO_DEAR) * self.short;
            self.rest = TRIALS_TO_REST;
        } else {
            (self.short, self.long) = (rate, rate * self.wait.as_secs_f64() >= CROWD);
        }
        if self.long && self.rest == 1 {
            // What comes with short waits is counted anew for the next comparison.
            (self.long, self.rest) = (false, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(50);

    /// The share of trials with long waits, of many, where waits let through what `rate` says.
    fn share_of_long(rate: impl Fn(bool) -> f64) -> f64 {
        let mut patience = Patience::new(WAIT);
        let trials = 20 * TRIALS_TO_REST;
        let long = (0..trials).filter(|_| {
            let long = patience.waits_long();
            patience.tried(rate(long));
            long
        });
        long.count() as f64 / f64::from(trials)
    }

    #[test]
    fn groups_wait_long_where_that_slows_nothing() {
        let share = share_of_long(|_| 3000.0);
        assert!(share > 0.9 && share < 1.0, "{share}");
        // A little noise changes nothing.
        assert!(share_of_long(|long| if long { 2900.0 } else { 3000.0 }) > 0.9);
    }

    #[test]
    fn groups_wait_briefly_where_waits_cost_answers() {
        let share = share_of_long(|long| if long { 1400.0 } else { 3000.0 });
        assert!(share > 0.0 && share < 0.05, "{share}");
    }

    #[test]
    fn a_run_that_turns_to_be_limited_by_its_calls_in_flight_is_noticed() {
        let mut patience = Patience::new(WAIT);
        for _ in 0..TRIALS_TO_REST / 2 {
            patience.tried(3000.0);
        }
        assert!(patience.waits_long());
        for _ in 0..2 * TRIALS_TO_REST {
            let rate = if patience.waits_long() { 1400.0 } else { 3000.0 };
            patience.tried(rate);
        }
        assert!(!patience.waits_long());
    }

    #[test]
    fn where_few_records_come_nobody_waits_long_for_them() {
        assert!(share_of_long(|_| 100.0) < 1e-9);
    }
}
