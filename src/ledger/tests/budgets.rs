//! Budgets hold, exactly, whatever is in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::UNIX_EPOCH;

use futures::future::join_all;
use proptest::prelude::*;
use smoothgate_providers::{Billed, Journal as _};

use super::super::{Caller, Clock, Spend};
use super::*;

/// Runs a future to its end in a property test.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_of_n_calls_admits_n_with_64_in_flight() {
    let (folder, options) = folder();
    let run = begin(&open(&folder, &options), with_cap(Some(100), None)).await;
    let picture = Arc::new(run.picture(picture_spec("a.png")).await.unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..64_u64 {
        let picture = Arc::clone(&picture);
        tasks.spawn(async move {
            let mut sent = 0;
            for draw in (worker..640).step_by(64) {
                let Ok(id) = picture.open(&attempt(draw)).await else { return sent };
                sent += 1;
                tokio::task::yield_now().await;
                let (outcome, billed) = match draw % 3 {
                    0 => (answered("cat"), Billed::Yes),
                    1 => (transient(), Billed::Unknown),
                    _ => (transient(), Billed::No),
                };
                close(&picture, id, &outcome, Some(500), billed).await.unwrap();
            }
            sent
        });
    }
    let sent: u64 = tasks.join_all().await.iter().sum();
    assert_eq!(sent, 100);
    assert_eq!(run.spend().await.unwrap().calls, 100);
}

#[tokio::test]
async fn a_cost_is_reserved_while_in_flight_and_given_back_when_not_billed() {
    let (folder, options) = folder();
    let run = begin(&open(&folder, &options), with_cap(None, Some("0.003"))).await;
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    let ids = join_all((0..3).map(|i| {
        let a = attempt(i);
        let p = &picture;
        async move { p.open(&a).await }
    }))
    .await;
    let ids: Vec<_> = ids.into_iter().map(Result::unwrap).collect();
    let refusal = picture.open(&attempt(3)).await.unwrap_err();
    assert!(matches!(refusal, JournalError::Budget(_)));
    let text = refusal.to_string();
    assert!(text.contains("$0.003 ($0.003 of it in flight") && text.contains("--max-cost"), "{text}");
    close(&picture, ids[0], &transient(), Some(503), Billed::No).await.unwrap();
    close(&picture, ids[1], &transient(), None, Billed::Unknown).await.unwrap();
    close(&picture, ids[2], &answered("cat"), Some(200), Billed::Yes).await.unwrap();
    call(&picture, 4, &answered("cat"), Billed::Yes).await;
    assert!(matches!(picture.open(&attempt(5)).await, Err(JournalError::Budget(_))));
    let spend = run.spend().await.unwrap();
    assert_eq!((spend.billed, spend.unknown, spend.reserved), (money("0.002"), money("0.001"), Money::ZERO));
    assert_eq!(spend.calls, 4);
}

#[tokio::test]
async fn a_call_that_never_left_counts_nowhere() {
    let (folder, options) = folder();
    let run = begin(&open(&folder, &options), with_cap(Some(1), Some("0.001"))).await;
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    for _ in 0..3 {
        let id = picture.open(&attempt(0)).await.unwrap();
        close(&picture, id, &transient(), None, Billed::No).await.unwrap();
    }
    assert_eq!(run.spend().await.unwrap(), Spend::default());
    call(&picture, 0, &answered("cat"), Billed::Yes).await;
    assert!(picture.open(&attempt(1)).await.is_err());
}

#[tokio::test]
async fn a_raised_budget_lets_the_run_continue() {
    let (folder, options) = folder();
    let ledger = open(&folder, &options);
    let run = begin(&ledger, with_cap(Some(1), None)).await;
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    call(&picture, 0, &answered("cat"), Billed::Yes).await;
    assert!(matches!(picture.open(&attempt(1)).await, Err(JournalError::Budget(_))));
    drop((picture, run));
    let run = begin(&ledger, with_cap(Some(2), None)).await;
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    call(&picture, 1, &answered("cat"), Billed::Yes).await;
    assert!(matches!(picture.open(&attempt(2)).await, Err(JournalError::Budget(_))));
}

