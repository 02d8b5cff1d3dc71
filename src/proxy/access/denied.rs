//! Why a caller is turned away, and what is said to them.

use std::time::Duration;

use smoothgate_providers::credentials::aws::sigv4::SignatureError;
use smoothgate_providers::served::{Refusal, RefusalClass};

use super::{KeyId, Time};

/// Why a caller is turned away. Nobody learns anything about a key without its secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// No credential, or none of the kind that this API has.
    #[error(
        "the request carries no credential: give your smoothgate key where clients of this API put theirs"
    )]
    Missing,
    /// No such key, or not its secret.
    #[error("the key is not valid here: give a smoothgate key, as `smoothgate keys issue` prints it")]
    Unknown {
        /// Was it sent as a bearer token?
        bearer: bool,
    },
    /// A signature that does not hold.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A signature that was used before.
    #[error("Signature already used: sign each request anew")]
    Replayed,
    /// The key was taken back.
    #[error("the key {id} was revoked at {at}: ask the operator of this server for another")]
    Revoked {
        /// The key.
        id: KeyId,
        /// When.
        at: Time,
    },
    /// The key's time is over.
    #[error("the key {id} expired at {at}: ask the operator of this server for another")]
    Expired {
        /// The key.
        id: KeyId,
        /// When.
        at: Time,
    },
    /// The key's budget is used up.
    #[error("the budget of the key {id} is used up: {spent}")]
    OverBudget {
        /// The key.
        id: KeyId,
        /// How much of how much.
        spent: String,
    },
    /// What is left of the key's budget is set aside for pictures that are being certified.
    #[error("what is left of the budget of the key {id} is set aside for other pictures just now: wait")]
    SetAside {
        /// The key.
        id: KeyId,
    },
    /// A budget in money, where nobody knows what a call costs.
    #[error(
        "the key has a budget in money and the price of a call is not known: the operator of this server has to set it"
    )]
    Unpriced,
    /// What the key has spent cannot be read.
    #[error("what the key has spent cannot be read just now")]
    NoBooks,
    /// Too many requests with this key.
    #[error("the key {id} is for {rate} requests: wait")]
    OverRate {
        /// The key.
        id: KeyId,
        /// The rate, for instance `60/m`.
        rate: String,
        /// How long until the next one.
        wait: Duration,
    },
    /// So many signed requests that they cannot be told apart any more.
    #[error("too many signed requests at once: wait")]
    Crowded,
    /// A page in a browser on this machine that calls a server without keys.
    #[error("without keys this server answers programs on its own machine and no web pages")]
    WebPage,
}

impl Denied {
    /// A word for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Missing => "no_key",
            Self::Unknown { .. } => "unknown_key",
            Self::Signature(_) => "bad_signature",
            Self::Replayed => "replayed",
            Self::Revoked { .. } => "revoked",
            Self::Expired { .. } => "expired",
            Self::OverBudget { .. } => "over_budget",
            Self::SetAside { .. } => "set_aside",
            Self::Unpriced => "unpriced",
            Self::NoBooks => "no_books",
            Self::OverRate { .. } => "over_rate",
            Self::Crowded => "crowded",
            Self::WebPage => "web_page",
        }
    }

    /// What is said to the caller, in whatever API's shape.
    pub fn refusal(&self) -> Refusal {
        let (class, aws_code) = match self {
            Self::Signature(error) => return error.refusal(),
            Self::OverRate { wait, .. } => return Refusal::throttled(*wait, self.to_string()),
            Self::Crowded | Self::SetAside { .. } => {
                return Refusal::throttled(Duration::from_secs(1), self.to_string());
            }
            Self::Missing => (RefusalClass::Unauthenticated, Some(SignatureError::Missing.code())),
            Self::Unknown { bearer: true } => (RefusalClass::Unauthenticated, None),
            // AWS' clients know expired tokens, and no word for revoked ones but that the key is none.
            Self::Expired { .. } => (RefusalClass::Unauthenticated, Some("ExpiredTokenException")),
            Self::Unknown { bearer: false } | Self::Revoked { .. } => (RefusalClass::UnknownKey, None),
            Self::Replayed => (RefusalClass::Unauthenticated, Some(SignatureError::Mismatch.code())),
            Self::WebPage => (RefusalClass::Forbidden, None),
            Self::OverBudget { .. } => (RefusalClass::QuotaSpent, None),
            Self::Unpriced => (RefusalClass::Internal, None),
            Self::NoBooks => (RefusalClass::Unavailable, None),
        };
        Refusal { aws_code, ..Refusal::new(class, self.to_string()) }
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        denied.refusal()
    }
}
