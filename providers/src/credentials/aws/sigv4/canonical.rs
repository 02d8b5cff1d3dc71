//! What is signed: the canonical request, the string to sign, the key. The same for both ways.

use std::borrow::Cow;
use std::fmt::Write as _;

use http::header::HOST;
use http::{HeaderMap, Method, Uri};
use ring::{digest, hmac};
use secrecy::{ExposeSecret as _, SecretString};

use super::ALGORITHM;

/// The `Host` header that is or will be sent: the default port of the scheme is left out, as HTTP clients do.
pub(super) fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<Cow<'a, str>> {
    if let Some(host) = headers.get(HOST) {
        return host.to_str().ok().map(Cow::Borrowed);
    }
    let host = uri.host()?;
    let default = if uri.scheme_str() == Some("http") { 80 } else { 443 };
    Some(match uri.port_u16() {
        Some(port) if port != default => Cow::Owned(format!("{host}:{port}")),
        _ => Cow::Borrowed(host),
    })
}

/// `None` where a signed header is missing or is not text.
pub(super) fn canonical_request(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    signed: &[String],
    body: &[u8],
) -> Option<String> {
    let mut text = format!("{method}\n{}\n{}\n", canonical_path(uri.path()), canonical_query(uri.query()));
    for name in signed {
        let mut values = headers.get_all(name.as_str()).iter().peekable();
        text.push_str(name);
        text.push(':');
        if values.peek().is_none() {
            // HTTP/2 carries the host outside of the headers.
            let host = (name == "host").then(|| host(uri, headers)).flatten()?;
            text.push_str(&host);
        }
        for (i, value) in values.enumerate() {
            if i > 0 {
                text.push(',');
            }
            let value = std::str::from_utf8(value.as_bytes()).ok()?;
            for (j, word) in value.split(' ').filter(|word| !word.is_empty()).enumerate() {
                if j > 0 {
                    text.push(' ');
                }
                text.push_str(word);
            }
        }
        text.push('\n');
    }
    let _ = write!(text, "\n{}\n{}", signed.join(";"), body_hash(body));
    Some(text)
}

pub(super) fn body_hash(body: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, body).as_ref())
}

/// The path without empty, `.` and `..` segments, encoded once more (every service but S3 wants both).
fn canonical_path(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    let mut text = String::with_capacity(path.len());
    for segment in &kept {
        text.push('/');
        encode(segment.as_bytes(), &mut text);
    }
    // RFC 3986, section 5.2.4: a dot segment at the end leaves its slash.
    if kept.is_empty() || ["/", "/.", "/.."].iter().any(|end| path.ends_with(end)) {
        text.push('/');
    }
    text
}

fn canonical_query(query: Option<&str>) -> String {
    let encoded = |part: &str| {
        let mut text = String::new();
        encode(&decode(part), &mut text);
        text
    };
    let mut pairs: Vec<(String, String)> = query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (encoded(name), encoded(value)))
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// RFC 3986's unreserved characters stay, all other bytes become `%XX`.
pub(in crate::credentials) fn encode(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

fn decode(part: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = (*first == b'%').then(|| tail.get(..2)).flatten();
        let byte = hex.and_then(|h| u8::from_str_radix(std::str::from_utf8(h).ok()?, 16).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    out
}

pub(super) struct Scope<'a> {
    pub(super) date: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

impl std::fmt::Display for Scope<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }
}

impl Scope<'_> {
    pub(super) fn string_to_sign(&self, time: &str, canonical: &str) -> String {
        let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        format!("{ALGORITHM}\n{time}\n{self}\n{hash}")
    }

    pub(super) fn key(&self, secret: &SecretString) -> hmac::Key {
        let first = SecretString::from(format!("AWS4{}", secret.expose_secret()));
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, first.expose_secret().as_bytes());
        for part in [self.date, self.region, self.service, "aws4_request"] {
            key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
        }
        key
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
