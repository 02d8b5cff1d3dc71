//! What is recorded, what is refused.

use smoothgate_providers::{Billed, Journal as _, OutcomeClass};

use super::super::Reader;
use super::*;

#[tokio::test]
async fn an_answer_is_on_record_before_whatever_follows_its_close() {
    let (folder, options) = folder();
    let ledger = open(&folder, &options);
    let run = begin(&ledger, run_spec(0.25)).await;
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    call(&picture, 0, &answered("cat"), Billed::Yes).await;
    picture.settle(Some(0), &ended(0, &answered("cat"))).await.unwrap();

    // Another handle sees it at once, without the first being closed.
    let other = run.picture(picture_spec("a.png")).await.unwrap();
    assert_eq!(other.stored().draws[&0].outcome, answered("cat"));
    assert_eq!(other.stored().attempts, 1);
    let spend = run.spend().await.unwrap();
    assert_eq!((spend.calls, spend.billed, spend.reserved), (1, money("0.001"), Money::ZERO));
}

/// Makes the database refuse answers, or takes them again.
fn refuse_answers(ledger: &Ledger, refuse: bool) {
    let db = rusqlite::Connection::open(ledger.path()).unwrap();
    let trigger =
        "TRIGGER no_answers BEFORE INSERT ON answer BEGIN SELECT RAISE(ABORT, 'no answers today'); END";
    db.execute_batch(&if refuse {
        format!("CREATE {trigger}")
    } else {
        "DROP TRIGGER no_answers".to_owned()
    })
    .unwrap();
}

#[tokio::test]
async fn nothing_follows_an_answer_that_could_not_be_recorded() {
    for (together, certificate) in [(false, false), (false, true), (true, false), (true, true)] {
        let (folder, options) = folder();
        let ledger = open(&folder, &options);
        let run = begin(&ledger, run_spec(0.25)).await;
        let picture = run.picture(picture_spec("a.png")).await.unwrap();
        let id = picture.open(&attempt(0)).await.unwrap();
        refuse_answers(&ledger, true);
        let outcome = answered("cat");
        let closing = async { close(&picture, id, &outcome, Some(200), Billed::Yes).await.unwrap() };
        let following = async {
            if certificate {
                picture.store_certificate("{}").await.unwrap_err()
            } else {
                cause(picture.open(&attempt(1)).await.unwrap_err())
            }
        };
        // In one group, and one after the other.
        let refusal = if together {
            tokio::join!(closing, following).1
        } else {
            closing.await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            following.await
        };
        assert!(refusal.to_string().contains("no answers today"), "{refusal}");
        assert!(picture.recorded().await.unwrap_err().to_string().contains("no answers today"));
        refuse_answers(&ledger, false);
        // What was lost stays lost for this handle; another one asks once more.
        picture.store_certificate("{}").await.unwrap_err();
        let again = run.picture(picture_spec("a.png")).await.unwrap();
        assert_eq!((again.stored().certificate.as_deref(), again.stored().draws.len()), (None, 0));
        assert_eq!(again.stored().unknown.iter().copied().collect::<Vec<_>>(), [0]);
        call(&again, 0, &answered("cat"), Billed::Yes).await;
        again.store_certificate("{}").await.unwrap();
        assert_eq!(run.spend().await.unwrap().calls, 2);
    }
}

#[tokio::test]
async fn a_picture_is_on_record_with_the_first_that_is_known_of_it() {
    let (folder, options) = folder();
    let ledger = open(&folder, &options);
    let run = begin(&ledger, run_spec(0.25)).await;
    let seeded = |seed| PictureSpec { seed: [seed; 32], ..picture_spec("a.png") };
    let [first, second] = [run.picture(seeded(1)).await.unwrap(), run.picture(seeded(2)).await.unwrap()];
    assert_eq!(first.id(), None);
    assert_eq!(Reader::open(ledger.path()).unwrap().run(run.id()).unwrap().summary.pictures, 0);
    call(&first, 0, &answered("cat"), Billed::Yes).await;
    assert!(first.id().is_some());
    // Draws of another seed are other draws.
    for refusal in [
        cause(second.open(&attempt(0)).await.unwrap_err()),
        second.store_certificate("{}").await.unwrap_err(),
        second.settle(Some(3), &ended(3, &transient())).await.unwrap_err(),
    ] {
        assert!(
            matches!(&refusal, LedgerError::Changed { changes, .. } if changes[0].field == "seed"),
            "{refusal}"
        );
    }
    let third = run.picture(seeded(3)).await.unwrap();
    assert_eq!((third.seed(), third.id()), (&[1; 32], first.id()));
    assert_eq!(third.stored().draws.len(), 1);
    assert_eq!(run.spend().await.unwrap().calls, 1);
}

