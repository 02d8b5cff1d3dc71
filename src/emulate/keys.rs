//! Which credentials the emulator takes, and what it says to others.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, Uri};
use secrecy::{ExposeSecret as _, SecretString};
use smoothgate_providers::credentials::aws::AwsKeys;
use smoothgate_providers::credentials::aws::sigv4::{Received, SignatureError, Verifier};
use smoothgate_providers::served::{Presented, Refusal, RefusalClass};

/// The key that is taken where none is set. Known to everyone, so it protects nothing.
pub const DEFAULT_KEY: &str = "emulator-key";
/// The AWS access key id that goes with it.
pub const DEFAULT_AWS_ID: &str = "AKIAEMULATOR";

/// The credentials that are taken.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The API key of every format, and the bearer token where clients may send one.
    pub key: SecretString,
    /// What AWS requests are signed with.
    pub aws: AwsKeys,
}

impl Default for Keys {
    /// [`DEFAULT_KEY`] everywhere; for AWS as the secret of [`DEFAULT_AWS_ID`].
    fn default() -> Self {
        Self::of(DEFAULT_KEY.into())
    }
}

impl Keys {
    /// This key everywhere; for AWS as the secret of [`DEFAULT_AWS_ID`].
    pub fn of(key: SecretString) -> Self {
        let aws = AwsKeys {
            access_key_id: DEFAULT_AWS_ID.to_owned(),
            secret_access_key: key.clone(),
            session_token: None,
        };
        Self { key, aws }
    }

    /// Checks the credential of a request to the API called `api`. An inference server of one's own (`kserve`) asks for
    /// none, but a wrong one is not taken there either.
    pub(super) fn check(
        &self,
        api: &str,
        presented: Option<&Presented>,
        (method, uri, headers, body): (&Method, &Uri, &HeaderMap, &[u8]),
    ) -> Result<(), Refusal> {
        let refused = |class, message: &str| Err(Refusal::new(class, message));
        match presented {
            None if api == "aws" => Err(SignatureError::Missing.refusal()),
            None if api == "kserve" => Ok(()),
            None => refused(
                RefusalClass::Unauthenticated,
                "Access denied: the request carries no credential that this API knows",
            ),
            Some(Presented::Key(key)) if same(key, &self.key) => Ok(()),
            Some(Presented::Bearer(token)) if same(token, &self.key) => Ok(()),
            Some(Presented::Key(_)) => {
                refused(RefusalClass::UnknownKey, "API key not valid. Please pass a valid API key.")
            }
            Some(Presented::Bearer(_)) => refused(
                RefusalClass::Unauthenticated,
                "Access denied: the access token is invalid or expired",
            ),
            Some(Presented::SigV4) => self.signature(&Received { method, uri, headers, body }),
        }
    }

    fn signature(&self, received: &Received<'_>) -> Result<(), Refusal> {
        let token = received.headers.get("x-amz-security-token").and_then(|value| value.to_str().ok());
        let token_fits = match (&self.aws.session_token, token) {
            (None, None) => true,
            (Some(own), Some(token)) => same(own, &SecretString::from(token)),
            _ => false,
        };
        let verifier = Verifier { service: "rekognition", skew: Duration::from_mins(5) };
        let known = |id: &str| {
            (id == self.aws.access_key_id && token_fits).then(|| self.aws.secret_access_key.clone())
        };
        let verified = verifier.verify(received, SystemTime::now(), known);
        verified.map(drop).map_err(|error| error.refusal())
    }
}

/// Compares hashes in constant time, so that the time tells nothing of the key.
fn same(a: &SecretString, b: &SecretString) -> bool {
    blake3::hash(a.expose_secret().as_bytes()) == blake3::hash(b.expose_secret().as_bytes())
}
