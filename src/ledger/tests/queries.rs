//! Lists, reports and exports say what happened.

use smoothgate_providers::{Billed, Journal as _, Label, OutcomeClass};

use super::super::{LogHead, LogLine, Overwritten, Reader, RunId, StoredPicture};
use super::*;

#[tokio::test]
async fn pictures_keep_the_order_in_which_they_were_begun() {
    let (folder, options) = folder();
    let ledger = open(&folder, &options);
    let run = begin(&ledger, run_spec(0.25)).await;
    let [first, second] =
        [run.picture(picture_spec("b.png")).await, run.picture(picture_spec("a.png")).await];
    call(&second.unwrap(), 0, &answered("cat"), Billed::Yes).await;
    call(&first.unwrap(), 0, &answered("dog"), Billed::Yes).await;
    let report = Reader::open(ledger.path()).unwrap().run(run.id()).unwrap();
    let names: Vec<_> = report.pictures.iter().map(|picture| picture.name.as_str()).collect();
    assert_eq!(names, ["b.png", "a.png"]);
}

#[tokio::test]
async fn the_latest_picture_of_a_stem_is_found_now_and_by_whoever_continues_the_run() {
    let (folder, options) = folder();
    let ledger = open(&folder, &options);
    let run = begin(&ledger, run_spec(0.25)).await;
    assert_eq!(run.latest("a").unwrap(), None);
    for name in ["a/0", "b/0", "a/1"] {
        let picture = run.picture(picture_spec(name)).await.unwrap();
        picture.store_certificate("{}").await.unwrap();
    }
    let name_of = |run: &Run, stem: &str| run.latest(stem).unwrap().map(|known| known.name);
    assert_eq!(name_of(&run, "a").as_deref(), Some("a/1"));
    assert_eq!(name_of(&run, "b").as_deref(), Some("b/0"));
    run.finish(false).await.unwrap();
    let run = begin(&ledger, run_spec(0.25)).await;
    assert_eq!(name_of(&run, "a").as_deref(), Some("a/1"));
    // Whose first record comes after the first look.
    run.unknown_picture_for(None, picture_spec("c/0")).store_certificate("{}").await.unwrap();
    assert_eq!(name_of(&run, "c").as_deref(), Some("c/0"));
    assert_eq!(name_of(&run, "d"), None);
}

#[tokio::test]
async fn what_is_settled_of_the_latest_picture_is_told_from_what_was_tried() {
    let (folder, options) = folder();
    let ledger = open(&folder, &options);
    let run = begin(&ledger, run_spec(0.25)).await;
    let known = async || {
        run.published().await.unwrap();
        let known = run.latest("a").unwrap().unwrap();
        (known.attempts, known.settled, known.clean)
    };
    let picture = run.picture(picture_spec("a/0")).await.unwrap();
    assert_eq!(known().await, (0, 0, None));
    call(&picture, 0, &answered("cat"), Billed::Yes).await;
    for _ in 0..3 {
        call(&picture, 1, &transient(), Billed::Unknown).await;
    }
    assert_eq!(known().await, (4, 1, None), "retries are no progress");
    picture.settle(Some(1), &ended(1, &transient())).await.unwrap();
    assert_eq!(known().await, (4, 2, None));
    picture.settle(None, &ended(0, &transient())).await.unwrap();
    assert_eq!(known().await, (4, 3, Some(OutcomeClass::Transient)));
    let picture = run.picture(picture_spec("a/1")).await.unwrap();
    let id = picture.open(&Attempt { draw: None, ..attempt(0) }).await.unwrap();
    close(&picture, id, &answered("clean"), Some(200), Billed::Yes).await.unwrap();
    assert_eq!(known().await, (1, 1, Some(OutcomeClass::Answered)));
}

