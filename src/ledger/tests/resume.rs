//! Runs that are continued: what is kept, what is named, what is refused.

use smoothgate_providers::{Billed, Journal as _};

use super::super::RunId;
use super::*;

#[tokio::test]
async fn a_resume_keeps_seed_answers_and_spend() {
    let (folder, options) = folder();
    {
        let ledger = open(&folder, &options);
        let run = begin(&ledger, run_spec(0.25)).await;
        assert!(!run.resumed());
        let picture = run.picture(picture_spec("a.png")).await.unwrap();
        call(&picture, 0, &answered("cat"), Billed::Yes).await;
        call(&picture, 1, &transient(), Billed::No).await;
        let _in_flight = picture.open(&attempt(2)).await.unwrap();
    }
    let ledger = open(&folder, &options);
    let run = begin(&ledger, run_spec(0.25)).await;
    assert!(run.resumed());
    assert_eq!(run.in_flight_before(), 1);
    let picture = run.picture(PictureSpec { seed: [8; 32], ..picture_spec("a.png") }).await.unwrap();
    assert_eq!(picture.seed(), &[7; 32]);
    assert_eq!(picture.stored().draws.keys().copied().collect::<Vec<_>>(), [0]);
    assert_eq!(picture.stored().unknown.iter().copied().collect::<Vec<_>>(), [2]);
    let spend = run.spend().await.unwrap();
    assert_eq!((spend.calls, spend.billed, spend.unknown), (3, money("0.001"), money("0.001")));
    assert_eq!(spend.reserved, Money::ZERO);
    // The unknown one is asked once more, and then it is settled.
    call(&picture, 2, &answered("cat"), Billed::Yes).await;
    assert!(picture.open(&attempt(2)).await.is_err());
    assert!(run.picture(picture_spec("a.png")).await.unwrap().stored().unknown.is_empty());
}

/// An answer that is no vote, or a refusal of the picture, was paid for and said something: to ask again would choose among
/// answers.
#[tokio::test]
async fn an_unusable_answer_settles_its_draw_when_it_is_recorded() {
    let (folder, options) = folder();
    let reason = || "a label that was not asked for".to_owned();
    let said = [Outcome::Unusable { reason: reason() }, Outcome::Refused { reason: reason() }];
    {
        let ledger = open(&folder, &options);
        let run = begin(&ledger, run_spec(0.25)).await;
        let picture = run.picture(picture_spec("a.png")).await.unwrap();
        for (draw, outcome) in (0..).zip(&said) {
            call(&picture, draw, outcome, Billed::Yes).await;
        }
        // The process ends here: nobody says what becomes of the draws.
        picture.recorded().await.unwrap();
    }
    let run = begin(&open(&folder, &options), run_spec(0.25)).await;
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    for (draw, outcome) in (0..).zip(&said) {
        assert_eq!(picture.stored().draws[&draw], ended(draw, outcome));
        assert!(picture.open(&attempt(draw)).await.is_err(), "it would be paid for twice");
        picture.settle(Some(draw), &ended(draw, outcome)).await.unwrap();
    }
}

#[tokio::test]
async fn a_clean_answer_is_kept_apart_from_the_draws() {
    let (folder, options) = folder();
    let run = begin(&open(&folder, &options), run_spec(0.25)).await;
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    let id = picture.open(&Attempt { draw: None, ..attempt(0) }).await.unwrap();
    close(&picture, id, &answered("clean"), Some(200), Billed::Yes).await.unwrap();
    picture.settle(None, &ended(0, &answered("clean"))).await.unwrap();
    let stored = run.picture(picture_spec("a.png")).await.unwrap().stored().clone();
    assert_eq!(stored.clean.as_ref().map(|s| &s.outcome), Some(&answered("clean")));
    assert!(stored.draws.is_empty());
}

