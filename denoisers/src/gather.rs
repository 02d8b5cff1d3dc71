//! The thread that owns a denoiser, and how calls of many share it.
//!
//! Whoever calls waits for all of its pictures, but the thread works in turns of [`Denoiser::preferred_batch`] pictures. A
//! turn belongs to the call that waits longest; what is left of it in the turn is filled with pictures of other calls that
//! have the same size and sigma and are waiting already. Nobody is waited for. A call that is larger than a turn goes to the
//! end of the queue after each, so a large one holds up nobody for longer than a turn.
//!
//! No output depends on any of this: a denoiser gives the same bits for any batch split, which is in its contract.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use crate::worker::message;
use crate::{Batch, DenoiseError, Denoiser, WorkerError};

/// Calls that may wait. Each holds its pictures whether it waits in here or before, so few would only keep the thread from
/// seeing what it could take along.
const QUEUE: usize = 256;

/// What a denoiser's thread has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DenoiserStats {
    /// Calls that were answered.
    pub calls: u64,
    /// Turns: runs of the model.
    pub turns: u64,
    /// Pictures in them.
    pub pictures: u64,
    /// Microseconds that the model ran.
    pub busy_us: u64,
    /// Calls that wait or are being worked on.
    pub waiting: u64,
}

#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    turns: AtomicU64,
    pictures: AtomicU64,
    busy_us: AtomicU64,
    waiting: AtomicU64,
}

/// The way to the thread. Cheap to clone; the thread ends when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Gatherer {
    jobs: mpsc::Sender<Job>,
    counts: Arc<Counts>,
    /// There is nothing to compute.
    passes_through: bool,
}

type Reply<T> = oneshot::Sender<Result<T, DenoiseError>>;

enum Job {
    Denoise(Call),
    PreferredBatch { height: usize, width: usize, reply: oneshot::Sender<usize> },
}

impl Gatherer {
    /// Starts the thread.
    pub(crate) fn spawn(denoiser: Box<dyn Denoiser>) -> Result<Self, WorkerError> {
        let passes_through = denoiser.passes_through();
        let (jobs, inbox) = mpsc::channel(QUEUE);
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        // Not joined: it ends when the channel closes, and dropping a handle must not block an asynchronous task.
        thread::Builder::new()
            .name("denoiser".to_owned())
            .spawn(move || Loop { denoiser, inbox, queue: VecDeque::new(), counts: shared }.run())
            .map_err(|e| WorkerError::Spawn(e.to_string()))?;
        Ok(Self { jobs, counts, passes_through })
    }

    pub(crate) fn stats(&self) -> DenoiserStats {
        let counts = &self.counts;
        DenoiserStats {
            calls: counts.calls.load(Relaxed),
            turns: counts.turns.load(Relaxed),
            pictures: counts.pictures.load(Relaxed),
            busy_us: counts.busy_us.load(Relaxed),
            waiting: counts.waiting.load(Relaxed),
        }
    }

    pub(crate) fn is_alive(&self) -> bool {
        !self.jobs.is_closed()
    }

    pub(crate) async fn denoise(&self, batch: Batch, sigma: f64) -> Result<Batch, DenoiseError> {
        if self.passes_through {
            return self.pass(batch, sigma);
        }
        let (job, answer) = self.call(batch, sigma);
        self.jobs.send(job).await.map_err(|_| WorkerError::Gone)?;
        answer.await.map_err(|_| WorkerError::Gone)?
    }

    pub(crate) fn denoise_blocking(&self, batch: Batch, sigma: f64) -> Result<Batch, DenoiseError> {
        if self.passes_through {
            return self.pass(batch, sigma);
        }
        let (job, answer) = self.call(batch, sigma);
        self.jobs.blocking_send(job).map_err(|_| WorkerError::Gone)?;
        answer.blocking_recv().map_err(|_| WorkerError::Gone)?
    }

    pub(crate) async fn preferred_batch(&self, height: usize, width: usize) -> Result<usize, WorkerError> {
        let (reply, answer) = oneshot::channel();
        let job = Job::PreferredBatch { height, width, reply };
        self.jobs.send(job).await.map_err(|_| WorkerError::Gone)?;
        answer.await.map_err(|_| WorkerError::Gone)
    }

    /// What the thread would make of it.
    fn pass(&self, batch: Batch, sigma: f64) -> Result<Batch, DenoiseError> {
        self.counts.calls.fetch_add(1, Relaxed);
        DenoiseError::check_sigma(sigma)?;
        self.counts.turns.fetch_add(1, Relaxed);
        self.counts.pictures.fetch_add(batch.count() as u64, Relaxed);
        Ok(batch)
    }

