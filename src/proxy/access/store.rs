//! The file of keys: read whole, replaced whole.
//!
//! It is JSON that `smoothgate keys` writes and people may read. Two writers wait for each other on a lock beside it; a
//! reader sees the file before a change or after it, never half. It holds no secret, but whoever can write it can let
//! themselves in, so a file that others can write is not taken.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use smoothgate_providers::credentials::CredentialError;

use super::{KeyId, Master, Record};

const FORMAT: u32 = 1;
/// Room for some twenty thousand keys.
const MAX_FILE: u64 = 16 << 20;

/// What is in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    format: u32,
    /// Names the master from which the secrets of the AWS pairs follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    master: Option<String>,
    keys: Vec<Record>,
}

impl Default for KeyFile {
    fn default() -> Self {
        Self { format: FORMAT, master: None, keys: vec![] }
    }
}

/// Why keys cannot be read or changed. The operator's to mend, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file cannot be read or written.
    #[error("cannot {what} `{}`: {source}", path.display())]
    File {
        /// `read`, `write`, `lock` or `make`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Not a file of keys.
    #[error("`{}` is no file of keys: {problem}. `smoothgate keys issue` makes one", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Others than its owner may write it.
    #[error("others can write `{}`, and with it let themselves in: run `chmod go-w` on it", .0.display())]
    Open(PathBuf),
    /// No key has this id.
    #[error("no key has the id {0}; `smoothgate keys list` shows all")]
    Unknown(KeyId),
    /// There is a key of this id already.
    #[error("there is a key with the id {0} already")]
    Twice(KeyId),
    /// A revoked key stays revoked.
    #[error("the key {0} is revoked, which cannot be undone: issue another")]
    Revoked(KeyId),
    /// The master is not where it is said to be.
    #[error("the master secret of the AWS pairs: {0}")]
    Credential(#[from] CredentialError),
    /// The master is too weak or broken.
    #[error(
        "{from} is no master secret: it must be 64 hexadecimal digits, as `openssl rand -hex 32` makes them"
    )]
    Master {
        /// Variable or file.
        from: String,
    },
    /// There are pairs and no master.
    #[error(
        "`{}` holds AWS key pairs, which cannot be checked without the master secret that they were made with: name it \
         with --master", path.display()
    )]
    NoMaster {
        /// The file of keys.
        path: PathBuf,
    },
    /// The pairs were made with another master.
    #[error(
        "the AWS pairs in `{}` were made with the master {expected}, and this one is {found}: all would be refused. Give \
         the former one, or revoke the pairs and issue others", path.display()
    )]
    OtherMaster {
        /// The file of keys.
        path: PathBuf,
        /// The master's id in the file.
        expected: String,
        /// The id of the one that was given.
        found: String,
    },
    /// The operating system gave no random bytes. May be retried.
    #[error("the operating system gave no random bytes: {0}")]
    Entropy(String),
}

impl KeyFile {
    /// Reads the file.
    ///
    /// # Errors
    /// [`StoreError`]; also where the file is not there.
    pub fn read(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::File { what: "read", path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            let metadata = file.metadata().map_err(failed)?;
            if metadata.is_file() && metadata.mode() & 0o022 != 0 {
                return Err(StoreError::Open(path.to_owned()));
            }
        }
        let mut text = String::new();
        let long = file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(failed)? as u64 > MAX_FILE;
        let bad = |problem: String| StoreError::Content { path: path.to_owned(), problem };
        if long {
            return Err(bad(format!("it has more than {MAX_FILE} bytes")));
        }
        let read: Self = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        if read.format != FORMAT {
            return Err(bad(format!("its format is {}, and this version knows {FORMAT}", read.format)));
        }
        let mut ids: Vec<KeyId> = read.keys.iter().map(|key| key.id).collect();
        ids.sort_unstable();
        if let Some((twice, _)) = ids.iter().zip(ids.iter().skip(1)).find(|(a, b)| a == b) {
            return Err(bad(format!("the key {twice} is in it twice")));
        }
        Ok(read)
    }

