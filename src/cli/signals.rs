//! Ctrl-C and SIGTERM: first in order, then at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::engine::Stop;

/// What the first signal turns.
#[derive(Clone, Debug, Default)]
pub(super) struct Signals {
    /// Ends the work in order.
    pub stop: Stop,
    came: Arc<AtomicBool>,
}

impl Signals {
    /// Did one come?
    pub(super) fn came(&self) -> bool {
        self.came.load(Ordering::Relaxed)
    }

    /// Turns `stop` at the first signal and returns at the second: whoever awaits it beside the work then drops the
    /// work. What is on record by then stays on record.
    pub(super) async fn listen(&self) {
        let mut requests = Requests::listen();
        requests.next().await;
        self.came.store(true, Ordering::Relaxed);
        self.stop.stop_soon();
        tell!("stopping: waiting for the calls that are out (again to leave at once)");
        requests.next().await;
    }
}

/// Waits for one.
pub(super) async fn signal() {
    Requests::listen().next().await;
}

#[cfg(not(unix))]
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Signals to load the configuration anew: SIGHUP, where the system has it.
pub(super) struct Hangups {
    #[cfg(unix)]
    signals: Option<tokio::signal::unix::Signal>,
}

impl Hangups {
    /// Takes them from now on; without this the signal ends the process.
    pub(super) fn listen() -> Self {
        #[cfg(unix)]
        let signals = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok();
        Self {
            #[cfg(unix)]
            signals,
        }
    }

    /// Waits for the next. False where there can be none.
    pub(super) async fn next(&mut self) -> bool {
        #[cfg(unix)]
        if let Some(signals) = &mut self.signals {
            return signals.recv().await.is_some();
        }
        false
    }
}

/// Ctrl-C and SIGTERM, of which none is lost between two waits.
pub(super) struct Requests {
    #[cfg(unix)]
    signals: [Option<tokio::signal::unix::Signal>; 2],
}

impl Requests {
    /// Takes them from now on; without this they end the process. Within a runtime.
    pub(super) fn listen() -> Self {
        #[cfg(unix)]
        let signals = {
            use tokio::signal::unix::{SignalKind, signal};
            [SignalKind::interrupt(), SignalKind::terminate()].map(|kind| signal(kind).ok())
        };
        Self {
            #[cfg(unix)]
            signals,
        }
    }

    /// Waits for one.
    #[cfg(unix)]
    pub(super) async fn next(&mut self) {
        async fn of(signal: &mut Option<tokio::signal::unix::Signal>) {
            match signal {
                Some(signal) => _ = signal.recv().await,
                None => std::future::pending().await,
            }
        }
        let [interrupt, terminate] = &mut self.signals;
        tokio::select! {
            () = of(interrupt) => {}
            () = of(terminate) => {}
        }
    }

    /// Waits for one.
    #[cfg(not(unix))]
    pub(super) async fn next(&mut self) {
        interrupted().await;
    }
}
