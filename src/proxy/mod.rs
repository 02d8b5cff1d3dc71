//! The proxy.

pub mod access;
pub mod fetch;
