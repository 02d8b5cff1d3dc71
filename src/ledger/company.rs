//! How long a group of records waits for company before it is committed.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::patience::Patience;

/// Most records of one commit: bounds how long the first of them waits.
pub(super) const LARGEST_GROUP: usize = 512;

/// How long the first looks at what came are apart, while a group waits for more.
const FIRST_LOOK: Duration = Duration::from_millis(1);

/// And all others.
const LOOK: Duration = Duration::from_millis(2);

/// A wait that was broken off with fewer records than so many was in vain: what one caller hands over in a row is no company.
pub(super) const COMPANY: usize = 4;

/// After so many groups in a row that waited in vain, nobody waits for a while.
const LOOKS_IN_VAIN: u32 = 3;

/// So many commits. Then it is tried again: the load may have changed.
const WITHOUT_WAITING: u32 = 64;

/// Unless so many records come at once.
const WORTH_WAITING: usize = 8;

/// Records that nobody waits for are committed with the next that somebody waits for: a call's end with the intent of the next
/// call, or with the certificate. When none comes they go after this time; it bounds by how much a call remains in flight, on
/// record, after its end.
const UNAWAITED: Duration = Duration::from_millis(2);

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
            patience: patient.then(|| Patience::new(allowed)),
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

    /// The group that `first` is committed in. Which records does somebody wait for?
    pub(super) fn gather<T>(
        &mut self,
        first: T,
        inbox: &Receiver<T>,
        awaited: impl Fn(&T) -> bool,
    ) -> Vec<T> {
        let mut group = vec![first];
        take_what_came(inbox, &mut group);
        let somebody_waits = group.iter().any(&awaited) || wait_for(awaited, inbox, &mut group);
        match &mut self.patience {
            _ if !somebody_waits => {}
            Some(patience) if patience.waits_long() => patience.wait(inbox, &mut group),
            _ if self.without_waiting > 0 => {
                self.without_waiting = if group.len() < WORTH_WAITING { self.without_waiting - 1 } else { 0 };
            }
            _ => self.wait_briefly(inbox, &mut group),
        }
        // However it was gathered: it is the pace of all records that is compared.
        if let Some(patience) = &mut self.patience {
            patience.count(group.len());
        }
        group
    }

    fn wait_briefly<T>(&mut self, inbox: &Receiver<T>, group: &mut Vec<T>) {
        let at_first = group.len();
        if self.steady {
            self.steady = half_and_half(inbox, group, self.longest());
        } else {
            self.look(inbox, group);
        }
        let worth_it = self.steady || group.len() - at_first >= COMPANY;
        self.in_vain = if worth_it { 0 } else { self.in_vain + 1 };
        if self.in_vain >= LOOKS_IN_VAIN {
            // One more look in vain is enough for the next time.
            (self.in_vain, self.without_waiting) = (LOOKS_IN_VAIN - 1, WITHOUT_WAITING);
        }
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

/// Waits for one of those records, but not for long. Did one come?
fn wait_for<T>(awaited: impl Fn(&T) -> bool, inbox: &Receiver<T>, group: &mut Vec<T>) -> bool {
    let until = Instant::now() + UNAWAITED;
    while group.len() < LARGEST_GROUP {
        let Ok(next) = inbox.recv_timeout(until.saturating_duration_since(Instant::now())) else {
            return false;
        };
        let found = awaited(&next);
        group.push(next);
        if found {
            return true;
        }
    }
    false
}

pub(super) fn wait<T>(inbox: &Receiver<T>, group: &mut Vec<T>, pause: Duration) {
    std::thread::sleep(pause);
    take_what_came(inbox, group);
}

fn take_what_came<T>(inbox: &Receiver<T>, group: &mut Vec<T>) {
    group.extend(inbox.try_iter().take(LARGEST_GROUP - group.len()));
}

#[cfg(test)]
mod tests {
    use super::super::patience::{SETTLING, TRIAL};
    use super::*;

    const WAIT: Duration = Duration::from_millis(50);

    #[test]
    fn long_waits_are_tried_also_where_short_ones_bring_nothing() {
        let (sender, inbox) = std::sync::mpsc::channel();
        let (mut company, begun) = (Company::new(4 * WAIT, true), Instant::now());
        // Two milliseconds apart: nobody comes in the first of them.
        let records = std::thread::spawn(move || {
            while sender.send(()).is_ok() {
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        while !company.patience.as_ref().unwrap().waits_long() {
            inbox.recv().unwrap();
            company.gather((), &inbox, |()| true);
            assert!(begun.elapsed() < Duration::from_mins(1), "long waits were never tried");
        }
        drop(inbox);
        records.join().unwrap();
    }

    #[test]
    fn one_record_after_the_other_waits_long_no_more_than_once() {
        let (_sender, inbox) = std::sync::mpsc::channel();
        let (mut company, begun) = (Company::new(WAIT, true), Instant::now());
        let mut long = 0;
        while begun.elapsed() < 2 * (SETTLING + TRIAL) {
            long += u32::from(company.patience.as_ref().unwrap().waits_long());
            assert_eq!(company.gather((), &inbox, |()| true).len(), 1);
        }
        assert!(long <= 1, "{long}");
    }

    #[test]
    fn a_group_takes_what_has_come_and_no_more_than_a_commit_holds() {
        let (sender, inbox) = std::sync::mpsc::channel();
        (1..=LARGEST_GROUP + 5).for_each(|n| sender.send(n).unwrap());
        let mut company = Company::new(Duration::from_millis(25), true);
        assert_eq!(company.gather(0, &inbox, |_| true).len(), LARGEST_GROUP);
        assert_eq!(company.gather(0, &inbox, |_| true).len(), 7);
    }

    #[test]
    fn what_nobody_waits_for_is_committed_with_what_somebody_does() {
        let (sender, inbox) = std::sync::mpsc::channel();
        let mut company = Company::new(Duration::ZERO, false);
        // Each is followed by the next once it was looked at: until somebody waits for one.
        let awaited = |n: &usize| {
            sender.send(n + 1).unwrap();
            *n == 2
        };
        assert_eq!(company.gather(0, &inbox, awaited), [0, 1, 2]);
        assert_eq!(inbox.recv(), Ok(3));
        // One that nobody waits for, and no other comes: it goes alone.
        assert_eq!(company.gather(0, &inbox, |_| false), [0]);
        // Nothing that was sent is left behind.
        (0..LARGEST_GROUP + 3).for_each(|_| sender.send(0).unwrap());
        assert_eq!(company.gather(0, &inbox, |_| false).len(), LARGEST_GROUP);
        assert_eq!(company.gather(0, &inbox, |_| false).len(), 5);
    }

    #[test]
    fn nobody_waits_where_no_wait_is_allowed() {
        let (_sender, inbox) = std::sync::mpsc::channel();
        let mut company = Company::new(Duration::ZERO, true);
        assert_eq!(company.gather(0, &inbox, |_| true).len(), 1);
    }
}
