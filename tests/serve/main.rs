//! The proxy on real sockets, in front of the emulator: every format end to end, what is shared, kept and refused.

#![expect(clippy::unwrap_used, reason = "a test stops where it finds something wrong")]
#![expect(clippy::disallowed_methods, reason = "clients are tasks of their own, which may hang up")]

mod access;
mod cli;
mod formats;
mod hostile;
#[cfg(unix)]
mod load;
mod moderation;
mod operations;
mod outage;
mod paid_once;
mod policy;
#[cfg(unix)]
mod process;
#[cfg(unix)]
mod reload;
#[path = "../support/served.rs"]
mod served;
#[cfg(target_os = "linux")]
mod siege;
mod support;
#[cfg(all(unix, feature = "otel"))]
mod traces;
