//! AWS: access keys from the environment, profiles, containers and instances, and their signatures.

pub mod sigv4;

use secrecy::SecretString;

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
