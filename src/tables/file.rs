//! One file of the cache: a line that names the format, a line with the BLAKE3 of the rest, and the rest as JSON.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::stats::{Plan, Tables};

/// Name and version of the format. It changes with the builder too, so that better tables replace older ones.
const FORMAT: &str = "smoothgate tables 2";

/// No file is larger than this: two-class tables of the longest tests take a few megabytes.
const MOST_BYTES: u64 = 64 << 20;

/// What is wrong with a file that is there. It is rebuilt; nobody needs to act.
#[derive(Debug, Error)]
pub(super) enum Fault {
    /// It cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is no regular file, or too large.
    #[error("it is no file of {MOST_BYTES} bytes or less")]
    NoFile,
    /// It was cut, changed, or is another format.
    #[error("it is not as it was written")]
    Changed,
    /// It is whole, but no tables.
    #[error("it does not hold tables: {0}")]
    Json(#[from] serde_json::Error),
    /// It is about another plan: a forgery, since names are hashes of plans.
    #[error("it was written for another plan")]
    OtherPlan,
}

#[derive(Serialize)]
struct Written<'a> {
    plan: &'a Plan,
    tables: &'a Tables,
}

#[derive(Deserialize)]
struct Stored {
    plan: Plan,
    tables: Tables,
}

/// Where the tables of a plan lie.
pub(super) fn path(folder: &Path, plan: &Plan) -> io::Result<PathBuf> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(FORMAT.as_bytes()).update(b"\n").update(&serde_json::to_vec(plan)?);
    Ok(folder.join(format!("{}.tables", hasher.finalize().to_hex())))
}

/// The tables that are kept for a plan, not checked yet; `None` if there are none.
pub(super) fn read(folder: &Path, plan: &Plan) -> Result<Option<Tables>, Fault> {
    let path = path(folder, plan)?;
    // Asked before it is opened: opening a pipe would wait for its writer.
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
        Ok(about) if about.is_file() && about.len() <= MOST_BYTES => {}
        Ok(_) => return Err(Fault::NoFile),
    }
    let mut bytes = Vec::new();
    File::open(&path)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
    let body = body(&bytes).ok_or(Fault::Changed)?;
    let stored: Stored = serde_json::from_slice(body)?;
    if stored.plan == *plan { Ok(Some(stored.tables)) } else { Err(Fault::OtherPlan) }
}

/// The JSON of a file, if the file is as it was written.
fn body(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(FORMAT.as_bytes())?.strip_prefix(b"\n")?;
    let (hash, rest) = rest.split_at_checked(2 * blake3::OUT_LEN)?;
    let body = rest.strip_prefix(b"\n")?;
    let hash = blake3::Hash::from_hex(hash).ok()?;
    (blake3::hash(body) == hash).then_some(body)
}

/// Keeps the tables of a plan, in place of whatever was there.
pub(super) fn write(folder: &Path, plan: &Plan, tables: &Tables) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let body = serde_json::to_vec(&Written { plan, tables })?;
    let path = path(folder, plan)?;
    let partial = partial(&path);
    let written = File::create_new(&partial).and_then(|mut file| {
        writeln!(file, "{FORMAT}\n{}", blake3::hash(&body).to_hex())?;
        file.write_all(&body)?;
        // A file cut by a power failure is found out by its hash, so the disk need not be waited for.
        file.flush()
    });
    let renamed = written.and_then(|()| fs::rename(&partial, &path));
    renamed.inspect_err(|_| {
        // The first error says what happened; that this one cannot be removed either adds nothing.
        drop(fs::remove_file(&partial));
    })
}

/// A name that no other writer uses, in this process or another.
fn partial(path: &Path) -> PathBuf {
    static WRITERS: AtomicU64 = AtomicU64::new(0);
    let (process, writer) = (std::process::id(), WRITERS.fetch_add(1, Relaxed));
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_nanos());
    path.with_extension(format!("{process}-{writer}-{now}.partial"))
}
