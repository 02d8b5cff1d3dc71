//! Credentials: from the environment or a file into the request, and nowhere else.
//!
//! A [`Credential`] says how complete it is ([`CredentialStatus`]), fetches and renews short-lived tokens, and gives
//! an [`Authorization`], which adds headers or a signature to a finished request. Secrets are
//! [`secrecy::SecretString`]s: no `Debug`, no log and no error prints them, and header values are marked sensitive.
//! What an API echoes of them in a reply is blotted out before anything reads it ([`Blotter`]).

mod authorization;
pub mod aws;
pub mod azure;
mod cached;
mod environment;
mod error;
pub mod google;
pub mod keys;
mod service;

use std::sync::Arc;

use futures::future::BoxFuture;

pub use authorization::{Authorization, Blotter};
pub use cached::{Cached, Fetch, Token};
pub use environment::{Environment, SecretSource, SecretSourceError};
pub use error::CredentialError;

/// A credential that several endpoints may use.
pub type Shared = Arc<dyn Credential>;

/// The right to call an API.
pub trait Credential: Send + Sync {
    /// What authorizes the next request, fetched or renewed where need be.
    ///
    /// # Errors
    /// [`CredentialError`]; nothing was sent to the API itself.
    fn authorization(&self) -> BoxFuture<'_, Result<Arc<Authorization>, CredentialError>>;

    /// The API rejected `used`. Says whether asking again for an authorization may give a better one.
    fn rejected(&self, used: &Authorization) -> bool;

    /// What it is and whether it is complete, without revealing it.
    fn status(&self) -> CredentialStatus;
}

/// What is known of a credential without using it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialStatus {
    /// The kind, for instance `API key` or `service account`.
    pub kind: &'static str,
    /// Where it comes from, for instance `env::CLARIFAI_PAT`. Never the value.
    pub source: String,
}

/// A credential that stays as it is: a key, or none at all.
#[derive(Clone, Debug)]
pub struct Fixed {
    authorization: Arc<Authorization>,
    status: CredentialStatus,
}

impl Fixed {
    /// `authorization`, described by `status`.
    pub fn new(authorization: Authorization, status: CredentialStatus) -> Self {
        Self { authorization: Arc::new(authorization), status }
    }

    /// No credential: for an endpoint of one's own.
    pub fn none() -> Self {
        Self::new(Authorization::none(), CredentialStatus { kind: "none", source: "not needed".to_owned() })
    }
}

impl Credential for Fixed {
    fn authorization(&self) -> BoxFuture<'_, Result<Arc<Authorization>, CredentialError>> {
        Box::pin(std::future::ready(Ok(Arc::clone(&self.authorization))))
    }

    fn rejected(&self, _: &Authorization) -> bool {
        false
    }

    fn status(&self) -> CredentialStatus {
        self.status.clone()
    }
}
