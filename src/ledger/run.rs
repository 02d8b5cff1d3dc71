//! A run: one set of parameters over many pictures.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::Value;
use smoothgate_providers::{OutcomeClass, Price};

use super::accounts::Charge;
use super::attempts::price_is_enough;
use super::batch::Batch;
use super::clock::Day;
use super::filing::Place;
use super::job::Kind;
use super::lock::RunLock;
use super::queries::Reader;
use super::stems::Stems;
use super::writer::Writer;
use super::{Budgets, Caller, LedgerError, Picture, Retention, Spec, Spend, StoredPicture, runs, stored};

/// The number of a run in its ledger. Never used again, also after the run was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RunId(pub i64);

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a picture in its ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct PictureId(pub i64);

impl std::fmt::Display for PictureId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What a run is, and what it may spend.
#[derive(Clone, Debug)]
pub struct RunSpec {
    /// Every parameter that changes a certificate. Two runs with the same are the same run.
    pub parameters: Spec,
    /// What the command needs to start again besides: inputs, outputs, configuration. Taken anew at each start.
    pub arguments: Value,
    /// The provider instance that is charged, by its name in the configuration.
    pub instance: String,
    /// What one call costs.
    pub price: Price,
    /// What may be spent. Taken anew at each start, so a resume can raise it.
    pub budgets: Budgets,
    /// How many pictures are expected, for progress.
    pub pictures: Option<u64>,
}

impl RunSpec {
    /// The parameters in which `other` differs: what keeps it from continuing this run. Field by field, by name.
    pub fn difference(&self, other: &Self) -> Vec<super::Change> {
        self.parameters.difference(&other.parameters)
    }
}

/// Which run to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Continue the latest run with the same parameters, or begin one.
    ContinueOrNew,
    /// Begin a new run, whatever is on record: new seeds, new draws, paid anew.
    New,
    /// Continue this run; refused where a parameter changed.
    Continue(RunId),
}

/// One picture of a run.
#[derive(Clone, Debug)]
pub struct PictureSpec {
    /// Its name, unique in the run: how it is found again on a resume.
    pub name: String,
    /// Every parameter of this picture that changes its certificate: hash of the working image, working size, ...
    pub parameters: Spec,
    /// The seed of its draws if the picture is new to the run. On a resume the stored one stands.
    pub seed: [u8; 32],
}

/// A picture that a run knows, as far as it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its number.
    pub id: PictureId,
    /// Its name in the run.
    pub name: String,
    /// Attempts made at it.
    pub attempts: u64,
    /// Of these, attempts that were billed or may have been.
    pub billable: u64,
    /// Draws that are settled and will not be asked again, the clean answer among them.
    pub settled: u64,
    /// How asking about the picture as it is has ended, where it has.
    pub clean: Option<OutcomeClass>,
    /// Its certificate, and when that was stored.
    pub certificate: Option<(String, SystemTime)>,
}

/// A run that this process continues. No other process can while this, a picture of it or a record on its way exists.
///
/// Cloning is cheap.
#[derive(Clone)]
pub struct Run {
    pub(super) inner: Arc<RunInner>,
}

pub(super) struct RunInner {
    pub(super) lease: Arc<Lease>,
    pub(super) stems: Arc<Stems>,
    pub(super) resumed: bool,
    pub(super) in_flight: u64,
    pub(super) budgets: Budgets,
    pub(super) answers: Retention,
    pub(super) writer: Arc<Writer>,
}

/// The right to write records of a run. Records on their way share it. They must not share the writer: the thread that
/// drops the last of them would wait for itself.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) id: RunId,
    pub(super) instance: String,
    /// Never read: it holds until it is dropped.
    pub(super) _lock: RunLock,
}

impl Lease {
    /// What a call of this run on `day` is charged to.
    pub(super) fn charge(&self, day: Day) -> Charge<'_> {
        Charge { run: self.id.0, instance: &self.instance, day, caller: None }
    }
}

impl Run {
    /// The run's number.
    pub fn id(&self) -> RunId {
        self.inner.lease.id
    }

    /// The provider instance that is charged.
    pub fn instance(&self) -> &str {
        &self.inner.lease.instance
    }

    /// The same run under the budgets and arguments of `spec`, without an end in between: handles from before keep theirs.
    /// The instance that is charged stays.
    ///
    /// # Errors
    /// [`LedgerError::UnknownPrice`] where a cost is limited and the price is not known. Failures of the storage.
    pub async fn renew(&self, spec: RunSpec) -> Result<Self, LedgerError> {
        price_is_enough(self.instance(), spec.price, &spec.budgets)?;
        let (lease, budgets) = (Arc::clone(&self.inner.lease), spec.budgets);
        let spec = RunSpec { instance: lease.instance.clone(), ..spec };
        let restate = move |batch: &mut Batch<'_>| runs::restate(batch, lease.id, &spec);
        self.inner.writer.submit(Kind::Asks, restate).await?;
        Ok(Self {
            inner: Arc::new(RunInner {
                lease: Arc::clone(&self.inner.lease),
                stems: Arc::clone(&self.inner.stems),
                resumed: true,
                in_flight: 0,
                budgets,
                answers: self.inner.answers,
                writer: Arc::clone(&self.inner.writer),
            }),
        })
    }

    /// Was it on record before?
    pub fn resumed(&self) -> bool {
        self.inner.resumed
    }

