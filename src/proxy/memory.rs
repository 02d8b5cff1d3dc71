//! Memory for what strangers send: bodies are counted as they arrive, pictures before they are worked on.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What one permit stands for.
const UNIT: usize = 4096;
/// A body is in memory twice while it is decoded: as it came, and the file that was in it.
const TWICE: usize = 2;

/// Pixels that are decoded at once: one picture of the largest size, or many small ones. A large file takes hundreds of
/// megabytes while it is decoded, and a few when it is done.
const DECODED: u32 = 64_000_000;
/// Pixels of one permit.
const PIXELS: u64 = 4096;

/// Two halves of the memory: for bodies, which are refused when it is full, and for work, which waits for it.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    bodies: Arc<Semaphore>,
    work: Arc<Semaphore>,
    decoding: Arc<Semaphore>,
    half: u32,
}

impl Memory {
    pub(super) fn new(bytes: u64) -> Self {
        let units = (bytes / 2 / UNIT as u64).clamp(1, u64::from(u32::MAX >> 3));
        let half = units as u32;
        let semaphore = || Arc::new(Semaphore::new(half as usize));
        let decoding = Arc::new(Semaphore::new((u64::from(DECODED) / PIXELS) as usize));
        Self { bodies: semaphore(), work: semaphore(), decoding, half }
    }

    /// A body that is counted as it arrives.
    pub(super) fn body<B>(&self, body: B) -> (Counted<B>, Arc<Held>) {
        let held = Arc::new(Held { pool: Arc::clone(&self.bodies), permits: Mutex::default() });
        (Counted { body, held: Arc::clone(&held) }, held)
    }

    /// Memory for a file that was fetched, as for a body. `None` where there is no room for it.
    pub(super) fn fetched(&self, bytes: usize) -> Option<Held> {
        let held = Held { pool: Arc::clone(&self.bodies), permits: Mutex::default() };
        held.grow(bytes).then_some(held)
    }

    /// Waits for the turn of a file of so many pixels to be decoded.
    pub(super) async fn decode(&self, pixels: u64) -> Option<OwnedSemaphorePermit> {
        let units = (pixels / PIXELS + 1).min(u64::from(DECODED) / PIXELS) as u32;
        Arc::clone(&self.decoding).acquire_many_owned(units).await.ok()
    }

    /// Waits for this much memory to work in; for all of it, where it is more than there is.
    pub(super) async fn work(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let units = (bytes / UNIT as u64 + 1).min(u64::from(self.half)) as u32;
        // The semaphore is never closed.
        Arc::clone(&self.work).acquire_many_owned(units).await.ok()
    }
}

/// The memory that a body takes, for as long as this is held.
pub(super) struct Held {
    pool: Arc<Semaphore>,
    permits: Mutex<State>,
}

#[derive(Default)]
struct State {
    permits: Option<OwnedSemaphorePermit>,
    bytes: usize,
    full: bool,
}

impl Held {
    /// Was there no room for it?
    pub(super) fn is_full(&self) -> bool {
        self.permits.lock().unwrap_or_else(PoisonError::into_inner).full
    }

    fn grow(&self, bytes: usize) -> bool {
        let mut state = self.permits.lock().unwrap_or_else(PoisonError::into_inner);
        let units = |bytes: usize| (bytes.saturating_mul(TWICE)).div_ceil(UNIT);
        let more = units(state.bytes + bytes) - units(state.bytes);
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        let Ok(permits) = Arc::clone(&self.pool).try_acquire_many_owned(more) else {
            state.full = true;
            return false;
        };
        state.bytes += bytes;
        match &mut state.permits {
            Some(held) => held.merge(permits),
            none => *none = Some(permits),
        }
        true
    }
}

/// A body that is counted as it arrives, and ends with an error where there is no room for more.
pub(super) struct Counted<B> {
    body: B,
    held: Arc<Held>,
}

impl<B> Body for Counted<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => match frame.data_ref().map(Bytes::len) {
                Some(bytes) if !self.held.grow(bytes) => Some(Err("no memory is free for the body".into())),
                _ => Some(Ok(frame)),
            },
            Some(Err(error)) => Some(Err(error.into())),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