#[tokio::test]
async fn an_unknown_price_is_refused_under_a_cost_budget_only() {
    let (folder, options) = folder();
    let ledger = open(&folder, &options);
    let unknown = RunSpec { price: Price::Unknown, ..with_cap(None, Some("5.00USD")) };
    let error = ledger.begin_run(unknown, Begin::New).await.unwrap_err();
    assert!(matches!(&error, LedgerError::UnknownPrice { instance } if instance == "google"), "{error}");

    let run = begin(&ledger, RunSpec { price: Price::Unknown, ..with_cap(Some(9), None) }).await;
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    let ask = |draw| Attempt { price: Price::Unknown, ..attempt(draw) };
    for (draw, billed) in [(0, Billed::Yes), (1, Billed::Unknown), (2, Billed::No)] {
        let id = picture.open(&ask(draw)).await.unwrap();
        close(&picture, id, &transient(), Some(500), billed).await.unwrap();
    }
    let spend = run.spend().await.unwrap();
    assert_eq!((spend.calls, spend.unpriced, spend.at_most()), (3, 2, Some(Money::ZERO)));
    drop((picture, run));

    // Once the price is known, the two calls that may have been billed are valued at it.
    let run = begin(&ledger, with_cap(None, Some("0.003"))).await;
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    assert!(matches!(picture.open(&ask(3)).await, Err(JournalError::Budget(_))));
    call(&picture, 3, &answered("cat"), Billed::Yes).await;
    assert!(matches!(picture.open(&attempt(4)).await, Err(JournalError::Budget(_))));
}

/// A clock that tests set, in milliseconds since 1970.
fn clock() -> (Arc<AtomicI64>, Clock) {
    let time = Arc::new(AtomicI64::new(0));
    let read = Arc::clone(&time);
    (time, Clock::of(move || UNIX_EPOCH + Duration::from_millis(read.load(Ordering::SeqCst).unsigned_abs())))
}

const DAY: i64 = 86_400_000;
/// 2026-01-31T12:00:00Z, the last day of a month.
const NOON: i64 = 20_484 * DAY + DAY / 2;

#[tokio::test]
async fn days_and_months_are_utc_and_shared_by_all_runs_of_an_instance() {
    let (folder, options) = folder();
    let (time, clock) = clock();
    let ledger = open(&folder, &Options { clock, ..options });
    let day = Cap { calls: Some(2), cost: None };
    let month = Cap { calls: None, cost: Some(money("0.003")) };
    let budgets = Budgets { day, month, ..Budgets::default() };
    let mut runs = Vec::new();
    for (sigma, instance) in [(0.1, "google"), (0.2, "google"), (0.3, "aws")] {
        let spec = RunSpec { budgets, instance: instance.to_owned(), ..run_spec(sigma) };
        runs.push(begin(&ledger, spec).await.picture(picture_spec("a.png")).await.unwrap());
    }
    let [one, two, aws] = &runs[..] else { unreachable!() };
    time.store(NOON, Ordering::SeqCst);
    call(one, 0, &answered("cat"), Billed::Yes).await;
    call(two, 0, &answered("cat"), Billed::Yes).await;
    let text = one.open(&attempt(1)).await.unwrap_err().to_string();
    assert!(
        text.contains("2 of 2 calls of `google` for 2026-01-31 (UTC)") && text.contains("daily"),
        "{text}"
    );
    call(aws, 0, &answered("cat"), Billed::Yes).await;

    // One millisecond before midnight it is still the same day; at midnight another day and another month.
    time.store(20_485 * DAY - 1, Ordering::SeqCst);
    assert!(one.open(&attempt(1)).await.is_err());
    time.store(20_485 * DAY, Ordering::SeqCst);
    call(one, 1, &answered("cat"), Billed::Yes).await;
    call(two, 1, &answered("cat"), Billed::Yes).await;
    time.store(20_486 * DAY, Ordering::SeqCst);
    call(one, 2, &answered("cat"), Billed::Yes).await;
    let text = two.open(&attempt(2)).await.unwrap_err().to_string();
    assert!(text.contains("of `google` for 2026-02 (UTC)") && text.contains("monthly"), "{text}");
}

