//! What the engine asks: a provider with its transport, or a classifier in this process.

use futures::future::BoxFuture;

use crate::credentials::CredentialError;
use crate::{
    EncodedPicture, Journal, JournalError, Limits, Outcome, OutcomeClass, Price, Quota, RequestError,
};

/// Something that answers about pictures, one call at a time, as often as it is asked.
///
/// Implementations own transport: rate limit, retries of the same bytes, timeouts. They record every attempt in the
/// journal they are given and return one [`Outcome`] when they are done with the draw. Being dropped cancels the ask.
pub trait Endpoint: Send + Sync {
    /// What is known of it before any call.
    fn describe(&self) -> &Description;

    /// Asks about one picture. `draw` is the index of the vote, `None` for a call that is no vote.
    fn ask<'a>(
        &'a self,
        draw: Option<u64>,
        picture: EncodedPicture,
        journal: &'a dyn Journal,
    ) -> BoxFuture<'a, Result<Outcome, AskError>>;

    /// Why no more calls are sent, where an earlier one was rejected in a way that no further call can mend.
    fn stopped(&self) -> Option<String> {
        None
    }
}

/// What is known of an endpoint before any call.
#[derive(Clone, Debug)]
pub struct Description {
    /// The provider's name, or the instance's name from the configuration.
    pub name: String,
    /// Everything that decides its answers, as far as it is this side's choice: the provider and its options.
    pub identity: serde_json::Value,
    /// The side, in pixels, of the square pictures that the base classifier works on, where that is fixed.
    pub native_size: Option<u32>,
    /// What one call may carry.
    pub limits: Limits,
    /// What one picture costs.
    pub price: Price,
    /// How many calls and pictures a minute the account may send, where known.
    pub quota: Option<Quota>,
}

/// Why an ask ended without an outcome. None of these is a vote.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Budget reached or ledger unusable. Nothing more may be sent.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The request could not be built for this picture; nothing was sent.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The request could not be authorized; nothing was sent.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// An earlier call was rejected in a way that no further call can mend; nothing was sent.
    #[error("no more calls are sent to `{name}`: {class}: {reason}")]
    Stopped {
        /// The endpoint's name.
        name: String,
        /// [`OutcomeClass::Auth`] or [`OutcomeClass::QuotaSpent`].
        class: OutcomeClass,
        /// The API's words.
        reason: String,
    },
    /// The endpoint itself broke: a defect of ours.
    #[error("the provider `{name}` stopped working inside this process (please report it): {problem}")]
    Broken {
        /// The endpoint's name.
        name: String,
        /// What happened.
        problem: String,
    },
}
