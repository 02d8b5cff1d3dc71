//! Processes that are killed at random instants.
//!
//! A child process asks for draws and says on its standard output what it is doing: `sent D` when a call would leave,
//! `answered D` when the answer's record was acknowledged. The parent kills it, reads what it had said, starts the next,
//! and compares all that was said with what the ledger holds in the end.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use smoothgate_providers::{Billed, Journal as _};

use super::super::Reader;
use super::*;

const IN_FLIGHT: u64 = 64;

/// The label that the simulated API answers for a draw: so that answers can be told apart.
fn label(draw: u64) -> String {
    format!("label {draw}")
}

/// The child's work; does nothing unless it is started as a child.
#[test]
fn child() {
    let Some(path) = std::env::var_os("SMOOTHGATE_TEST_LEDGER") else { return };
    let number = |name: &str| std::env::var(name).ok().map(|v| v.parse::<u64>().unwrap());
    let budgets = Budgets {
        run: Cap { calls: number("SMOOTHGATE_TEST_RUN_CALLS"), cost: None },
        day: Cap {
            calls: None,
            cost: number("SMOOTHGATE_TEST_DAY_CALLS").and_then(|n| Money::new(1, 3).times(n)),
        },
        month: Cap::default(),
    };
    let sigma = number("SMOOTHGATE_TEST_RUN").unwrap() as f64;
    // One clock for all children, lest a test at midnight spans two days.
    let clock = super::super::Clock::of(|| std::time::UNIX_EPOCH + Duration::from_hours(491_628));
    let options = Options { clock, reserve: 0, ..Options::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let ledger = Ledger::open(path, &options).unwrap();
        let run = begin(&ledger, RunSpec { budgets, ..run_spec(sigma) }).await;
        let picture = Arc::new(run.picture(picture_spec("a.png")).await.unwrap());
        let todo: Vec<u64> = (0..number("SMOOTHGATE_TEST_DRAWS").unwrap())
            .filter(|d| !picture.stored().draws.contains_key(d))
            .collect();
        let (todo, next) = (Arc::new(todo), Arc::new(AtomicUsize::new(0)));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..IN_FLIGHT {
            let (picture, todo, next) = (Arc::clone(&picture), Arc::clone(&todo), Arc::clone(&next));
            tasks.spawn(async move {
                while let Some(draw) = todo.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !ask(&picture, *draw).await {
                        return;
                    }
                }
            });
        }
        tasks.join_all().await;
        run.finish(true).await.unwrap();
        println!("\nfinished");
    });
}

/// Asks for one draw until it is answered, with a failure before every fifth answer. Says `false` at the budget's end.
async fn ask(picture: &Picture, draw: u64) -> bool {
    for number in 1.. {
        let wanted = Attempt { number, ..attempt(draw) };
        let id = match picture.open(&wanted).await {
            Ok(id) => id,
            Err(JournalError::Budget(_)) => return false,
            Err(error) => panic!("{error}"),
        };
        println!("\nsent {draw}");
        tokio::time::sleep(Duration::from_micros(draw * 7919 % 3000)).await;
        if draw.is_multiple_of(5) && number == 1 {
            let billed = if draw.is_multiple_of(2) { Billed::No } else { Billed::Unknown };
            close(picture, id, &transient(), Some(503), billed).await.unwrap();
            continue;
        }
        close(picture, id, &answered(&label(draw)), Some(200), Billed::Yes).await.unwrap();
        // Every other one is left to whatever is recorded next: no more of them are lost with the process than were out.
        if draw.is_multiple_of(2) {
            picture.recorded().await.unwrap();
            println!("\nanswered {draw}");
        }
        break;
    }
    true
}

/// What children said.
#[derive(Default)]
struct Said {
    sent: u64,
    answered: BTreeSet<u64>,
    finished: bool,
}

impl Said {
    fn line(&mut self, line: &str) {
        let number = |text: &str| text.parse::<u64>().ok();
        if let Some(draw) = line.strip_prefix("sent ").and_then(number) {
            self.sent += 1;
            assert!(!self.answered.contains(&draw), "draw {draw} was answered on record and was asked again");
        } else if let Some(draw) = line.strip_prefix("answered ").and_then(number) {
            self.answered.insert(draw);
        } else if line == "finished" {
            self.finished = true;
        }
    }

    /// Listens to a child, kills it after so many lines if asked to, and reads what it still had to say.
    fn listen(&mut self, child: &mut Child, kill_after: Option<u64>) {
        let pipe = BufReader::new(child.stdout.take().unwrap());
        let mut lines = 0;
        for line in pipe.lines().map_while(Result::ok).filter(|line| !line.is_empty()) {
            self.line(&line);
            lines += 1;
            if kill_after == Some(lines) {
                child.kill().unwrap();
            }
        }
        let ended = child.wait().unwrap();
        // Killed (no code) or done: a child that failed by itself said why on the standard error stream.
        assert!(ended.success() || (ended.code().is_none() && kill_after.is_some()), "{ended}");
    }
}

