//! Asking a token service.

use bytes::Bytes;
use http::Request;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::CredentialError;
use crate::Reply;
use crate::transport::Network;
use crate::transport::tls::{check_scheme, is_metadata};

/// A token service as one credential sees it.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) network: Network,
    /// For errors, for instance `Google's token service`.
    pub(super) name: &'static str,
    /// Where the credential comes from, for errors.
    pub(super) from: String,
}

impl Service {
    /// The JSON document that answers `request`.
    pub(super) async fn json(
        &self,
        request: Request<Bytes>,
        secrets: &[&SecretString],
    ) -> Result<Value, CredentialError> {
        let reply = self.reply(request, secrets).await?;
        serde_json::from_slice(&reply.body).map_err(|_| self.unreachable("its reply is not JSON"))
    }

    /// The reply to `request`, where it is a success. `secrets` are blotted out of what errors repeat.
    pub(super) async fn reply(
        &self,
        request: Request<Bytes>,
        secrets: &[&SecretString],
    ) -> Result<Reply, CredentialError> {
        let host = request.uri().host().unwrap_or_default();
        if !is_metadata(host) {
            check_scheme(request.uri(), self.network.settings().allow_http)
                .map_err(|problem| CredentialError::Unusable { from: self.from.clone(), problem })?;
        }
        let reply = match self.network.send(request).await {
            crate::transport::client::Exchange::Reply(reply) => reply,
            crate::transport::client::Exchange::TooLong { .. } => {
                return Err(self.unreachable("its reply is too long"));
            }
            crate::transport::client::Exchange::Lost(lost) => return Err(self.unreachable(&lost.reason)),
        };
        let status = reply.status;
        if status.is_success() {
            return Ok(reply);
        }
        let problem = format!("status {}{}", status.as_u16(), words(&reply.body, secrets));
        // 429 and 5xx pass; everything else is about what was asked.
        if status.as_u16() == 429 || status.is_server_error() {
            return Err(self.unreachable(&problem));
        }
        Err(CredentialError::Rejected { service: self.name.to_owned(), from: self.from.clone(), problem })
    }

    pub(super) fn unreachable(&self, problem: &str) -> CredentialError {
        CredentialError::Unreachable { service: self.name.to_owned(), problem: problem.to_owned() }
    }
}

/// A text field of a reply, as a secret.
pub(super) fn secret(value: &Value, field: &str) -> Option<SecretString> {
    value.get(field)?.as_str().filter(|text| !text.is_empty()).map(SecretString::from)
}

/// The words of an OAuth error (RFC 6749, section 5.2) or another service's `message`, short and without secrets.
fn words(body: &[u8], secrets: &[&SecretString]) -> String {
    let printable = |text: &str| -> String { text.chars().filter(|c| !c.is_control()).collect() };
    let secrets: Vec<SecretString> =
        secrets.iter().map(|secret| printable(secret.expose_secret()).into()).collect();
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let mut text = String::new();
    for field in ["error", "error_description", "message", "Message"] {
        let found = &value[field];
        let found = found.as_str().or_else(|| found["message"].as_str());
        if let Some(word) = found {
            let mut word = printable(word);
            // Before it is cut: the beginning of a secret would not be found any more.
            for secret in &secrets {
                if !secret.expose_secret().is_empty() {
                    word = word.replace(secret.expose_secret(), "[redacted]");
                }
            }
            text.push_str(": ");
            text.extend(word.chars().take(300));
        }
    }
    text
}

/// `application/x-www-form-urlencoded`.
pub(super) fn form(fields: &[(&str, &str)]) -> Bytes {
    let mut text = String::new();
    for (name, value) in fields {
        if !text.is_empty() {
            text.push('&');
        }
        super::aws::sigv4::encode(name.as_bytes(), &mut text);
        text.push('=');
        super::aws::sigv4::encode(value.as_bytes(), &mut text);
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_a_secret_is_repeated() {
        let secret = "a-long-secret\nof two lines".to_owned();
        let said = |text: String| {
            let body = serde_json::json!({ "error_description": text }).to_string();
            words(body.as_bytes(), &[&SecretString::from(secret.clone()), &SecretString::from("")])
        };
        // Across the place where it is cut; with its control characters left out.
        for (before, after) in [(290, secret.clone()), (0, secret.replace('\n', ""))] {
            let said = said("x".repeat(before) + &after);
            assert!(!said.contains(&secret[..10]) && said.contains("[red"), "{said}");
        }
        assert_eq!(said("unknown client".to_owned()), ": unknown client");
    }
}
