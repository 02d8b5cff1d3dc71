//! Azure: keys, Entra applications and managed identities.
//!
//! Looked for in this order: the configuration, `VISION_KEY`, `AZURE_TENANT_ID` with `AZURE_CLIENT_ID` and
//! `AZURE_CLIENT_SECRET`, the managed identity of the App Service or, where the configuration asks for it, of the
//! machine.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::Request;
use http::header::HeaderName;
use secrecy::{ExposeSecret as _, SecretString};

use super::google::{oauth, token};
use super::service::{Service, form};
use super::{
    Authorization, Cached, CredentialError, CredentialStatus, Environment, Fetch, Fixed, SecretSource,
    Shared, Token,
};
use crate::transport::Network;

const RESOURCE: &str = "https://cognitiveservices.azure.com";
const METADATA: &str = "http://169.254.169.254/metadata/identity/oauth2/token";

/// What may be set for Azure.
#[derive(Clone, Debug, Default)]
pub struct AzureSettings {
    /// The key of the resource. Comes before the environment.
    pub key: Option<SecretSource>,
    /// Use the identity of the machine this runs on.
    pub managed_identity: bool,
}

/// Finds Azure credentials.
///
/// # Errors
/// [`CredentialError`] that says what to set.
pub fn find(
    settings: &AzureSettings,
    environment: &Environment,
    network: &Network,
) -> Result<Shared, CredentialError> {
    if let Some(source) = &settings.key {
        return key(source.read(environment)?, &source.to_string());
    }
    if settings.managed_identity {
        return identity(environment, network);
    }
    if let Some(found) = environment.secret("VISION_KEY") {
        return key(found, "env::VISION_KEY");
    }
    let (tenant, client) = (environment.get("AZURE_TENANT_ID"), environment.get("AZURE_CLIENT_ID"));
    match (tenant, client, environment.secret("AZURE_CLIENT_SECRET")) {
        (Some(tenant), Some(client_id), Some(client_secret)) => {
            let authority = environment.get("AZURE_AUTHORITY_HOST");
            let authority = authority.unwrap_or_else(|| "https://login.microsoftonline.com".to_owned());
            let from = "env::AZURE_CLIENT_ID".to_owned();
            let service = Service { network: network.clone(), name: "Microsoft Entra", from };
            let url = format!("{}/{tenant}/oauth2/v2.0/token", authority.trim_end_matches('/'));
            return Ok(Arc::new(Cached::new(Application { service, url, client_id, client_secret })));
        }
        (Some(_), Some(_), None) => {
            return Err(CredentialError::Missing {
                what: "AZURE_CLIENT_SECRET beside AZURE_TENANT_ID and AZURE_CLIENT_ID".to_owned(),
                fix: "set it with `export AZURE_CLIENT_SECRET=...`".to_owned(),
            });
        }
        _ => {}
    }
    if environment.get("IDENTITY_ENDPOINT").is_some() {
        return identity(environment, network);
    }
    Err(CredentialError::Missing {
        what: "Azure credentials".to_owned(),
        fix: "set the resource's key with `export VISION_KEY=...` (and its address with `export VISION_ENDPOINT=...`), \
              or an Entra application with AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or \
              managed_identity = true in the configuration"
            .to_owned(),
    })
}

/// The resource's address: `configured`, or `VISION_ENDPOINT`.
///
/// # Errors
/// [`CredentialError::Missing`].
pub fn endpoint(configured: Option<&str>, environment: &Environment) -> Result<String, CredentialError> {
    let found = configured.map(str::to_owned).or_else(|| environment.get("VISION_ENDPOINT"));
    found.ok_or_else(|| CredentialError::Missing {
        what: "address of the Azure resource".to_owned(),
        fix: "set it with `export VISION_ENDPOINT=https://NAME.cognitiveservices.azure.com`".to_owned(),
    })
}

fn key(key: SecretString, from: &str) -> Result<Shared, CredentialError> {
    let name = HeaderName::from_static("ocp-apim-subscription-key");
    let status = CredentialStatus { kind: "resource key", source: from.to_owned() };
    Ok(Arc::new(Fixed::new(Authorization::header(name, "", key, from)?, status)))
}

fn identity(environment: &Environment, network: &Network) -> Result<Shared, CredentialError> {
    let client_id = environment.get("AZURE_CLIENT_ID");
    let (url, header, from) = if let Some(url) = environment.get("IDENTITY_ENDPOINT") {
        let header = environment.secret("IDENTITY_HEADER").ok_or_else(|| CredentialError::Missing {
            what: "IDENTITY_HEADER beside IDENTITY_ENDPOINT".to_owned(),
            fix: "both are set by the Azure service that runs this".to_owned(),
        })?;
        (url, Some(header), "env::IDENTITY_ENDPOINT")
    } else {
        let host = environment.get("AZURE_POD_IDENTITY_AUTHORITY_HOST");
        let url = host.map(|host| format!("{}/metadata/identity/oauth2/token", host.trim_end_matches('/')));
        (url.unwrap_or_else(|| METADATA.to_owned()), None, "the machine's metadata service")
    };
    let service =
        Service { network: network.clone(), name: "Azure's metadata service", from: from.to_owned() };
    Ok(Arc::new(Cached::new(Identity { service, url, header, client_id })))
}

struct Application {
    service: Service,
    url: String,
    client_id: String,
    client_secret: SecretString,
}

impl Fetch for Application {
    fn fetch(&self) -> BoxFuture<'_, Result<Token, CredentialError>> {
        Box::pin(async {
            let body = form(&[
                ("client_id", &self.client_id),
                ("client_secret", self.client_secret.expose_secret()),
                ("scope", &format!("{RESOURCE}/.default")),
                ("grant_type", "client_credentials"),
            ]);
            oauth(&self.service, &self.url, body, &[&self.client_secret]).await
        })
    }

    fn status(&self) -> CredentialStatus {
        CredentialStatus { kind: "Entra application", source: self.service.from.clone() }
    }
}

struct Identity {
    service: Service,
    url: String,
    /// App Service proves with it that the request comes from inside.
    header: Option<SecretString>,
    client_id: Option<String>,
}

impl Fetch for Identity {
    fn fetch(&self) -> BoxFuture<'_, Result<Token, CredentialError>> {
        Box::pin(async {
            let version = if self.header.is_some() { "2019-08-01" } else { "2018-02-01" };
            let mut fields = vec![("api-version", version), ("resource", RESOURCE)];
            fields.extend(self.client_id.as_deref().map(|id| ("client_id", id)));
            let query = form(&fields);
            let url = format!("{}?{}", self.url, String::from_utf8_lossy(&query));
            let request = Request::get(url);
            let request = match &self.header {
                Some(secret) => {
                    let mut value = http::HeaderValue::from_str(secret.expose_secret())
                        .map_err(|_| self.service.unreachable("IDENTITY_HEADER cannot stand in a header"))?;
                    value.set_sensitive(true);
                    request.header("x-identity-header", value)
                }
                None => request.header("metadata", "true"),
            };
            let request = request.body(Bytes::new());
            let request = request.map_err(|_| self.service.unreachable("its address is no address"))?;
            let secrets: Vec<&SecretString> = self.header.iter().collect();
            token(&self.service, &self.service.json(request, &secrets).await?)
        })
    }

    fn status(&self) -> CredentialStatus {
        CredentialStatus { kind: "managed identity", source: self.service.from.clone() }
    }
}
