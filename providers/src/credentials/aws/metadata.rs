//! Temporary keys from where the program runs: a container (ECS, EKS pod identity) or an instance (version 2 of its metadata service).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderValue, Request};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::{AwsKeys, sigv4};
use crate::credentials::service::{Service, secret};
use crate::credentials::{
    Authorization, Cached, CredentialError, CredentialStatus, Environment, Fetch, SecretSource, Shared, Token,
};
use crate::transport::Network;

const CONTAINER: &str = "http://169.254.170.2";
const INSTANCE: &str = "http://169.254.169.254";

/// The container's or the instance's keys. `None`: this is neither.
pub(super) fn find(
    environment: &Environment,
    network: &Network,
    region: &str,
    service: &'static str,
) -> Option<Shared> {
    let at = |name, from: &str| Service { network: network.clone(), name, from: from.to_owned() };
    let relative = environment.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    let full = environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    if let Some(url) = relative.map(|path| format!("{CONTAINER}{path}")).or(full) {
        let file = environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
        let token = match (file, environment.secret("AWS_CONTAINER_AUTHORIZATION_TOKEN")) {
            (Some(path), _) => Some(ContainerToken::File(SecretSource::File(path.into()))),
            (None, token) => token.map(ContainerToken::Value),
        };
        let service_at = at("the container's credential service", "env::AWS_CONTAINER_CREDENTIALS_FULL_URI");
        let role = Role { service: service_at, region: region.to_owned(), signs_for: service };
        return Some(Arc::new(Cached::new(Container { role, url, token })));
    }
    let disabled =
        environment.get("AWS_EC2_METADATA_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true"));
    let endpoint = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    if !disabled && (endpoint.is_some() || environment.machine().contains("Amazon EC2")) {
        let service_at = at("the instance's metadata service", "the instance's role");
        let role = Role { service: service_at, region: region.to_owned(), signs_for: service };
        let base = endpoint.unwrap_or_else(|| INSTANCE.to_owned()).trim_end_matches('/').to_owned();
        return Some(Arc::new(Cached::new(Instance { role, base })));
    }
    None
}

/// What containers and instances have in common.
struct Role {
    service: Service,
    region: String,
    signs_for: &'static str,
}

impl Role {
    fn request(&self, request: http::request::Builder) -> Result<Request<Bytes>, CredentialError> {
        request.body(Bytes::new()).map_err(|_| CredentialError::Unusable {
            from: self.service.from.clone(),
            problem: "the address is no address".to_owned(),
        })
    }

    /// `{"AccessKeyId", "SecretAccessKey", "Token", "Expiration": "2026-11-22T10:50:04Z"}`.
    fn token(&self, reply: &Value) -> Result<Token, CredentialError> {
        let missing = |field: &str| self.service.unreachable(&format!("its reply has no {field}"));
        let keys = AwsKeys {
            access_key_id: reply["AccessKeyId"].as_str().ok_or_else(|| missing("AccessKeyId"))?.to_owned(),
            secret_access_key: secret(reply, "SecretAccessKey").ok_or_else(|| missing("SecretAccessKey"))?,
            session_token: secret(reply, "Token"),
        };
        let until = reply["Expiration"].as_str().map(|text| text.replace(['-', ':'], ""));
        let until = until.as_deref().and_then(sigv4::parse_time);
        let lasts = until.map(|until| until.duration_since(SystemTime::now()).unwrap_or_default());
        let lasts = Some(lasts.unwrap_or(Duration::from_mins(5)));
        Ok(Token { authorization: Authorization::sigv4(keys, self.region.clone(), self.signs_for), lasts })
    }
}

enum ContainerToken {
    Value(SecretString),
    /// Read for every fetch, since it is exchanged from time to time.
    File(SecretSource),
}

struct Container {
    role: Role,
    url: String,
    token: Option<ContainerToken>,
}

impl Fetch for Container {
    fn fetch(&self) -> BoxFuture<'_, Result<Token, CredentialError>> {
        Box::pin(async {
            let token = match &self.token {
                None => None,
                Some(ContainerToken::Value(token)) => Some(token.clone()),
                Some(ContainerToken::File(source)) => Some(source.read(&Environment::process())?),
            };
            let mut request = Request::get(&self.url);
            if let Some(token) = &token {
                let mut value = HeaderValue::from_str(token.expose_secret())
                    .map_err(|_| self.role.service.unreachable("its token cannot stand in a header"))?;
                value.set_sensitive(true);
                request = request.header(http::header::AUTHORIZATION, value);
            }
            let request = self.role.request(request)?;
            let secrets: Vec<&SecretString> = token.iter().collect();
            self.role.token(&self.role.service.json(request, &secrets).await?)
        })
    }

    fn status(&self) -> CredentialStatus {
        CredentialStatus { kind: "container's role", source: self.role.service.from.clone() }
    }
}

struct Instance {
    role: Role,
    base: String,
}

impl Fetch for Instance {
    fn fetch(&self) -> BoxFuture<'_, Result<Token, CredentialError>> {
        Box::pin(async {
            let service = &self.role.service;
            let session = Request::put(format!("{}/latest/api/token", self.base))
                .header("x-aws-ec2-metadata-token-ttl-seconds", "21600");
            let session = service.reply(self.role.request(session)?, &[]).await?;
            let session = HeaderValue::from_maybe_shared(session.body).map(|mut value| {
                value.set_sensitive(true);
                value
            });
            let session =
                session.map_err(|_| service.unreachable("its session token cannot stand in a header"))?;
            let get = |path: String| {
                let url = format!("{}/latest/meta-data/iam/security-credentials/{path}", self.base);
                self.role.request(Request::get(url).header("x-aws-ec2-metadata-token", session.clone()))
            };
            let role = service.reply(get(String::new())?, &[]).await?;
            let role =
                String::from_utf8_lossy(&role.body).lines().next().unwrap_or_default().trim().to_owned();
            if role.is_empty() {
                return Err(CredentialError::Missing {
                    what: "role of this instance".to_owned(),
                    fix:
                        "attach an instance profile to it, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                            .to_owned(),
                });
            }
            self.role.token(&service.json(get(role)?, &[]).await?)
        })
    }

    fn status(&self) -> CredentialStatus {
        CredentialStatus { kind: "instance's role", source: self.role.service.from.clone() }
    }
}
