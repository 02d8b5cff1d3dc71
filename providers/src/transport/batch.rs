//! Several asks in one call, for APIs that take several pictures.
//!
//! Asks that come within a short time, or while the call waits for the limiter, go together. Nobody in particular owns
//! the call: each of its asks drives it, so it goes on whichever of them is dropped, and ends when all are. Its steps:
//!
//! 1. *Gather*: linger, wait for permission, then close the list. Everything up to here leaves no trace if dropped.
//! 2. *Open*: each ask records its own attempt in its own journal. One that fails, or is dropped, or takes too long,
//!    stays behind, and the call goes without it.
//! 3. *Call*: one request, one reply, one outcome for each picture.
//! 4. *Close*: each ask records its own end. Only pictures that failed are asked again, alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use http::Request;
use tokio::sync::Notify;

use crate::credentials::Authorization;
use crate::{Billed, EncodedPicture, Outcome};

use super::breaker::Trip;
use super::endpoint::{Core, End, Refusal, authorize};

/// How long a call waits for the journals of its asks.
const JOURNAL_LONGEST: Duration = Duration::from_secs(10);

/// Brings asks together.
pub(super) struct Coalescer {
    core: Arc<Core>,
    most: usize,
    linger: Duration,
    /// The call that still takes pictures.
    open: Arc<Mutex<Weak<Flight>>>,
}

/// Where an ask has ended up.
pub(super) enum Joined {
    /// Pictures are not brought together here.
    Alone,
    /// These pictures do not fit into one request. Nothing was sent.
    Apart,
    /// In a call that has its permission.
    Seat(Seat),
}

/// One call on its way.
struct Flight {
    list: Arc<List>,
    gather: Shared<BoxFuture<'static, Gathered>>,
    call: Shared<BoxFuture<'static, Called>>,
}

/// The pictures of one call.
#[derive(Default)]
struct List {
    slots: Mutex<Slots>,
    full: Notify,
    /// An ask has opened its attempt or stays behind.
    settled: Notify,
}

#[derive(Default)]
struct Slots {
    all: Vec<Slot>,
    closed: bool,
    /// The request for all of the pictures, built to see that they go together.
    request: Option<Request<Bytes>>,
}

struct Slot {
    picture: EncodedPicture,
    state: SlotState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SlotState {
    Waiting,
    Opened,
    Behind,
}

#[derive(Clone)]
enum Gathered {
    Go(Arc<Authorization>),
    Apart,
    Refused(Refusal),
}

#[derive(Clone)]
enum Called {
    /// The end of each slot that went.
    Ends(Arc<Vec<Option<End>>>),
    /// Not sent.
    Stopped(Trip),
}

impl Coalescer {
    pub(super) fn new(core: Arc<Core>, most: usize, linger: Duration) -> Self {
        Self { core, most, linger, open: Arc::new(Mutex::new(Weak::new())) }
    }

    /// Waits until `picture` has a place in a call that has its permission.
    pub(super) async fn join(&self, picture: &EncodedPicture) -> Result<Joined, Refusal> {
        if self.most <= 1 {
            return Ok(Joined::Alone);
        }
        let mut seat = self.sit(picture);
        match seat.flight.gather.clone().await {
            Gathered::Go(used) => {
                seat.used = Some(used);
                Ok(Joined::Seat(seat))
            }
            Gathered::Apart => Ok(Joined::Apart),
            Gathered::Refused(refusal) => Err(refusal),
        }
    }

