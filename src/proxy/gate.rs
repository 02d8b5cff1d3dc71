//! Whose turn it is: a bounded queue in front of one upstream that is fair between callers.
//!
//! Start-time fair queueing (Goyal, Vin and Cheng 1996): a picture gets a start tag, the later of the queue's virtual time
//! and the end of the same caller's picture before it, and ends its votes after that; the smallest start tag goes first, and
//! the virtual time is that of the picture that went last. So callers that always wait get equal shares of the votes, however
//! many pictures each of them sends, and one who comes after a pause waits for one picture of each other caller at most.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// The weight of the latest picture in the average time that a vote takes.
const LATEST: f64 = 0.2;
/// The longest pause that is asked for.
const LONGEST: Duration = Duration::from_mins(10);

/// The queue. Cloning shares it.
#[derive(Clone)]
pub(super) struct Gate(Arc<Inner>);

struct Inner {
    active: usize,
    waiting: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Places that are taken: reserved, waiting and active.
    taken: usize,
    /// Of these, those of each caller who is one of several.
    own: HashMap<Arc<str>, usize>,
    active: usize,
    /// Those who wait, by start tag and then by arrival.
    queue: BTreeMap<(u64, u64), Waiting>,
    /// Votes of all who wait.
    queued_votes: u64,
    arrivals: u64,
    virtual_time: u64,
    /// Where each caller's last picture ends.
    ends: HashMap<Arc<str>, u64>,
    /// Seconds that a vote has taken, of one picture at a time.
    pace: Option<f64>,
}

struct Waiting {
    votes: u64,
    go: oneshot::Sender<()>,
}

/// What the queue looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Pictures that are being certified.
    pub active: usize,
    /// Pictures that wait, or are about to.
    pub waiting: usize,
}

impl Gate {
    /// Lets `active` pictures through at once, and `waiting` more wait.
    pub(super) fn new(active: usize, waiting: usize) -> Self {
        Self(Arc::new(Inner { active: active.max(1), waiting, state: Mutex::default() }))
    }

    pub(super) fn queue(&self) -> Queue {
        let state = self.0.lock();
        Queue { active: state.active, waiting: state.taken - state.active }
    }

