//! Disks that fill up, files that cannot be written, pages that rot: a clear error, and nothing lost.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use rusqlite::Connection;
use smoothgate_providers::{Billed, Journal as _};

use super::super::Reader;
use super::*;

/// A command that runs the test `name` of this file in a process of its own, told so by the folder it may use.
fn child(name: &str, folder: &Path, wrap: Option<&str>) -> Command {
    let exe = std::env::current_exe().unwrap();
    let test = format!("{}::{name}", module_path!().split_once("::").unwrap().1);
    let mut command = match wrap {
        None => Command::new(exe),
        Some(script) => {
            let mut shell = Command::new("unshare");
            shell.args(["--map-root-user", "--mount", "sh", "-ec", script]).arg(exe);
            shell
        }
    };
    command.args(["--exact", &test, "--nocapture"]).env("SMOOTHGATE_TEST_FOLDER", folder);
    command
}

/// The folder, in a process started by [`child`].
fn given_folder() -> Option<std::path::PathBuf> {
    std::env::var_os("SMOOTHGATE_TEST_FOLDER").map(Into::into)
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_loses_no_answer_and_opens_no_call() {
    let folder = tempfile::tempdir().unwrap();
    // A disk of 12 MiB in a mount namespace of our own. Exit code 77: this system does not let us have one.
    let script = "mount -t tmpfs -o size=12m none \"$SMOOTHGATE_TEST_FOLDER\" || exit 77; exec \"$0\" \"$@\"";
    match child("on_a_small_disk", folder.path(), Some(script)).output() {
        Ok(ended) if ended.status.success() => {
            assert!(String::from_utf8_lossy(&ended.stdout).contains("1 passed"));
        }
        Ok(ended)
            if ended.status.code() == Some(77)
                || String::from_utf8_lossy(&ended.stderr).contains("unshare") =>
        {
            eprintln!("SKIPPED: no mount namespace here: {}", String::from_utf8_lossy(&ended.stderr));
        }
        Ok(ended) => {
            panic!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr))
        }
        Err(error) => eprintln!("SKIPPED: no `unshare` here: {error}"),
    }
}

