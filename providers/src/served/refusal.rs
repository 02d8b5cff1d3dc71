//! Why a server does not answer.

use std::time::Duration;

use crate::{Outcome, OutcomeClass};

/// A request, or one picture of it, that is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The class, which decides the status and the code in each API's own terms.
    pub class: RefusalClass,
    /// What was bad, where, and how to mend it, for the client's eyes.
    pub message: String,
    /// How long to wait before asking again. A throttle without it says one second.
    pub retry_after: Option<Duration>,
    /// The exact name of AWS' exception, where the class has several. Other APIs have one for each class.
    pub aws_code: Option<&'static str>,
}

impl Refusal {
    /// A refusal without a pause.
    pub fn new(class: RefusalClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), retry_after: None, aws_code: None }
    }

    /// A throttle that asks for a pause.
    pub fn throttled(pause: Duration, message: impl Into<String>) -> Self {
        Self { retry_after: Some(pause), ..Self::new(RefusalClass::Throttled, message) }
    }

    /// A feature or parameter that is not offered.
    pub(crate) fn unsupported(what: impl Into<String>) -> Self {
        Self::new(RefusalClass::Unsupported, what)
    }

    /// A request that breaks the API's syntax.
    pub(crate) fn bad_request(what: impl Into<String>) -> Self {
        Self::new(RefusalClass::BadRequest, what)
    }

    /// What a client of a proxy may know of an upstream call that was not answered. `None` for an answer.
    ///
    /// The upstream's credentials, quota and configuration are not the client's affair: they become internal errors
    /// that say so. The upstream's own words are not passed on.
    pub fn from_upstream(outcome: &Outcome) -> Option<Self> {
        let retry_after = match outcome {
            Outcome::Throttled { retry_after, .. } => *retry_after,
            _ => None,
        };
        Some(Self { retry_after, ..Self::from_upstream_class(outcome.class())? })
    }

    /// The same where only the class of the outcome is known.
    pub fn from_upstream_class(class: OutcomeClass) -> Option<Self> {
        let (class, message) = match class {
            OutcomeClass::Answered => return None,
            OutcomeClass::BadPicture => {
                (RefusalClass::BadPicture, "the upstream API cannot read the picture")
            }
            OutcomeClass::Refused => {
                (RefusalClass::BadPicture, "the upstream API refuses to look at the picture")
            }
            OutcomeClass::Throttled => (RefusalClass::Throttled, "the upstream API asks for a pause"),
            OutcomeClass::Transient | OutcomeClass::Malformed => {
                (RefusalClass::Unavailable, "the upstream API failed")
            }
            OutcomeClass::Unusable => {
                (RefusalClass::Internal, "the upstream API gave an answer that cannot be used")
            }
            OutcomeClass::Auth | OutcomeClass::QuotaSpent | OutcomeClass::Misconfigured => (
                RefusalClass::Internal,
                "this server's access to the upstream API does not work; its operator has to mend that",
            ),
        };
        Some(Self::new(class, message))
    }
}

/// The classes of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalClass {
    /// The request breaks the API's syntax.
    BadRequest,
    /// The request asks for a feature or parameter that is not offered here.
    Unsupported,
    /// No such path, operation or model.
    NotFound,
    /// The path does not take this method.
    MethodNotAllowed,
    /// The body's media type is not taken.
    UnsupportedMediaType,
    /// The whole body is too large.
    BodyTooLarge,
    /// The picture cannot be read or is in a format that the API does not take.
    BadPicture,
    /// The picture has too many bytes or pixels.
    PictureTooLarge,
    /// The picture has too few pixels.
    PictureTooSmall,
    /// The picture is referred to and cannot or may not be fetched.
    PictureUnreachable,
    /// No credential, or a wrong or expired token or signature.
    Unauthenticated,
    /// An API key that is not known. (Google answers this otherwise than a wrong token.)
    UnknownKey,
    /// The credential does not permit this.
    Forbidden,
    /// Too many requests: ask again after a pause.
    Throttled,
    /// The credential's budget is used up.
    QuotaSpent,
    /// The question has no certified answer. Asking again gives no other.
    Abstained,
    /// A passing failure. Ask again later.
    Unavailable,
    /// A failure inside the server.
    Internal,
}

impl RefusalClass {
    /// All classes.
    pub const ALL: [Self; 18] = [
        Self::BadRequest,
        Self::Unsupported,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::UnsupportedMediaType,
        Self::BodyTooLarge,
        Self::BadPicture,
        Self::PictureTooLarge,
        Self::PictureTooSmall,
        Self::PictureUnreachable,
        Self::Unauthenticated,
        Self::UnknownKey,
        Self::Forbidden,
        Self::Throttled,
        Self::QuotaSpent,
        Self::Abstained,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The HTTP status for an API that has no rules of its own. Overload is 429, never 503: a client of Google's
    /// repeats a 503 for ten minutes.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::BadRequest
            | Self::Unsupported
            | Self::BadPicture
            | Self::PictureTooLarge
            | Self::PictureTooSmall
            | Self::PictureUnreachable => 400,
            Self::Unauthenticated | Self::UnknownKey => 401,
            Self::Forbidden | Self::QuotaSpent => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::BodyTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Abstained => 422,
            Self::Throttled => 429,
            Self::Unavailable => 503,
            Self::Internal => 500,
        }
    }
}