    /// Places for `count` pictures of one request, or how long to stay away. `rate` is how many calls a second the upstream
    /// takes, where that is limited; `patience` is how long the request may take.
    ///
    /// `caller` is who asks, where others may too: nobody who holds places gets to hold more than are free after that, so that there are
    /// always some for whoever comes next (dynamic thresholds, Choudhury and Hahne 1998). Who holds none is served as room allows.
    pub(super) fn places(
        &self,
        caller: Option<&Arc<str>>,
        count: usize,
        rate: Option<f64>,
        patience: Duration,
    ) -> Result<Vec<Place>, Duration> {
        let mut state = self.0.lock();
        let wait = state.wait(self.0.active, rate);
        let free = (self.0.active + self.0.waiting).checked_sub(state.taken + count);
        let held = caller.and_then(|caller| state.own.get(caller)).copied().unwrap_or_default();
        let full = state.taken > 0 && free.is_none_or(|free| held > 0 && held + count > free);
        // What cannot begin in time is refused at once: it would only be in the way.
        if full || wait > patience {
            return Err(wait.clamp(Duration::from_secs(1), LONGEST));
        }
        state.taken += count;
        if let Some(caller) = caller {
            *state.own.entry(Arc::clone(caller)).or_default() += count;
        }
        drop(state);
        let place = || Place { gate: self.clone(), owner: caller.map(Arc::clone) };
        Ok((0..count).map(|_| place()).collect())
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How long a picture that comes now will wait.
    fn wait(&self, active: usize, rate: Option<f64>) -> Duration {
        if self.active < active && self.queue.is_empty() {
            return Duration::ZERO;
        }
        let votes = self.queued_votes as f64;
        let worked = self.pace.unwrap_or_default() * votes / active as f64;
        let admitted = rate.filter(|rate| *rate > 0.0).map_or(0.0, |rate| votes / rate);
        Duration::try_from_secs_f64(worked.max(admitted)).unwrap_or(LONGEST)
    }

    fn dispatch(&mut self, active: usize) {
        while self.active < active
            && let Some(((start, _), waiting)) = self.queue.pop_first()
        {
            self.virtual_time = self.virtual_time.max(start);
            self.queued_votes -= waiting.votes;
            self.active += 1;
            // Whoever has gone in the meantime gives the turn back.
            let _ = waiting.go.send(());
        }
        if self.active == 0 && self.queue.is_empty() {
            // Nobody is owed anything.
            self.ends.clear();
            self.virtual_time = 0;
        }
    }
}

/// A place in or before the queue.
pub(super) struct Place {
    gate: Gate,
    /// Whose it is, where it counts as somebody's.
    owner: Option<Arc<str>>,
}

impl Place {
    /// Waits for the turn of a picture of `caller` that takes `votes` at most. Dropping the future gives it up.
    pub(super) async fn turn(&self, caller: &Arc<str>, votes: u64) -> Option<Turn> {
        let (go, turn) = oneshot::channel();
        let key = {
            let mut state = self.gate.0.lock();
            let end = state.ends.get(caller).copied().unwrap_or_default();
            let start = state.virtual_time.max(end);
            state.ends.insert(Arc::clone(caller), start.saturating_add(votes.max(1)));
            state.arrivals += 1;
            state.queued_votes += votes;
            let key = (start, state.arrivals);
            state.queue.insert(key, Waiting { votes, go });
            state.dispatch(self.gate.0.active);
            key
        };
        let mut wait = Wait { gate: &self.gate, key, over: false };
        turn.await.ok()?;
        wait.over = true;
        Some(Turn { gate: self.gate.clone(), began: Instant::now() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.gate.0.lock();
        state.taken -= 1;
        if let Some(owner) = &self.owner
            && let Some(own) = state.own.get_mut(owner)
        {
            *own -= 1;
            if *own == 0 {
                state.own.remove(owner);
            }
        }
    }
}

/// A picture that waits, or whose turn has come and was not taken yet.
struct Wait<'g> {
    gate: &'g Gate,
    key: (u64, u64),
    over: bool,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let mut state = self.gate.0.lock();
        if let Some(waiting) = state.queue.remove(&self.key) {
            state.queued_votes -= waiting.votes;
        } else {
            state.active -= 1;
            state.dispatch(self.gate.0.active);
        }
    }
}

/// The right to be worked on. Dropping it lets the next one through.
pub(super) struct Turn {
    gate: Gate,
    began: Instant,
}

impl Turn {
    /// Says how many votes were counted, for the estimate of how long others wait.
    pub(super) fn took(&self, votes: u64) {
        if votes > 0 {
            let pace = self.began.elapsed().as_secs_f64() / votes as f64;
            let mut state = self.gate.0.lock();
            state.pace = Some(state.pace.map_or(pace, |before| before + LATEST * (pace - before)));
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.gate.0.lock();
        state.active -= 1;
        state.dispatch(self.gate.0.active);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "each call is a task of its own, which may be cancelled")]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    /// Who got a turn, in order, when each caller wants as many as the text has of its letter, all taking `votes`.
    async fn order(arrivals: &str, votes: impl Fn(char) -> u64) -> String {
        let gate = Gate::new(1, 1000);
        let places = gate.places(None, arrivals.len() + 1, None, LONG).unwrap();
        let mut places = places.into_iter();
        let busy = places.next().unwrap();
        let first = busy.turn(&"z".into(), 1).await.unwrap();
        let done = Arc::new(Mutex::new(String::new()));
        let mut tasks = Vec::new();
        for (n, (name, place)) in arrivals.chars().zip(places).enumerate() {
            let (done, votes) = (Arc::clone(&done), votes(name));
            tasks.push(tokio::spawn(async move {
                let turn = place.turn(&name.to_string().into(), votes).await.unwrap();
                done.lock().unwrap().push(name);
                drop(turn);
            }));
            while gate.0.lock().queue.len() <= n {
                tokio::task::yield_now().await;
            }
        }
        drop(first);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(gate.queue().active, 0);
        done.lock().unwrap().clone()
    }

    #[tokio::test]
    async fn a_caller_who_sends_many_does_not_keep_the_others_waiting() {
        assert_eq!(order("aaaaabbc", |_| 10).await, "abcabaaa");
    }

    #[tokio::test]
    async fn shares_are_of_votes_and_not_of_pictures() {
        let votes = |name| if name == 'a' { 30 } else { 10 };
        assert_eq!(order("aaabbbbb", votes).await, "abbbabba");
    }

