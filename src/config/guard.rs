//! `[serve.access]`, `[serve.tls]`, `[serve.limits]` and `[serve.fetch]`: who may use the proxy, how much it takes from
//! anyone, and what it fetches.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smoothgate_providers::credentials::SecretSource;

use super::ConfigError;
use super::check::{beside, duration};
use super::raw::written;
use super::source::Source;
use crate::front::{BodyLimits, Limits};
use crate::proxy::fetch::{Options, Rule};

/// What is written under `[serve.access]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawAccess {
    /// The file of callers' keys (`smoothgate keys issue`). Without one nobody needs a key, and only this machine is
    /// listened to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<PathBuf>,
    /// The master secret of the AWS pairs among them: `"env::NAME"` or `"file::PATH"`. By default the file beside the keys
    /// that `keys issue --aws` makes, where it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master: Option<SecretSource>,
}

/// What is written under `[serve.tls]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawTls {
    /// The certificate chain (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Its key (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

/// What is written under `[serve.limits]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawLimits {
    /// Most time for a TLS handshake, and for the head of a request: `"30s"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_time: Option<String>,
    /// Most time for the body of a request: `"60s"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_time: Option<String>,
    /// Most time without a byte while no request is being answered: `"60s"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_time: Option<String>,
    /// Most connections at once of one address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_per_peer: Option<usize>,
    /// Most header fields of a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header_fields: Option<usize>,
    /// Most KiB of a request's head, at least 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_kib: Option<u32>,
    /// Most MiB of a request's body, where that is less than what the pictures of its format take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_mib: Option<usize>,
    /// Most requests at once on one HTTP/2 connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<u32>,
}

/// What is written under `[serve.fetch]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawFetch {
    /// From where pictures are fetched that a request only names: `["images.example.com", "gs://BUCKET"]`. By default from
    /// nowhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Most time for a picture: `"10s"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Most MiB of a picture, where that is less than what its format takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_mib: Option<usize>,
    /// Most fetches at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<usize>,
}

/// Who may use the proxy, how much it takes from anyone, and what it fetches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardSettings {
    /// The file of callers' keys.
    pub keys: Option<PathBuf>,
    /// The master secret of the AWS pairs among them.
    pub master: Option<SecretSource>,
    /// Certificate chain and key for TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// What a connection may take.
    pub connection: Limits,
    /// How much of a body is read.
    pub body: BodyLimits,
    /// What is fetched.
    pub fetch: Options,
}

/// The raw tables together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw<'a> {
    pub(super) access: &'a RawAccess,
    pub(super) tls: &'a RawTls,
    pub(super) limits: &'a RawLimits,
    pub(super) fetch: &'a RawFetch,
}

/// Checks the tables.
pub(super) fn guard(source: &Source<'_>, raw: Raw<'_>) -> Result<GuardSettings, ConfigError> {
    let Raw { access, tls, limits, fetch } = raw;
    let default = GuardSettings::default();
    let wrong = |table: &str, key: &str, problem: &str| {
        source.at(&["serve", table, key], format!("`{key}`: {problem}"))
    };
    for (table, key, value) in [
        ("limits", "connections_per_peer", limits.connections_per_peer),
        ("limits", "header_fields", limits.header_fields),
        ("limits", "body_mib", limits.body_mib),
        ("limits", "streams", limits.streams.map(|n| n as usize)),
        ("fetch", "max_mib", fetch.max_mib),
        ("fetch", "concurrent", fetch.concurrent),
    ] {
        if value == Some(0) {
            return Err(wrong(table, key, "must be at least 1"));
        }
    }
    if limits.head_kib.is_some_and(|kib| !(8..=1024).contains(&kib)) {
        return Err(wrong("limits", "head_kib", "must be from 8 to 1024"));
    }
    let time = |table: &str, key, text: &Option<String>, usual: Duration| {
        let time = duration(source, &["serve", table], key, text.as_ref(), usual)?;
        if time.is_zero() { Err(wrong(table, key, "must be longer than nothing")) } else { Ok(time) }
    };
    let rules = fetch
        .allow
        .iter()
        .map(|text| text.parse::<Rule>().map_err(|error| wrong("fetch", "allow", &error.to_string())));
    let mib = |mib: Option<usize>, usual| mib.map_or(usual, |mib| mib.saturating_mul(1 << 20));
    Ok(GuardSettings {
        keys: access.keys.as_deref().map(|path| source.beside(path)),
        master: access.master.as_ref().map(|place| beside(source, place)),
        tls: match (&tls.certificate, &tls.key) {
            (Some(certificate), Some(key)) => Some((source.beside(certificate), source.beside(key))),
            (None, None) => None,
            (Some(_), None) => return Err(wrong("tls", "certificate", "its `key` is missing")),
            (None, Some(_)) => return Err(wrong("tls", "key", "its `certificate` is missing")),
        },
        connection: Limits {
            per_peer: limits.connections_per_peer.unwrap_or(default.connection.per_peer),
            head_time: time("limits", "head_time", &limits.head_time, default.connection.head_time)?,
            idle_time: time("limits", "idle_time", &limits.idle_time, default.connection.idle_time)?,
            headers: limits.header_fields.unwrap_or(default.connection.headers),
            head_bytes: limits.head_kib.map_or(default.connection.head_bytes, |kib| kib << 10),
            streams: limits.streams.unwrap_or(default.connection.streams),
        },
        body: BodyLimits {
            bytes: mib(limits.body_mib, default.body.bytes),
            time: time("limits", "body_time", &limits.body_time, default.body.time)?,
        },
        fetch: Options {
            rules: rules.collect::<Result<_, _>>()?,
            max_bytes: mib(fetch.max_mib, default.fetch.max_bytes),
            time: time("fetch", "time", &fetch.time, default.fetch.time)?,
            concurrent: fetch.concurrent.unwrap_or(default.fetch.concurrent),
            ..default.fetch
        },
    })
}

/// The tables with defaults in the place of what was not said.
pub(super) fn written_out(settings: &GuardSettings) -> (RawAccess, RawTls, RawLimits, RawFetch) {
    let GuardSettings { keys, master, tls, connection, body, fetch } = settings;
    let (certificate, key) = tls.clone().unzip();
    (
        RawAccess { keys: keys.clone(), master: master.clone() },
        RawTls { certificate, key },
        RawLimits {
            head_time: Some(written(connection.head_time)),
            body_time: Some(written(body.time)),
            idle_time: Some(written(connection.idle_time)),
            connections_per_peer: Some(connection.per_peer),
            header_fields: Some(connection.headers),
            head_kib: Some(connection.head_bytes >> 10),
            body_mib: (body.bytes != usize::MAX).then_some(body.bytes >> 20),
            streams: Some(connection.streams),
        },
        RawFetch {
            allow: fetch.rules.iter().map(ToString::to_string).collect(),
            time: Some(written(fetch.time)),
            max_mib: Some(fetch.max_bytes >> 20),
            concurrent: Some(fetch.concurrent),
        },
    )
}