    /// Changes the file at `path`, which is made where there is none. No other process can change it meanwhile. An error
    /// of `change` leaves it as it was.
    ///
    /// # Errors
    /// [`StoreError`] of the file or of `change`.
    pub fn change<T>(
        path: &Path,
        change: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // Behind a symbolic link, the file itself is replaced and not the link.
        let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let beside = |end: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        };
        let lock_path = beside(".lock");
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::File { what, path, source }
        };
        let lock = private().write(true).create(true).truncate(false).open(&lock_path);
        let lock = lock.map_err(failed("lock", &lock_path))?;
        lock.lock().map_err(failed("lock", &lock_path))?;
        let mut file = match Self::read(path) {
            Err(StoreError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Self::default()
            }
            read => read?,
        };
        let before = file.clone();
        let done = change(&mut file)?;
        if file != before || !path.exists() {
            let text = serde_json::to_string_pretty(&file)
                .map_err(|error| StoreError::Content { path: path.clone(), problem: error.to_string() })?;
            let partial = beside(".partial");
            let replace = || {
                // What a killed writer left behind.
                let _ = fs::remove_file(&partial);
                let mut out = private().write(true).create_new(true).open(&partial)?;
                out.write_all(text.as_bytes())?;
                out.write_all(b"\n")?;
                keep_owner(path, &out)?;
                out.sync_all()?;
                fs::rename(&partial, path)?;
                // The rename, too, must outlast a power cut: a key that was revoked must not come back.
                #[cfg(unix)]
                if let Some(folder) = path.parent() {
                    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
                    File::open(folder)?.sync_all()?;
                }
                Ok(())
            };
            replace().map_err(failed("write", path))?;
        }
        Ok(done)
    }

    /// The keys, in the order in which they were made.
    pub fn keys(&self) -> &[Record] {
        &self.keys
    }

    /// The key called `id`.
    ///
    /// # Errors
    /// [`StoreError::Unknown`].
    pub fn key(&self, id: KeyId) -> Result<&Record, StoreError> {
        self.keys.iter().find(|key| key.id == id).ok_or(StoreError::Unknown(id))
    }

    /// The key called `id`, to be changed.
    ///
    /// # Errors
    /// [`StoreError::Unknown`].
    pub fn key_mut(&mut self, id: KeyId) -> Result<&mut Record, StoreError> {
        self.keys.iter_mut().find(|key| key.id == id).ok_or(StoreError::Unknown(id))
    }

    /// Adds a key.
    ///
    /// # Errors
    /// [`StoreError::Twice`].
    pub fn add(&mut self, key: Record) -> Result<(), StoreError> {
        if self.key(key.id).is_ok() {
            return Err(StoreError::Twice(key.id));
        }
        self.keys.push(key);
        Ok(())
    }

    /// Does it hold pairs for AWS, which need the master?
    pub fn needs_master(&self) -> bool {
        self.keys.iter().any(|key| key.proof == super::Proof::Aws && key.revoked.is_none())
    }

    /// Checks that the AWS pairs in the file at `path` were made with `master`.
    ///
    /// # Errors
    /// [`StoreError::OtherMaster`].
    pub fn check_master(&self, path: &Path, master: &Master) -> Result<(), StoreError> {
        match &self.master {
            Some(expected) if *expected != master.id() && self.needs_master() => {
                Err(StoreError::OtherMaster {
                    path: path.to_owned(),
                    expected: expected.clone(),
                    found: master.id(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Makes pairs with `master` from now on.
    ///
    /// # Errors
    /// As [`check_master`](Self::check_master).
    pub fn adopt(&mut self, path: &Path, master: &Master) -> Result<(), StoreError> {
        self.check_master(path, master)?;
        self.master = Some(master.id());
        Ok(())
    }
}

/// What is made is its owner's alone from the first instant.
fn private() -> OpenOptions {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "permissions are set on Unix only"))]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Gives a file that replaces the one at `path` the same owner and permissions: a server that runs as another user must
/// be able to read it still, or it would not see that a key was revoked.
#[cfg(unix)]
fn keep_owner(path: &Path, file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, fchown};
    let Ok(before) = fs::metadata(path) else { return Ok(()) };
    let now = file.metadata()?;
    if (before.uid(), before.gid()) != (now.uid(), now.gid()) {
        fchown(file, Some(before.uid()), Some(before.gid()))?;
    }
    file.set_permissions(before.permissions())
}

#[cfg(not(unix))]
fn keep_owner(_: &Path, _: &File) -> std::io::Result<()> {
    Ok(())
}
