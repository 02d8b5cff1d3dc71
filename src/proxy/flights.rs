//! Identical requests at the same time share one certificate.
//!
//! A certificate is made by a task of its own. Whoever wants it holds a seat; when the last seat is given up the task is
//! told to stop: it sends nothing more, waits for the calls that are out, records them and ends. Whoever comes for the same
//! certificate while that lasts waits until it has ended, and then goes on from the record. So no draw is asked twice.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use crate::engine::Stop;

/// Work in progress by what it is about.
pub(super) struct Flights<K: Eq + Hash, T> {
    open: Mutex<Open<K, T>>,
}

struct Open<K, T> {
    by_key: HashMap<K, Flight<T>>,
    serial: u64,
    tasks: JoinSet<()>,
}

struct Flight<T> {
    serial: u64,
    seats: usize,
    stop: Stop,
    /// Everybody has left: it is ending.
    left: bool,
    done: watch::Receiver<Option<T>>,
}

/// What came of a flight, and whether somebody else had begun it.
pub(super) struct Landed<T> {
    pub(super) result: T,
    pub(super) shared: bool,
}

impl<K, T> Flights<K, T>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    T: Clone + Send + Sync + 'static,
{
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { open: Mutex::new(Open { by_key: HashMap::new(), serial: 0, tasks: JoinSet::new() }) })
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.lock().by_key.len()
    }

    /// Tells all of them to stop.
    pub(super) fn stop_all(&self) {
        for flight in self.lock().by_key.values() {
            flight.stop.stop();
        }
    }

    /// Waits until all of them have ended. Those that begin meanwhile are not waited for.
    pub(super) async fn ended(&self) {
        let mut tasks = std::mem::take(&mut self.lock().tasks);
        while tasks.join_next().await.is_some() {}
    }

    /// Joins the work under `key`, or begins it with `work`. Dropping the future gives the seat up. `None` only if the task
    /// died, which is a defect.
    pub(super) async fn join<F, W>(self: &Arc<Self>, key: K, work: W) -> Option<Landed<T>>
    where
        W: FnOnce(Stop) -> F,
        F: Future<Output = T> + Send + 'static,
    {
        let mut work = Some(work);
        loop {
            let (seat, mut done, shared) = match self.board(&key, &mut work) {
                Boarded::Seat(seat, done, shared) => (seat, done, shared),
                Boarded::Left(mut done) => {
                    // Its end is not for us: what it leaves on record is.
                    let _ = done.wait_for(Option::is_some).await;
                    continue;
                }
            };
            let result = done.wait_for(Option::is_some).await.ok().and_then(|done| done.clone());
            drop(seat);
            return result.map(|result| Landed { result, shared });
        }
    }

    fn board<F, W>(self: &Arc<Self>, key: &K, work: &mut Option<W>) -> Boarded<K, T>
    where
        W: FnOnce(Stop) -> F,
        F: Future<Output = T> + Send + 'static,
    {
        let mut open = self.lock();
        if let Some(flight) = open.by_key.get_mut(key) {
            if flight.left {
                return Boarded::Left(flight.done.clone());
            }
            flight.seats += 1;
            let seat = Seat { flights: Arc::clone(self), key: key.clone(), serial: flight.serial };
            return Boarded::Seat(seat, flight.done.clone(), true);
        }
        let (tell, done) = watch::channel(None);
        let stop = Stop::default();
        open.serial += 1;
        let serial = open.serial;
        let flight = Flight { serial, seats: 1, stop: stop.clone(), left: false, done: done.clone() };
        open.by_key.insert(key.clone(), flight);
        let entry = Entry { flights: Arc::downgrade(self), key: key.clone(), serial };
        while open.tasks.try_join_next().is_some() {}
        if let Some(work) = work.take() {
            let work = work(stop);
            let fly = async move {
                let result = work.await;
                // First out of the way, then told: whoever comes now begins anew.
                drop(entry);
                tell.send_replace(Some(result));
            };
            // What it logs is filed under the request that began it.
            open.tasks.spawn(fly.in_current_span());
        }
        let seat = Seat { flights: Arc::clone(self), key: key.clone(), serial };
        Boarded::Seat(seat, done, false)
    }
}

