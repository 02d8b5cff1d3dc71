//! What every server of ours has in front: connections, limits on what is read, and which API a request is for.
//!
//! HTTP/1.1 and HTTP/2 on one port, plain (HTTP/2 by prior knowledge) or over TLS (by ALPN). What a request means and
//! how it is answered is not known here.

mod connection;
mod formats;
mod picture;
mod server;

pub use connection::Connection;
pub use formats::{Formats, ReadError};
pub use picture::{look, measure};
pub use server::{Options, TlsError, serve, tls};
