//! Spans along the way of a request through [`serve`](crate::proxy), and, with the feature `otel`, where they go.
//!
//! | span | is |
//! |---|---|
//! | `request` | a request, from its head to its reply |
//! | `picture` | one picture of it, from its queue to its certificate |
//! | `denoise` | a batch of its copies at the denoiser, the wait for it included |
//! | `attempt` | a call upstream, from its record in the ledger to its end |
//!
//! They hold names of the configuration, numbers and the words for outcomes: no key, no picture, no address.

#[cfg(feature = "otel")]
mod otlp;

use http::HeaderMap;
use tracing::Span;

#[cfg(feature = "otel")]
pub use otlp::{Marks, Traces, TracesError};

/// What the spans are filed under. Logs leave it out: their lines have a request's id by a span of their own.
pub const TARGET: &str = "smoothgate::spans";

/// Makes `span`, which has only just been made, a part of the trace that the headers of a request name (`traceparent`).
#[cfg(feature = "otel")]
pub(crate) fn adopt(span: &Span, headers: &HeaderMap) {
    otlp::adopt(span, headers);
}

/// Nobody collects traces in this build.
#[cfg(not(feature = "otel"))]
pub(crate) fn adopt(_: &Span, _: &HeaderMap) {}