#[tokio::test]
async fn a_settled_draw_is_never_asked_again() {
    let (folder, options) = folder();
    let run = begin(&open(&folder, &options), run_spec(0.25)).await;
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    call(&picture, 0, &answered("cat"), Billed::Yes).await;
    call(&picture, 1, &transient(), Billed::No).await;
    picture.settle(Some(1), &ended(1, &transient())).await.unwrap();
    for draw in [0, 1] {
        let refusal = cause(picture.open(&attempt(draw)).await.unwrap_err());
        assert!(
            matches!(&refusal, LedgerError::Misuse(text) if text.contains("pay for it twice")),
            "{refusal}"
        );
    }
    assert_eq!(run.spend().await.unwrap().calls, 2);
}

/// No more calls were wanted by the time it was on record.
#[tokio::test]
async fn an_intent_that_is_taken_back_was_no_call() {
    let (folder, options) = folder();
    let run = begin(&open(&folder, &options), with_cap(Some(2), None)).await;
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    call(&picture, 0, &answered("cat"), Billed::Yes).await;
    let id = picture.open(&attempt(1)).await.unwrap();
    picture.withdraw(id).await.unwrap();
    let again = run.picture(picture_spec("a.png")).await.unwrap();
    assert_eq!((again.stored().attempts, again.stored().unknown.len()), (1, 0));
    let spend = run.spend().await.unwrap();
    assert_eq!((spend.calls, spend.reserved), (1, Money::ZERO));
    assert!(matches!(cause(picture.withdraw(id).await.unwrap_err()), LedgerError::Misuse(_)));
    call(&picture, 1, &answered("cat"), Billed::Yes).await;
    picture.recorded().await.unwrap();
}

#[tokio::test]
async fn a_draw_is_sent_with_the_same_bytes_each_time() {
    let (folder, options) = folder();
    let run = begin(&open(&folder, &options), run_spec(0.25)).await;
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    call(&picture, 3, &transient(), Billed::No).await;
    let other = Attempt { picture: [9; 32], ..attempt(3) };
    let refusal = cause(picture.open(&other).await.unwrap_err());
    assert!(matches!(&refusal, LedgerError::Changed { what, .. } if what.contains("draw 3")), "{refusal}");
    call(&picture, 3, &answered("cat"), Billed::Yes).await;
}

#[tokio::test]
async fn an_answer_and_a_refusal_settle_their_draws_and_a_failure_does_not() {
    let (folder, options) = folder();
    let run = begin(&open(&folder, &options), run_spec(0.25)).await;
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    let refused = Outcome::Refused { reason: "moderation".to_owned() };
    let throttled =
        Outcome::Throttled { retry_after: Some(Duration::from_millis(1500)), reason: "slow".to_owned() };
    call(&picture, 0, &answered("cat"), Billed::Yes).await;
    call(&picture, 1, &transient(), Billed::Unknown).await;
    call(&picture, 2, &refused, Billed::Yes).await;
    call(&picture, 3, &throttled, Billed::No).await;
    // Said once more, which changes nothing.
    picture.settle(Some(2), &ended(2, &refused)).await.unwrap();
    picture.settle(Some(3), &ended(3, &throttled)).await.unwrap();

    let stored = run.picture(picture_spec("a.png")).await.unwrap();
    let stored = stored.stored();
    assert_eq!(stored.draws.keys().copied().collect::<Vec<_>>(), [0, 2, 3]);
    assert_eq!((&stored.draws[&2].outcome, &stored.draws[&3].outcome), (&refused, &throttled));
    assert_eq!(stored.unknown.iter().copied().collect::<Vec<_>>(), [1]);
    assert_eq!(stored.draws[&2].outcome.class(), OutcomeClass::Refused);
}

