//! The keys as a server holds them: from the file, and again from the file when it changes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use smoothgate_providers::credentials::aws::sigv4::{self, Received, SignatureError, Verifier};
use smoothgate_providers::served::Presented;

use super::rate::Meter;
use super::replay::{Seen, Verdict};
use super::{Denied, KeyFile, KeyId, Master, Proof, Record, State, StoreError, TokenHash};
use crate::front::Watched;

/// How far a signed request's time may be from the server's: as AWS itself allows.
const SKEW: Duration = Duration::from_secs(300);

/// The keys of a server.
#[derive(Debug)]
pub struct Keyring {
    path: PathBuf,
    master: Option<Master>,
    watched: Watched,
    table: RwLock<Arc<Table>>,
    seen: Seen,
}

type Table = HashMap<KeyId, Held>;

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
        let table = table(&KeyFile::read(path)?, path, master.as_ref(), &Table::new())?;
        Ok(Self {
            path: path.to_owned(),
            master,
            watched,
            table: RwLock::new(Arc::new(table)),
            seen: Seen::default(),
        })
    }

    /// Reads the keys again; for a signal. What is left of the keys' rates stays. Where the file cannot be used the
    /// former keys stay in force.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn reload(&self) -> Result<(), StoreError> {
        self.watched.settle();
        let file = KeyFile::read(&self.path)?;
        let mut held = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let table = table(&file, &self.path, self.master.as_ref(), &held)?;
        *held = Arc::new(table);
        Ok(())
    }

    /// How many keys are taken now.
    pub fn active(&self) -> usize {
        let now = SystemTime::now();
        self.table().values().filter(|held| held.record.state(now) == State::Active).count()
    }

    /// The key called `id`, while it is in force.
    pub fn find(&self, id: KeyId, now: SystemTime) -> Option<Record> {
        let table = self.current();
        table.get(&id).and_then(|held| in_force(held, now).ok()).cloned()
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
        let secret = |id: &str| Some(self.master.as_ref()?.secret(pair(table, id)?.record.id));
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

/// The table of a file. Keys whose rate is as before keep what is left of it.
fn table(file: &KeyFile, path: &Path, master: Option<&Master>, before: &Table) -> Result<Table, StoreError> {
    match master {
        Some(master) => file.check_master(path, master)?,
        None if file.needs_master() => return Err(StoreError::NoMaster { path: path.to_owned() }),
        None => {}
    }
    let held = |record: &Record| {
        let meter = record.rate.map(|rate| {
            let kept = before.get(&record.id).and_then(|held| held.meter.as_ref());
            let kept = kept.filter(|meter| meter.rate() == rate).map(Arc::clone);
            kept.unwrap_or_else(|| Arc::new(Meter::new(rate)))
        });
        (record.id, Held { record: record.clone(), meter })
    };
    Ok(file.keys().iter().map(held).collect())
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
        let held = table.get(&id)?;
        matches!(&held.record.proof, Proof::Token(kept) if kept.is(&hash)).then_some(held)
    });
    held.ok_or(Denied::Unknown { bearer })
}

/// The pair that an AWS client names.
fn pair<'t>(table: &'t Table, id: &str) -> Option<&'t Held> {
    let held = table.get(&KeyId::from_aws(id)?)?;
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
