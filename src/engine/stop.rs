//! Asking an engine to stop early.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// How long [`Stop::stop_soon`] waits for calls that are out.
const PATIENCE: Duration = Duration::from_secs(30);

/// A switch that ends every picture in flight: nothing more is sent, what is out is waited for and recorded, and the
/// picture ends as [`EngineError::Interrupted`](super::EngineError::Interrupted). Clones are one switch. It is never
/// turned back.
#[derive(Clone, Debug)]
pub struct Stop(Arc<watch::Sender<Turn>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Not,
    Stopped,
    Soon,
}

impl Default for Stop {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Turn::Not)))
    }
}

impl Stop {
    /// Turns it. What is out is waited for as long as it takes, which the endpoint's own timeouts bound, and so is its record, which waits
    /// for a ledger that another process holds: it is paid for.
    pub fn stop(&self) {
        self.turn(Turn::Stopped);
    }

    /// Turns it for somebody who waits for the process to end: what is out is waited for 30 seconds at most. What is not back
    /// by then stays on record as sent. Also after [`stop`](Self::stop).
    pub fn stop_soon(&self) {
        self.turn(Turn::Soon);
    }

    /// Was it turned?
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow() >= Turn::Stopped
    }

    /// Waits until it is turned.
    pub async fn stopped(&self) {
        self.turned(Turn::Stopped).await;
    }

    /// Waits for what is out, as long as somebody who waits for the process allows.
    pub(super) async fn wait_for(&self, out: impl Future<Output = ()>) {
        let soon = async {
            self.turned(Turn::Soon).await;
            tokio::time::sleep(PATIENCE).await;
        };
        tokio::select! {
            () = out => {}
            () = soon => {}
        }
    }

    fn turn(&self, to: Turn) {
        self.0.send_if_modified(|turn| {
            let further = *turn < to;
            *turn = to.max(*turn);
            further
        });
    }

    async fn turned(&self, to: Turn) {
        // The sender lives in `self`, so waiting for it cannot fail.
        let _ = self.0.subscribe().wait_for(|turn| *turn >= to).await;
    }
}
