//! AWS Signature Version 4 in request headers, both ways: signing what we send and verifying what we are sent.
//!
//! Written from AWS' description ("Signature Version 4 for API requests", Identity and Access Management User Guide):
//! canonical request, string to sign, signing key, signature. Both ways share the canonical request, over ring's
//! HMAC-SHA256. (The `aws-sigv4` crate signs the same bytes, which a test compares; it is not used here because it
//! writes the canonical request, and with it the session token, to its trace log.)

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use ring::{digest, hmac};
use secrecy::{ExposeSecret as _, SecretString};

use super::AwsKeys;
use crate::credentials::CredentialError;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: &str = "x-amz-date";
const TOKEN: &str = "x-amz-security-token";

/// Signs `request` for `service` in `region` at the time `now`: `host`, `content-type` and all `x-amz-` headers.
///
/// # Errors
/// [`CredentialError::Unusable`] for a key id or token that cannot stand in a header, or a request without a host.
pub fn sign(
    request: &mut Request<Bytes>,
    keys: &AwsKeys,
    region: &str,
    service: &str,
    now: SystemTime,
) -> Result<(), CredentialError> {
    let unusable = |problem: &str| CredentialError::Unusable {
        from: format!("the AWS key {}", keys.access_key_id),
        problem: problem.to_owned(),
    };
    let stamp = Stamp::at(now);
    let host = host(request.uri(), request.headers())
        .ok_or_else(|| unusable("the request names no host"))?
        .into_owned();
    let headers = request.headers_mut();
    headers.remove(AUTHORIZATION);
    headers.insert(HOST, HeaderValue::from_str(&host).map_err(|_| unusable("the host is not ASCII"))?);
    headers.insert(DATE, HeaderValue::from_str(&stamp.time).map_err(|_| unusable("the time has no form"))?);
    headers.remove(TOKEN);
    if let Some(token) = &keys.session_token {
        let mut value = HeaderValue::from_str(token.expose_secret())
            .map_err(|_| unusable("its session token holds characters that no header may hold"))?;
        value.set_sensitive(true);
        headers.insert(TOKEN, value);
    }
    let mut signed: Vec<String> = headers
        .keys()
        .map(|n| n.as_str().to_owned())
        .filter(|n| must_be_signed(n) || n == CONTENT_TYPE.as_str())
        .collect();
    signed.sort_unstable();
    let canonical =
        canonical_request(request.method(), request.uri(), request.headers(), &signed, request.body())
            .ok_or_else(|| unusable("a signed header is missing"))?;
    let scope = Scope { date: &stamp.date, region, service };
    let text = scope.string_to_sign(&stamp.time, &canonical);
    let signature = hex(hmac::sign(&scope.key(&keys.secret_access_key), text.as_bytes()).as_ref());
    let value = format!(
        "{ALGORITHM} Credential={}/{scope}, SignedHeaders={}, Signature={signature}",
        keys.access_key_id,
        signed.join(";")
    );
    let mut value = HeaderValue::from_str(&value).map_err(|_| unusable("it is not plain ASCII"))?;
    value.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, value);
    Ok(())
}

/// What a server checks a signature against.
#[derive(Debug)]
pub struct Verifier<'a> {
    /// The service that must be named, for instance `rekognition`.
    pub service: &'a str,
    /// How far the request's time may be from the server's. AWS allows five minutes.
    pub skew: Duration,
}

/// A request as it was received.
#[derive(Debug)]
pub struct Received<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target as received, not normalised.
    pub uri: &'a Uri,
    /// The headers as received.
    pub headers: &'a HeaderMap,
    /// The body as received.
    pub body: &'a [u8],
}

/// Why a signature was not accepted, with the exception that AWS answers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No signature at all.
    #[error("Missing Authentication Token")]
    Missing,
    /// A part of the `Authorization` header, or a header that it names, is missing or unreadable.
    #[error("the Authorization header is incomplete: {0}")]
    Incomplete(String),
    /// The access key is not known here.
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
    /// The request's time is too far from the server's.
    #[error("Signature expired: the request says {request}, the server's time is {server}")]
    Skew {
        /// The request's time.
        request: String,
        /// The server's time.
        server: String,
    },
    /// Another secret, or a request that was changed after signing.
    #[error("The request signature we calculated does not match the signature you provided.")]
    Mismatch,
}

impl SignatureError {
    /// The name of AWS' exception. All are answered with status 400.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "MissingAuthenticationTokenException",
            Self::Incomplete(_) => "IncompleteSignatureException",
            Self::UnknownKey => "UnrecognizedClientException",
            Self::Skew { .. } | Self::Mismatch => "InvalidSignatureException",
        }
    }
}

