//! A certificate as it is gathered from a real API: 32 calls in flight, answers that take longer when they dissent, calls
//! that fail and are retried, a process that is killed and goes on. Time is simulated, event by event.
//!
//! What it must not do is what the soundness contract forbids, so it can be told to break one of its lines: then the
//! share of false certificates must be seen to rise.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::simulation::{Law, is_false};
use crate::stats::*;

/// Calls in flight.
const WINDOW: usize = 32;

/// Attempts for one draw before it counts as failed.
const ATTEMPTS: i32 = 3;

/// Mean seconds until an answer for class 0, and until any other: answers that dissent come late.
const LATENCY: [f64; 2] = [0.3, 0.9];

/// Mean seconds between two kills of the process, and how many there are at most. 100 votes take about two seconds.
const KILL_EVERY: f64 = 1.5;
const KILLS: u32 = 3;

/// A line of the soundness contract that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breach {
    /// None is.
    None,
    /// Line 3: a draw that failed is skipped, as if it had never been asked for.
    SkipsFailures,
    /// Line 4: votes are counted in the order in which they arrive.
    CountsArrivals,
}

/// A call under way.
#[derive(Debug, Clone, Copy)]
struct Call {
    ends: f64,
    draw: usize,
    attempt: i32,
}

/// Gathers the votes of one run until the test decides.
pub(super) fn gather(
    test: &Test,
    label: Option<usize>,
    law: &Law,
    run: (u64, u64),
    breach: Breach,
) -> Decision {
    let (seed, number) = run;
    let mut rng = ChaCha8Rng::seed_from_u64(!seed);
    rng.set_stream(number);
    let exponential = |rng: &mut ChaCha8Rng, mean: f64| -mean * (1.0 - rng.random::<f64>()).ln();
    let attempt_lost = law.lost.powf(1.0 / f64::from(ATTEMPTS));
    // What the base classifier says about draw i: the same however often one asks.
    let mut truth = law.votes(seed, number);
    let mut said: Vec<Vote> = Vec::new();
    // What is on disk: the end of each draw, and the draws in the order in which they ended.
    let mut settled: Vec<Option<Vote>> = Vec::new();
    let mut arrived: Vec<Vote> = Vec::new();

    let mut state = test.start(label).unwrap();
    let mut flying: Vec<Call> = Vec::with_capacity(WINDOW);
    let (mut counted, mut dispatched, mut kills) = (0, 0, 0);
    let mut kill_at = exponential(&mut rng, KILL_EVERY);
    let mut now = 0.0;
    loop {
        loop {
            let next = match breach {
                Breach::CountsArrivals => arrived.get(counted).copied(),
                Breach::None | Breach::SkipsFailures => settled.get(counted).copied().flatten(),
            };
            let Some(vote) = next else { break };
            counted += 1;
            let skipped = breach == Breach::SkipsFailures && vote == Vote::Failed;
            if !skipped && state.push(vote).is_final() {
                return state.decision();
            }
        }
        while flying.len() < WINDOW && dispatched < counted + WINDOW {
            if settled.len() <= dispatched {
                settled.push(None);
                said.extend(truth.next());
            }
            if settled[dispatched].is_none() {
                let mean = LATENCY[usize::from(said[dispatched] != Vote::For(0))];
                flying.push(Call { ends: now + exponential(&mut rng, mean), draw: dispatched, attempt: 1 });
            }
            dispatched += 1;
        }
        let first = (0..flying.len()).min_by(|&a, &b| flying[a].ends.total_cmp(&flying[b].ends)).unwrap();
        if kills < KILLS && kill_at < flying[first].ends {
            // What was in flight is gone; what was settled is read back and counted again from the start.
            kills += 1;
            now = kill_at;
            kill_at += exponential(&mut rng, KILL_EVERY);
            flying.clear();
            (counted, dispatched) = (0, 0);
            state = test.start(label).unwrap();
            continue;
        }
        let call = flying.swap_remove(first);
        now = call.ends;
        let vote = said[call.draw];
        let lost = vote != Vote::For(0) && law.lost > 0.0 && rng.random::<f64>() < attempt_lost;
        if lost && call.attempt < ATTEMPTS {
            let ends = now + exponential(&mut rng, LATENCY[1]);
            flying.push(Call { ends, attempt: call.attempt + 1, ..call });
        } else {
            let end = if lost { Vote::Failed } else { vote };
            settled[call.draw] = Some(end);
            arrived.push(end);
        }
    }
}

/// The share of `runs` runs of a test on a law that end in a false certificate.
pub(super) fn false_share(test: &Test, label: Option<usize>, law: &Law, runs: u64, breach: Breach) -> f64 {
    let wrong = |&run: &u64| {
        let decision = gather(test, label, law, (1, run), breach);
        decision.certified().is_some_and(|certified| is_false(test, certified, law))
    };
    (0..runs).into_par_iter().filter(wrong).count() as f64 / runs as f64
}
