//! How long a group of records waits for company before it is committed.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// Most records of one commit: bounds how long the first of them waits.
const LARGEST_GROUP: usize = 512;

/// How long the first looks at what came are apart, while a group waits for more.
const FIRST_LOOK: Duration = Duration::from_millis(1);

/// And all others.
const LOOK: Duration = Duration::from_millis(2);

/// A wait that was broken off with fewer records than so many was in vain: what one caller hands over in a row is no company.
const COMPANY: usize = 4;

/// After so many groups in a row that waited in vain, nobody waits for a while.
const LOOKS_IN_VAIN: u32 = 3;

/// So many commits. Then it is tried again: the load may have changed.
const WITHOUT_WAITING: u32 = 64;

/// Unless so many records come at once.
const WORTH_WAITING: usize = 8;

/// A commit costs several times what a record in it does, so a group waits for more records as long as more come. It does
/// not wait for long beside what a call takes anyway: for an eighth of that. Only where no fewer records come for it, since
/// it is a rate that limits them and not the calls in flight, it waits as long as is allowed ([`Patience`]). A group that
/// all others wait for goes after the first look in vain; and where that happens again and again, for instance since one
/// caller makes one record after the other, groups go at once.
pub(super) struct Company {
    /// The longest that is allowed.
    allowed: Duration,
    patience: Option<Patience>,
    /// What calls take lately.
    latency: Duration,
    /// Records came for as long as the last group waited.
    steady: bool,
    /// Groups in a row that waited in vain.
    in_vain: u32,
    /// Commits to come that wait for nothing.
    without_waiting: u32,
}

impl Company {
    pub(super) fn new(allowed: Duration, patient: bool) -> Self {
        Self {
            allowed,
            patience: patient.then(Patience::new),
            latency: Duration::ZERO,
            steady: false,
            in_vain: 0,
            without_waiting: 0,
        }
    }

    /// Some more calls took this long in the mean.
    pub(super) fn learn(&mut self, latency: Duration) {
        self.latency = (7 * self.latency + latency) / 8;
    }

    /// The group that `first` is committed in.
    pub(super) fn gather<T>(&mut self, first: T, inbox: &Receiver<T>) -> Vec<T> {
        let mut group = vec![first];
        take_what_came(inbox, &mut group);
        if self.without_waiting > 0 {
            self.without_waiting = if group.len() < WORTH_WAITING { self.without_waiting - 1 } else { 0 };
            return group;
        }
        let at_first = group.len();
        let worth_it = if self.patience.as_ref().is_some_and(Patience::waits_long) {
            half_and_half(inbox, &mut group, self.allowed);
            group.len() - at_first >= COMPANY
        } else {
            if self.steady {
                self.steady = half_and_half(inbox, &mut group, self.longest());
            } else {
                self.look(inbox, &mut group);
            }
            self.steady || group.len() - at_first >= COMPANY
        };
        self.in_vain = if worth_it { 0 } else { self.in_vain + 1 };
        if self.in_vain >= LOOKS_IN_VAIN {
            // One more look in vain is enough for the next time.
            (self.in_vain, self.without_waiting) = (LOOKS_IN_VAIN - 1, WITHOUT_WAITING);
            self.patience = self.patience.as_ref().map(|_| Patience::new());
        } else if let Some(patience) = &mut self.patience {
            patience.count(group.len());
        }
        group
    }

    /// Waits for more records as long as they come as fast as before: where everybody waits for this group already, they
    /// stop coming.
    fn look<T>(&mut self, inbox: &Receiver<T>, group: &mut Vec<T>) {
        let (begun, at_first) = (Instant::now(), group.len());
        let longest = self.longest();
        if longest.is_zero() {
            return;
        }
        let mut waited = Duration::ZERO;
        while waited < longest && group.len() < LARGEST_GROUP {
            let look = if waited < LOOK { FIRST_LOOK } else { LOOK };
            let (before, pause) = (group.len(), look.min(longest.saturating_sub(waited)));
            wait(inbox, group, pause);
            let came = (group.len() - before) as f64 / pause.as_secs_f64();
            let as_fast = waited.is_zero() || 3.0 * came * waited.as_secs_f64() >= (before - at_first) as f64;
            if group.len() == before || !as_fast {
                return;
            }
            waited = begun.elapsed();
        }
        self.steady = true;
    }

