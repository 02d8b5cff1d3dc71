//! One thread owns a model; everyone else talks to it through a channel.

use std::{
    any::Any,
    ops::{ControlFlow, RangeInclusive},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use tokio::sync::{mpsc, oneshot};

use crate::gather::Gatherer;
use crate::together::{Classified, Waiting, together};
use crate::{Batch, Classifier, ClassifyError, DenoiseError, Denoiser, DenoiserStats, Id};

/// Calls that may wait for the model. One is enough to keep it busy; many would only hold memory.
const QUEUE: usize = 2;

/// The thread that owns a model could not start or is gone. Our fault; it does not come back, so the model must be opened
/// again.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The system gave no thread.
    #[error("no thread could be started for the model ({0})")]
    Spawn(String),
    /// The model panicked on this call, and its thread ended.
    #[error("the model panicked ({0}); this is a bug")]
    Panicked(String),
    /// The thread had ended before it came to this call.
    #[error("the thread that runs the model has ended after a panic; this is a bug")]
    Gone,
}

/// Asks the thread that owns a [`Denoiser`]. Cheap to clone; the thread ends when the last clone is dropped.
#[derive(Clone)]
pub struct DenoiserHandle {
    id: Id,
    trained_sigma: Option<RangeInclusive<f64>>,
    gatherer: Gatherer,
}

impl DenoiserHandle {
    /// Starts a thread for `denoiser`.
    ///
    /// # Errors
    /// [`WorkerError::Spawn`] if the system gives no thread.
    pub fn spawn(denoiser: Box<dyn Denoiser>) -> Result<Self, WorkerError> {
        let (id, trained_sigma) = (denoiser.id().clone(), denoiser.trained_sigma());
        Ok(Self { id, trained_sigma, gatherer: Gatherer::spawn(denoiser)? })
    }

    /// [`Denoiser::id`].
    pub fn id(&self) -> &Id {
        &self.id
    }

    /// [`Denoiser::trained_sigma`].
    pub fn trained_sigma(&self) -> Option<&RangeInclusive<f64>> {
        self.trained_sigma.as_ref()
    }

    /// What its thread has done so far, for all clones together.
    pub fn stats(&self) -> DenoiserStats {
        self.gatherer.stats()
    }

    /// Does its thread still run? It ends when the model panics.
    pub fn is_alive(&self) -> bool {
        self.gatherer.is_alive()
    }

    /// [`Denoiser::denoise`] on the model's thread, together with pictures of other calls that have the same size and sigma
    /// and wait at the same moment. A call whose future is dropped before the thread comes to it is not computed.
    ///
    /// # Errors
    /// As [`Denoiser::denoise`], and [`DenoiseError::Worker`] if the thread is gone.
    pub async fn denoise(&self, batch: Batch, sigma: f64) -> Result<Batch, DenoiseError> {
        self.gatherer.denoise(batch, sigma).await
    }

    /// [`DenoiserHandle::denoise`] for code that is not asynchronous.
    ///
    /// # Errors
    /// As [`DenoiserHandle::denoise`].
    ///
    /// # Panics
    /// If called from within an asynchronous runtime, as all of tokio's blocking calls do.
    pub fn denoise_blocking(&self, batch: Batch, sigma: f64) -> Result<Batch, DenoiseError> {
        self.gatherer.denoise_blocking(batch, sigma)
    }

    /// [`Denoiser::preferred_batch`], asked of the model's thread.
    ///
    /// # Errors
    /// [`WorkerError`] if the thread is gone.
    pub async fn preferred_batch(&self, height: usize, width: usize) -> Result<usize, WorkerError> {
        self.gatherer.preferred_batch(height, width).await
    }
}

/// Asks the thread that owns a [`Classifier`]. Cheap to clone; the thread ends when the last clone is dropped.
///
/// Batches that wait at the same time go through the classifier together, which is faster and gives the same probabilities.
#[derive(Clone)]
pub struct ClassifierHandle {
    id: Id,
    labels: Arc<[String]>,
    input_size: (usize, usize),
    waiting: Arc<Mutex<Vec<Waiting>>>,
    worker: Worker<Box<dyn Classifier>>,
}

impl ClassifierHandle {
    /// Starts a thread for `classifier`.
    ///
    /// # Errors
    /// [`WorkerError::Spawn`] if the system gives no thread.
    pub fn spawn(classifier: Box<dyn Classifier>) -> Result<Self, WorkerError> {
        let (id, labels, input_size) =
            (classifier.id().clone(), classifier.labels().into(), classifier.input_size());
        let worker = Worker::spawn("classifier", classifier)?;
        Ok(Self { id, labels, input_size, waiting: Arc::default(), worker })
    }