    #[tokio::test]
    async fn places_are_bounded_and_given_back() {
        let gate = Gate::new(1, 2);
        let places = gate.places(None, 3, None, LONG).unwrap();
        assert!(gate.places(None, 1, None, LONG).is_err());
        assert_eq!(gate.queue(), Queue { active: 0, waiting: 3 });
        drop(places);
        // One request with more pictures than there is room for is served where it is alone.
        let many = gate.places(None, 7, None, LONG).unwrap();
        assert!(gate.places(None, 1, None, LONG).is_err());
        drop(many);
        assert_eq!(gate.queue(), Queue::default());
    }

    #[tokio::test]
    async fn one_of_several_callers_leaves_places_for_the_others() {
        let gate = Gate::new(1, 7);
        let [a, b]: [Arc<str>; 2] = ["a".into(), "b".into()];
        let mut taken = Vec::new();
        while let Ok(places) = gate.places(Some(&a), 1, None, LONG) {
            taken.extend(places);
        }
        // Half of the places, and half of what is left.
        assert_eq!(taken.len(), 4);
        while let Ok(places) = gate.places(Some(&b), 1, None, LONG) {
            taken.extend(places);
        }
        assert_eq!(taken.len(), 6);
        // Whose places are given back may have them again.
        drop(taken);
        assert!(gate.0.lock().own.is_empty());
        assert!(gate.places(Some(&a), 4, None, LONG).is_ok());
        // Who is alone anyway has all of them.
        let all: Vec<_> = (0..8).map(|_| gate.places(None, 1, None, LONG).unwrap()).collect();
        assert_eq!(gate.queue().waiting, all.len());
    }

    #[tokio::test]
    async fn a_turn_is_passed_on_when_its_owner_has_gone() {
        let gate = Gate::new(1, 9);
        let mut places = gate.places(None, 3, None, LONG).unwrap().into_iter();
        let [busy, gone, next] = [(); 3].map(|()| places.next().unwrap());
        let first = busy.turn(&"a".into(), 1).await.unwrap();
        let waits = tokio::spawn(async move { gone.turn(&"b".into(), 1).await.is_some() });
        let next = tokio::spawn(async move { next.turn(&"c".into(), 1).await.is_some() });
        while gate.0.lock().queue.len() < 2 {
            tokio::task::yield_now().await;
        }
        waits.abort();
        assert!(waits.await.unwrap_err().is_cancelled());
        drop(first);
        assert!(next.await.unwrap());
        drop(busy);
        assert_eq!((gate.queue(), gate.0.lock().queued_votes), (Queue::default(), 0));
    }

    #[tokio::test]
    async fn the_pause_is_reckoned_from_the_queue_and_the_rate() {
        let gate = Gate::new(2, 1);
        let places = gate.places(None, 3, None, LONG).unwrap();
        let a: Arc<str> = "a".into();
        let turns = [places[0].turn(&a, 100).await.unwrap(), places[1].turn(&a, 100).await.unwrap()];
        gate.0.lock().pace = Some(0.5);
        let queued = places[2].turn(&a, 100);
        tokio::pin!(queued);
        assert!(futures::poll!(&mut queued).is_pending());
        // 100 votes of half a second each, two pictures at once.
        assert_eq!(gate.places(None, 1, None, LONG).err(), Some(Duration::from_secs(25)));
        // The upstream takes two calls a second.
        assert_eq!(gate.places(None, 1, Some(2.0), LONG).err(), Some(Duration::from_secs(50)));
        drop(turns);
    }

    #[tokio::test]
    async fn what_cannot_begin_in_time_does_not_wait() {
        let gate = Gate::new(1, 100);
        let places = gate.places(None, 2, None, LONG).unwrap();
        let a: Arc<str> = "a".into();
        let turn = places[0].turn(&a, 10).await.unwrap();
        gate.0.lock().pace = Some(1.0);
        let queued = places[1].turn(&a, 10);
        tokio::pin!(queued);
        assert!(futures::poll!(&mut queued).is_pending());
        assert!(gate.places(None, 1, None, Duration::from_mins(1)).is_ok());
        assert_eq!(gate.places(None, 1, None, Duration::from_secs(5)).err(), Some(Duration::from_secs(10)));
        drop(turn);
    }
}
