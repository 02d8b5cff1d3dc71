//! What every server of ours has in front: connections, limits on what is read, and which API a request is for.
//!
//! HTTP/1.1 and HTTP/2 on one port, plain (HTTP/2 by prior knowledge) or over TLS (by ALPN). What a request means and
//! how it is answered is not known here.

mod connection;
mod formats;
mod peers;
mod picture;
mod server;
mod stamp;
#[cfg(test)]
mod tests;
mod tls;

pub use connection::Connection;
pub use formats::{BodyLimits, Formats, ReadError};
pub use picture::{look, measure};
pub use server::{Limits, Options, serve};
pub(crate) use stamp::Watched;
pub use tls::{Tls, TlsError, tls};