#[tokio::test]
async fn a_clock_that_jumps_back_resets_no_budget() {
    let (folder, options) = folder();
    let (time, clock) = clock();
    let options = Options { clock, ..options };
    let budgets = Budgets { day: Cap { calls: Some(1), cost: None }, ..Budgets::default() };
    let spec = RunSpec { budgets, ..run_spec(0.25) };
    time.store(NOON, Ordering::SeqCst);
    {
        let run = begin(&open(&folder, &options), spec.clone()).await;
        let picture = run.picture(picture_spec("a.png")).await.unwrap();
        call(&picture, 0, &answered("cat"), Billed::Yes).await;
        for back in [NOON - DAY, NOON - 40 * DAY, 0] {
            time.store(back, Ordering::SeqCst);
            let refusal = picture.open(&attempt(1)).await.unwrap_err();
            assert!(refusal.to_string().contains("the clock is behind 2026-01-31"), "{refusal}");
        }
    }
    // Nor in another process, later.
    let ledger = open(&folder, &options);
    let run = begin(&ledger, spec).await;
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    assert!(matches!(picture.open(&attempt(1)).await, Err(JournalError::Budget(_))));
    time.store(NOON + DAY, Ordering::SeqCst);
    call(&picture, 1, &answered("cat"), Billed::Yes).await;

    // A clock that was ahead for a while blocks no more than its user allows.
    time.store(NOON + 9000 * DAY, Ordering::SeqCst);
    call(&picture, 2, &answered("cat"), Billed::Yes).await;
    time.store(NOON + 2 * DAY, Ordering::SeqCst);
    assert!(matches!(picture.open(&attempt(3)).await, Err(JournalError::Budget(_))));
    ledger.trust_clock().await.unwrap();
    call(&picture, 3, &answered("cat"), Billed::Yes).await;
    assert!(matches!(picture.open(&attempt(4)).await, Err(JournalError::Budget(_))));
}

#[tokio::test]
async fn a_call_belongs_to_the_day_it_was_opened() {
    let (folder, options) = folder();
    let (time, clock) = clock();
    let budgets = Budgets { day: Cap { calls: None, cost: Some(money("0.001")) }, ..Budgets::default() };
    let run =
        begin(&open(&folder, &Options { clock, ..options }), RunSpec { budgets, ..run_spec(0.25) }).await;
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    time.store(20_485 * DAY - 1, Ordering::SeqCst);
    let late = picture.open(&attempt(0)).await.unwrap();
    time.store(20_485 * DAY + 1, Ordering::SeqCst);
    close(&picture, late, &answered("cat"), Some(200), Billed::Yes).await.unwrap();
    call(&picture, 1, &answered("cat"), Billed::Yes).await;
    assert!(picture.open(&attempt(2)).await.is_err());
}