/// The test above, on a disk that can be filled up; does nothing elsewhere.
#[tokio::test]
async fn on_a_small_disk() {
    let Some(folder) = given_folder() else { return };
    for reserve in [4 << 20, 0] {
        let path = folder.join(format!("ledger-{reserve}.db"));
        let ledger = Ledger::open(&path, &Options { reserve, ..Options::default() }).unwrap();
        let run = begin(&ledger, run_spec(0.25)).await;
        let mut picture = run.picture(picture_spec("a.png")).await.unwrap();
        call(&picture, 0, &answered("cat"), Billed::Yes).await;
        let mut in_flight = Vec::new();
        for draw in 1..65 {
            in_flight.push((draw, picture.open(&attempt(draw)).await.unwrap()));
        }
        let filler = folder.join("filler");
        let full = fill(&filler);
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);

        let mut kept = vec![0];
        for (draw, id) in in_flight {
            kept.push(draw);
            if let Err(error) = close(&picture, id, &answered("dog"), Some(200), Billed::Yes).await {
                assert!(matches!(cause(error), LedgerError::Full { .. }));
            }
        }
        if let Err(error) = picture.recorded().await {
            assert!(matches!(error, LedgerError::Full { .. }), "{error}");
            assert_eq!(reserve, 0, "an answer in flight was lost although space was kept back for it");
            kept = vec![0];
        }
        let mut refused = 0;
        for draw in 100..200 {
            match picture.open(&attempt(draw)).await {
                Ok(id) => close(&picture, id, &transient(), None, Billed::No).await.unwrap_or_default(),
                Err(error) => {
                    let text = error.to_string();
                    assert!(matches!(cause(error), LedgerError::Full { .. }), "{text}");
                    assert!(text.contains("no space left") && text.contains("resume"), "{text}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 0);

        // With space again, the same process continues; a picture of which something was lost, from what is on record.
        std::fs::remove_file(&filler).unwrap();
        if picture.recorded().await.is_err() {
            picture = run.picture(picture_spec("a.png")).await.unwrap();
        }
        call(&picture, 300, &answered("cat"), Billed::Yes).await;
        kept.push(300);
        drop((picture, run, ledger));
        Reader::open(&path)
            .unwrap()
            .stored(super::super::RunId(1), |_, _, _, stored| {
                assert!(kept.iter().all(|draw| stored.draws.contains_key(draw)));
            })
            .unwrap();
    }
}

/// Writes until nothing more goes in.
fn fill(path: &Path) -> std::io::Error {
    let mut file = std::fs::File::create(path).unwrap();
    for size in [1 << 16, 1 << 12, 1 << 9, 1] {
        let block = vec![1; size];
        while file.write(&block).is_ok_and(|n| n > 0) {}
    }
    file.write_all(&[1; 4096]).unwrap_err()
}

/// The user that owns the files this process makes.
#[cfg(unix)]
fn user(folder: &Path) -> u32 {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(folder).unwrap())
}

#[test]
#[cfg(unix)]
fn a_ledger_that_cannot_be_written_is_refused_and_can_be_read() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    let (folder, options) = folder();
    {
        let ledger = open(&folder, &options);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(begin(&ledger, run_spec(0.25)));
    }
    let mode =
        |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(&folder.path().join("ledger.db"), 0o444);
    mode(folder.path(), 0o555);
    let mut command = child("in_a_read_only_folder", folder.path(), None);
    if user(folder.path()) == 0 {
        // Permissions do not bind root: look on as nobody.
        command.uid(65534);
    }
    match command.output() {
        Ok(ended) => assert!(
            ended.status.success(),
            "{}{}",
            String::from_utf8_lossy(&ended.stdout),
            String::from_utf8_lossy(&ended.stderr)
        ),
        Err(error) => eprintln!("SKIPPED: nobody cannot start this test: {error}"),
    }
    mode(folder.path(), 0o755);
}

/// The test above, without the right to write; does nothing elsewhere.
#[test]
fn in_a_read_only_folder() {
    let Some(folder) = given_folder() else { return };
    let path = folder.join("ledger.db");
    let error = Ledger::open(&path, &Options::default()).unwrap_err();
    assert!(matches!(error, LedgerError::ReadOnly { .. }), "{error}");
    assert!(error.to_string().contains("writable"), "{error}");
    assert_eq!(Reader::open(&path).unwrap().runs().unwrap().len(), 1);
    let new = Ledger::open(folder.join("new.db"), &Options::default()).unwrap_err();
    assert!(matches!(new, LedgerError::ReadOnly { .. }), "{new}");
}

#[test]
fn an_impossible_place_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    // A folder below a file; a folder in place of the file.
    for path in [file.join("ledger.db"), folder.path().to_owned()] {
        let error = Ledger::open(&path, &Options::default()).unwrap_err();
        assert!(matches!(error, LedgerError::CannotOpen { .. }), "{error}");
        assert!(error.to_string().contains("--ledger PATH"), "{error}");
    }
}

/// A ledger with two pictures and a few hundred answers, closed.
fn filled(folder: &TempDir, options: &Options) -> std::path::PathBuf {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let ledger = open(folder, options);
        let run = begin(&ledger, run_spec(0.25)).await;
        for name in ["a.png", "b.png"] {
            let picture = run.picture(picture_spec(name)).await.unwrap();
            let calls = (0..200).map(|draw| {
                let picture = &picture;
                async move { call(picture, draw, &answered(&format!("{name} {draw}")), Billed::Yes).await }
            });
            futures::future::join_all(calls).await;
        }
        ledger.path().to_owned()
    })
}

