//! One request on the wire and its whole reply, or what became of it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request};
use reqwest::redirect;
use secrecy::ExposeSecret as _;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout, timeout_at};

use crate::Reply;

use super::settings::{NetworkSettings, Proxy, SettingsError};
use super::tls;

/// A deadline that is noticed so late was not watched: the process was stopped, or its thread was held up.
const UNWATCHED: Duration = Duration::from_secs(1);

/// How long what came meanwhile may take to be read.
const CATCH_UP: Duration = Duration::from_secs(5);

/// The connections of one or more endpoints: TLS, proxy, timeouts and the size limit. Cloning shares them.
#[derive(Clone)]
pub struct Network(Arc<Inner>);

struct Inner {
    settings: NetworkSettings,
    outward: reqwest::Client,
    /// For hosts that are this machine: never through a proxy, which would carry plain `http` off it.
    loopback: reqwest::Client,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Network").field(&self.0.settings).finish()
    }
}

/// What became of one request.
#[derive(Debug)]
pub(crate) enum Exchange {
    /// A whole reply.
    Reply(Reply),
    /// A reply of this status whose body is longer than the limit.
    TooLong { status: u16, most: usize },
    /// No whole reply.
    Lost(Lost),
}

/// A request without a whole reply.
#[derive(Debug)]
pub(crate) struct Lost {
    /// What was seen, without address or credential.
    pub(crate) reason: String,
    /// The status line, where one came before the reply broke off.
    pub(crate) status: Option<u16>,
    /// Whether any byte of the request can have reached the API.
    pub(crate) sent: bool,
}

impl Network {
    /// Prepares connections. Nothing is sent yet.
    ///
    /// # Errors
    /// [`SettingsError`] for a CA file or a proxy that cannot be used.
    pub fn new(settings: NetworkSettings) -> Result<Self, SettingsError> {
        let tls = tls::client_config(settings.ca_file.as_deref())?;
        let client = || {
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .user_agent(concat!("smoothgate/", env!("CARGO_PKG_VERSION")))
                .redirect(redirect::Policy::none())
                .retry(reqwest::retry::never())
                .connect_timeout(settings.connect_timeout)
                // Shorter than the idle limits of the usual front ends (60 s and more): a request on a connection
                // that the other side is just closing ends as "sent, perhaps billed".
                .pool_idle_timeout(Duration::from_secs(20))
                .tcp_keepalive(Duration::from_secs(30))
                .tcp_nodelay(true)
        };
        let build = |builder: reqwest::ClientBuilder| {
            builder.build().map_err(|error| SettingsError::Tls(chain(&error.without_url())))
        };
        let outward = match &settings.proxy {
            Proxy::Environment => client(),
            Proxy::Direct => client().no_proxy(),
            Proxy::Url(url) => {
                let proxy = reqwest::Proxy::all(url.expose_secret())
                    .map_err(|error| SettingsError::Proxy(chain(&error.without_url())))?;
                client().no_proxy().proxy(proxy)
            }
        };
        let (outward, loopback) = (build(outward)?, build(client().no_proxy())?);
        Ok(Self(Arc::new(Inner { settings, outward, loopback })))
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &NetworkSettings {
        &self.0.settings
    }

    /// Sends `request` once.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Exchange {
        let settings = &self.0.settings;
        let client = match request.uri().host() {
            Some(host) if tls::is_loopback(host) || tls::is_metadata(host) => &self.0.loopback,
            _ => &self.0.outward,
        };
        let request = match reqwest::Request::try_from(request) {
            Ok(request) => request,
            Err(error) => return lost(chain(&error.without_url()), None, false),
        };
        let whole = Instant::now() + settings.call_timeout;
        let first_byte = whole.min(Instant::now() + settings.connect_timeout + settings.first_byte_timeout);
        let mut response = match in_time(first_byte, client.execute(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                // Asked before anything else: a failure to connect may be a timeout too, and an error about "the
                // request" may come after its last byte has left.
                let sent = !(error.is_connect() || error.is_builder());
                return lost(chain(&error.without_url()), None, sent);
            }
            Err(_) => return lost("no reply in time".to_owned(), None, true),
        };
        let status = response.status();
        let headers = std::mem::take(response.headers_mut());
        match in_time(whole, read(&mut response, &headers, settings.max_reply_bytes)).await {
            Ok(Ok(Some(body))) => Exchange::Reply(Reply { status, headers, body }),
            Ok(Ok(None)) => Exchange::TooLong { status: status.as_u16(), most: settings.max_reply_bytes },
            Ok(Err(error)) => {
                let reason = format!("the reply broke off: {}", chain(&error.without_url()));
                lost(reason, Some(status.as_u16()), true)
            }
            Err(_) => lost("the reply did not end in time".to_owned(), Some(status.as_u16()), true),
        }
    }
}

/// What `work` brings by `deadline`. Where nobody watched that pass, the reply may lie in the socket, paid for: then it is
/// waited for a little longer.
async fn in_time<F: Future>(deadline: Instant, work: F) -> Result<F::Output, Elapsed> {
    let mut work = pin!(work);
    match timeout_at(deadline, work.as_mut()).await {
        Err(_) if deadline.elapsed() >= UNWATCHED => timeout(CATCH_UP, work).await,
        done => done,
    }
}

fn lost(reason: String, status: Option<u16>, sent: bool) -> Exchange {
    Exchange::Lost(Lost { reason, status, sent })
}

/// The whole body, `None` where it is longer than `most` bytes.
async fn read(
    response: &mut reqwest::Response,
    headers: &HeaderMap,
    most: usize,
) -> Result<Option<Bytes>, reqwest::Error> {
    let announced =
        headers.get(http::header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > most) {
        return Ok(None);
    }
    // Most replies come in one piece, which then needs no copy.
    let Some(first) = response.chunk().await? else { return Ok(Some(Bytes::new())) };
    if first.len() > most {
        return Ok(None);
    }
    let Some(second) = response.chunk().await? else { return Ok(Some(first)) };
    let mut body = BytesMut::from(first);
    let mut next = Some(second);
    while let Some(piece) = next {
        if body.len() + piece.len() > most {
            return Ok(None);
        }
        body.extend_from_slice(&piece);
        next = response.chunk().await?;
    }
    Ok(Some(body.freeze()))
}

/// An error with its causes in one line. The innermost one says what happened ("connection refused").
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