fn start(ledger: &Path, run: u64, budgets: &[(&str, u64)]) -> Child {
    let name = format!("{}::child", module_path!().split_once("::").unwrap().1);
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture"])
        .env("SMOOTHGATE_TEST_LEDGER", ledger)
        .env("SMOOTHGATE_TEST_RUN", run.to_string())
        .envs(budgets.iter().map(|(name, n)| (*name, n.to_string())))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// How often to kill: a short run by default, as many as wanted by `SMOOTHGATE_TEST_KILLS`.
fn kills() -> u64 {
    std::env::var("SMOOTHGATE_TEST_KILLS").ok().map_or(20, |n| n.parse().unwrap())
}

/// Everything that was acknowledged is there, with the right label.
fn check(reader: &Reader, run: super::super::RunId, said: &Said) {
    reader
        .stored(run, |_, _, _, stored| {
            for draw in &said.answered {
                assert_eq!(
                    stored.draws.get(draw).map(|s| &s.outcome),
                    Some(&answered(&label(*draw))),
                    "draw {draw} is lost"
                );
            }
        })
        .unwrap();
}

/// Kills after a random number of lines, so that each falls into the midst of 64 calls.
fn after(rng: &mut ChaCha8Rng) -> u64 {
    rng.random_range(1..300)
}

#[test]
fn nothing_acknowledged_is_lost_or_asked_again() {
    let draws = 100 * kills();
    let settings = [("SMOOTHGATE_TEST_DRAWS", draws)];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let mut said = Said::default();
    let mut killed = 0;
    while !said.finished {
        let kill_after = Some(after(&mut rng)).filter(|_| killed < kills());
        said.listen(&mut start(&path, 1, &settings), kill_after);
        killed += u64::from(kill_after.is_some());
        if killed % 10 == 1 {
            let reader = Reader::open(&path).unwrap();
            check(&reader, reader.runs().unwrap()[0].id, &said);
        }
    }
    let reader = Reader::open(&path).unwrap();
    let [run] = &reader.runs().unwrap()[..] else { panic!("one run was begun") };
    check(&reader, run.id, &said);
    assert!(run.finished.is_some() && !run.active);
    // Every call that left is on record; besides those, only intents whose process was killed before the call.
    assert!(run.spend.calls >= said.sent, "{} on record, {} sent", run.spend.calls, said.sent);
    assert!(run.spend.calls <= said.sent + killed * IN_FLIGHT);
    let report = reader.run(run.id).unwrap();
    assert_eq!(report.pictures[0].settled, draws);
    // Something was in flight at the kills, and no more than can be.
    assert!(
        (killed..=killed * IN_FLIGHT).contains(&report.unknown),
        "{} unknown, {killed} kills",
        report.unknown
    );
}

#[test]
fn a_budget_of_calls_holds_over_all_kills() {
    let draws = 100 * kills();
    let calls = draws / 2;
    let settings = [("SMOOTHGATE_TEST_RUN_CALLS", calls), ("SMOOTHGATE_TEST_DRAWS", draws)];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut said = Said::default();
    for _ in 0..kills() / 2 {
        said.listen(&mut start(&path, 1, &settings), Some(after(&mut rng)));
    }
    said.listen(&mut start(&path, 1, &settings), None);
    assert!(said.finished);
    assert!(said.sent <= calls, "{} sent of {calls}", said.sent);
    assert_eq!(Reader::open(&path).unwrap().runs().unwrap()[0].spend.calls, calls);
}

#[test]
fn a_day_budget_holds_over_two_processes_and_their_kills() {
    let draws = 50 * kills();
    let calls = draws;
    let settings = [("SMOOTHGATE_TEST_DAY_CALLS", calls), ("SMOOTHGATE_TEST_DRAWS", draws)];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let mut said = [Said::default(), Said::default()];
    for round in 0..=kills() / 4 {
        let mut children = [1, 2].map(|run| start(&path, run, &settings));
        let kill_after = [0; 2].map(|_| Some(after(&mut rng)).filter(|_| round < kills() / 4));
        // Both are listened to at once: a child waits when its pipe is full.
        std::thread::scope(|scope| {
            for ((said, child), kill_after) in said.iter_mut().zip(&mut children).zip(kill_after) {
                scope.spawn(move || said.listen(child, kill_after));
            }
        });
    }
    assert!(said.iter().all(|s| s.finished));
    // The budget is of money, and a refused call costs none: what both may have paid is the cap, to the last call.
    let reader = Reader::open(&path).unwrap();
    let spends: Vec<_> = reader.runs().unwrap().iter().map(|run| run.spend.at_most().unwrap()).collect();
    let total = spends.iter().try_fold(Money::ZERO, |sum, spend| sum.checked_add(*spend)).unwrap();
    assert_eq!(Some(total), Money::new(1, 3).times(calls));
    for run in reader.runs().unwrap() {
        // Either child may have begun its run first.
        let second = reader.parameters(run.id).unwrap().value()["sigma"] == 2.0;
        check(&reader, run.id, &said[usize::from(second)]);
    }
}
