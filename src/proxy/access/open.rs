//! A server without keys, and where one may listen.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{HOST, ORIGIN};
use smoothgate_providers::credentials::aws::sigv4::Received;

use super::Denied;

/// Why a server does not start to listen. The operator's to mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "listening on {0} without keys would let anyone who reaches it spend money on the upstream APIs. Make keys with \
     `smoothgate keys issue` and name their file with --keys, listen on 127.0.0.1, or say --insecure-no-auth"
)]
pub struct Exposed(pub SocketAddr);

/// May a server listen at `address`? With keys everywhere, without on this machine's own addresses, or where
/// `insecure` says that it is meant.
///
/// # Errors
/// [`Exposed`].
pub fn may_listen(address: SocketAddr, keys: bool, insecure: bool) -> Result<(), Exposed> {
    if keys || insecure || is_loopback(address.ip()) { Ok(()) } else { Err(Exposed(address)) }
}

/// Would keys and pictures cross a network in the clear? For a warning at the start.
pub fn in_the_clear(address: SocketAddr, tls: bool) -> bool {
    !tls && !is_loopback(address.ip())
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Turns away web pages. A browser on this machine would send their requests here, also from pages of strangers, and a
/// stranger's host name may be made to lead here (DNS rebinding): the first shows in `Origin`, the second in `Host`.
pub(super) fn check_local(request: &Received<'_>) -> Result<(), Denied> {
    let host = host(request.headers).or_else(|| request.uri.host());
    let local = host.is_some_and(|host| {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare.eq_ignore_ascii_case("localhost") || bare.parse().is_ok_and(is_loopback)
    });
    if local && !request.headers.contains_key(ORIGIN) { Ok(()) } else { Err(Denied::WebPage) }
}

/// The host of the `Host` header, without its port.
fn host(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(HOST)?.to_str().ok()?;
    let end = text.rfind(':').filter(|end| text[end + 1..].bytes().all(|byte| byte.is_ascii_digit()));
    Some(end.map_or(text, |end| &text[..end]))
}