#[tokio::test]
async fn a_cancelled_intent_is_taken_back() {
    let (folder, options) = folder();
    let run = begin(&open(&folder, &options), with_cap(Some(1), None)).await;
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    for polls in 1..20 {
        let wanted = attempt(0);
        let mut open = picture.open(&wanted);
        for _ in 0..polls {
            match futures::poll!(&mut open) {
                std::task::Poll::Pending => {}
                // The one before is not taken back yet.
                std::task::Poll::Ready(Err(refusal)) => {
                    assert!(matches!(refusal, JournalError::Budget(_)), "{refusal}");
                    break;
                }
                // It was heard of: the transport would send it. Close it as never sent.
                std::task::Poll::Ready(Ok(id)) => {
                    close(&picture, id, &transient(), None, Billed::No).await.unwrap();
                    break;
                }
            }
            tokio::time::sleep(Duration::from_micros(polls * 50)).await;
        }
    }
    // Whatever the instant of the cancellation, nothing stays reserved. What was cancelled last is taken back before
    // any later record is acknowledged.
    run.spend().await.unwrap();
    assert_eq!(run.spend().await.unwrap(), Spend::default());
    call(&picture, 0, &answered("cat"), Billed::Yes).await;
}

/// One thing that may happen to a run.
#[derive(Clone, Copy, Debug)]
enum Event {
    Open { draw: u64 },
    Close { which: usize, billed: Billed, replied: bool },
    Kill,
}

