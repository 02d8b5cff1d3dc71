//! A leader and its helpers go through stages of work together.
//!
//! A network is a chain of short stages (a layer takes a tenth of a millisecond upwards), too short to put threads to sleep
//! between them. So the helpers are called once for the whole chain and wait actively from stage to stage. The leader never needs
//! them: whatever a late or absent helper does not take, the leader does, and it waits only for items that somebody has
//! taken.

use std::{
    hint, iter,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

/// How often to look again before offering the processor to other threads.
const SPINS: u32 = 2_000;
const END: usize = usize::MAX;

/// One stage: its items may be done in any order and at the same time.
#[repr(align(128))]
#[derive(Default)]
pub(super) struct Stage {
    items: usize,
    next: AtomicUsize,
    done: AtomicUsize,
}

/// The stages of a chain; kept between calls so that a call allocates nothing.
#[derive(Default)]
pub(super) struct Stages(Vec<Stage>);

impl Stages {
    /// Sets the number of items of each stage.
    pub(super) fn reset(&mut self, items: impl Iterator<Item = usize>) {
        let mut count = 0;
        for items in items {
            if self.0.len() == count {
                self.0.push(Stage::default());
            }
            self.0[count] = Stage { items, ..Stage::default() };
            count += 1;
        }
        self.0.truncate(count);
    }
}

/// Calls `work(stage, item, participant)` once for every item of every stage, with at most `participants` threads of the
/// current rayon pool, the participants numbered from 0. A stage begins when the one before is complete, and sees
/// everything that was written in it.
///
/// # Panics
/// If `work` does, after everyone has stopped.
pub(super) fn run(participants: usize, stages: &Stages, work: impl Fn(usize, usize, usize) + Sync) {
    let team = Team { stages: &stages.0, current: AtomicUsize::new(0), failed: AtomicBool::new(false), work };
    team.call(participants.max(1) - 1);
}

struct Team<'a, F> {
    stages: &'a [Stage],
    current: AtomicUsize,
    failed: AtomicBool,
    work: F,
}

impl<F: Fn(usize, usize, usize) + Sync> Team<'_, F> {
    /// Offers `helpers` jobs to the pool and leads meanwhile. Those that nobody has stolen by then come back to this thread
    /// and find nothing to do.
    fn call(&self, helpers: usize) {
        if helpers == 0 {
            self.lead();
        } else {
            rayon::join(|| self.call(helpers - 1), || self.help(helpers));
        }
    }

    fn lead(&self) {
        // Helpers must be sent home whatever happens, or the join would wait for ever.
        let _home = OnDrop(|| self.current.store(END, Ordering::Release));
        for (s, stage) in self.stages.iter().enumerate() {
            self.current.store(s, Ordering::Release);
            self.take(s, 0);
            // Acquire: what the helpers wrote in this stage is visible in the next one.
            wait_until(|| {
                stage.done.load(Ordering::Acquire) == stage.items || self.failed.load(Ordering::Acquire)
            });
            if self.failed.load(Ordering::Acquire) {
                return;
            }
        }
    }

    fn help(&self, participant: usize) {
        loop {
            let s = self.current.load(Ordering::Acquire);
            if s == END {
                return;
            }
            self.take(s, participant);
            wait_until(|| self.current.load(Ordering::Acquire) != s);
        }
    }

    /// Does items of a stage until none is left.
    fn take(&self, s: usize, participant: usize) {
        let stage = &self.stages[s];
        let items = iter::repeat_with(|| stage.next.fetch_add(1, Ordering::Relaxed));
        for item in items.take_while(|item| *item < stage.items) {
            let failure = OnDrop(|| self.failed.store(true, Ordering::Release));
            (self.work)(s, item, participant);
            std::mem::forget(failure);
            stage.done.fetch_add(1, Ordering::Release);
        }
    }
}

fn wait_until(ready: impl Fn() -> bool) {
    let mut spins = 0;
    while !ready() {
        spins += 1;
        if spins < SPINS {
            hint::spin_loop();
        } else {
            thread::yield_now();
        }
    }
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }

    #[test]
    fn every_item_is_done_once_and_in_its_stage() {
        let mut stages = Stages::default();
        for (threads, participants) in [(1, 1), (1, 4), (2, 2), (4, 3)] {
            let counts = [7, 0, 1, 100];
            stages.reset(counts.into_iter());
            let done: Vec<Vec<AtomicUsize>> =
                counts.iter().map(|n| iter::repeat_with(AtomicUsize::default).take(*n).collect()).collect();
            pool(threads).install(|| {
                run(participants, &stages, |stage, item, participant| {
                    assert!(participant < participants);
                    assert!(done[..stage].iter().flatten().all(|d| d.load(Ordering::Relaxed) == 1));
                    done[stage][item].fetch_add(1, Ordering::Relaxed);
                });
            });
            assert!(done.iter().flatten().all(|d| d.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn a_panic_in_any_thread_ends_the_call() {
        let mut stages = Stages::default();
        for bad in [0, 31] {
            stages.reset([32, 32].into_iter());
            let call = || run(3, &stages, |stage, item, _| assert!((stage, item) != (1, bad)));
            let result = catch_unwind(AssertUnwindSafe(|| pool(3).install(call)));
            assert!(result.is_err());
        }
    }
}
