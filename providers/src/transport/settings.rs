//! What a user may set about transport, with the defaults.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use crate::{Price, Quota};

use super::RetryPolicy;

/// How connections are made. One [`Network`](super::Network) may serve several endpoints and their credentials.
#[derive(Clone, Debug)]
pub struct NetworkSettings {
    /// Most time to connect, TLS handshake included.
    pub connect_timeout: Duration,
    /// Most time from sending to the status line of the reply. Covers the API's own work on the picture.
    pub first_byte_timeout: Duration,
    /// Most time for a whole call, from connecting to the last byte of the reply.
    pub call_timeout: Duration,
    /// Most bytes of a reply. A longer one is cut off and counts as malformed.
    pub max_reply_bytes: usize,
    /// A PEM file of certificate authorities that are trusted beside those of the system.
    pub ca_file: Option<PathBuf>,
    /// Which HTTP proxy to go through. Loopback addresses never go through one.
    pub proxy: Proxy,
    /// Send credentials and pictures over plain `http` to hosts other than this one.
    pub allow_http: bool,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            first_byte_timeout: Duration::from_secs(30),
            call_timeout: Duration::from_mins(1),
            max_reply_bytes: 8 << 20,
            ca_file: None,
            proxy: Proxy::Environment,
            allow_http: false,
        }
    }
}

/// Which HTTP proxy to go through.
#[derive(Clone, Default)]
pub enum Proxy {
    /// `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, where they are set.
    #[default]
    Environment,
    /// None, whatever the environment says.
    Direct,
    /// This one. The address may hold a user name and a password, so it is kept as a secret.
    Url(SecretString),
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Environment => f.write_str("Environment"),
            Self::Direct => f.write_str("Direct"),
            Self::Url(url) => {
                let host = reqwest::Url::parse(url.expose_secret()).ok();
                let host = host.as_ref().and_then(reqwest::Url::host_str);
                write!(f, "Url({})", host.unwrap_or("unreadable"))
            }
        }
    }
}

/// How one endpoint calls its API.
#[derive(Clone, Debug)]
pub struct TransportSettings {
    /// The instance's name in the configuration. `None`: the provider's name.
    pub name: Option<String>,
    /// What decides the answers: see [`Description::identity`](crate::Description::identity). `Null`: the provider's
    /// name.
    pub identity: serde_json::Value,
    /// The rate limit.
    pub rate: Rate,
    /// How many calls may leave at once after a pause. `None`: 1, or as many as are due within 4 ms where that is
    /// more, since timers are no finer than that.
    pub burst: Option<u32>,
    /// When to send the same bytes again.
    pub retry: RetryPolicy,
    /// The price of one picture, where it differs from the provider's list price.
    pub price: Option<Price>,
    /// Most pictures that are sent in one call, where [`Provider::fit`](crate::Provider::fit) lets so many in. `None`:
    /// as many as the provider accepts. 1 turns batching off.
    pub pictures_per_call: Option<usize>,
    /// How long a call waits for more pictures to go with it.
    pub linger: Duration,
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            name: None,
            identity: serde_json::Value::Null,
            rate: Rate::Provider,
            burst: None,
            retry: RetryPolicy::default(),
            price: None,
            pictures_per_call: None,
            linger: Duration::from_millis(5),
        }
    }
}

/// The rate limit of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rate {
    /// The provider's default quota, none where it publishes none.
    #[default]
    Provider,
    /// This many calls and pictures a minute.
    Quota(Quota),
    /// No limit until the API throttles.
    Unlimited,
}

/// Settings that cannot work. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The CA file cannot be used.
    #[error("the CA file {} cannot be used: {problem}. It must hold PEM certificates", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The proxy address cannot be used. It is not repeated, since it may hold a password.
    #[error("the proxy address cannot be used: {0}. Write it as http://HOST:PORT")]
    Proxy(String),
    /// The TLS library refuses the settings.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    /// A number out of its range.
    #[error("`{setting}` must be {range}")]
    Range {
        /// The setting's name.
        setting: &'static str,
        /// What it may be.
        range: &'static str,
    },
}
