//! AWS: access keys from the environment, profiles, containers and instances, and their signatures.
//!
//! Looked for in this order: the profile of the configuration, `AWS_ACCESS_KEY_ID` with `AWS_SECRET_ACCESS_KEY` (and
//! `AWS_SESSION_TOKEN`), the profile `AWS_PROFILE` or `default`, the container's credentials, the instance's role.

mod metadata;
mod profile;
pub mod sigv4;

use std::sync::Arc;

use secrecy::SecretString;

use super::{Authorization, CredentialError, CredentialStatus, Environment, Fixed, Shared};
use crate::transport::Network;

/// One set of AWS access keys.
#[derive(Clone)]
pub struct AwsKeys {
    /// The key's name, for instance `AKIDEXAMPLE`. Not a secret.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: SecretString,
    /// The session token of temporary keys.
    pub session_token: Option<SecretString>,
}

impl std::fmt::Debug for AwsKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AwsKeys({})", self.access_key_id)
    }
}

/// What may be set for AWS.
#[derive(Clone, Debug, Default)]
pub struct AwsSettings {
    /// The region, for instance `us-east-1`. Comes before the environment.
    pub region: Option<String>,
    /// The profile. Comes before the environment.
    pub profile: Option<String>,
}

/// Finds AWS credentials that sign for `service`.
///
/// # Errors
/// [`CredentialError`] that says what to set.
pub fn find(
    settings: &AwsSettings,
    service: &'static str,
    environment: &Environment,
    network: &Network,
) -> Result<Shared, CredentialError> {
    let region = region(settings, environment)?;
    let fixed = |keys: AwsKeys, source: String| -> Result<Shared, CredentialError> {
        let kind = if keys.session_token.is_some() { "temporary access key" } else { "access key" };
        let authorization = Authorization::sigv4(keys, region.clone(), service);
        Ok(Arc::new(Fixed::new(authorization, CredentialStatus { kind, source })))
    };
    if settings.profile.is_none() {
        let (id, secret) =
            (environment.get("AWS_ACCESS_KEY_ID"), environment.secret("AWS_SECRET_ACCESS_KEY"));
        match (id, secret) {
            (Some(id), Some(secret_access_key)) => {
                let session_token = environment.secret("AWS_SESSION_TOKEN");
                let keys = AwsKeys { access_key_id: id.trim().to_owned(), secret_access_key, session_token };
                return fixed(keys, "env::AWS_ACCESS_KEY_ID".to_owned());
            }
            (None, None) => {}
            (id, _) => {
                let missing = if id.is_some() { "AWS_SECRET_ACCESS_KEY" } else { "AWS_ACCESS_KEY_ID" };
                return Err(CredentialError::Missing {
                    what: format!("{missing}, the other half of the access key"),
                    fix: format!("set it with `export {missing}=...`"),
                });
            }
        }
    }
    let named = settings.profile.clone().or_else(|| environment.get("AWS_PROFILE"));
    if let Some((keys, source)) = profile::keys(named.as_deref(), environment)? {
        return fixed(keys, source);
    }
    if let Some(found) = metadata::find(environment, network, &region, service) {
        return Ok(found);
    }
    Err(CredentialError::Missing {
        what: "AWS credentials".to_owned(),
        fix: "set them with `export AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...`, or run `aws configure`"
            .to_owned(),
    })
}

/// The region: of `settings`, `AWS_REGION`, `AWS_DEFAULT_REGION`, or the profile.
///
/// # Errors
/// [`CredentialError::Missing`], or a profile file that cannot be read.
pub fn region(settings: &AwsSettings, environment: &Environment) -> Result<String, CredentialError> {
    let set = settings.region.clone().or_else(|| environment.get("AWS_REGION"));
    if let Some(region) = set.or_else(|| environment.get("AWS_DEFAULT_REGION")) {
        return Ok(region.trim().to_owned());
    }
    let named = settings.profile.clone().or_else(|| environment.get("AWS_PROFILE"));
    profile::region(named.as_deref(), environment)?.ok_or_else(|| CredentialError::Missing {
        what: "AWS region".to_owned(),
        fix: "set it with `export AWS_REGION=us-east-1`".to_owned(),
    })
}