impl Verifier<'_> {
    /// Checks the signature of `request` at the time `now`. `secret` gives the secret of an access key id.
    ///
    /// The headers that count are those in the request's own `SignedHeaders`, with the values that were received; the
    /// host and all `x-amz-` headers must be among them. The comparison takes the same time whatever the signature.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify(
        &self,
        request: &Received<'_>,
        now: SystemTime,
        secret: impl FnOnce(&str) -> Option<SecretString>,
    ) -> Result<(), SignatureError> {
        let incomplete = |what: &str| SignatureError::Incomplete(what.to_owned());
        let header = request.headers.get(AUTHORIZATION).ok_or(SignatureError::Missing)?;
        let header = header.to_str().map_err(|_| incomplete("it is not ASCII"))?;
        let fields = header.strip_prefix(ALGORITHM).ok_or(SignatureError::Missing)?;
        let field = |name: &str| {
            let found = fields.split(',').find_map(|f| f.trim().strip_prefix(name)?.strip_prefix('='));
            found.ok_or_else(|| SignatureError::Incomplete(format!("it has no {name}")))
        };
        let (credential, signed, signature) =
            (field("Credential")?, field("SignedHeaders")?, field("Signature")?);
        let parts: Vec<&str> = credential.rsplitn(5, '/').collect();
        let [terminator, service, region, date, key_id] = parts[..] else {
            return Err(incomplete("Credential has not the form KEY/DATE/REGION/SERVICE/aws4_request"));
        };
        if terminator != "aws4_request" || service != self.service {
            return Err(SignatureError::Incomplete(format!(
                "Credential should be scoped to {}/aws4_request",
                self.service
            )));
        }
        let signed: Vec<String> = signed.split(';').map(str::to_ascii_lowercase).collect();
        let unsigned = request.headers.keys().map(http::HeaderName::as_str);
        if let Some(name) =
            unsigned.chain(["host"]).find(|n| must_be_signed(n) && !signed.iter().any(|s| s == n))
        {
            return Err(SignatureError::Incomplete(format!("SignedHeaders does not name {name}")));
        }
        let time = request.headers.get(DATE).and_then(|v| v.to_str().ok());
        let time = time.ok_or_else(|| incomplete("the request has no X-Amz-Date"))?;
        let at =
            parse_time(time).ok_or_else(|| incomplete("X-Amz-Date has not the form 20150830T123600Z"))?;
        if !time.starts_with(date) {
            return Err(incomplete("the dates of Credential and X-Amz-Date differ"));
        }
        if at.max(now).duration_since(at.min(now)).is_ok_and(|apart| apart > self.skew) {
            return Err(SignatureError::Skew { request: time.to_owned(), server: Stamp::at(now).time });
        }
        let secret = secret(key_id).ok_or(SignatureError::UnknownKey)?;
        let canonical =
            canonical_request(request.method, request.uri, request.headers, &signed, request.body)
                .ok_or_else(|| incomplete("a header of SignedHeaders is missing"))?;
        let scope = Scope { date, region, service };
        let text = scope.string_to_sign(time, &canonical);
        let signature = unhex(signature).ok_or(SignatureError::Mismatch)?;
        hmac::verify(&scope.key(&secret), text.as_bytes(), &signature).map_err(|_| SignatureError::Mismatch)
    }
}

fn must_be_signed(name: &str) -> bool {
    name == "host" || name.starts_with("x-amz-")
}

/// The `Host` header that is or will be sent: the default port of the scheme is left out, as HTTP clients do.
fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<Cow<'a, str>> {
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
fn canonical_request(
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
    let _ = write!(text, "\n{}\n{}", signed.join(";"), hex(digest::digest(&digest::SHA256, body).as_ref()));
    Some(text)
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

struct Scope<'a> {
    date: &'a str,
    region: &'a str,
    service: &'a str,
}

impl std::fmt::Display for Scope<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }
}

impl Scope<'_> {
    fn string_to_sign(&self, time: &str, canonical: &str) -> String {
        let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        format!("{ALGORITHM}\n{time}\n{self}\n{hash}")
    }

    fn key(&self, secret: &SecretString) -> hmac::Key {
        let first = SecretString::from(format!("AWS4{}", secret.expose_secret()));
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, first.expose_secret().as_bytes());
        for part in [self.date, self.region, self.service, "aws4_request"] {
            key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
        }
        key
    }
}

/// A time as `20150830T123600Z` and `20150830`.
struct Stamp {
    time: String,
    date: String,
}

impl Stamp {
    fn at(now: SystemTime) -> Self {
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let date = format!("{year:04}{month:02}{day:02}");
        let time = format!("{date}T{:02}{:02}{:02}Z", rest / 3600, rest / 60 % 60, rest % 60);
        Self { time, date }
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar. Years are counted from March, so
/// that the leap day is a year's last and the lengths of months follow 153 days in 5 months.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // From 0000-03-01.
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// The inverse of [`Stamp`], `None` for any other text.
pub(super) fn parse_time(text: &str) -> Option<SystemTime> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    // The form differs from RFC 3339's only by its separators; HTTP dates share the calendar.
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u64>().ok()).flatten()
    };
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let (hour, minute, second) = (number(9..11)?, number(11..13)?, number(13..15)?);
    if year < 1970 || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // At most one day of a year's 366 has this date: found from an estimate that is never too late.
    let from = (year - 1970) * 365 + month.checked_sub(1)? * 28;
    let day = (from..from + 800).find(|d| civil(*d) == (year, month, day))?;
    Some(UNIX_EPOCH + Duration::from_secs(day * 86_400 + hour * 3600 + minute * 60 + second))
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(2) || !text.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    text.chunks_exact(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_both_ways_over_leap_years() {
        for (seconds, text) in
            [(0, "19700101T000000Z"), (951_782_400, "20000229T000000Z"), (1_440_938_160, "20150830T123600Z")]
        {
            assert_eq!(Stamp::at(UNIX_EPOCH + Duration::from_secs(seconds)).time, text);
        }
        for day in (0..60_000).step_by(13) {
            let at = UNIX_EPOCH + Duration::from_secs(day * 86_400 + day % 86_400);
            assert_eq!(parse_time(&Stamp::at(at).time), Some(at));
        }
        for bad in [
            "",
            "20150830T123600",
            "20150231T000000Z",
            "2015083\u{e9}T12360Z",
            "20151301T000000Z",
            "00000101T000000Z",
        ] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }
}
