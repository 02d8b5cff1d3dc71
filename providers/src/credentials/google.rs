//! Google: API keys, service accounts, the files of `gcloud`, and machines in Google's cloud.
//!
//! Looked for in this order: the configuration, `GOOGLE_API_KEY`, `GOOGLE_APPLICATION_CREDENTIALS`, the application
//! default credentials of `gcloud auth application-default login`, the metadata service of the machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Request};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::service::{Service, form, secret};
use super::{
    Authorization, Cached, CredentialError, CredentialStatus, Environment, Fetch, Fixed, SecretSource,
    Shared, Token,
};
use crate::transport::Network;

/// The audience of self-signed tokens for the Vision API, whatever endpoint is called.
pub const AUDIENCE: &str = "https://vision.googleapis.com/";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
const LIFE: Duration = Duration::from_hours(1);

/// What may be set for Google.
#[derive(Clone, Debug, Default)]
pub struct GoogleSettings {
    /// An API key, or the JSON of a service account or of `gcloud`. Comes before the environment.
    pub credentials: Option<SecretSource>,
    /// Exchange the service account's signature for an access token instead of sending it itself.
    pub token_exchange: bool,
}

/// Finds Google credentials.
///
/// # Errors
/// [`CredentialError`] that says what to set.
pub fn find(
    settings: &GoogleSettings,
    environment: &Environment,
    network: &Network,
) -> Result<Shared, CredentialError> {
    if let Some(source) = &settings.credentials {
        let text = source.read(environment)?;
        if text.expose_secret().starts_with('{') {
            return from_json(&text, &source.to_string(), settings, network);
        }
        return api_key(text, &source.to_string());
    }
    if let Some(key) = environment.secret("GOOGLE_API_KEY") {
        return api_key(key, "env::GOOGLE_API_KEY");
    }
    if let Some(path) = environment.get("GOOGLE_APPLICATION_CREDENTIALS") {
        return from_file(Path::new(&path), settings, network);
    }
    let gcloud = environment.get("CLOUDSDK_CONFIG").map(PathBuf::from);
    let gcloud = gcloud.or_else(|| Some(environment.get("APPDATA").map(PathBuf::from)?.join("gcloud")));
    let gcloud = gcloud.or_else(|| environment.home(".config/gcloud"));
    if let Some(path) =
        gcloud.map(|folder| folder.join("application_default_credentials.json")).filter(|p| p.is_file())
    {
        return from_file(&path, settings, network);
    }
    let host = environment.get("GCE_METADATA_HOST");
    if host.is_some() || environment.machine().contains("Google") {
        let host = host.unwrap_or_else(|| "metadata.google.internal".to_owned());
        return Ok(Arc::new(Cached::new(Metadata {
            service: Service {
                network: network.clone(),
                name: "Google's metadata service",
                from: host.clone(),
            },
            host,
        })));
    }
    Err(CredentialError::Missing {
        what: "Google credentials".to_owned(),
        fix: "set a key with `export GOOGLE_API_KEY=...`, or a service account's file with \
              `export GOOGLE_APPLICATION_CREDENTIALS=/path/key.json`, or run `gcloud auth application-default login`"
            .to_owned(),
    })
}

fn api_key(key: SecretString, from: &str) -> Result<Shared, CredentialError> {
    // In a header, not as `?key=`: addresses end up in the logs of proxies.
    let authorization = Authorization::header(HeaderName::from_static("x-goog-api-key"), "", key, from)?;
    let status = CredentialStatus { kind: "API key", source: from.to_owned() };
    Ok(Arc::new(Fixed::new(authorization, status)))
}

fn from_file(path: &Path, settings: &GoogleSettings, network: &Network) -> Result<Shared, CredentialError> {
    let text = SecretSource::File(path.to_owned()).read(&Environment::process())?;
    from_json(&text, &path.display().to_string(), settings, network)
}

/// The JSON that the Google Cloud console gives for a service account, or that `gcloud` writes for a user.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum File {
    ServiceAccount {
        client_email: String,
        private_key: SecretString,
        private_key_id: String,
        token_uri: Option<String>,
    },
    AuthorizedUser {
        client_id: String,
        client_secret: SecretString,
        refresh_token: SecretString,
        quota_project_id: Option<String>,
        token_uri: Option<String>,
    },
    #[serde(other)]
    Other,
}

