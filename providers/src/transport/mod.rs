//! Transport: what turns a [`Provider`](crate::Provider)'s requests into answers that are paid for once.
//!
//! [`HttpEndpoint`] implements [`Endpoint`](crate::Endpoint). For every attempt it goes through the same steps, in
//! this order:
//!
//! 1. the circuit [`breaker`] must be closed, and the credentials fresh;
//! 2. the [`limiter`] gives its permission;
//! 3. [`Journal::open`](crate::Journal::open) reserves the price and records the intent;
//! 4. the request is sent and its reply read, within the timeouts and the size limit of the [`client`];
//! 5. [`Journal::close`](crate::Journal::close) records the end, with [`billing`]'s verdict;
//! 6. [`retry`] decides whether the same bytes are sent again.
//!
//! An ask that is dropped before step 3 leaves no trace. One that is dropped between steps 3 and 5 leaves an opened
//! attempt, which the journal's owner must count as possibly billed: its request may have reached the API.
//!
//! The HTTP library's own retries and redirects are off, so one attempt on record is at most one request on the wire.

pub mod batch;
pub mod billing;
pub mod breaker;
pub mod client;
mod endpoint;
pub mod limiter;
mod probe;
pub mod retry;
mod settings;
pub mod tls;

pub use breaker::Trip;
pub use client::Network;
pub use endpoint::{HttpEndpoint, TransportStats};
pub use limiter::RateState;
pub use probe::Probed;
pub use retry::RetryPolicy;
pub use settings::{NetworkSettings, Proxy, Rate, SettingsError, TransportSettings};
