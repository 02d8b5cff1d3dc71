//! The keys as a server holds them: from the file, and again from the file when it changes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use smoothgate_providers::credentials::aws::sigv4::{self, Received, SignatureError, Verifier};
use smoothgate_providers::credentials::{Environment, SecretSource};
use smoothgate_providers::served::Presented;

use super::rate::Meter;
use super::replay::{Seen, Verdict};
use super::{Denied, KeyFile, KeyId, Master, Proof, Record, State, StoreError, TokenHash};
use crate::front::Watched;

/// How far a signed request's time may be from the server's: as AWS itself allows.
const SKEW: Duration = Duration::from_mins(5);

/// The keys of a server.
#[derive(Debug)]
pub struct Keyring {
    path: PathBuf,
    /// Where the master may be found later.
    later: Option<SecretSource>,
    watched: Watched,
    table: RwLock<Arc<Table>>,
    seen: Seen,
}

/// What is in force: the keys, and the master that the pairs among them need.
#[derive(Debug, Default)]
struct Table {
    keys: HashMap<KeyId, Held>,
    master: Option<Master>,
}

/// A key with what is left of its rate.
#[derive(Debug)]
struct Held {
    record: Record,
    meter: Option<Arc<Meter>>,
}

impl Keyring {
    /// Reads the keys at `path`. `master` is needed where AWS pairs are among them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(path: &Path, master: Option<Master>) -> Result<Self, StoreError> {
        let watched = Watched::new([path.to_owned()]);
        let file = KeyFile::read(path)?;
        check_master(&file, path, master.as_ref())?;
        let table = table(file.keys().iter(), master, &Table::default());
        Ok(Self {
            path: path.to_owned(),
            later: None,
            watched,
            table: RwLock::new(Arc::new(table)),
            seen: Seen::default(),
        })
    }

    /// Looks for the master there once pairs need one: the first of them may be made while the server runs.
    #[must_use]
    pub fn finding_master(self, source: SecretSource) -> Self {
        let mut paths = vec![self.path.clone()];
        if let SecretSource::File(path) = &source {
            paths.push(path.clone());
        }
        let watched = Watched::new(paths);
        // Whatever has changed since the keys were read.
        watched.unsettle();
        Self { watched, later: Some(source), ..self }
    }

    /// Reads the keys again; for a signal. What is left of the keys' rates stays. Where the file cannot be used the
    /// former keys stay in force, and it is tried again at the next look. AWS pairs whose master is not there are left out,
    /// and an error is logged: all other keys are as the file has them, revoked ones above all.
    ///
    /// # Errors
    /// [`StoreError`] of the file.
    pub fn reload(&self) -> Result<(), StoreError> {
        self.watched.settle();
        let file = KeyFile::read(&self.path).inspect_err(|_| self.watched.unsettle())?;
        let mut held = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let found = self.master(&file, held.master.as_ref());
        let with_pairs = found.is_ok();
        let master = found.unwrap_or_else(|error| {
            tracing::error!(%error, "AWS pairs are refused until that is mended; all other keys are as the file has them");
            if self.later.is_some() {
                // That it can be read again may show in nothing that is looked at.
                self.watched.unsettle();
            }
            held.master.clone()
        });
        let keys = file.keys().iter().filter(|key| with_pairs || key.proof != Proof::Aws);
        let table = table(keys, master, &held);
        *held = Arc::new(table);
        Ok(())
    }

    /// The master of the pairs in `file`: the one that is to be found now, or the one from before.
    fn master(&self, file: &KeyFile, before: Option<&Master>) -> Result<Option<Master>, StoreError> {
        let source = self.later.as_ref().filter(|_| file.needs_master());
        let master = match source.map(|source| Master::read(source, &Environment::process())) {
            Some(Ok(found)) => Some(found),
            Some(Err(error)) if before.is_none() => return Err(error),
            _ => before.cloned(),
        };
        check_master(file, &self.path, master.as_ref())?;
        Ok(master)
    }

    /// How many keys are taken now.
    pub fn active(&self) -> usize {
        let now = SystemTime::now();
        self.table().keys.values().filter(|held| held.record.state(now) == State::Active).count()
    }

    /// The key called `id`, while it is in force.
    pub fn find(&self, id: KeyId, now: SystemTime) -> Option<Record> {
        let table = self.current();
        table.keys.get(&id).and_then(|held| in_force(held, now).ok()).cloned()
    }

    /// Looks at a credential before the request's body is there: a token is checked, of a signature the key that it
    /// names. Nothing is counted.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn greet(
        &self,
        presented: Option<&Presented>,
        headers: &HeaderMap,
        now: SystemTime,
    ) -> Result<(), Denied> {
        let table = self.current();
        if let Some(Presented::SigV4) = presented {
            let id = sigv4::claimed_key(headers)?;
            // Whether it is in force is said to whoever has its secret.
            return pair(&table, id).map(drop).ok_or(SignatureError::UnknownKey.into());
        }
        in_force(shown(&table, presented)?, now).map(drop)
    }

    /// Who calls. The credential is checked before anything is said of its key, and a request counts for the key's rate
    /// only where the key is in force.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn check(
        &self,
        presented: Option<&Presented>,
        request: &Received<'_>,
        now: SystemTime,
    ) -> Result<Record, Denied> {
        let table = self.current();
        let held = match presented {
            Some(Presented::SigV4) => self.by_signature(&table, request, now)?,
            other => shown(&table, other)?,
        };
        let record = in_force(held, now)?;
        if let Some(meter) = &held.meter {
            let (id, rate) = (record.id, meter.rate());
            meter.take().map_err(|wait| Denied::OverRate { id, rate: rate.to_string(), wait })?;
        }
        Ok(record.clone())
    }

    fn by_signature<'t>(
        &self,
        table: &'t Table,
        request: &Received<'_>,
        now: SystemTime,
    ) -> Result<&'t Held, Denied> {
        // Pairs of ours have no session tokens: who sends one has the credentials of somewhere else.
        if request.headers.contains_key("x-amz-security-token") {
            return Err(SignatureError::UnknownKey.into());
        }
        let secret = |id: &str| Some(table.master.as_ref()?.secret(pair(table, id)?.record.id));
        let verifier = Verifier { service: "rekognition", skew: SKEW };
        let verified = verifier.verify(request, now, secret)?;
        match self.seen.arrive(verified.signature, now, verified.signed_at + SKEW) {
            Verdict::Fresh => pair(table, &verified.key_id).ok_or(SignatureError::UnknownKey.into()),
            Verdict::Replayed => Err(Denied::Replayed),
            Verdict::Full => Err(Denied::Crowded),
        }
    }

    /// The keys, read again before if the file has changed.
    fn current(&self) -> Arc<Table> {
        if self.watched.changed() {
            match self.reload() {
                Ok(()) => tracing::info!(keys = %self.path.display(), "the keys were read again"),
                Err(error) => {
                    tracing::error!(%error, "the keys that were in force stay so: the changed file cannot be used");
                }
            }
        }
        self.table()
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Can the pairs in a file be checked with this master?
fn check_master(file: &KeyFile, path: &Path, master: Option<&Master>) -> Result<(), StoreError> {
    match master {
        Some(master) => file.check_master(path, master),
        None if file.needs_master() => Err(StoreError::NoMaster { path: path.to_owned() }),
        None => Ok(()),
    }
}

/// The table of these keys. Those whose rate is as before keep what is left of it.
fn table<'k>(keys: impl Iterator<Item = &'k Record>, master: Option<Master>, before: &Table) -> Table {
    let held = |record: &Record| {
        let meter = record.rate.map(|rate| {
            let kept = before.keys.get(&record.id).and_then(|held| held.meter.as_ref());
            let kept = kept.filter(|meter| meter.rate() == rate).map(Arc::clone);
            kept.unwrap_or_else(|| Arc::new(Meter::new(rate)))
        });
        (record.id, Held { record: record.clone(), meter })
    };
    Table { keys: keys.map(held).collect(), master }
}