    fn call(&self, batch: Batch, sigma: f64) -> (Job, oneshot::Receiver<Result<Batch, DenoiseError>>) {
        let (reply, answer) = oneshot::channel();
        let waits = Waits::new(&self.counts);
        let call = Call { sigma, done: Vec::new(), taken: 0, reply, batch, _waits: waits };
        (Job::Denoise(call), answer)
    }
}

/// Counts a call for as long as it waits.
struct Waits(Arc<Counts>);

impl Waits {
    fn new(counts: &Arc<Counts>) -> Self {
        counts.waiting.fetch_add(1, Relaxed);
        Self(Arc::clone(counts))
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

/// One call, perhaps partly done.
struct Call {
    batch: Batch,
    sigma: f64,
    /// The first pictures, denoised.
    done: Vec<f32>,
    /// How many those are.
    taken: usize,
    reply: Reply<Batch>,
    _waits: Waits,
}

impl Call {
    fn left(&self) -> usize {
        self.batch.count() - self.taken
    }

    /// May pictures of both be in one turn?
    fn goes_with(&self, other: &Self) -> bool {
        self.sigma.to_bits() == other.sigma.to_bits() && self.size() == other.size()
    }

    fn size(&self) -> (usize, usize) {
        (self.batch.height(), self.batch.width())
    }

    /// The next `count` pictures.
    fn next(&self, count: usize) -> &[f32] {
        let len = self.batch.picture_len();
        &self.batch.data()[self.taken * len..(self.taken + count) * len]
    }

    fn answer(self, result: Result<Batch, DenoiseError>) {
        let Self { reply, _waits: waits, .. } = self;
        // It waits no longer when it hears of it.
        drop(waits);
        // A caller that has gone in the meantime does not need it.
        drop(reply.send(result));
    }
}

/// The calls of a turn, each with how many of its pictures.
type Turn = Vec<Part>;

/// What a call has of a turn.
struct Part {
    call: Call,
    /// Pictures.
    count: usize,
    /// Where in the queue the call was.
    place: usize,
}

struct Loop {
    denoiser: Box<dyn Denoiser>,
    inbox: mpsc::Receiver<Job>,
    queue: VecDeque<Call>,
    counts: Arc<Counts>,
}

impl Loop {
    fn run(mut self) {
        loop {
            if self.queue.is_empty() {
                match self.inbox.blocking_recv() {
                    Some(job) => self.take(job),
                    None => break,
                }
            }
            while let Ok(job) = self.inbox.try_recv() {
                self.take(job);
            }
            // What nobody waits for any more is not computed.
            self.queue.retain(|call| !call.reply.is_closed());
            if let Some(turn) = self.turn()
                && !self.work(turn)
            {
                // The model panicked and is not fit for another call: whoever waits learns that the thread has gone.
                break;
            }
        }
    }

    fn take(&mut self, job: Job) {
        match job {
            Job::Denoise(call) => self.queue.push_back(call),
            Job::PreferredBatch { height, width, reply } => {
                let _ = reply.send(self.denoiser.preferred_batch(height, width));
            }
        }
    }

    /// The call that waits longest, and those that go with it.
    fn turn(&mut self) -> Option<Turn> {
        let first = self.queue.pop_front()?;
        let (height, width) = first.size();
        let most = self.denoiser.preferred_batch(height, width).max(1);
        let count = first.left().min(most);
        let mut room = most - count;
        let mut turn = vec![Part { call: first, count, place: 0 }];
        let mut index = 0;
        while room > 0 && index < self.queue.len() {
            if !self.queue[index].goes_with(&turn[0].call) {
                index += 1;
            } else if let Some(call) = self.queue.remove(index) {
                let count = call.left().min(room);
                room -= count;
                turn.push(Part { call, count, place: index });
            }
        }
        Some(turn)
    }

    /// Runs the model once, or singly where a common run fails. False after a panic.
    fn work(&mut self, turn: Turn) -> bool {
        let alone = turn.len() == 1;
        match self.run_model(&turn) {
            Ok(Ok(clean)) => {
                self.share_out(turn, &clean);
                true
            }
            Ok(Err(error)) if alone => {
                if let Some(Part { call, .. }) = turn.into_iter().next() {
                    self.counts.calls.fetch_add(1, Relaxed);
                    call.answer(Err(error));
                }
                true
            }
            // Not for want of memory that each alone would have had.
            Ok(Err(_)) => turn.into_iter().all(|part| self.work(vec![part])),
            Err(panic) => {
                for Part { call, .. } in turn {
                    call.answer(Err(WorkerError::Panicked(panic.clone()).into()));
                }
                false
            }
        }
    }

    fn run_model(&mut self, turn: &Turn) -> Result<Result<Batch, DenoiseError>, String> {
        let Some(Part { call: first, count, .. }) = turn.first() else {
            return Ok(Err(WorkerError::Gone.into()));
        };
        let sigma = first.sigma;
        let whole = turn.len() == 1 && *count == first.batch.count();
        let batch = if whole {
            first.batch.clone()
        } else {
            let data: Vec<f32> = turn.iter().flat_map(|part| part.call.next(part.count)).copied().collect();
            Batch::trusted(data, turn.iter().map(|part| part.count).sum(), first.size())
        };
        let pictures = batch.count() as u64;
        let began = Instant::now();
        // Nobody sees the model after a panic, so a broken invariant of it can do no harm.
        let result = catch_unwind(AssertUnwindSafe(|| self.denoiser.denoise(batch, sigma)));
        self.counts.turns.fetch_add(1, Relaxed);
        self.counts.pictures.fetch_add(pictures, Relaxed);
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.counts.busy_us.fetch_add(took, Relaxed);
        result.map_err(|panic| message(&*panic))
    }

    /// Gives each call its pictures. One that is not done yet keeps its place if it came along, and goes to the end if the
    /// turn was its own.
    fn share_out(&mut self, turn: Turn, clean: &Batch) {
        let len = clean.picture_len();
        let mut at = 0;
        for (index, Part { mut call, count, place }) in turn.into_iter().enumerate() {
            let data = &clean.data()[at * len..(at + count) * len];
            at += count;
            call.done.extend_from_slice(data);
            call.taken += count;
            if call.left() == 0 {
                self.counts.calls.fetch_add(1, Relaxed);
                let done = std::mem::take(&mut call.done);
                let batch = Batch::trusted(done, call.taken, call.size());
                call.answer(Ok(batch));
            } else if index == 0 {
                self.queue.push_back(call);
            } else {
                // Only the last one is left over, so nothing before it in the queue has come or gone since.
                self.queue.insert(place.min(self.queue.len()), call);
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "each call is a task of its own, which may be cancelled")]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc as std_mpsc;

    use super::*;
    use crate::{Id, Identity, Options, open};

    /// What a turn was: pictures, side, sigma.
    type Seen = (usize, usize, f64);

    /// Waits for a word before each turn, and writes down what the turn was.
    struct Held {
        inner: Identity,
        go: std_mpsc::Receiver<()>,
        seen: Arc<Mutex<Vec<Seen>>>,
    }

    impl Denoiser for Held {
        fn id(&self) -> &Id {
            self.inner.id()
        }

        fn denoise(&mut self, batch: Batch, sigma: f64) -> Result<Batch, DenoiseError> {
            self.go.recv().unwrap();
            self.seen.lock().unwrap().push((batch.count(), batch.height(), sigma));
            self.inner.denoise(batch, sigma)
        }

        fn preferred_batch(&self, height: usize, _: usize) -> usize {
            if height > 4 { 1 } else { 4 }
        }
    }

    fn held() -> (Gatherer, std_mpsc::Sender<()>, Arc<Mutex<Vec<Seen>>>) {
        let (go, wait) = std_mpsc::channel();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let denoiser = Held { inner: Identity::default(), go: wait, seen: Arc::clone(&seen) };
        (Gatherer::spawn(Box::new(denoiser)).unwrap(), go, seen)
    }

    /// Pictures of `side` by `side` whose values begin with `first`.
    fn batch(count: usize, side: usize, first: f32) -> Batch {
        let data = (0..count * 3 * side * side).map(|i| first + i as f32 / 4096.0).collect();
        Batch::new(data, count, side, side).unwrap()
    }

    /// Sends calls to a thread that is held in a first turn, so that they all wait, then lets it go. The ends are in the
    /// order of the calls.
    async fn together(calls: Vec<(Batch, f64)>) -> (Vec<Batch>, Vec<Seen>, Gatherer) {
        let (gatherer, go, seen) = held();
        let call = |(batch, sigma): (Batch, f64)| {
            let gatherer = gatherer.clone();
            tokio::spawn(async move { gatherer.denoise(batch, sigma).await.unwrap() })
        };
        let mut tasks = vec![call((batch(1, 1, 9.0), 9.0))];
        while gatherer.stats().waiting < 1 {
            tokio::task::yield_now().await;
        }
        for (index, part) in calls.into_iter().enumerate() {
            tasks.push(call(part));
            // One after another, so that their order is known.
            while gatherer.stats().waiting < index as u64 + 2 {
                tokio::task::yield_now().await;
            }
        }
        // Each is in the channel once its sender has been polled.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        for _ in 0..64 {
            go.send(()).unwrap();
        }
        let mut ends = Vec::new();
        for task in tasks {
            ends.push(task.await.unwrap());
        }
        let seen = seen.lock().unwrap()[1..].to_vec();
        (ends.split_off(1), seen, gatherer)
    }

    #[tokio::test]
    async fn small_calls_of_one_size_and_sigma_share_a_turn() {
        let calls = [(1, 2, 0.1), (2, 2, 0.25), (1, 2, 0.1), (1, 3, 0.1), (2, 2, 0.1)];
        let calls: Vec<_> =
            (0..).zip(calls).map(|(n, (count, side, sigma))| (batch(count, side, n as f32), sigma)).collect();
        let (ends, seen, gatherer) = together(calls.clone()).await;
        assert_eq!(seen, [(4, 2, 0.1), (2, 2, 0.25), (1, 3, 0.1)]);
        for (end, (batch, _)) in ends.iter().zip(&calls) {
            assert_eq!(end, batch, "each gets its own pictures back");
        }
        let stats = gatherer.stats();
        assert_eq!((stats.calls, stats.turns, stats.pictures, stats.waiting), (6, 4, 8, 0));
    }

    #[tokio::test]
    async fn a_large_call_holds_nobody_up_for_longer_than_a_turn() {
        let calls = vec![(batch(3, 8, 0.0), 0.1), (batch(9, 2, 1.0), 0.1), (batch(1, 3, 2.0), 0.1)];
        let (ends, seen, _) = together(calls.clone()).await;
        // A picture of the large size, a turn of the long call, the small one; then the rest in turns.
        let sides: Vec<(usize, usize)> = seen.iter().map(|(count, side, _)| (*count, *side)).collect();
        assert_eq!(sides, [(1, 8), (4, 2), (1, 3), (1, 8), (4, 2), (1, 8), (1, 2)]);
        assert!(ends.iter().zip(&calls).all(|(end, (batch, _))| end == batch));
    }

    /// Those that came later are taken along, and do not get before it by that.
    #[tokio::test]
    async fn a_call_that_was_begun_keeps_its_place_in_the_queue() {
        let calls = [(3, 2), (1, 3), (3, 2), (3, 2), (3, 2)];
        let calls = calls.map(|(count, side)| (batch(count, side, side as f32), 0.1)).to_vec();
        let (ends, seen, _) = together(calls.clone()).await;
        let turns: Vec<(usize, usize)> = seen.iter().map(|(count, side, _)| (*count, *side)).collect();
        assert_eq!(turns, [(4, 2), (1, 3), (4, 2), (4, 2)]);
        assert!(ends.iter().zip(&calls).all(|(end, (batch, _))| end == batch));
    }

    #[tokio::test]
    async fn a_call_that_nobody_waits_for_is_not_computed() {
        let (gatherer, go, seen) = held();
        let first = {
            let gatherer = gatherer.clone();
            tokio::spawn(async move { gatherer.denoise(batch(1, 1, 0.0), 0.1).await })
        };
        let gone = {
            let gatherer = gatherer.clone();
            tokio::spawn(async move { gatherer.denoise(batch(1, 2, 0.0), 0.1).await })
        };
        while gatherer.stats().waiting < 2 {
            tokio::task::yield_now().await;
        }
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        (0..4).for_each(|_| go.send(()).unwrap());
        first.await.unwrap().unwrap();
        gatherer.denoise(batch(1, 3, 0.0), 0.1).await.unwrap();
        assert_eq!(seen.lock().unwrap().iter().map(|turn| turn.1).collect::<Vec<_>>(), [1, 3]);
    }

    /// The contract that all of this rests on, with the network that everybody uses.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_bits_are_the_same_alone_and_in_company() {
        let mut alone = open("photo", &Options::default()).unwrap();
        let gatherer = Gatherer::spawn(open("photo", &Options::default()).unwrap()).unwrap();
        let calls: Vec<(Batch, f64)> = (0..8u8)
            .map(|n| {
                let (count, side) = (1 + usize::from(n) % 3, 16 + 8 * (usize::from(n) % 2));
                let data =
                    (0..count * 3 * side * side).map(|i| (i * (7 + usize::from(n)) % 251) as f32 / 251.0);
                (Batch::new(data.collect(), count, side, side).unwrap(), 0.25)
            })
            .collect();
        let tasks: Vec<_> = calls
            .iter()
            .cloned()
            .map(|(batch, sigma)| {
                let gatherer = gatherer.clone();
                tokio::spawn(async move { gatherer.denoise(batch, sigma).await.unwrap() })
            })
            .collect();
        for (task, (batch, sigma)) in tasks.into_iter().zip(calls) {
            let bits = |batch: &Batch| batch.data().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            let expected = alone.denoise(batch, sigma).unwrap();
            assert_eq!(bits(&task.await.unwrap()), bits(&expected));
        }
        assert!(gatherer.stats().turns < 8, "{:?}: some shared a turn", gatherer.stats());
    }
}
