//! The emulator as clients see it: our own adapters in all eight formats, every fault, the whole engine.

#![expect(clippy::unwrap_used, reason = "a test stops where it finds something wrong")]

mod adapters;
mod certify;
mod control;
mod faults;
mod http2;
mod secrets;
#[path = "../support/served.rs"]
mod served;
mod support;
