//! Asking an engine to stop early.

use std::sync::Arc;

use tokio::sync::watch;

/// A switch that ends every picture in flight: nothing more is sent, what is out is waited for and recorded, and the
/// picture ends as [`EngineError::Interrupted`](super::EngineError::Interrupted). Clones are one switch. It is never
/// turned back.
#[derive(Clone, Debug)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Default for Stop {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Stop {
    /// Turns it.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Was it turned?
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is turned.
    pub async fn stopped(&self) {
        // The sender lives in `self`, so waiting for it cannot fail.
        let _ = self.0.subscribe().wait_for(|stopped| *stopped).await;
    }
}
