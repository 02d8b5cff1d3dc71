//! What the ledger costs beside `--no-ledger`, in one run.
//!
//! `cargo bench --bench ledger`, with a folder on the disk to measure as its argument (default: the target folder).
//!
//! Two questions. How many answers a second can be recorded at most, with calls that take no time? And at 3000 answers
//! a second, with calls of 200 ms (a cloud API) and of 20 ms (a server nearby): how much longer does the run take than
//! without a ledger, and how much more of one core does the whole process use? The peer is the memory that
//! `--no-ledger` uses. Rounds alternate between the two, since other work on the machine slows both, and each round is
//! compared with the one beside it: medians, and the range that holds the middle half of the rounds.
#![expect(clippy::print_stdout, reason = "a benchmark's output is its purpose")]
#![expect(clippy::unwrap_used, reason = "a benchmark may stop at the first error")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use smoothgate::engine::{Forgetful, Memory, Settled};
use smoothgate::ledger::{Begin, Budgets, Ledger, Options, PictureSpec, RunSpec, Spec};
use smoothgate_providers::{Answer, Attempt, AttemptEnd, Billed, Money, Outcome, Price};
use tokio::time::MissedTickBehavior;

/// The program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One round: so many answers, so many in flight, each call of this duration, at most so many a second.
#[derive(Clone, Copy)]
struct Load {
    answers: u64,
    in_flight: u64,
    call: Duration,
    rate: Option<f64>,
}

/// What a round took.
#[derive(Clone, Copy)]
struct Took {
    wall: Duration,
    /// Processor time of the ledger's thread, and of the whole process.
    ledger: Duration,
    process: Duration,
}