#[test]
fn a_damaged_page_is_found_before_anything_is_paid() {
    let (folder, options) = folder();
    let path = filled(&folder, &options);
    let sound = std::fs::read(&path).unwrap();
    // The page that holds most of the answers: its list of cells is overwritten.
    let page = sound.windows(8).position(|w| w == b"a.png 50").unwrap() / 4096;
    let mut bytes = sound.clone();
    bytes[page * 4096 + 8..page * 4096 + 200].fill(0xAA);
    std::fs::write(&path, &bytes).unwrap();
    let error = Ledger::open(&path, &options).unwrap_err();
    assert!(matches!(error, LedgerError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains(".recover"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    std::fs::write(&path, &sound).unwrap();
    Ledger::open(&path, &options).unwrap();
}

#[tokio::test]
async fn a_flipped_bit_in_an_answer_is_found_and_harms_no_other_picture() {
    let (folder, options) = folder();
    let path = tokio::task::spawn_blocking({
        let options = options.clone();
        move || (filled(&folder, &options), folder)
    });
    let (path, _folder) = path.await.unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    // In every page: one that was split keeps a copy that nobody reads.
    let found: Vec<usize> =
        bytes.windows(8).enumerate().filter(|(_, w)| w == b"a.png 50").map(|(at, _)| at).collect();
    for at in found {
        bytes[at] ^= 1;
    }
    std::fs::write(&path, &bytes).unwrap();
    // No structure is hurt, so only the answer's own check can tell.
    let ledger = Ledger::open(&path, &options).unwrap();
    let run = begin(&ledger, run_spec(0.25)).await;
    let (a, b) = tokio::join!(run.picture(picture_spec("a.png")), run.picture(picture_spec("b.png")));
    let error = a.unwrap_err();
    assert!(
        matches!(&error, LedgerError::Corrupt { problem, .. } if problem.contains("checksum")),
        "{error}"
    );
    assert_eq!(b.unwrap().stored().draws.len(), 200);
}

#[tokio::test]
async fn a_ledger_locked_for_too_long_says_so_and_loses_nothing() {
    let (folder, options) = folder();
    let ledger = open(&folder, &Options { busy: Duration::from_millis(50), ..options });
    let run = begin(&ledger, run_spec(0.25)).await;
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    call(&picture, 0, &answered("cat"), Billed::Yes).await;
    picture.recorded().await.unwrap();
    let other = Connection::open(ledger.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = cause(picture.open(&attempt(1)).await.unwrap_err());
    assert!(matches!(error, LedgerError::Busy { .. }) && error.may_retry(), "{error}");
    other.execute_batch("COMMIT").unwrap();
    // What a call brings meanwhile waits for as long as it takes.
    let id = picture.open(&attempt(1)).await.unwrap();
    let failed = picture.open(&attempt(2)).await.unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    close(&picture, id, &answered("cat"), Some(200), Billed::Yes).await.unwrap();
    close(&picture, failed, &transient(), Some(503), Billed::No).await.unwrap();
    let settled = ended(2, &transient());
    let release = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        for _ in 0..2 {
            assert!(matches!(cause(picture.open(&attempt(3)).await.unwrap_err()), LedgerError::Busy { .. }));
            assert!(matches!(run.spend().await, Err(LedgerError::Busy { .. })));
        }
        other.execute_batch("COMMIT").unwrap();
    };
    let (settled, certified, ()) =
        tokio::join!(picture.settle(Some(2), &settled), picture.store_certificate("{}"), release);
    assert!(settled.is_ok() && certified.is_ok(), "{settled:?} {certified:?}");
    let stored = run.picture(picture_spec("a.png")).await.unwrap().stored().clone();
    assert_eq!(stored.draws.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
    assert!(stored.certificate.is_some());
    assert_eq!(run.spend().await.unwrap().calls, 3);
}

/// Nobody waits for ever for a process to end: what is kept is tried once more.
#[tokio::test]
async fn what_waits_for_a_locked_ledger_is_tried_once_more_at_the_end() {
    for released in [true, false] {
        let (folder, options) = folder();
        let options = Options { busy: Duration::from_secs(2), ..options };
        let ledger = open(&folder, &options);
        let run = begin(&ledger, run_spec(0.25)).await;
        let picture = run.picture(picture_spec("a.png")).await.unwrap();
        let id = picture.open(&attempt(0)).await.unwrap();
        let other = Connection::open(ledger.path()).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        close(&picture, id, &answered("cat"), Some(200), Billed::Yes).await.unwrap();
        assert!(matches!(ledger.probe().await, Err(LedgerError::Busy { .. })));
        let other = if released {
            // While the writer tries.
            let later = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(50));
                other.execute_batch("COMMIT").unwrap();
                other
            });
            drop((picture, run, ledger));
            later.join().unwrap()
        } else {
            drop((picture, run, ledger));
            other.execute_batch("COMMIT").unwrap();
            other
        };
        drop(other);
        let run = begin(&open(&folder, &options), run_spec(0.25)).await;
        let again = run.picture(picture_spec("a.png")).await.unwrap();
        assert_eq!(again.stored().draws.contains_key(&0), released);
        assert_eq!(again.stored().unknown.contains(&0), !released);
    }
}

#[tokio::test]
async fn what_a_call_brought_is_handed_over_although_its_caller_is_dropped() {
    let (folder, options) = folder();
    let ledger = open(&folder, &Options { busy: Duration::from_secs(5), queue: 1, ..options });
    let run = begin(&ledger, run_spec(0.25)).await;
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    let id = picture.open(&attempt(0)).await.unwrap();
    let other = Connection::open(ledger.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // Takes the only place of those that wait.
    let mut waits = Box::pin(picture.recorded());
    assert!(futures::poll!(&mut waits).is_pending());
    let outcome = answered("cat");
    let _ = futures::poll!(Box::pin(close(&picture, id, &outcome, Some(200), Billed::Yes)));
    other.execute_batch("COMMIT").unwrap();
    waits.await.unwrap();
    assert!(run.picture(picture_spec("a.png")).await.unwrap().stored().draws.contains_key(&0));
}

#[tokio::test]
async fn nothing_is_paid_for_once_the_log_could_not_be_forced() {
    let (folder, options) = folder();
    let ledger = open(&folder, &options);
    let run = begin(&ledger, run_spec(0.25)).await;
    let picture = run.picture(picture_spec("a.png")).await.unwrap();
    let id = picture.open(&attempt(0)).await.unwrap();
    ledger.writer.log.failed.set("input/output error".to_owned()).unwrap();
    // No certificate could rest on what it brings.
    for refusal in [
        cause(picture.open(&attempt(1)).await.unwrap_err()),
        ledger.probe().await.unwrap_err(),
        picture.store_certificate("{}").await.unwrap_err(),
    ] {
        assert!(matches!(refusal, LedgerError::Storage { .. }), "{refusal}");
        assert!(refusal.to_string().contains("input/output error; see to the disk"), "{refusal}");
    }
    // What is out is on record all the same.
    close(&picture, id, &answered("cat"), Some(200), Billed::Yes).await.unwrap();
    picture.recorded().await.unwrap();
    assert!(run.picture(picture_spec("a.png")).await.unwrap().stored().draws.contains_key(&0));
}

#[tokio::test]
async fn everything_waiting_is_recorded_when_the_ledger_is_dropped() {
    let (folder, options) = folder();
    let picture = {
        let ledger = open(&folder, &options);
        let run = begin(&ledger, run_spec(0.25)).await;
        run.picture(picture_spec("a.png")).await.unwrap()
    };
    let mut ids = Vec::new();
    for draw in 0..50 {
        ids.push((draw, picture.open(&attempt(draw)).await.unwrap()));
    }
    for (_, id) in &ids {
        close(&picture, *id, &answered("cat"), Some(200), Billed::Yes).await.unwrap();
    }
    drop(picture);
    let run = begin(&open(&folder, &options), run_spec(0.25)).await;
    assert_eq!(run.picture(picture_spec("a.png")).await.unwrap().stored().draws.len(), 50);
}

#[test]
fn a_ledger_that_many_make_at_once_is_a_ledger_to_all_of_them() {
    for _ in 0..40 {
        let (folder, options) = folder();
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| drop(open(&folder, &options)));
            }
        });
    }
}