#[tokio::test]
async fn runs_are_listed_with_progress_and_spend() {
    let (folder, options) = folder();
    let ledger = open(&folder, &options);
    let run = begin(&ledger, with_cap(Some(100), Some("5.00USD"))).await;
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    call(&picture, 0, &answered("cat"), Billed::Yes).await;
    call(&picture, 1, &transient(), Billed::No).await;
    call(&picture, 1, &transient(), Billed::Unknown).await;
    picture.settle(Some(1), &ended(1, &transient())).await.unwrap();
    let _in_flight = picture.open(&attempt(2)).await.unwrap();
    let other = run.picture(picture_spec("b.png")).await.unwrap();
    other.store_certificate("{}").await.unwrap();

    let reader = Reader::open(ledger.path()).unwrap();
    let [listed] = &reader.runs().unwrap()[..] else { panic!("one run") };
    assert!(listed.active && listed.finished.is_none());
    assert_eq!((listed.expected, listed.pictures, listed.certified), (Some(2), 2, 1));
    assert_eq!((listed.budget.calls, listed.budget.cost), (Some(100), Some(money("5"))));
    let spend = listed.spend;
    assert_eq!(
        (spend.calls, spend.billed, spend.unknown, spend.reserved),
        (4, money("0.001"), money("0.001"), money("0.001"))
    );
    assert_eq!(reader.unfinished().unwrap(), [run.id()]);

    let report = reader.run(run.id()).unwrap();
    assert_eq!(report.attempts[&OutcomeClass::Answered], 1);
    assert_eq!(report.attempts[&OutcomeClass::Transient], 2);
    assert_eq!((report.in_flight, report.unknown), (1, 0));
    assert_eq!(report.parameters["test"]["n"], 100);
    assert_eq!(report.arguments["paths"][0], "pictures");
    let a = &report.pictures[0];
    assert_eq!((a.name.as_str(), a.settled, a.given_up, a.attempts, a.certified), ("a.png", 2, 1, 4, false));
    // Amounts are decimal text in JSON, never floats.
    assert_eq!(serde_json::to_value(&report).unwrap()["spend"]["billed"], "0.001");

    drop((picture, other));
    run.finish(true).await.unwrap();
    // The lock is let go once the last record is in.
    let mut listed = reader.runs().unwrap().remove(0);
    for _ in 0..100 {
        if listed.active {
            tokio::time::sleep(Duration::from_millis(10)).await;
            listed = reader.runs().unwrap().remove(0);
        }
    }
    assert!(!listed.active && listed.finished.is_some());
    assert_eq!(reader.run(listed.id).unwrap().unknown, 1);
    assert!(reader.unfinished().unwrap().is_empty());
    assert!(matches!(reader.run(RunId(9)), Err(LedgerError::NoSuchRun { .. })));
}

#[tokio::test]
async fn what_an_instance_spent_is_known_across_runs() {
    let (folder, options) = folder();
    let ledger = open(&folder, &options);
    for sigma in [0.25, 0.5] {
        let run = begin(&ledger, run_spec(sigma)).await;
        let picture = run.picture(picture_spec("a.png")).await.unwrap();
        call(&picture, 0, &answered("cat"), Billed::Yes).await;
        picture.recorded().await.unwrap();
    }
    let reader = Reader::open(ledger.path()).unwrap();
    let (day, month) = reader.spent_on("google").unwrap();
    assert_eq!((day.calls, day.billed, month.calls), (2, money("0.002"), 2));
    assert_eq!(reader.spent_on("aws").unwrap().0.calls, 0);
}

#[test]
fn a_missing_ledger_is_not_made_by_looking() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.db");
    assert!(matches!(Reader::open(&path), Err(LedgerError::CannotOpen { .. })));
    assert!(!path.exists());
}

#[tokio::test]
async fn an_export_has_the_answer_logs_fields() {
    let (folder, options) = folder();
    let ledger = open(&folder, &options);
    let run = begin(&ledger, run_spec(0.25)).await;
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    let answers = [
        Answer::of([("Bird", 0.9641), ("Eagle", 0.9)]),
        Answer::default(),
        Answer {
            labels: vec![Label { name: "Eagle".to_owned(), score: None, id: None }],
            ..Answer::default()
        },
        Answer { from_cache: true, ..Answer::of([("Bird", 1.0)]) },
    ];
    for (draw, answer) in (0..).zip(&answers) {
        call(&picture, draw, &Outcome::Answered(answer.clone()), Billed::Yes).await;
    }
    call(&picture, 4, &transient(), Billed::No).await;
    picture.settle(Some(4), &ended(4, &transient())).await.unwrap();
    // Draw 5 is not settled; draw 6 lies behind the gap.
    call(&picture, 6, &answered("cat"), Billed::Yes).await;
    let clean = Attempt { draw: None, ..attempt(0) };
    let id = picture.open(&clean).await.unwrap();
    close(&picture, id, &Outcome::Answered(Answer::of([("Tail", 0.5)])), Some(200), Billed::Yes)
        .await
        .unwrap();
    picture.recorded().await.unwrap();

    let head = LogHead {
        api: "google".to_owned(),
        denoiser: "none".to_owned(),
        sigma: 0.25,
        idx: 7,
        n0: 2,
        n: Some(12),
        logged: Some(json!({ "correct": true })),
    };
    let mut lines = Vec::new();
    let each =
        |_: &str, _: &Spec, _: &[u8; 32], stored: StoredPicture| lines.push(LogLine::of(&head, &stored));
    Reader::open(ledger.path()).unwrap().stored(run.id(), each).unwrap();
    let line = serde_json::to_value(lines.remove(0).unwrap()).unwrap();
    assert_eq!(
        line,
        json!({
            "api": "google", "denoiser": "none", "sigma": 0.25, "idx": 7, "n0": 2, "n": 12,
            "names": ["Bird", "Eagle", "Tail"],
            "clean": [[2, 0.5]],
            "votes": [[[0, 0.9641], [1, 0.9]], [], [[1, null]], null, null],
            "logged": { "correct": true },
        })
    );
    let redacted = StoredPicture { redacted: true, ..StoredPicture::default() };
    assert_eq!(LogLine::of(&head, &redacted), Err(Overwritten));
}