    /// How many attempts were in flight when the run's last process ended. They count as spent.
    pub fn in_flight_before(&self) -> u64 {
        self.inner.in_flight
    }

    /// Finds a picture in the run, or adds it. Reports and exports list pictures in the order in which this was called.
    ///
    /// # Errors
    /// [`LedgerError::Changed`] where the run has a picture of that name with other parameters: the file changed.
    /// Failures of the storage.
    pub async fn picture(&self, spec: PictureSpec) -> Result<Picture, LedgerError> {
        self.picture_for(None, spec).await
    }

    /// The same on behalf of `caller`, whose account is charged too. A picture has one caller for ever; its cap is that
    /// of this time.
    ///
    /// # Errors
    /// As [`picture`](Self::picture); [`LedgerError::Changed`] also for the picture of another caller.
    pub async fn picture_for(
        &self,
        caller: Option<Caller>,
        spec: PictureSpec,
    ) -> Result<Picture, LedgerError> {
        let run = self.id();
        let named = caller.as_ref().map(|caller| caller.name.clone());
        // What was acknowledged is committed, so it is seen.
        let known = self.look(|reader| reader.picture(run, named.as_deref(), &spec))?;
        let (seed, stored) = match known {
            None => (spec.seed, None),
            Some((number, seed)) => {
                // In turn with all that is still on its way.
                let load = move |batch: &mut Batch<'_>| stored::load(batch.db, number);
                (seed, Some((number, self.inner.writer.submit(Kind::Asks, load).await?)))
            }
        };
        let place = self.place(caller, PictureSpec { seed, ..spec });
        let Some((number, stored)) = stored else {
            let picture = Picture::new(Arc::clone(&self.inner), place, StoredPicture::default());
            picture.file()?;
            return Ok(picture);
        };
        place.is_on_record(number);
        Ok(Picture::new(Arc::clone(&self.inner), place, stored))
    }

    /// A picture that is not in the run. It is put there by the first record about it; should it be there, with another
    /// seed, that record is refused.
    pub fn unknown_picture_for(&self, caller: Option<Caller>, spec: PictureSpec) -> Picture {
        Picture::new(Arc::clone(&self.inner), self.place(caller, spec), StoredPicture::default())
    }

    fn place(&self, caller: Option<Caller>, spec: PictureSpec) -> Place {
        self.inner.stems.add(&spec.name);
        Place::new(Arc::clone(&self.inner.lease), self.inner.budgets, caller, spec)
    }

    /// Looks at what is on record without waiting for a commit. On the thread of the caller: it is a few pages of indices,
    /// which mostly are in memory, and readers do not wait for the writer; handing it over would take longer.
    fn look<T>(&self, query: impl FnOnce(&Reader) -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        self.inner.writer.looker.look(query)
    }

    /// The picture that was added last among those whose names begin with `stem` and a slash: for whoever certifies the
    /// same file more than once, under names that differ in what follows their last slash, and in nothing else.
    /// The first time the names of all pictures of the run are read, which takes a second for some millions.
    ///
    /// # Errors
    /// Failures of the storage.
    pub fn latest(&self, stem: &str) -> Result<Option<Known>, LedgerError> {
        let names = |add: &mut dyn FnMut(&str)| self.look(|reader| reader.names(self.id(), add));
        if !self.inner.stems.may_hold(stem, names)? {
            return Ok(None);
        }
        self.look(|reader| reader.latest(self.id(), stem))
    }

    /// Returns when every certificate that a look finds is on the disk: one may be committed by another request and wait for
    /// that still.
    ///
    /// # Errors
    /// Failures of the storage.
    pub async fn published(&self) -> Result<(), LedgerError> {
        self.inner.writer.submit(Kind::Confirms, |_: &mut Batch<'_>| Ok(())).await
    }

    /// How many more calls at `price` its budgets admit at the moment; `None` where nothing limits them.
    ///
    /// # Errors
    /// Failures of the storage.
    pub async fn room(&self, price: Price) -> Result<Option<u64>, LedgerError> {
        let budgets = self.inner.budgets;
        if !budgets.limit() {
            return Ok(None);
        }
        let lease = Arc::clone(&self.inner.lease);
        let room = move |batch: &mut Batch<'_>| {
            let charge = lease.charge(batch.day);
            batch.accounts.room(batch.db, &charge, &budgets, price)
        };
        self.inner.writer.submit(Kind::Asks, room).await
    }

    /// What the run has spent so far, earlier processes included.
    ///
    /// # Errors
    /// Failures of the storage.
    pub async fn spend(&self) -> Result<Spend, LedgerError> {
        let run = self.inner.lease.id;
        self.inner.writer.submit(Kind::Asks, move |batch| runs::spend(batch, run)).await
    }

    /// Ends this process's work on the run: what is still in flight is recorded as unknown. `complete` marks the run as
    /// finished: every picture has its certificate. On the disk when this returns. Calls that are still to be closed
    /// must be closed before: later it is refused.
    ///
    /// A process that is killed before this loses nothing by it.
    ///
    /// # Errors
    /// Failures of the storage.
    pub async fn finish(self, complete: bool) -> Result<(), LedgerError> {
        let lease = Arc::clone(&self.inner.lease);
        let done = self
            .inner
            .writer
            .submit(Kind::Confirms, move |batch| runs::finish(batch, lease.id, &lease.instance, complete));
        done.await.map(drop)
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("lease", &self.inner.lease).finish_non_exhaustive()
    }
}
