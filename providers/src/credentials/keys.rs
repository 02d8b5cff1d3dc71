//! Providers whose credential is one key in one header: Clarifai, OpenAI and what speaks like it, Hugging Face, and
//! any API of the configuration file.

use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderName};

use super::{Authorization, CredentialError, CredentialStatus, Environment, Fixed, SecretSource, Shared};

/// How a key is sent and where it is looked for.
#[derive(Clone, Debug)]
pub struct Key {
    /// For people, for instance `Clarifai token`.
    pub what: &'static str,
    /// The header.
    pub header: HeaderName,
    /// What stands before the key in the header, for instance `Bearer `.
    pub prefix: &'static str,
    /// The provider's own variable.
    pub variable: &'static str,
}

/// `CLARIFAI_PAT`: a personal access token.
pub static CLARIFAI: Key =
    Key { what: "Clarifai token", header: AUTHORIZATION, prefix: "Key ", variable: "CLARIFAI_PAT" };

/// `OPENAI_API_KEY`.
pub static OPENAI: Key =
    Key { what: "OpenAI key", header: AUTHORIZATION, prefix: "Bearer ", variable: "OPENAI_API_KEY" };

/// `AZURE_OPENAI_API_KEY`: OpenAI's models served by Azure.
pub static AZURE_OPENAI: Key = Key {
    what: "Azure OpenAI key",
    header: HeaderName::from_static("api-key"),
    prefix: "",
    variable: "AZURE_OPENAI_API_KEY",
};

/// `HF_TOKEN`.
pub static HUGGING_FACE: Key =
    Key { what: "Hugging Face token", header: AUTHORIZATION, prefix: "Bearer ", variable: "HF_TOKEN" };

impl Key {
    /// The key of the configuration (`source`), or of the provider's own variable.
    ///
    /// # Errors
    /// [`CredentialError`] that says what to set.
    pub fn find(
        &self,
        source: Option<&SecretSource>,
        environment: &Environment,
    ) -> Result<Shared, CredentialError> {
        let own = SecretSource::Env(self.variable.to_owned());
        if source.is_none() && environment.get(self.variable).is_none() {
            return Err(CredentialError::Missing {
                what: self.what.to_owned(),
                fix: format!("set it with `export {}=...`", self.variable),
            });
        }
        let source = source.unwrap_or(&own);
        let (secret, from) = (source.read(environment)?, source.to_string());
        let authorization = Authorization::header(self.header.clone(), self.prefix, secret, &from)?;
        Ok(Arc::new(Fixed::new(authorization, CredentialStatus { kind: self.what, source: from })))
    }
}

/// Any header, for instance `X-Api-Key` or `Authorization` with the prefix `Token `.
///
/// # Errors
/// [`CredentialError`] for a secret that is missing or cannot stand in a header.
pub fn header(
    name: HeaderName,
    prefix: &str,
    source: &SecretSource,
    environment: &Environment,
) -> Result<Shared, CredentialError> {
    let from = source.to_string();
    let authorization = Authorization::header(name, prefix, source.read(environment)?, &from)?;
    Ok(Arc::new(Fixed::new(authorization, CredentialStatus { kind: "header", source: from })))
}
