//! Ctrl-C and SIGTERM: first in order, then at once.

use crate::engine::Stop;

use super::Exit;

/// Turns `stop` at the first signal; leaves the process at the second. What is on record by then stays on record.
pub(super) fn listen(stop: Stop) {
    tokio::spawn(async move {
        signal().await;
        stop.stop();
        eprintln!("stopping: waiting for the calls that are out (again to leave at once)");
        signal().await;
        #[expect(
            clippy::exit,
            reason = "the second signal means now; the ledger survives any end of the process"
        )]
        std::process::exit(Exit::Interrupted as i32);
    });
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).ok();
    let terminated = async {
        match &mut terminate {
            Some(terminate) => _ = terminate.recv().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => {
            if interrupted.is_err() {
                std::future::pending::<()>().await;
            }
        }
        () = terminated => {}
    }
}

#[cfg(not(unix))]
async fn signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