impl<K: Eq + Hash, T> Flights<K, T> {
    fn lock(&self) -> MutexGuard<'_, Open<K, T>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Boarded<K: Eq + Hash, T> {
    Seat(Seat<K, T>, watch::Receiver<Option<T>>, bool),
    Left(watch::Receiver<Option<T>>),
}

/// Somebody waits.
struct Seat<K: Eq + Hash, T> {
    flights: Arc<Flights<K, T>>,
    key: K,
    serial: u64,
}

impl<K: Eq + Hash, T> Drop for Seat<K, T> {
    fn drop(&mut self) {
        let mut open = self.flights.lock();
        let flight = open.by_key.get_mut(&self.key).filter(|flight| flight.serial == self.serial);
        if let Some(flight) = flight {
            flight.seats -= 1;
            if flight.seats == 0 {
                flight.left = true;
                flight.stop.stop();
            }
        }
    }
}

/// The place of a task among those that are open. Also given up when the task dies.
struct Entry<K: Eq + Hash, T> {
    flights: Weak<Flights<K, T>>,
    key: K,
    serial: u64,
}

impl<K: Eq + Hash, T> Drop for Entry<K, T> {
    fn drop(&mut self) {
        let Some(flights) = self.flights.upgrade() else { return };
        let mut open = flights.lock();
        if open.by_key.get(&self.key).is_some_and(|flight| flight.serial == self.serial) {
            open.by_key.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use tokio::sync::Notify;

    use super::*;

    fn flights() -> Arc<Flights<u8, usize>> {
        Flights::new()
    }

    #[tokio::test]
    async fn whoever_comes_in_time_shares_and_whoever_comes_later_does_not() {
        let (flights, begun) = (flights(), Arc::new(AtomicUsize::new(0)));
        let go = Arc::new(Notify::new());
        let join = || {
            let (begun, go) = (Arc::clone(&begun), Arc::clone(&go));
            flights.join(1, move |_| async move {
                let number = begun.fetch_add(1, SeqCst);
                go.notified().await;
                number
            })
        };
        let (first, second) = (join(), join());
        let later = async {
            while flights.lock().by_key.get(&1).is_none_or(|flight| flight.seats < 2) {
                tokio::task::yield_now().await;
            }
            go.notify_one();
        };
        let (first, second, ()) = tokio::join!(first, second, later);
        let (first, second) = (first.unwrap(), second.unwrap());
        assert_eq!((first.result, first.shared, second.result, second.shared), (0, false, 0, true));
        go.notify_one();
        assert_eq!(join().await.unwrap().result, 1);
        assert_eq!(flights.len(), 0);
    }

    #[tokio::test]
    async fn it_stops_when_the_last_has_left_and_a_newcomer_waits_for_its_end() {
        let flights = flights();
        let ended = Arc::new(AtomicUsize::new(0));
        let work = |number: usize| {
            let ended = Arc::clone(&ended);
            move |stop: Stop| async move {
                if number == 0 {
                    stop.stopped().await;
                    // What is out comes back first.
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    ended.fetch_add(1, SeqCst);
                }
                number
            }
        };
        let mut first = Box::pin(flights.join(1, work(0)));
        let mut second = Box::pin(flights.join(1, work(0)));
        assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
        drop(first);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        assert!(!flights.lock().by_key[&1].left, "somebody still waits");
        drop(second);
        let third = flights.join(1, work(7)).await.unwrap();
        assert_eq!((third.result, third.shared, ended.load(SeqCst)), (7, false, 1));
    }

    #[tokio::test]
    async fn a_task_that_dies_is_out_of_the_way() {
        let flights = flights();
        let died = flights.join(1, |_| async { std::hint::black_box(None::<usize>).unwrap() }).await;
        assert!(died.is_none());
        assert_eq!(flights.join(1, |_| async { 3 }).await.unwrap().result, 3);
    }
}
