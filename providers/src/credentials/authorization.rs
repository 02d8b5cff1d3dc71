//! What is added to a finished request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderValue, Request};
use secrecy::{ExposeSecret as _, SecretString};

use super::CredentialError;
use super::aws::{AwsKeys, sigv4};

/// Adds a credential to requests.
pub struct Authorization {
    /// Tells a renewed authorization from the one before.
    id: u64,
    scheme: Scheme,
    /// A header beside the credential that says for whom it is used. Not a secret.
    beside: Option<(HeaderName, HeaderValue)>,
}

enum Scheme {
    None,
    Header { name: HeaderName, value: HeaderValue, secret: SecretString },
    SigV4 { keys: AwsKeys, region: String, service: &'static str },
}

impl std::fmt::Debug for Authorization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.scheme {
            Scheme::None => f.write_str("Authorization(none)"),
            Scheme::Header { name, .. } => write!(f, "Authorization({name}: [redacted])"),
            Scheme::SigV4 { region, service, .. } => {
                write!(f, "Authorization(SigV4 for {service} in {region})")
            }
        }
    }
}

impl Authorization {
    fn new(scheme: Scheme) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), scheme, beside: None }
    }

    /// Adds nothing.
    pub fn none() -> Self {
        Self::new(Scheme::None)
    }

    /// Adds the header `name: prefix secret`. `from` names the secret in errors.
    ///
    /// # Errors
    /// [`CredentialError::Unusable`] for an empty secret or one that cannot stand in a header.
    pub fn header(
        name: HeaderName,
        prefix: &str,
        secret: SecretString,
        from: &str,
    ) -> Result<Self, CredentialError> {
        let unusable =
            |problem: &str| CredentialError::Unusable { from: from.to_owned(), problem: problem.to_owned() };
        if secret.expose_secret().is_empty() {
            return Err(unusable("it is empty"));
        }
        let text = SecretString::from(format!("{prefix}{}", secret.expose_secret()));
        let mut value = HeaderValue::from_str(text.expose_secret()).map_err(|_| {
            unusable("it holds characters that no header may hold: is it the key alone, on one line?")
        })?;
        value.set_sensitive(true);
        Ok(Self::new(Scheme::Header { name, value, secret }))
    }

    /// Adds `Authorization: Bearer token`.
    ///
    /// # Errors
    /// As [`header`](Self::header).
    pub fn bearer(token: SecretString, from: &str) -> Result<Self, CredentialError> {
        Self::header(http::header::AUTHORIZATION, "Bearer ", token, from)
    }

    /// Signs with AWS' Signature Version 4 for `service` in `region`.
    pub fn sigv4(keys: AwsKeys, region: impl Into<String>, service: &'static str) -> Self {
        Self::new(Scheme::SigV4 { keys, region: region.into(), service })
    }

    /// Adds a header that is no secret beside the credential.
    pub(super) fn with(self, name: HeaderName, value: HeaderValue) -> Self {
        Self { beside: Some((name, value)), ..self }
    }

    pub(super) fn same(&self, other: &Self) -> bool {
        self.id == other.id
    }

    /// Adds the credential to `request`, which must not change afterwards (a signature covers it).
    ///
    /// # Errors
    /// [`CredentialError::Unusable`] where the request cannot be signed.
    pub fn apply(&self, request: &mut Request<Bytes>, now: SystemTime) -> Result<(), CredentialError> {
        if let Some((name, value)) = &self.beside {
            request.headers_mut().insert(name, value.clone());
        }
        match &self.scheme {
            Scheme::None => Ok(()),
            Scheme::Header { name, value, .. } => {
                request.headers_mut().insert(name, value.clone());
                Ok(())
            }
            Scheme::SigV4 { keys, region, service } => sigv4::sign(request, keys, region, service, now),
        }
    }

    /// What must not be repeated from a reply to `request`: the secrets, and the signature where there is one. APIs
    /// echo them: AWS answers a wrong signature with the text that was signed, session token included.
    pub fn blotter(&self, request: &Request<Bytes>) -> Blotter {
        let mut secrets = Vec::new();
        match &self.scheme {
            Scheme::None => {}
            Scheme::Header { secret, .. } => secrets.push(secret.clone()),
            Scheme::SigV4 { keys, .. } => {
                secrets.push(keys.secret_access_key.clone());
                secrets.extend(keys.session_token.clone());
                let signed = request.headers().get(http::header::AUTHORIZATION).and_then(|v| v.to_str().ok());
                let signature = signed.and_then(|value| value.split_once("Signature="));
                secrets.extend(signature.map(|(_, signature)| SecretString::from(signature)));
            }
        }
        Blotter(secrets)
    }
}

/// Blots secrets out of text.
#[derive(Debug)]
pub struct Blotter(Vec<SecretString>);

impl Blotter {
    /// `text` with `[redacted]` for every occurrence of a secret.
    pub fn blot(&self, text: Bytes) -> Bytes {
        self.0.iter().fold(text, |text, secret| blot_one(&text, secret.expose_secret().as_bytes()))
    }
}

fn blot_one(text: &Bytes, secret: &[u8]) -> Bytes {
    // A "secret" of a few characters would blot out half of every reply, and protects nothing.
    const SHORTEST: usize = 6;
    let finder = memchr::memmem::Finder::new(secret);
    if secret.len() < SHORTEST || finder.find(text).is_none() {
        return text.clone();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest: &[u8] = text;
    while let Some(at) = finder.find(rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(b"[redacted]");
        rest = &rest[at + secret.len()..];
    }
    out.extend_from_slice(rest);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_blotted_out_of_what_an_api_echoes() {
        let key = SecretString::from("sk-planted-secret");
        let authorization = Authorization::bearer(key, "test").unwrap();
        let echoed = Bytes::from_static(b"bad key sk-planted-secret, I say sk-planted-secret");
        let blotter = authorization.blotter(&Request::new(Bytes::new()));
        assert_eq!(&blotter.blot(echoed)[..], b"bad key [redacted], I say [redacted]");
        let clean = Bytes::from_static(b"{}");
        assert_eq!(blotter.blot(clean.clone()), clean);
        assert!(!format!("{authorization:?}").contains("planted"));
    }

    #[test]
    fn keys_that_cannot_stand_in_a_header_are_named_not_shown() {
        for bad in ["", "two\nlines-planted", "caf\u{0}planted"] {
            let error = Authorization::bearer(SecretString::from(bad), "env::KEY").unwrap_err();
            assert!(error.to_string().contains("env::KEY"));
            assert!(!error.to_string().contains("planted"));
        }
    }
}
