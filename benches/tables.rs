//! What tables cost: building one, checking it, and reading it back from the cache, each in one run.
//! `cargo bench --bench tables`; medians of as many rounds as the argument says (default 3).
//!
//! The peer of the cache is building anew: reading includes the check, so what is saved is all but the check.
#![expect(clippy::print_stdout, reason = "a benchmark's output is its purpose")]
#![expect(clippy::unwrap_used, reason = "a benchmark may stop at the first error")]

use std::time::{Duration, Instant};

use smoothgate::stats::{LabelRule, Ladder, Method, Plan, Test};
use smoothgate::tables::TableCache;

fn main() {
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(3);
    println!("| test | n_max | build and check, s | from the cache, s | of that |\n|---|---|---|---|---|");
    for (name, method) in [
        ("two classes, r = σ", Method::Table(Ladder::new(vec![0.25], 120))),
        ("two classes, r = σ", Method::Table(Ladder::new(vec![0.25], 400))),
        ("two classes, r = σ", Method::Table(Ladder::new(vec![0.25], 1000))),
        ("two classes, r = σ", Method::Table(Ladder::new(vec![0.25], 2000))),
        ("two classes, r = σ", Method::Table(Ladder::new(vec![0.25], 4000))),
        ("two classes, r = 1.5 σ", Method::Table(Ladder::new(vec![0.375], 4000))),
        ("two classes, r = σ", Method::Table(Ladder::new(vec![0.25], 10_000))),
        ("two classes, r = 0.4 σ and σ", Method::Table(Ladder::new(vec![0.1, 0.25], 1000))),
        ("one bound, r = σ", Method::Table1(Ladder::new(vec![0.25], 1000))),
        ("one bound, r = σ", Method::Table1(Ladder::new(vec![0.25], 100_000))),
    ] {
        let plan = Plan { sigma: 0.25, alpha: 0.001, label: LabelRule::Leader, method };
        let folder = tempfile::tempdir().unwrap();
        let cache = TableCache::in_folder(folder.path());
        let most = cache.test(plan.clone()).unwrap().max_votes();
        let (mut built, mut cached) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            built.push(time(|| Test::new(plan.clone()).unwrap()));
            cached.push(time(|| cache.test(plan.clone()).unwrap()));
        }
        let (built, cached) = (median(built), median(cached));
        println!("| {name} | {most} | {built:.3} | {cached:.3} | {:.2} |", cached / built);
    }
}

fn time<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    let result = work();
    let taken = start.elapsed();
    drop(result);
    taken
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
}
