//! AWS Signature Version 4 in request headers, both ways: signing what we send and verifying what we are sent.
//!
//! Written from AWS' description ("Signature Version 4 for API requests", Identity and Access Management User Guide):
//! canonical request, string to sign, signing key, signature. Both ways share the canonical request, over ring's
//! HMAC-SHA256. (The `aws-sigv4` crate signs the same bytes, which a test compares; it is not used here because it
//! writes the canonical request, and with it the session token, to its trace log.)

mod canonical;
mod stamp;
mod verify;

use std::time::SystemTime;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Request};
use ring::hmac;
use secrecy::ExposeSecret as _;

use super::AwsKeys;
use crate::credentials::CredentialError;

use canonical::{Scope, canonical_request, hex, host};
use stamp::Stamp;

pub(in crate::credentials) use canonical::encode;
pub(super) use stamp::parse_time;
pub use verify::{Received, SignatureError, Verified, Verifier, claimed_key};

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

fn must_be_signed(name: &str) -> bool {
    name == "host" || name.starts_with("x-amz-")
}