/// Records what the engine and the transport record of so many draws: intent, end, and the outcome that counts.
async fn round(memory: Arc<dyn Memory>, load: Load) -> Took {
    let names =
        ["Bird", "Bird of prey", "Eagle", "Turkey Vulture", "Accipitriformes", "Accipitridae", "Beak"];
    let answer = Answer::of(names.iter().zip(0..).map(|(name, i)| (*name, 0.9883 - 0.0121 * f64::from(i))));
    let outcome = Arc::new(Outcome::Answered(answer));
    let next = Arc::new(AtomicU64::new(0));
    let (before, process) = (thread_time("ledger"), thread_time(""));
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..load.in_flight {
        let (memory, outcome, next) = (Arc::clone(&memory), Arc::clone(&outcome), Arc::clone(&next));
        tasks.spawn(async move {
            // Each worker its share of the rate, the workers spread over the interval.
            let period = load.rate.map(|r| Duration::from_secs_f64(load.in_flight as f64 / r));
            let mut pace = period.map(|p| {
                let offset = p.mul_f64(worker as f64 / load.in_flight as f64);
                let mut pace = tokio::time::interval_at((start + offset).into(), p);
                pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
                pace
            });
            loop {
                let draw = next.fetch_add(1, Ordering::Relaxed);
                if draw >= load.answers {
                    return;
                }
                if let Some(pace) = &mut pace {
                    pace.tick().await;
                }
                let picture = *blake3::hash(&draw.to_le_bytes()).as_bytes();
                let price = Price::PerPicture(Money::new(15, 4));
                let attempt = Attempt { draw: Some(draw), number: 1, price, picture };
                let id = memory.open(&attempt).await.unwrap();
                if !load.call.is_zero() {
                    tokio::time::sleep(load.call).await;
                }
                let (status, billed) = (Some(200), Billed::Yes);
                let end = AttemptEnd { outcome: &outcome, status, latency: load.call, billed };
                memory.close(id, end).await.unwrap();
                let settled = Settled { outcome: Outcome::clone(&outcome), copy: picture };
                memory.settle(Some(draw), &settled).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    Took {
        wall: start.elapsed(),
        ledger: thread_time("ledger").saturating_sub(before),
        process: thread_time("").saturating_sub(process),
    }
}

/// Processor time of this process's threads of that name, or of all. Linux only; zero elsewhere.
fn thread_time(name: &str) -> Duration {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return Duration::ZERO };
    let time = |task: PathBuf| -> Option<u64> {
        let comm = std::fs::read_to_string(task.join("comm")).ok()?;
        let on_cpu = std::fs::read_to_string(task.join("schedstat")).ok()?;
        (name.is_empty() || comm.trim() == name).then(|| on_cpu.split(' ').next()?.parse().ok())?
    };
    Duration::from_nanos(tasks.flatten().filter_map(|t| time(t.path())).sum())
}

async fn with_ledger(folder: &Path, sync_within: Duration, load: Load) -> Took {
    let folder = tempfile::tempdir_in(folder).unwrap();
    let options = Options { sync_within, ..Options::default() };
    let ledger = Ledger::open(folder.path().join("ledger.db"), &options).unwrap();
    let spec = RunSpec {
        parameters: Spec::new(&serde_json::json!({ "bench": true })).unwrap(),
        arguments: serde_json::Value::Null,
        instance: "google".to_owned(),
        price: Price::PerPicture(Money::new(15, 4)),
        budgets: Budgets::default(),
        pictures: None,
    };
    let run = ledger.begin_run(spec, Begin::New).await.unwrap();
    let parameters = Spec::new(&serde_json::json!({})).unwrap();
    let picture = PictureSpec { name: "a.png".to_owned(), parameters, seed: [0; 32] };
    round(Arc::new(run.picture(picture).await.unwrap()), load).await
}

/// The values' quartiles: a quarter of them is below the first, half below the second.
fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|q| values.get((values.len() - 1) * q / 4).copied().unwrap_or(f64::NAN))
}

/// `median (first quartile to third)`.
fn spread(values: Vec<f64>, decimals: usize) -> String {
    let [low, median, high] = quartiles(values);
    format!("{median:.decimals$} ({low:.decimals$} to {high:.decimals$})")
}

async fn compare(folder: &Path, title: &str, load: Load, rounds: usize) {
    println!("{title}; {rounds} rounds");
    let kinds = [
        ("no ledger", None),
        ("ledger, synced within 100 ms", Some(Duration::from_millis(100))),
        ("ledger, every group synced", Some(Duration::ZERO)),
    ];
    let mut took = vec![Vec::new(); kinds.len()];
    for _ in 0..rounds {
        for ((_, sync), took) in kinds.iter().zip(&mut took) {
            took.push(match sync {
                None => round(Arc::new(Forgetful), load).await,
                Some(sync) => with_ledger(folder, *sync, load).await,
            });
        }
    }
    let percent = |time: Duration, took: &Took| 100.0 * time.as_secs_f64() / took.wall.as_secs_f64();
    for ((name, sync), rounds) in kinds.iter().zip(&took) {
        let rates = rounds.iter().map(|t| load.answers as f64 / t.wall.as_secs_f64());
        let process = rounds.iter().map(|t| percent(t.process, t));
        println!("  {name}");
        println!("    answers a second               {}", spread(rates.collect(), 0));
        println!("    process, % of a core           {}", spread(process.collect(), 1));
        if sync.is_none() {
            continue;
        }
        let pairs = || rounds.iter().zip(&took[0]);
        let longer = pairs().map(|(with, without)| with.wall.as_secs_f64() / without.wall.as_secs_f64());
        let more =
            pairs().map(|(with, without)| percent(with.process, with) - percent(without.process, without));
        println!("    more than without a ledger     {}", spread(more.collect(), 1));
        println!(
            "    of that, the ledger's thread   {}",
            spread(rounds.iter().map(|t| percent(t.ledger, t)).collect(), 1)
        );
        println!("    wall time, without a ledger 1  {}", spread(longer.collect(), 4));
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    // Cargo passes `--bench`.
    let folder = std::env::args().skip(1).find(|a| !a.starts_with('-')).map_or_else(
        || PathBuf::from(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into())),
        PathBuf::from,
    );
    std::fs::create_dir_all(&folder).unwrap();
    for (call, in_flight) in [(200, 1024), (20, 256)] {
        let paced = Load { answers: 9_000, in_flight, call: Duration::from_millis(call), rate: Some(3000.0) };
        compare(&folder, &format!("3000 answers a second, calls of {call} ms"), paced, 9).await;
    }
    let free = Load { answers: 20_000, in_flight: 64, call: Duration::ZERO, rate: None };
    compare(&folder, "calls that take no time, 64 in flight", free, 3).await;
}