fn from_json(
    text: &SecretString,
    from: &str,
    settings: &GoogleSettings,
    network: &Network,
) -> Result<Shared, CredentialError> {
    let unusable = |problem: String| CredentialError::Unusable { from: from.to_owned(), problem };
    // serde's message may repeat a value, so it is not passed on.
    let file = serde_json::from_str(text.expose_secret())
        .map_err(|_| unusable("it is not the JSON of a service account or of gcloud".to_owned()))?;
    let service = Service { network: network.clone(), name: "Google's token service", from: from.to_owned() };
    match file {
        File::ServiceAccount { client_email, private_key, private_key_id, token_uri } => {
            let signer = Signer::new(client_email, &private_key, private_key_id).map_err(unusable)?;
            if settings.token_exchange {
                let token_uri = token_uri.unwrap_or_else(|| TOKEN_URI.to_owned());
                return Ok(Arc::new(Cached::new(Exchange { service, signer, token_uri })));
            }
            Ok(Arc::new(Cached::new(SelfSigned { from: from.to_owned(), signer })))
        }
        File::AuthorizedUser { client_id, client_secret, refresh_token, quota_project_id, token_uri } => {
            let token_uri = token_uri.unwrap_or_else(|| TOKEN_URI.to_owned());
            let user = User { service, client_id, client_secret, refresh_token, quota_project_id, token_uri };
            Ok(Arc::new(Cached::new(user)))
        }
        File::Other => Err(unusable(
            "only the types service_account and authorized_user are known here: create a service account's key"
                .to_owned(),
        )),
    }
}

/// Signs JSON Web Tokens for a service account (RFC 7519 with RS256 of RFC 7518).
pub struct Signer {
    email: String,
    key: RsaKeyPair,
    key_id: String,
}

impl Signer {
    /// From the PEM of a service account's private key (PKCS #8).
    ///
    /// # Errors
    /// A sentence about the key, without it.
    pub fn new(email: String, pem: &SecretString, key_id: String) -> Result<Self, String> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.expose_secret().as_bytes())
            .map_err(|_| "its private_key is not PEM with a PKCS #8 key".to_owned())?;
        let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der())
            .map_err(|_| "its private_key is no RSA key of 2048 to 8192 bits".to_owned())?;
        Ok(Self { email, key, key_id })
    }

    /// A token that Google's APIs take as it is: for one audience, valid for an hour from `now`.
    ///
    /// # Errors
    /// A sentence, where the system gives no randomness.
    pub fn self_signed(&self, audience: &str, now: SystemTime) -> Result<SecretString, String> {
        let at = seconds(now);
        let claims = json!({
            "iss": self.email, "sub": self.email, "iat": at, "exp": at + LIFE.as_secs(), "aud": audience,
        });
        self.sign(&claims)
    }

    /// A token that is exchanged for an access token at `token_uri`.
    ///
    /// # Errors
    /// As [`self_signed`](Self::self_signed).
    pub fn assertion(&self, token_uri: &str, now: SystemTime) -> Result<SecretString, String> {
        let at = seconds(now);
        let claims = json!({
            "iat": at, "exp": at + LIFE.as_secs(), "iss": self.email, "aud": token_uri, "scope": SCOPE,
        });
        self.sign(&claims)
    }

    fn sign(&self, claims: &serde_json::Value) -> Result<SecretString, String> {
        let header = json!({"typ": "JWT", "alg": "RS256", "kid": self.key_id});
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&header), part(claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(|_| "the token could not be signed: the system gives no randomness".to_owned())?;
        Ok(SecretString::from(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({})", self.email)
    }
}

fn seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

struct SelfSigned {
    from: String,
    signer: Signer,
}

impl Fetch for SelfSigned {
    fn fetch(&self) -> BoxFuture<'_, Result<Token, CredentialError>> {
        Box::pin(async {
            let unusable = |problem| CredentialError::Unusable { from: self.from.clone(), problem };
            let token = self.signer.self_signed(AUDIENCE, SystemTime::now()).map_err(unusable)?;
            Ok(Token { authorization: Authorization::bearer(token, &self.from)?, lasts: Some(LIFE) })
        })
    }

    fn status(&self) -> CredentialStatus {
        CredentialStatus { kind: "service account", source: self.from.clone() }
    }
}

