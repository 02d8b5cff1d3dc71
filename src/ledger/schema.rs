//! Opening the database: whose file it is, which format it has, whether it is sound.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::{LedgerError, Options, Retention};

/// "smgl": marks the file as a ledger of this software.
pub(super) const APPLICATION_ID: i64 = 0x736D_676C;

/// The format this version writes.
pub(super) const FORMAT: i64 = MIGRATIONS.len() as i64;

/// `MIGRATIONS[n]` leads from format n to format n + 1, inside a transaction. Never changed once released, only added
/// to.
pub(super) const MIGRATIONS: &[fn(&Connection) -> rusqlite::Result<()>] =
    &[|db| db.execute_batch(include_str!("schema.sql")), digests, callers, answered];

/// Format 4: attempts carry what was sent, and an answered one settles its draw by itself. Draws that were given up have a
/// row of their own, no others.
fn answered(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch(
        "ALTER TABLE attempt ADD COLUMN bytes BLOB;
         UPDATE attempt SET bytes =
             (SELECT d.bytes FROM draw d WHERE d.picture = attempt.picture AND d.draw = attempt.draw);
         DELETE FROM draw WHERE class IS NULL;
         ALTER TABLE draw DROP COLUMN attempt;",
    )
}

/// Format 3: a picture may have been asked for by one of several callers, who has an account.
fn callers(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch("ALTER TABLE picture ADD COLUMN caller TEXT")
}

/// Format 2: certificates carry the BLAKE3 of their text, as answers always did.
fn digests(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch("ALTER TABLE certificate ADD COLUMN digest BLOB")?;
    let mut select = db.prepare("SELECT picture, text FROM certificate")?;
    let mut update = db.prepare("UPDATE certificate SET digest = ?2 WHERE picture = ?1")?;
    let mut rows = select.query([])?;
    let mut digests = Vec::new();
    while let Some(row) = rows.next()? {
        let (picture, text): (i64, String) = (row.get(0)?, row.get(1)?);
        digests.push((picture, *blake3::hash(text.as_bytes()).as_bytes()));
    }
    for digest in digests {
        update.execute(digest)?;
    }
    Ok(())
}

/// Opens the ledger for writing, creates it where there is none, brings an older format forward.
///
/// A file that is not ours, is damaged or comes from a later version is left byte for byte as it was.
pub(super) fn open(path: &Path, options: &Options) -> Result<Connection, LedgerError> {
    create(path)?;
    let fail = |e| LedgerError::from_sql(path, e);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags).map_err(fail)?;
    db.busy_timeout(options.busy).map_err(fail)?;
    keep_statements(&db).map_err(fail)?;
    identify(&db, path)?;
    if db.is_readonly("main").map_err(fail)? {
        return Err(LedgerError::ReadOnly { path: path.to_owned() });
    }
    check(&db, path, options.check_up_to)?;
    set_up(&mut db, path, options)?;
    Ok(db)
}

/// Statements are prepared once: not every time they get other values, since no plan here depends on those.
pub(super) fn keep_statements(db: &Connection) -> rusqlite::Result<()> {
    db.set_prepared_statement_cache_capacity(64);
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Creates the file, readable by its owner alone: answers about private pictures lie in it. `SQLite` gives its
/// companion files the same permissions.
fn create(path: &Path) -> Result<(), LedgerError> {
    let fail = |e: &io::Error| match e.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            LedgerError::ReadOnly { path: path.to_owned() }
        }
        io::ErrorKind::StorageFull => LedgerError::Full { path: path.to_owned() },
        _ => LedgerError::CannotOpen { path: path.to_owned(), problem: e.to_string() },
    };
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty() && !f.exists()) {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder).map_err(|e| fail(&e))?;
    }
    let mut file = OpenOptions::new();
    file.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
    file.open(path).map_err(|e| fail(&e))?;
    Ok(())
}

/// Whose file is it, and of which format? Reads only.
pub(super) fn identify(db: &Connection, path: &Path) -> Result<i64, LedgerError> {
    let fail = |e| LedgerError::from_sql(path, e);
    // One instant for all three: another process may be making the ledger just now.
    let instant = db.unchecked_transaction().map_err(fail)?;
    let number = |sql| instant.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(fail);
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    let format = number("PRAGMA user_version")?;
    let ours = number("PRAGMA application_id")? == APPLICATION_ID;
    instant.finish().map_err(fail)?;
    if !ours && (format != 0 || tables != 0) {
        return Err(LedgerError::NotALedger { path: path.to_owned() });
    }
    if format > FORMAT {
        return Err(LedgerError::Newer { path: path.to_owned(), found: format, known: FORMAT });
    }
    Ok(format)
}

/// Looks for damaged pages, in a ledger small enough for that to take no time.
fn check(db: &Connection, path: &Path, up_to: u64) -> Result<(), LedgerError> {
    if std::fs::metadata(path).is_ok_and(|m| m.len() > up_to) {
        return Ok(());
    }
    let finding: String = db
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|e| LedgerError::from_sql(path, e))?;
    if finding == "ok" {
        return Ok(());
    }
    Err(LedgerError::Corrupt { path: path.to_owned(), problem: finding.replace('\n', " ") })
}

fn set_up(db: &mut Connection, path: &Path, options: &Options) -> Result<(), LedgerError> {
    let fail = |e| LedgerError::from_sql(path, e);
    wal(db, path, options.busy)?;
    db.pragma_update(None, "foreign_keys", true).map_err(fail)?;
    // macOS: an fsync that does not stop at the drive's own cache. Elsewhere without effect.
    db.pragma_update(None, "fullfsync", true).map_err(fail)?;
    // Here, for what is made below, and for the names of the files themselves.
    db.pragma_update(None, "synchronous", "FULL").map_err(fail)?;
    if options.answers == Retention::UntilCertified {
        db.pragma_update(None, "secure_delete", true).map_err(fail)?;
    }
    migrate(db).map_err(fail)
}

/// Brings the format forward, in one transaction. Also the proof that the ledger can be written, before any call is
/// paid for.
fn migrate(db: &mut Connection) -> rusqlite::Result<()> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Read again under the write lock: another process may have been first.
    let format: i64 = tx.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    for migration in MIGRATIONS.iter().skip(usize::try_from(format).unwrap_or(0)) {
        migration(&tx)?;
    }
    if format < FORMAT {
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", FORMAT)?;
    }
    tx.execute(
        "INSERT INTO clock (id, latest_day) VALUES (1, 0) ON CONFLICT DO UPDATE SET latest_day = latest_day",
        [],
    )?;
    tx.commit()
}

/// Switches to write-ahead logging. `SQLite` does not wait for others at this step, so we do.
fn wal(db: &Connection, path: &Path, patience: Duration) -> Result<(), LedgerError> {
    let until = Instant::now() + patience;
    loop {
        match db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0)) {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                let problem = format!("its file system offers no write-ahead log (journal mode {mode})");
                return Err(LedgerError::CannotOpen { path: path.to_owned(), problem });
            }
            Err(e) => match LedgerError::from_sql(path, e) {
                LedgerError::Busy { .. } if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                error => return Err(error),
            },
        }
    }
}