/// The key of a credential that is shown as it is.
///
/// The hash is computed whether or not the id is known, and compared in constant time; an id is no secret.
fn shown<'t>(table: &'t Table, presented: Option<&Presented>) -> Result<&'t Held, Denied> {
    let (token, bearer) = match presented {
        Some(Presented::Key(token)) => (token, false),
        Some(Presented::Bearer(token)) => (token, true),
        None | Some(Presented::SigV4) => return Err(Denied::Missing),
    };
    let held = TokenHash::presented(token).and_then(|(id, hash)| {
        let held = table.keys.get(&id)?;
        matches!(&held.record.proof, Proof::Token(kept) if kept.is(&hash)).then_some(held)
    });
    held.ok_or(Denied::Unknown { bearer })
}

/// The pair that an AWS client names.
fn pair<'t>(table: &'t Table, id: &str) -> Option<&'t Held> {
    let held = table.keys.get(&KeyId::from_aws(id)?)?;
    (held.record.proof == Proof::Aws).then_some(held)
}

fn in_force(held: &Held, now: SystemTime) -> Result<&Record, Denied> {
    let record = &held.record;
    match record.state(now) {
        State::Active => Ok(record),
        State::Revoked(at) => Err(Denied::Revoked { id: record.id, at }),
        State::Expired(at) => Err(Denied::Expired { id: record.id, at }),
    }
}