struct Exchange {
    service: Service,
    signer: Signer,
    token_uri: String,
}

impl Fetch for Exchange {
    fn fetch(&self) -> BoxFuture<'_, Result<Token, CredentialError>> {
        Box::pin(async {
            let unusable = |problem| CredentialError::Unusable { from: self.service.from.clone(), problem };
            let assertion = self.signer.assertion(&self.token_uri, SystemTime::now()).map_err(unusable)?;
            let body = form(&[
                ("assertion", assertion.expose_secret()),
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ]);
            oauth(&self.service, &self.token_uri, body, &[&assertion]).await
        })
    }

    fn status(&self) -> CredentialStatus {
        CredentialStatus { kind: "service account, token exchange", source: self.service.from.clone() }
    }
}

struct User {
    service: Service,
    client_id: String,
    client_secret: SecretString,
    refresh_token: SecretString,
    quota_project_id: Option<String>,
    token_uri: String,
}

impl Fetch for User {
    fn fetch(&self) -> BoxFuture<'_, Result<Token, CredentialError>> {
        Box::pin(async {
            let body = form(&[
                ("client_id", &self.client_id),
                ("client_secret", self.client_secret.expose_secret()),
                ("refresh_token", self.refresh_token.expose_secret()),
                ("grant_type", "refresh_token"),
            ]);
            let secrets = [&self.client_secret, &self.refresh_token];
            let mut token = oauth(&self.service, &self.token_uri, body, &secrets).await?;
            if let Some(project) =
                self.quota_project_id.as_deref().and_then(|p| HeaderValue::from_str(p).ok())
            {
                token.authorization =
                    token.authorization.with(HeaderName::from_static("x-goog-user-project"), project);
            }
            Ok(token)
        })
    }

    fn status(&self) -> CredentialStatus {
        CredentialStatus { kind: "user account of gcloud", source: self.service.from.clone() }
    }
}

struct Metadata {
    service: Service,
    host: String,
}

impl Fetch for Metadata {
    fn fetch(&self) -> BoxFuture<'_, Result<Token, CredentialError>> {
        Box::pin(async {
            let url =
                format!("http://{}/computeMetadata/v1/instance/service-accounts/default/token", self.host);
            let request = Request::get(url).header("metadata-flavor", "Google").body(Bytes::new());
            let request = request.map_err(|error| self.service.unreachable(&error.to_string()))?;
            token(&self.service, &self.service.json(request, &[]).await?)
        })
    }

    fn status(&self) -> CredentialStatus {
        CredentialStatus { kind: "machine's service account", source: self.host.clone() }
    }
}

/// Posts a form to an OAuth 2.0 token endpoint.
pub(super) async fn oauth(
    service: &Service,
    url: &str,
    body: Bytes,
    secrets: &[&SecretString],
) -> Result<Token, CredentialError> {
    let request = Request::post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
    let request = request.map_err(|_| CredentialError::Unusable {
        from: service.from.clone(),
        problem: "the address of its token service is no address".to_owned(),
    })?;
    token(service, &service.json(request, secrets).await?)
}

/// The token in a reply of RFC 6749, section 5.1. Azure's metadata service writes `expires_in` as a text.
pub(super) fn token(service: &Service, reply: &serde_json::Value) -> Result<Token, CredentialError> {
    let access =
        secret(reply, "access_token").ok_or_else(|| service.unreachable("its reply has no access_token"))?;
    let lasts = &reply["expires_in"];
    let lasts = lasts.as_u64().or_else(|| lasts.as_str()?.parse().ok()).map(Duration::from_secs);
    // Without one, a short life: the token may end at any time.
    let lasts = lasts.unwrap_or(Duration::from_mins(5));
    Ok(Token { authorization: Authorization::bearer(access, &service.from)?, lasts: Some(lasts) })
}