#[tokio::test]
async fn contradictions_are_refused() {
    let (folder, options) = folder();
    let run = begin(&open(&folder, &options), run_spec(0.25)).await;
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    let id = picture.open(&attempt(0)).await.unwrap();
    close(&picture, id, &answered("cat"), Some(200), Billed::Yes).await.unwrap();
    // Closed twice; given up although answered; answered without a record; a score that cannot be kept.
    assert!(matches!(
        cause(close(&picture, id, &answered("dog"), Some(200), Billed::Yes).await.unwrap_err()),
        LedgerError::Misuse(_)
    ));
    assert!(matches!(picture.settle(Some(0), &ended(0, &transient())).await, Err(LedgerError::Misuse(_))));
    assert!(matches!(
        picture.settle(Some(1), &ended(1, &answered("cat"))).await,
        Err(LedgerError::Misuse(_))
    ));
    let id = picture.open(&attempt(2)).await.unwrap();
    let nan = Outcome::Answered(Answer::of([("cat", f64::NAN)]));
    assert!(matches!(
        cause(close(&picture, id, &nan, Some(200), Billed::Yes).await.unwrap_err()),
        LedgerError::Misuse(_)
    ));
}

#[tokio::test]
async fn a_certificate_is_stored_once() {
    let (folder, options) = folder();
    let ledger = open(&folder, &options);
    let run = begin(&ledger, run_spec(0.25)).await;
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    picture.store_certificate("{\"radius\":0.5}").await.unwrap();
    picture.store_certificate("{\"radius\":0.5}").await.unwrap();
    let error = picture.store_certificate("{\"radius\":0.6}").await.unwrap_err();
    assert!(error.to_string().contains("another certificate"), "{error}");
    let again = run.picture(picture_spec("a.png")).await.unwrap();
    assert_eq!(again.stored().certificate.as_deref(), Some("{\"radius\":0.5}"));
}

#[tokio::test]
async fn answers_are_overwritten_once_certified_where_that_is_asked_for() {
    let (folder, options) = folder();
    let options = Options { answers: super::super::Retention::UntilCertified, ..options };
    let run = begin(&open(&folder, &options), run_spec(0.25)).await;
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    call(&picture, 0, &answered("a very private label"), Billed::Yes).await;
    let refused = Outcome::Refused { reason: "a very private reason".to_owned() };
    call(&picture, 1, &refused, Billed::Yes).await;
    picture.settle(Some(1), &ended(1, &refused)).await.unwrap();
    assert_eq!(run.picture(picture_spec("a.png")).await.unwrap().stored().draws.len(), 2);
    picture.store_certificate("{}").await.unwrap();
    let stored = run.picture(picture_spec("a.png")).await.unwrap().stored().clone();
    assert!(stored.redacted && stored.draws.len() == 1 && stored.draws[&1].outcome.reason() == Some(""));
    drop((picture, run));
    // Closed: the write-ahead log is folded in and gone.
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            let found = |word: &[u8]| bytes.windows(word.len()).any(|w| w == word);
            assert!(!found(b"very private"), "{}", path.display());
        }
    }
}

#[tokio::test]
async fn one_record_after_the_other_is_not_kept_waiting() {
    let (folder, options) = folder();
    let options = Options { commit_every: Duration::from_millis(50), ..options };
    let ledger = open(&folder, &options);
    let run = begin(&ledger, run_spec(0.25)).await;
    let begun = std::time::Instant::now();
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    for draw in 0..100 {
        picture.open(&attempt(draw)).await.unwrap();
    }
    // Each on its own, with the distance kept, would take five seconds.
    assert!(begun.elapsed() < Duration::from_millis(2500), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn certificates_that_share_a_commit_are_on_record_when_they_are_acknowledged() {
    let (folder, options) = folder();
    let options = Options { commit_every: Duration::from_millis(50), ..options };
    let ledger = open(&folder, &options);
    let run = begin(&ledger, run_spec(0.25)).await;
    for round in 0..8 {
        let stored = (0..16).map(|n| {
            let run = run.clone();
            async move {
                let picture = run.picture(picture_spec(&format!("{round}/{n}"))).await.unwrap();
                picture.store_certificate("{}").await.unwrap();
                assert!(run.latest(&round.to_string()).unwrap().unwrap().certificate.is_some());
            }
        });
        futures::future::join_all(stored).await;
    }
    let waiting = run.picture(picture_spec("last")).await.unwrap();
    let other = run.picture(picture_spec("last but one")).await.unwrap();
    // Nobody is there any more when they are on the disk.
    let both = futures::future::join(waiting.store_certificate("{}"), other.store_certificate("{}"));
    let _ = tokio::time::timeout(Duration::ZERO, both).await;
    drop((waiting, other, run, ledger));
    assert!(!folder.path().join("ledger.db-wal").exists(), "closing folds the log in");
}