#[tokio::test]
async fn changed_parameters_are_named() {
    let (folder, options) = folder();
    let ledger = open(&folder, &options);
    let run = begin(&ledger, run_spec(0.25)).await;
    let id = run.id();
    call(&run.picture(picture_spec("a.png")).await.unwrap(), 0, &answered("cat"), Billed::Yes).await;
    let mut changed = picture_spec("a.png");
    changed.parameters = Spec::new(&json!({ "hash": 99, "size": 224 })).unwrap();
    let error = run.picture(changed).await.unwrap_err().to_string();
    assert!(error.contains("a.png") && error.contains("hash: 5 -> 99") && !error.contains("size"), "{error}");
    drop(run);

    let error = ledger.begin_run(run_spec(0.5), Begin::Continue(id)).await.unwrap_err();
    assert!(error.to_string().contains("sigma: 0.25 -> 0.5"), "{error}");
    // What changes no certificate may change, and other parameters make another run.
    let raised = RunSpec { arguments: json!({}), pictures: Some(9), ..with_cap(Some(5), None) };
    assert_eq!(ledger.begin_run(raised, Begin::ContinueOrNew).await.unwrap().id(), id);
    assert_ne!(ledger.begin_run(run_spec(0.5), Begin::ContinueOrNew).await.unwrap().id(), id);
    assert_ne!(ledger.begin_run(run_spec(0.25), Begin::New).await.unwrap().id(), id);
    let missing = ledger.begin_run(run_spec(0.25), Begin::Continue(RunId(77))).await.unwrap_err();
    assert!(matches!(missing, LedgerError::NoSuchRun { run: RunId(77) }));
}

#[test]
fn specs_differ_field_by_field() {
    let a = Spec::new(&json!({ "b": [1, 2], "a": { "x": 1, "y": null }, "same": "s" })).unwrap();
    let b = Spec::new(&json!({ "same": "s", "a": { "y": false, "z": 2.5 }, "b": [2, 1] })).unwrap();
    assert_eq!(a.canonical(), r#"{"a":{"x":1,"y":null},"b":[1,2],"same":"s"}"#);
    let said: Vec<_> = a.difference(&b).iter().map(ToString::to_string).collect();
    assert_eq!(said, ["a.x: 1 -> not set", "a.y: null -> false", "a.z: not set -> 2.5", "b: [1,2] -> [2,1]"]);
    assert!(a.difference(&a.clone()).is_empty());
    assert_ne!(a.key(), b.key());
    assert!(Spec::new(&[1, 2]).is_err());
}

#[tokio::test]
async fn a_run_belongs_to_one_at_a_time() {
    let (folder, options) = folder();
    let ledger = open(&folder, &options);
    let other = open(&folder, &options);
    let run = begin(&ledger, run_spec(0.25)).await;
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    let refusal = other.begin_run(run_spec(0.25), Begin::ContinueOrNew).await.unwrap_err();
    let this = format!("process {}", std::process::id());
    assert!(matches!(&refusal, LedgerError::AlreadyRunning { holder, .. } if *holder == this), "{refusal}");
    assert!(matches!(other.remove_run(run.id()).await, Err(LedgerError::AlreadyRunning { .. })));
    // A picture alone still holds the run.
    let id = run.id();
    drop(run);
    assert!(other.begin_run(run_spec(0.25), Begin::Continue(id)).await.is_err());
    drop(picture);
    assert!(other.begin_run(run_spec(0.25), Begin::Continue(id)).await.is_ok());
}

#[tokio::test]
async fn a_removed_run_is_gone_and_its_spend_is_not() {
    let (folder, options) = folder();
    let ledger = open(&folder, &options);
    let day = Cap { calls: Some(3), cost: None };
    let spec = RunSpec { budgets: Budgets { day, ..Budgets::default() }, ..run_spec(0.25) };
    let run = begin(&ledger, spec.clone()).await;
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    for draw in 0..3 {
        call(&picture, draw, &answered("cat"), Billed::Yes).await;
    }
    let id = run.id();
    drop((picture, run));
    ledger.remove_run(id).await.unwrap();
    assert!(matches!(ledger.remove_run(id).await, Err(LedgerError::NoSuchRun { .. })));
    let run = begin(&ledger, spec).await;
    assert!(run.id() > id && !run.resumed());
    assert_eq!(run.spend().await.unwrap().calls, 0);
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    assert!(picture.stored().draws.is_empty());
    let refusal = picture.open(&attempt(0)).await.unwrap_err().to_string();
    assert!(refusal.contains("3 of 3 calls of `google`"), "{refusal}");
}
