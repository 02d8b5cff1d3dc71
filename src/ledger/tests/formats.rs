//! Every older format is brought forward; a newer one and foreign files are left alone.

use std::path::PathBuf;

use rusqlite::Connection;
use smoothgate_providers::Billed;

use super::super::schema::{FORMAT, MIGRATIONS};
use super::super::{Reader, RunId};
use super::*;

/// A ledger of an older format, built by SQL.
fn old(folder: &TempDir, sql: &str) -> PathBuf {
    let path = folder.path().join("ledger.db");
    let db = Connection::open(&path).unwrap();
    db.execute_batch(sql).unwrap();
    path
}

#[tokio::test]
async fn every_older_format_is_brought_forward_and_the_run_continues() {
    for format in 1..FORMAT {
        brought_forward(format).await;
    }
}

async fn brought_forward(format: i64) {
    let (folder, options) = folder();
    let path = old(&folder, include_str!("format-1.sql"));
    {
        let db = Connection::open(&path).unwrap();
        for migration in &MIGRATIONS[1..usize::try_from(format).unwrap()] {
            migration(&db).unwrap();
        }
        db.pragma_update(None, "user_version", format).unwrap();
    }
    let read = Reader::open(&path);
    assert!(matches!(read, Err(LedgerError::Older { found, known: FORMAT, .. }) if found == format));

    let ledger = Ledger::open(&path, &options).unwrap();
    let run = ledger.begin_run(with_cap(Some(7), None), Begin::ContinueOrNew).await.unwrap();
    assert_eq!((run.id(), run.resumed(), run.in_flight_before()), (RunId(1), true, 1));
    let spend = run.spend().await.unwrap();
    assert_eq!((spend.calls, spend.billed, spend.unknown), (6, money("0.003"), money("0.002")));

    let a = run.picture(PictureSpec { seed: [0; 32], ..picture_spec("a.png") }).await.unwrap();
    let stored = a.stored();
    assert_eq!(a.seed(), &[7; 32]);
    assert_eq!(stored.clean.as_ref().map(|s| &s.outcome), Some(&answered("clean")));
    assert_eq!((&stored.draws[&0].outcome, &stored.draws[&1].outcome), (&answered("cat"), &transient()));
    assert_eq!(stored.unknown.iter().copied().collect::<Vec<_>>(), [2]);
    let b = run.picture(picture_spec("bb.png")).await.unwrap();
    assert_eq!(b.stored().draws[&0].outcome, Outcome::Answered(Answer::default()));
    assert_eq!(b.stored().certificate.as_deref(), Some("{\"radius\":0.5}"));

    call(&a, 2, &answered("cat"), Billed::Yes).await;
    assert!(matches!(
        smoothgate_providers::Journal::open(&a, &attempt(3)).await,
        Err(JournalError::Budget(_))
    ));
    // Now of the present format, for readers, too.
    assert_eq!(Reader::open(&path).unwrap().runs().unwrap().len(), 1);
}

#[test]
fn a_newer_format_is_refused_and_left_as_it_is() {
    let (folder, options) = folder();
    let path = open(&folder, &options).path().to_owned();
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = std::fs::read(&path).unwrap();
    for error in [Ledger::open(&path, &options).unwrap_err(), Reader::open(&path).unwrap_err()] {
        assert!(matches!(error, LedgerError::Newer { found: 99, known: FORMAT, .. }));
        let text = error.to_string();
        assert!(text.contains("update smoothgate") && text.contains("--ledger PATH"), "{text}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_ledger_that_is_brought_forward_by_a_later_version_while_in_use_is_written_no_more() {
    let (folder, options) = folder();
    let ledger = open(&folder, &options);
    let run = begin(&ledger, run_spec(0.25)).await;
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    call(&picture, 0, &answered("cat"), Billed::Yes).await;
    let later = Connection::open(ledger.path()).unwrap();
    later.pragma_update(None, "user_version", FORMAT + 1).unwrap();
    let refusal = smoothgate_providers::Journal::open(&picture, &attempt(1)).await.unwrap_err();
    assert!(matches!(cause(refusal), LedgerError::Newer { .. }));
    let attempts: i64 = later.query_row("SELECT count(*) FROM attempt", [], |row| row.get(0)).unwrap();
    assert_eq!(attempts, 1);
}

#[test]
fn foreign_files_are_refused_and_left_as_they_are() {
    let (folder, options) = folder();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "not a database, but longer than the header of one ".repeat(40)).unwrap();
    let foreign = folder.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (x); PRAGMA user_version = 1").unwrap();
    for path in [text, foreign] {
        let before = std::fs::read(&path).unwrap();
        for error in [Ledger::open(&path, &options).unwrap_err(), Reader::open(&path).unwrap_err()] {
            assert!(matches!(error, LedgerError::NotALedger { .. }), "{error}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}

#[test]
fn a_ledger_is_private() {
    let (folder, options) = folder();
    let path = folder.path().join("new/folders/ledger.db");
    let ledger = Ledger::open(&path, &options).unwrap();
    assert!(ledger.path().is_absolute());
    #[cfg(unix)]
    for (path, mode) in [(path.as_path(), 0o600), (path.parent().unwrap(), 0o700)] {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
    }
}