fn any_event() -> impl Strategy<Value = Event> {
    let billed = prop_oneof![Just(Billed::Yes), Just(Billed::No), Just(Billed::Unknown)];
    prop_oneof![
        8 => (0..12_u64).prop_map(|draw| Event::Open { draw }),
        6 => (any::<usize>(), billed, any::<bool>())
            .prop_map(|(which, billed, replied)| Event::Close { which, billed, replied }),
        1 => Just(Event::Kill),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Against a model that knows what the API saw: calls and cost never pass the caps, and what the ledger says is
    /// exact once nothing is in flight.
    #[test]
    fn no_order_of_events_passes_a_cap(
        events in proptest::collection::vec(any_event(), 1..80),
        calls in 1..20_u64,
        mills in 1..20_u32,
    ) {
        block_on(async {
            let (folder, options) = folder();
            let cost = Money::new(mills, 3);
            let spec = RunSpec {
                budgets: Budgets { run: Cap { calls: Some(calls), cost: Some(cost) }, ..Budgets::default() },
                ..run_spec(0.25)
            };
            let mut ledger = open(&folder, &options);
            let mut run = begin(&ledger, spec.clone()).await;
            let mut picture = run.picture(picture_spec("a.png")).await.unwrap();
            let mut in_flight: Vec<(u64, AttemptId)> = Vec::new();
            // What the API saw: calls, and calls that it billed or may have billed.
            let (mut seen, mut billed_calls) = (0_u64, 0_u64);
            for event in events {
                match event {
                    Event::Open { draw } => {
                        if in_flight.iter().any(|(d, _)| *d == draw) {
                            continue;
                        }
                        if let Ok(id) = picture.open(&attempt(draw)).await {
                            in_flight.push((draw, id));
                        }
                    }
                    Event::Close { which, billed, replied } => {
                        if in_flight.is_empty() {
                            continue;
                        }
                        let (_, id) = in_flight.swap_remove(which % in_flight.len());
                        let outcome = if billed == Billed::Yes { answered("cat") } else { transient() };
                        close(&picture, id, &outcome, replied.then_some(200), billed).await.unwrap();
                        seen += u64::from(billed != Billed::No || replied);
                        billed_calls += u64::from(billed != Billed::No);
                    }
                    Event::Kill => {
                        // In flight at the kill: each may have been sent and billed.
                        seen += in_flight.len() as u64;
                        billed_calls += in_flight.len() as u64;
                        in_flight.clear();
                        drop((picture, run, ledger));
                        ledger = open(&folder, &options);
                        run = begin(&ledger, spec.clone()).await;
                        picture = run.picture(picture_spec("a.png")).await.unwrap();
                    }
                }
                let flying = in_flight.len() as u64;
                assert!(seen + flying <= calls, "{seen} + {flying} of {calls}");
                let cap = u64::from(mills);
                assert!(billed_calls + flying <= cap, "{billed_calls} + {flying} of {cap}");
            }
            let spend = run.spend().await.unwrap();
            assert_eq!(spend.calls, seen + in_flight.len() as u64);
            let expected = Money::new(1, 3).times(billed_calls + in_flight.len() as u64);
            assert_eq!(spend.at_most(), expected);
        });
    }
}

fn caller(name: &str, calls: Option<u64>, cost: Option<&str>) -> Caller {
    Caller { name: name.to_owned(), cap: Cap { calls, cost: cost.map(money) } }
}

#[tokio::test]
async fn a_callers_budget_holds_over_all_runs_and_concerns_no_other() {
    let (folder, options) = folder();
    let ledger = open(&folder, &options);
    let (first, second) = (begin(&ledger, run_spec(0.25)).await, begin(&ledger, run_spec(0.5)).await);
    let ours = || Some(caller("ours", Some(4), Some("0.005")));
    let a = first.picture_for(ours(), picture_spec("a.png")).await.unwrap();
    let b = second.picture_for(ours(), picture_spec("b.png")).await.unwrap();
    let theirs =
        second.picture_for(Some(caller("theirs", Some(1), None)), picture_spec("c.png")).await.unwrap();
    let nobodys = second.picture(picture_spec("d.png")).await.unwrap();
    for (picture, draw) in [(&a, 0), (&a, 1), (&b, 0)] {
        let id = picture.open(&attempt(draw)).await.unwrap();
        close(picture, id, &answered("cat"), Some(200), Billed::Yes).await.unwrap();
    }
    let open_still = b.open(&attempt(1)).await.unwrap();
    let refusal = a.open(&attempt(2)).await.unwrap_err().to_string();
    assert!(refusal.contains("4 of 4 calls of the key ours"), "{refusal}");
    assert!(theirs.open(&attempt(0)).await.is_ok());
    assert!(nobodys.open(&attempt(0)).await.is_ok());
    let spent = ledger.spent_for("ours").await.unwrap();
    assert_eq!((spent.calls, spent.billed, spent.reserved), (4, money("0.003"), money("0.001")));
    assert_eq!(ledger.spent_for("nobody").await.unwrap(), Spend::default());
    // One that never left gives its place back.
    close(&b, open_still, &transient(), None, Billed::No).await.unwrap();
    assert!(a.open(&attempt(2)).await.is_ok());
    // A run may be removed: what it spent stays counted.
    drop((a, b, theirs, nobodys));
    let run = first.id();
    drop(first);
    ledger.remove_run(run).await.unwrap();
    let spent = ledger.spent_for("ours").await.unwrap();
    assert_eq!((spent.calls, spent.billed, spent.unknown), (4, money("0.003"), money("0.001")));
}

#[tokio::test]
async fn what_was_in_flight_when_a_process_ended_is_charged_to_its_caller() {
    let (folder, options) = folder();
    let ours = || Some(caller("ours", None, Some("0.002")));
    {
        let run = begin(&open(&folder, &options), run_spec(0.25)).await;
        let picture = run.picture_for(ours(), picture_spec("a.png")).await.unwrap();
        picture.open(&attempt(0)).await.unwrap();
    }
    let ledger = open(&folder, &options);
    let run = begin(&ledger, run_spec(0.25)).await;
    let spent = ledger.spent_for("ours").await.unwrap();
    assert_eq!((spent.calls, spent.unknown, spent.reserved), (1, money("0.001"), Money::ZERO));
    let picture = run.picture_for(ours(), picture_spec("a.png")).await.unwrap();
    assert!(picture.open(&attempt(1)).await.is_ok());
    assert!(picture.open(&attempt(2)).await.is_err());
    // A picture has one caller: what is open of it is settled in one account.
    for other in [None, Some(caller("theirs", None, None))] {
        let error = run.picture_for(other, picture_spec("a.png")).await.unwrap_err();
        assert!(matches!(error, LedgerError::Changed { .. }), "{error}");
    }
}
