//! Verifying what we are sent.

use std::time::{Duration, SystemTime};

use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, Uri};
use ring::hmac;
use secrecy::SecretString;

use super::canonical::{Scope, body_hash, canonical_request};
use super::stamp::{Stamp, parse_time};
use super::{ALGORITHM, DATE, must_be_signed};
use crate::served::{Refusal, RefusalClass};

const BODY_HASH: &str = "x-amz-content-sha256";

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

/// A signature that was accepted.
#[derive(Clone, PartialEq, Eq)]
pub struct Verified {
    /// The access key id.
    pub key_id: String,
    /// The time that was signed.
    pub signed_at: SystemTime,
    /// The signature's bytes. They are the same for every way of writing the same signature, so a server that takes
    /// each signature once compares these and not the text.
    pub signature: [u8; 32],
}

/// Without the signature: for some minutes it is as good as a key.
impl std::fmt::Debug for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { key_id, signed_at, signature: _ } = self;
        f.debug_struct("Verified")
            .field("key_id", key_id)
            .field("signed_at", signed_at)
            .finish_non_exhaustive()
    }
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
    /// The body is not covered by the signature, or is signed in pieces.
    #[error("x-amz-content-sha256 is {0}: sign the body as a whole, with its SHA-256")]
    UnsignedBody(String),
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
            Self::Skew { .. } | Self::UnsignedBody(_) | Self::Mismatch => "InvalidSignatureException",
        }
    }

    /// What a server says to the client.
    pub fn refusal(&self) -> Refusal {
        let class = match self {
            Self::UnknownKey => RefusalClass::UnknownKey,
            _ => RefusalClass::Unauthenticated,
        };
        Refusal { aws_code: Some(self.code()), ..Refusal::new(class, self.to_string()) }
    }
}

/// The access key id that a request names, unverified: for turning strangers away before their body is read.
///
/// # Errors
/// [`SignatureError::Missing`], [`SignatureError::Incomplete`].
pub fn claimed_key(headers: &HeaderMap) -> Result<&str, SignatureError> {
    let header = single(headers, AUTHORIZATION.as_str())?.ok_or(SignatureError::Missing)?;
    let credential = Parts::read(header)?.credential;
    let id = credential.rsplitn(5, '/').nth(4);
    id.ok_or_else(|| {
        SignatureError::Incomplete(
            "Credential has not the form KEY/DATE/REGION/SERVICE/aws4_request".to_owned(),
        )
    })
}

impl Verifier<'_> {
    /// Checks the signature of `request` at the time `now`. `secret` gives the secret of an access key id.
    ///
    /// The headers that count are those in the request's own `SignedHeaders`, with the values that were received; the
    /// host and all `x-amz-` headers must be among them. The body is always part of what is compared: `UNSIGNED-PAYLOAD`
    /// and the `STREAMING-` forms, which would leave it out or sign it in pieces, are refused. The comparison takes the
    /// same time whatever the signature.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify(
        &self,
        request: &Received<'_>,
        now: SystemTime,
        secret: impl FnOnce(&str) -> Option<SecretString>,
    ) -> Result<Verified, SignatureError> {
        let incomplete = |what: &str| SignatureError::Incomplete(what.to_owned());
        let header = single(request.headers, AUTHORIZATION.as_str())?.ok_or(SignatureError::Missing)?;
        let Parts { credential, signed, signature } = Parts::read(header)?;
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
        let time =
            single(request.headers, DATE)?.ok_or_else(|| incomplete("the request has no X-Amz-Date"))?;
        let signed_at =
            parse_time(time).ok_or_else(|| incomplete("X-Amz-Date has not the form 20150830T123600Z"))?;
        if date.len() != 8 || !time.starts_with(date) {
            return Err(incomplete("the dates of Credential and X-Amz-Date differ"));
        }
        if signed_at.max(now).duration_since(signed_at.min(now)).is_ok_and(|apart| apart > self.skew) {
            return Err(SignatureError::Skew { request: time.to_owned(), server: Stamp::at(now).time });
        }
        let secret = secret(key_id).ok_or(SignatureError::UnknownKey)?;
        let announced = single(request.headers, BODY_HASH)?;
        if let Some(form) =
            announced.filter(|form| *form == "UNSIGNED-PAYLOAD" || form.starts_with("STREAMING-"))
        {
            return Err(SignatureError::UnsignedBody(form.to_owned()));
        }
        let canonical =
            canonical_request(request.method, request.uri, request.headers, &signed, request.body)
                .ok_or_else(|| incomplete("a header of SignedHeaders is missing"))?;
        let scope = Scope { date, region, service };
        let text = scope.string_to_sign(time, &canonical);
        let signature = unhex(signature).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let signature = signature.ok_or(SignatureError::Mismatch)?;
        hmac::verify(&scope.key(&secret), text.as_bytes(), &signature)
            .map_err(|_| SignatureError::Mismatch)?;
        // Signed it is, but by a client that hashed another body.
        if announced.is_some_and(|hash| !hash.eq_ignore_ascii_case(&body_hash(request.body))) {
            return Err(SignatureError::Mismatch);
        }
        Ok(Verified { key_id: key_id.to_owned(), signed_at, signature })
    }
}

/// What stands in the `Authorization` header, each once.
struct Parts<'a> {
    credential: &'a str,
    signed: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    fn read(header: &'a str) -> Result<Self, SignatureError> {
        let incomplete = SignatureError::Incomplete;
        let rest = header.strip_prefix(ALGORITHM).ok_or(SignatureError::Missing)?;
        let (mut credential, mut signed, mut signature) = (None, None, None);
        for part in rest.split(',').map(str::trim) {
            let place = match part.split_once('=') {
                Some(("Credential", value)) => Some((&mut credential, value)),
                Some(("SignedHeaders", value)) => Some((&mut signed, value)),
                Some(("Signature", value)) => Some((&mut signature, value)),
                _ => None,
            };
            // Two values could be read as one by us and as the other by whatever stands before us.
            match place {
                Some((place @ None, value)) => *place = Some(value),
                Some(_) => return Err(incomplete("it has a part twice".to_owned())),
                None => return Err(incomplete("it has a part that is none of the three".to_owned())),
            }
        }
        let present = |part: Option<&'a str>, name: &str| {
            part.filter(|part| !part.is_empty()).ok_or_else(|| incomplete(format!("it has no {name}")))
        };
        Ok(Self {
            credential: present(credential, "Credential")?,
            signed: present(signed, "SignedHeaders")?,
            signature: present(signature, "Signature")?,
        })
    }
}

/// A header that may come once, as text.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, SignatureError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let problem = |what| Err(SignatureError::Incomplete(format!("the header {name} {what}")));
    if values.next().is_some() {
        return problem("comes twice");
    }
    match value.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(_) => problem("is not ASCII"),
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(2) || !text.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    text.chunks_exact(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
