//! Where the traces of a server go: nowhere, or, in a build with the feature `otel`, to the collector that the environment
//! names.

use std::sync::Arc;

use tokio::runtime::Runtime;

use super::Failure;
use super::log::LogOptions;
use crate::proxy;
use crate::proxy::observer::Observer;

/// The log, and the way to a collector, where there is one.
pub(super) struct Traces {
    observer: Arc<dyn Observer>,
    #[cfg(feature = "otel")]
    sent: Option<crate::traces::Traces>,
}

impl Traces {
    /// Begins to log, and to trace where that is wanted.
    #[cfg(feature = "otel")]
    pub(super) fn start(log: &LogOptions, runtime: &Runtime) -> Result<Self, Failure> {
        let environment = smoothgate_providers::credentials::Environment::process();
        let sent = crate::traces::Traces::from_environment(&environment, runtime.handle());
        let sent = sent.map_err(Failure::usage)?;
        log.start(sent.as_ref().map(crate::traces::Traces::layer));
        let observer: Arc<dyn Observer> = match &sent {
            Some(_) => Arc::new(proxy::observer::Both(proxy::Log, crate::traces::Marks)),
            None => Arc::new(proxy::Log),
        };
        Ok(Self { observer, sent })
    }

    /// Begins to log.
    #[cfg(not(feature = "otel"))]
    #[expect(clippy::unnecessary_wraps, reason = "as in builds that can send traces")]
    pub(super) fn start(log: &LogOptions, _: &Runtime) -> Result<Self, Failure> {
        log.start(None::<tracing_subscriber::layer::Identity>);
        Ok(Self { observer: Arc::new(proxy::Log) })
    }

    /// Who watches the proxy.
    pub(super) fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.observer)
    }

    /// Sends what is left.
    pub(super) fn end(self) {
        drop(self.observer);
        #[cfg(feature = "otel")]
        if let Some(sent) = self.sent {
            sent.end();
        }
    }
}
