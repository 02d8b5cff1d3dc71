//! The document: that it is written in one way, that every change of it is found, and that a hostile one does no harm.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where it finds something wrong")]

#[path = "../support/mod.rs"]
mod support;

mod cli;
mod hostile;
mod keys;
mod means;
mod real;
mod schema;
mod tampering;
