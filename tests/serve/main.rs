//! The proxy on real sockets, in front of the emulator: every format end to end, what is shared, kept and refused.

#![expect(clippy::unwrap_used, reason = "a test stops where it finds something wrong")]

mod cli;
mod formats;
mod paid_once;
mod policy;
mod support;
