//! Where the traces of a server go: nowhere, or, in a build with the feature `otel`, to the collector that the environment
//! names.

use std::sync::Arc;

use tokio::runtime::Runtime;

use super::Failure;
use super::log::LogOptions;
use crate::proxy;
use crate::proxy::observer::Observer;

/// The way to a collector, where there is one.
pub(super) struct Traces {
    #[cfg(feature = "otel")]
    sent: Option<crate::traces::Traces>,
}

#[cfg(feature = "otel")]
impl Traces {
    /// Begins to log, and to trace where that is wanted.
    pub(super) fn start(log: &LogOptions, runtime: &Runtime) -> Result<Self, Failure> {
        let environment = smoothgate_providers::credentials::Environment::process();
        let sent = crate::traces::Traces::from_environment(&environment, runtime.handle());
        let sent = sent.map_err(Failure::usage)?;
        log.start(sent.as_ref().map(crate::traces::Traces::layer));
        Ok(Self { sent })
    }

    /// Who watches the proxy.
    pub(super) fn observer(&self) -> Arc<dyn Observer> {
        match &self.sent {
            Some(_) => Arc::new(proxy::observer::Both(proxy::Log, crate::traces::Marks)),
            None => Arc::new(proxy::Log),
        }
    }

    /// Sends what is left.
    pub(super) fn end(self) {
        if let Some(sent) = self.sent {
            sent.end();
        }
    }
}

#[cfg(not(feature = "otel"))]
impl Traces {
    /// Begins to log.
    #[expect(clippy::unnecessary_wraps, reason = "one signature for builds with and without traces")]
    pub(super) fn start(log: &LogOptions, _: &Runtime) -> Result<Self, Failure> {
        log.start(None::<tracing_subscriber::layer::Identity>);
        Ok(Self {})
    }

    /// Who watches the proxy.
    #[expect(clippy::unused_self, reason = "one signature for builds with and without traces")]
    pub(super) fn observer(&self) -> Arc<dyn Observer> {
        Arc::new(proxy::Log)
    }

    /// Nothing is left.
    pub(super) fn end(self) {}
}
