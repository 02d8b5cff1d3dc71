//! Pictures that a request only names: by URL, or by bucket and object.
//!
//! Whoever may name an address to a server can make it look at what only the server can reach. So nothing is fetched
//! unless a [`Rule`] permits it, and then:
//!
//! * `https` only, unless the rule says otherwise, at the port that the rule names;
//! * the host is resolved here, every address that it has must be of the public internet, and those addresses and no
//!   others are connected to (a name that changes its address in between gains nothing);
//! * no credential, cookie or referrer is sent, and no proxy of the environment is asked;
//! * a redirect is a new address, checked by the same rules, a few times at most;
//! * size, time and number of fetches are limited.
//!
//! What comes back is looked at as a picture like any other, and never shown to the caller.

mod address;
mod resolve;
mod rules;
mod seam;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Client, Url, redirect};
use smoothgate_providers::served::{Refusal, RefusalClass, Source};
use smoothgate_providers::transport::{SettingsError, tls};
use tokio::sync::Semaphore;

pub use resolve::{Resolve, System};
pub use rules::{Rule, RuleError};
pub use seam::{Fetch, Refused};

use super::access::Caller;
use resolve::Guard;

/// Most redirects that are followed.
const MOST_HOPS: usize = 3;

/// What may be fetched, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What may be fetched. Nothing else is.
    pub rules: Vec<Rule>,
    /// Most bytes of a picture.
    pub max_bytes: usize,
    /// Most time for a connection.
    pub connect_time: Duration,
    /// Most time for the whole picture, redirects and waiting for a place included.
    pub time: Duration,
    /// Most fetches at once; others wait.
    pub concurrent: usize,
    /// Certificate authorities that are trusted besides the system's, in PEM.
    pub ca_file: Option<PathBuf>,
}

impl Default for Options {
    /// Nothing may be fetched; 20 MiB, 3 seconds, 10 seconds, 16 at once.
    fn default() -> Self {
        Self {
            rules: vec![],
            max_bytes: 20 << 20,
            connect_time: Duration::from_secs(3),
            time: Duration::from_secs(10),
            concurrent: 16,
            ca_file: None,
        }
    }
}

/// Fetches pictures.
pub struct Fetcher {
    options: Options,
    client: Client,
    guard: Guard,
    places: Semaphore,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Fetcher").field(&self.options).finish()
    }
}

impl Fetcher {
    /// Prepares connections. Nothing is sent yet.
    ///
    /// # Errors
    /// [`SettingsError`] for a CA file that cannot be used.
    pub fn new(options: Options) -> Result<Self, SettingsError> {
        Self::with(options, Guard::public(Arc::new(System)))
    }

    fn with(options: Options, guard: Guard) -> Result<Self, SettingsError> {
        let mut headers = HeaderMap::new();
        // A picture does not get smaller, and a bomb stays small as it is.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let client = Client::builder()
            .tls_backend_preconfigured(tls::client_config(options.ca_file.as_deref())?)
            .user_agent(concat!("smoothgate/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(options.connect_time)
            .pool_max_idle_per_host(0)
            .dns_resolver(guard.clone())
            .build()
            .map_err(|error| SettingsError::Tls(error.without_url().to_string()))?;
        let places = Semaphore::new(options.concurrent.clamp(1, Semaphore::MAX_PERMITS));
        Ok(Self { options, client, guard, places })
    }

    /// The picture behind `source`, of at most `most` bytes.
    ///
    /// # Errors
    /// A [`Refusal`] for the client. It tells nothing of addresses and of what was found there.
    pub async fn get(&self, source: &Source, most: usize) -> Result<Bytes, Refusal> {
        if let Source::Bytes(bytes) = source {
            return Ok(bytes.clone());
        }
        let Some(url) = rules::target(&self.options.rules, source) else {
            let words = if self.options.rules.is_empty() {
                "this server fetches no pictures: send its bytes in the request"
            } else {
                "this server may not fetch pictures from there: send its bytes in the request"
            };
            return Err(unreachable(words));
        };
        let most = most.min(self.options.max_bytes);
        match tokio::time::timeout(self.options.time, self.follow(url, most)).await {
            Ok(done) => done,
            Err(_) => Err(unreachable("the picture did not arrive in time")),
        }
    }

    async fn follow(&self, mut url: Url, most: usize) -> Result<Bytes, Refusal> {
        let _place = self.places.acquire().await.map_err(|_| unreachable("this server is about to end"))?;
        for _ in 0..=MOST_HOPS {
            // Names are checked when they are resolved; an address is not resolved.
            if let Some(address) = url.host_str().and_then(|host| rules::bare(host).parse::<IpAddr>().ok())
                && let Some(why) = self.guard.forbids(address)
            {
                tracing::warn!(host = url.host_str(), why, "a picture is at a forbidden address");
                return Err(unreachable(NOT_PUBLIC));
            }
            let response = self.client.get(url.clone()).send().await.map_err(|error| failed(&url, &error))?;
            let status = response.status();
            if !status.is_redirection() {
                return if status.as_u16() == 200 {
                    read(response, most).await
                } else {
                    Err(unreachable(format!("the picture's server answered with status {}", status.as_u16())))
                };
            }
            let next =
                response.headers().get(LOCATION).and_then(|to| rules::next(&self.options.rules, &url, to));
            url = next
                .ok_or_else(|| unreachable("the picture has moved to where this server may not fetch it"))?;
        }
        Err(unreachable("the picture has moved too many times"))
    }
}

impl Fetch for Fetcher {
    fn fetch<'a>(
        &'a self,
        _: &'a Caller,
        source: &'a Source,
        most: usize,
    ) -> BoxFuture<'a, Result<Bytes, Refusal>> {
        Box::pin(self.get(source, most))
    }
}

const NOT_PUBLIC: &str = "the picture is at no address of the public internet";

async fn read(mut response: reqwest::Response, most: usize) -> Result<Bytes, Refusal> {
    let too_large = || {
        let words = format!("the picture has more than {most} bytes");
        Refusal::new(RefusalClass::PictureTooLarge, words)
    };
    if response.content_length().is_some_and(|length| length > most as u64) {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    let broken = |_| unreachable("the picture broke off on its way");
    while let Some(piece) = response.chunk().await.map_err(broken)? {
        if body.len() + piece.len() > most {
            return Err(too_large());
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

/// The host is logged for the operator, never the whole address: a signed one is a credential.
fn failed(url: &Url, error: &reqwest::Error) -> Refusal {
    let forbidden = resolve::forbidden_in(error);
    tracing::warn!(
        host = url.host_str(),
        forbidden,
        connect = error.is_connect(),
        "a picture cannot be fetched"
    );
    unreachable(if forbidden.is_some() { NOT_PUBLIC } else { "the picture's server cannot be reached" })
}

fn unreachable(words: impl Into<String>) -> Refusal {
    Refusal::new(RefusalClass::PictureUnreachable, words)
}