    /// [`Classifier::id`].
    pub fn id(&self) -> &Id {
        &self.id
    }

    /// [`Classifier::labels`].
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// [`Classifier::input_size`].
    pub fn input_size(&self) -> (usize, usize) {
        self.input_size
    }

    /// [`Classifier::classify`] on the model's thread.
    ///
    /// # Errors
    /// As [`Classifier::classify`], and [`ClassifyError::Worker`] if the thread is gone.
    pub async fn classify(&self, batch: Batch) -> Result<Vec<Vec<f32>>, ClassifyError> {
        let answer = self.queue(batch)?;
        self.worker.call(self.all()).await?;
        answer.await.map_err(|_| WorkerError::Gone)?
    }

    /// [`ClassifierHandle::classify`] for code that is not asynchronous.
    ///
    /// # Errors
    /// As [`ClassifierHandle::classify`].
    ///
    /// # Panics
    /// If called from within an asynchronous runtime, as all of tokio's blocking calls do.
    pub fn classify_blocking(&self, batch: Batch) -> Result<Vec<Vec<f32>>, ClassifyError> {
        let answer = self.queue(batch)?;
        self.worker.call_blocking(self.all())?;
        answer.blocking_recv().map_err(|_| WorkerError::Gone)?
    }

    /// Puts a batch among those that wait.
    fn queue(&self, batch: Batch) -> Result<oneshot::Receiver<Classified>, ClassifyError> {
        let (found, expected) = ((batch.height(), batch.width()), self.input_size);
        if found != expected {
            return Err(ClassifyError::Size { found, expected });
        }
        // Where nobody comes for it, it would wait for ever.
        if self.worker.jobs.is_closed() {
            return Err(WorkerError::Gone.into());
        }
        let (reply, answer) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(Waiting { batch, reply });
        Ok(answer)
    }

    /// The call that classifies all that waits: of several such calls the first does the work.
    fn all(&self) -> impl FnOnce(&mut Box<dyn Classifier>) + Send + use<> {
        let waiting = Arc::clone(&self.waiting);
        move |classifier| {
            let mut all = std::mem::take(&mut *waiting.lock().unwrap_or_else(PoisonError::into_inner));
            // Nobody waits any more for what was given up.
            all.retain(|waiting| !waiting.reply.is_closed());
            together(&mut **classifier, all);
        }
    }
}

/// Does one call and answers it; says whether the model is fit for the next.
type Job<M> = Box<dyn FnOnce(&mut M) -> ControlFlow<()> + Send>;

struct Worker<M> {
    jobs: mpsc::Sender<Job<M>>,
}

impl<M> Clone for Worker<M> {
    fn clone(&self) -> Self {
        Self { jobs: self.jobs.clone() }
    }
}

impl<M: Send + 'static> Worker<M> {
    fn spawn(name: &str, mut model: M) -> Result<Self, WorkerError> {
        let (jobs, mut queue) = mpsc::channel::<Job<M>>(QUEUE);
        // Not joined: it ends when the channel closes, and dropping a handle must not block an asynchronous task.
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    if job(&mut model).is_break() {
                        break;
                    }
                }
            })
            .map_err(|e| WorkerError::Spawn(e.to_string()))?;
        Ok(Self { jobs })
    }

    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut M) -> T + Send + 'static,
    ) -> Result<T, WorkerError> {
        let (job, answer) = job(call);
        self.jobs.send(job).await.map_err(|_| WorkerError::Gone)?;
        answer.await.map_err(|_| WorkerError::Gone)?
    }

    fn call_blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut M) -> T + Send + 'static,
    ) -> Result<T, WorkerError> {
        let (job, answer) = job(call);
        self.jobs.blocking_send(job).map_err(|_| WorkerError::Gone)?;
        answer.blocking_recv().map_err(|_| WorkerError::Gone)?
    }
}

type Answer<T> = oneshot::Receiver<Result<T, WorkerError>>;

fn job<M, T: Send + 'static>(call: impl FnOnce(&mut M) -> T + Send + 'static) -> (Job<M>, Answer<T>) {
    let (reply, answer) = oneshot::channel();
    let job = move |model: &mut M| {
        if reply.is_closed() {
            return ControlFlow::Continue(());
        }
        // Nobody sees the model after a panic, so a broken invariant of it can do no harm.
        let result = catch_unwind(AssertUnwindSafe(|| call(model)));
        let next = if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
        let result = result.map_err(|panic| WorkerError::Panicked(message(&*panic)));
        // A receiver that has gone in the meantime does not need the result.
        drop(reply.send(result));
        next
    };
    (Box::new(job), answer)
}

pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Identity, together::TOGETHER};

    /// Panics on the second call.
    struct Fragile(Identity, u32);

    impl Denoiser for Fragile {
        fn id(&self) -> &Id {
            self.0.id()
        }

        fn denoise(&mut self, batch: Batch, sigma: f64) -> Result<Batch, DenoiseError> {
            self.1 += 1;
            assert!(self.1 < 2, "call {}", self.1);
            self.0.denoise(batch, sigma)
        }
    }

    fn batch() -> Batch {
        Batch::new(vec![0.5; 3], 1, 1, 1).unwrap()
    }

    #[test]
    fn a_panic_is_an_error_for_its_call_and_for_all_later_ones() {
        let handle = DenoiserHandle::spawn(Box::new(Fragile(Identity::default(), 0))).unwrap();
        assert!(handle.is_alive());
        assert_eq!(handle.denoise_blocking(batch(), 0.5).unwrap(), batch());
        let panicked = handle.denoise_blocking(batch(), 0.5).unwrap_err();
        assert!(matches!(panicked, DenoiseError::Worker(WorkerError::Panicked(ref m)) if m == "call 2"));
        while handle.is_alive() {
            thread::yield_now();
        }
        for _ in 0..4 {
            let gone = handle.clone().denoise_blocking(batch(), 0.5).unwrap_err();
            assert!(matches!(gone, DenoiseError::Worker(WorkerError::Gone)));
        }
    }

    #[tokio::test]
    async fn asynchronous_calls_are_answered_and_errors_come_through() {
        let handle = DenoiserHandle::spawn(Box::new(Identity::default())).unwrap();
        assert_eq!(handle.denoise(batch(), 0.0).await.unwrap(), batch());
        assert!(matches!(handle.denoise(batch(), f64::NAN).await, Err(DenoiseError::Sigma(_))));
        assert_eq!(handle.preferred_batch(32, 32).await.unwrap(), 64);
    }

    /// Gives the first value of each picture, and counts calls.
    struct First(Id, std::sync::mpsc::Sender<usize>);

    impl Classifier for First {
        fn id(&self) -> &Id {
            &self.0
        }

        fn labels(&self) -> &[String] {
            &[]
        }

        fn input_size(&self) -> (usize, usize) {
            (1, 1)
        }

        fn classify(&mut self, batch: Batch) -> Classified {
            // Time for others to queue up.
            thread::sleep(std::time::Duration::from_millis(20));
            self.1.send(batch.count()).unwrap();
            Ok(batch.pictures().map(|picture| vec![picture[0]]).collect())
        }
    }

    #[tokio::test]
    async fn batches_that_wait_are_classified_together_and_each_gets_its_own() {
        let (calls, counts) = std::sync::mpsc::channel();
        let id = Identity::default().id().clone();
        let handle = ClassifierHandle::spawn(Box::new(First(id, calls))).unwrap();
        let of = |i: usize| Batch::new(vec![i as f32; 3 * (1 + i % 2)], 1 + i % 2, 1, 1).unwrap();
        let results = join_all((0..60).map(|i| handle.classify(of(i)))).await;
        for (i, result) in results.into_iter().enumerate() {
            assert_eq!(result.unwrap(), vec![vec![i as f32]; 1 + i % 2], "{i}");
        }
        let counts: Vec<usize> = counts.try_iter().collect();
        assert_eq!(counts.iter().sum::<usize>(), 90);
        assert!(counts.len() < 20 && counts.iter().all(|count| *count <= TOGETHER), "{counts:?}");
        let large = Batch::new(vec![0.0; 12], 1, 2, 2).unwrap();
        assert!(matches!(handle.classify(large).await, Err(ClassifyError::Size { .. })));
    }

    #[tokio::test]
    async fn calls_that_wait_when_the_thread_dies_get_an_error() {
        let handle = DenoiserHandle::spawn(Box::new(Fragile(Identity::default(), 1))).unwrap();
        let calls = (0..6).map(|_| handle.denoise(batch(), 0.5));
        let results = join_all(calls).await;
        assert!(results.iter().all(Result::is_err));
    }

    /// All futures at once, so that some of them wait in the queue and some before it.
    async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
        let mut futures: Vec<_> = futures.map(|f| (Box::pin(f), None)).collect();
        std::future::poll_fn(|cx| {
            for (future, output) in &mut futures {
                if output.is_none()
                    && let std::task::Poll::Ready(value) = future.as_mut().poll(cx)
                {
                    *output = Some(value);
                }
            }
            if futures.iter().all(|(_, o)| o.is_some()) {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
        futures.into_iter().filter_map(|(_, output)| output).collect()
    }
}