    /// The longest that a group waits whose records are waited for.
    fn longest(&self) -> Duration {
        (self.latency / 8).max(LOOK).min(self.allowed)
    }
}

/// Where records come steadily, waking up for more looks would cost more than what they could save. Did they come as fast in
/// the second half?
fn half_and_half<T>(inbox: &Receiver<T>, group: &mut Vec<T>, time: Duration) -> bool {
    wait(inbox, group, time / 2);
    let early = group.len();
    if early < LARGEST_GROUP {
        wait(inbox, group, time / 2);
    }
    early == LARGEST_GROUP || 2 * (group.len() - early) >= early
}

fn wait<T>(inbox: &Receiver<T>, group: &mut Vec<T>, pause: Duration) {
    std::thread::sleep(pause);
    take_what_came(inbox, group);
}

fn take_what_came<T>(inbox: &Receiver<T>, group: &mut Vec<T>) {
    group.extend(inbox.try_iter().take(LARGEST_GROUP - group.len()));
}

/// How long records are counted before short and long waits are compared.
const TRIAL: Duration = Duration::from_millis(250);

/// And before that not counted: when waits become longer, records come later, and that is not fewer.
const SETTLING: Duration = Duration::from_millis(125);

/// Trials until they are compared again.
const TRIALS_TO_REST: u32 = 32;

/// Waits are too long where they cost one record of so many.
const TOO_DEAR: f64 = 1.0 / 16.0;

/// Whether records keep coming as fast when they wait long for their commits.
///
/// Where a limit on calls in flight holds a run back, its rate falls with every wait: with calls of 20 ms, waits of 50 ms
/// would halve it. Where a limit on the rate does, or the arrival of requests, waits cost nothing. Which it is cannot be seen
/// from here, but tried: records are counted for a while with short waits, and then with long ones. The better is kept, and
/// both are compared again from time to time. Where the long waits lose, that costs a trial of every so many.
struct Patience {
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
    fn new() -> Self {
        Self { long: false, short: 0.0, rest: 0, settling: true, since: Instant::now(), records: 0 }
    }

    fn waits_long(&self) -> bool {
        self.long
    }

    /// So many records shared a commit.
    fn count(&mut self, records: usize) {
        self.records += records;
        let took = self.since.elapsed();
        if took < if self.settling { SETTLING } else { TRIAL } {
            return;
        }
        let before = self.long;
        if !self.settling {
            self.tried(self.records as f64 / took.as_secs_f64());
        }
        self.settling = self.long != before;
        (self.since, self.records) = (Instant::now(), 0);
    }

    /// A trial has ended; so many records came a second.
    fn tried(&mut self, rate: f64) {
        if self.rest > 0 {
            self.rest -= 1;
        } else if self.long {
            self.long = rate >= (1.0 - TOO_DEAR) * self.short;
            self.rest = TRIALS_TO_REST;
        } else {
            (self.short, self.long) = (rate, true);
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

    /// The share of trials with long waits, of many, where waits let through what `rate` says.
    fn share_of_long(rate: impl Fn(bool) -> f64) -> f64 {
        let mut patience = Patience::new();
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
        let mut patience = Patience::new();
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
    fn a_group_takes_what_has_come_and_no_more_than_a_commit_holds() {
        let (sender, inbox) = std::sync::mpsc::channel();
        (1..=LARGEST_GROUP + 5).for_each(|n| sender.send(n).unwrap());
        let mut company = Company::new(Duration::from_millis(25), true);
        assert_eq!(company.gather(0, &inbox).len(), LARGEST_GROUP);
        assert_eq!(company.gather(0, &inbox).len(), 7);
    }

    #[test]
    fn nobody_waits_where_no_wait_is_allowed() {
        let (_sender, inbox) = std::sync::mpsc::channel();
        let mut company = Company::new(Duration::ZERO, true);
        assert_eq!(company.gather(0, &inbox).len(), 1);
    }
}