    fn sit(&self, picture: &EncodedPicture) -> Seat {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = open.upgrade()
            && let Some(index) = flight.list.add(&self.core, picture, self.most)
        {
            return Seat { flight, index, used: None };
        }
        let list = Arc::new(List::default());
        let index = list.add(&self.core, picture, self.most).unwrap_or_default(); // The first always fits.
        let gather = gather(Arc::clone(&self.core), Arc::clone(&list), self.linger).boxed().shared();
        let call = call(Arc::clone(&self.core), Arc::clone(&list), gather.clone()).boxed().shared();
        let flight = Arc::new(Flight { list, gather, call });
        *open = Arc::downgrade(&flight);
        Seat { flight, index, used: None }
    }
}

async fn gather(core: Arc<Core>, list: Arc<List>, linger: Duration) -> Gathered {
    tokio::select! {
        () = tokio::time::sleep(linger) => {}
        () = list.full.notified() => {}
    }
    let close = async {
        let pictures = list.close();
        core.limiter.pictures(pictures).await;
    };
    let used = match core.permission(close).await {
        Ok(used) => used,
        Err(refusal) => {
            list.close();
            return Gathered::Refused(refusal);
        }
    };
    let mut slots = list.lock();
    let pictures: Vec<_> = slots.all.iter().map(|slot| slot.picture.clone()).collect();
    match core.request(&pictures) {
        Ok(request) => {
            slots.request = Some(request);
            Gathered::Go(used)
        }
        Err(_) => Gathered::Apart, // Each of them finds out alone whether it is to blame.
    }
}

async fn call(core: Arc<Core>, list: Arc<List>, gather: Shared<BoxFuture<'static, Gathered>>) -> Called {
    let none = || Called::Ends(Arc::new(Vec::new()));
    let Gathered::Go(used) = gather.await else { return none() };
    // One ask must not hold up the others for ever.
    let _ = tokio::time::timeout(JOURNAL_LONGEST, list.all_settled()).await;
    let (going, pictures, whole) = list.depart();
    if going.is_empty() {
        return none();
    }
    if let Some(trip) = core.breaker.state() {
        return Called::Stopped(trip);
    }
    let request = whole.map_or_else(|| core.request(&pictures), Ok);
    let Some(request) = request.ok().and_then(|request| authorize(&used, request).ok()) else {
        return none();
    };
    let mut ends = vec![None; going.iter().max().map_or(0, |last| last + 1)];
    for (index, end) in going.iter().zip(core.exchange(request, going.len(), &used).await) {
        ends[*index] = Some(end);
    }
    Called::Ends(Arc::new(ends))
}

impl List {
    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index of `picture` here, `None` where there is no more room.
    fn add(&self, core: &Core, picture: &EncodedPicture, most: usize) -> Option<usize> {
        let mut slots = self.lock();
        let mut pictures: Vec<_> = slots.all.iter().map(|slot| slot.picture.clone()).collect();
        pictures.push(picture.clone());
        let fits =
            pictures.len() == 1 || (pictures.len() <= most && core.provider.fit(&pictures) == pictures.len());
        if slots.closed || !fits {
            // The next call takes it, so this one need not linger.
            self.full.notify_one();
            return None;
        }
        slots.all.push(Slot { picture: picture.clone(), state: SlotState::Waiting });
        if slots.all.len() >= most {
            self.full.notify_one();
        }
        Some(slots.all.len() - 1)
    }

    /// Takes no more pictures. Says how many are still wanted.
    fn close(&self) -> usize {
        let mut slots = self.lock();
        slots.closed = true;
        slots.all.iter().filter(|slot| slot.state != SlotState::Behind).count()
    }

    async fn all_settled(&self) {
        loop {
            let settled = self.settled.notified();
            if self.lock().all.iter().all(|slot| slot.state != SlotState::Waiting) {
                return;
            }
            settled.await;
        }
    }

    /// Leaves behind who is not ready. The indices and pictures that go, and their request if all go.
    fn depart(&self) -> (Vec<usize>, Vec<EncodedPicture>, Option<Request<Bytes>>) {
        let mut slots = self.lock();
        let (mut going, mut pictures) = (Vec::new(), Vec::new());
        for (index, slot) in slots.all.iter_mut().enumerate() {
            if slot.state == SlotState::Opened {
                going.push(index);
                pictures.push(slot.picture.clone());
            } else {
                slot.state = SlotState::Behind;
            }
        }
        let whole = slots.request.take().filter(|_| going.len() == slots.all.len());
        (going, pictures, whole)
    }

    /// Whether the slot still goes with the call.
    fn settle(&self, index: usize, state: SlotState) -> bool {
        let mut slots = self.lock();
        let goes = match slots.all.get_mut(index) {
            Some(slot) if slot.state == SlotState::Waiting => {
                slot.state = state;
                state == SlotState::Opened
            }
            _ => false,
        };
        drop(slots);
        self.settled.notify_one();
        goes
    }
}

/// A place in a call. Dropped before its attempt is opened, it stays behind.
pub(super) struct Seat {
    flight: Arc<Flight>,
    index: usize,
    used: Option<Arc<Authorization>>,
}

impl Seat {
    /// Goes with the call, now that the attempt is on record. `Err`: the breaker has opened and nothing was sent.
    pub(super) async fn end(self) -> Result<End, Trip> {
        let goes = self.flight.list.settle(self.index, SlotState::Opened);
        if goes {
            match self.flight.call.clone().await {
                Called::Stopped(trip) => return Err(trip),
                Called::Ends(ends) => {
                    if let Some(Some(end)) = ends.get(self.index) {
                        return Ok(end.clone());
                    }
                }
            }
        }
        Ok(End {
            outcome: Outcome::Transient {
                reason: "not sent: the call had to go without this picture".to_owned(),
            },
            status: None,
            billed: Billed::No,
            latency: Duration::ZERO,
            wait: None,
            company: 2,
            blamed_on_company: true,
            used: self.used.clone().unwrap_or_else(|| Arc::new(Authorization::none())),
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.flight.list.settle(self.index, SlotState::Behind);
    }
}
