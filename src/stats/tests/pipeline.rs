//! A certificate as it is gathered from a real API: 32 calls in flight, answers that take longer when they dissent, calls
//! that fail and are retried, a process that is killed and goes on. Time is simulated, event by event; which draws are
//! sent and in which order their votes count is the engine's own rule, and the votes go into the test as it is.
//!
//! What it must not do is what the soundness contract forbids, so it can be told to break one of its lines: then the
//! share of false certificates must be seen to rise.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::simulation::Law;
use crate::engine::Order;
use crate::stats::*;

/// Calls in flight, and as many allowed ahead of what the test needs: the engine's `concurrency` and `ahead`.
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

/// What came of a run.
#[derive(Debug, Clone)]
pub(super) struct Gathered {
    /// The decision.
    pub(super) decision: Decision,
    /// What the base classifier said about each draw that was counted, before anything was lost.
    pub(super) said: Vec<Vote>,
}

/// Gathers the votes of one run until the test decides. What the base classifier says is drawn from `law`; each run has
/// its own seed.
pub(super) fn gather(
    test: &Test,
    label: Option<usize>,
    law: &Law,
    (seed, run): (u64, u64),
    breach: Breach,
) -> Gathered {
    let mut rng = ChaCha8Rng::seed_from_u64(!seed);
    rng.set_stream(run);
    let exponential = |rng: &mut ChaCha8Rng, mean: f64| -mean * (1.0 - rng.random::<f64>()).ln();
    let attempt_lost = law.lost.powf(1.0 / f64::from(ATTEMPTS));
    // What the base classifier says about draw i: the same however often one asks.
    let mut truth = law.votes(seed, run);
    let mut said: Vec<Vote> = Vec::new();
    // What is on disk: the end of each draw, and the ends in the order in which they came.
    let mut settled: Vec<Option<Vote>> = Vec::new();
    let mut arrived: Vec<Vote> = Vec::new();

    let mut state = test.start(label).unwrap();
    let mut order: Order<Vote> = Order::default();
    let mut flying: Vec<Call> = Vec::with_capacity(WINDOW);
    let mut kills = 0;
    let mut kill_at = exponential(&mut rng, KILL_EVERY);
    let mut now = 0.0;
    // Whether nothing can be sent until a vote is counted.
    let mut full = false;
    loop {
        while let Some((_, vote)) = order.next_in_turn() {
            full = false;
            let skipped = breach == Breach::SkipsFailures && vote == Vote::Failed;
            if !skipped && state.push(vote).is_final() {
                said.truncate(order.counted() as usize);
                return Gathered { decision: state.decision(), said };
            }
        }
        let free = WINDOW - flying.len();
        let send = if breach == Breach::CountsArrivals {
            // Like the rule itself a client that breaks it knows no bounds: as many as may be out are out.
            let unsettled = (0..).filter(|&draw| settled.get(draw as usize).copied().flatten().is_none());
            let out = |draw: &u64| flying.iter().any(|call| call.draw as u64 == *draw);
            unsettled.filter(|draw| !out(draw)).take(free).collect()
        } else if full || free == 0 {
            Vec::new()
        } else {
            let known = |draw: u64| settled.get(draw as usize).copied().flatten();
            order.dispatch(state.ahead(WINDOW), free, known)
        };
        full = send.len() < free;
        for draw in send {
            let draw = draw as usize;
            if settled.len() <= draw {
                settled.resize(draw + 1, None);
                said.extend(truth.by_ref().take(draw + 1 - said.len()));
            }
            let mean = LATENCY[usize::from(said[draw] != Vote::For(0))];
            flying.push(Call { ends: now + exponential(&mut rng, mean), draw, attempt: 1 });
        }
        if order.is_next_there() {
            continue;
        }
        let first = (0..flying.len()).min_by(|&a, &b| flying[a].ends.total_cmp(&flying[b].ends)).unwrap();
        if kills < KILLS && kill_at < flying[first].ends {
            // What was in flight is gone; what was settled is read back and counted again from the start.
            kills += 1;
            now = kill_at;
            kill_at += exponential(&mut rng, KILL_EVERY);
            flying.clear();
            full = false;
            state = test.start(label).unwrap();
            order = Order::default();
            if breach == Breach::CountsArrivals {
                (0..).zip(&arrived).for_each(|(turn, &vote)| order.end(turn, vote));
            }
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
            let turn = if breach == Breach::CountsArrivals { arrived.len() } else { call.draw };
            order.end(turn as u64, end);
            arrived.push(end);
        }
    }
}
