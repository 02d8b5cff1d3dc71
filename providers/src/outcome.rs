//! How one call ended.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Answer;

/// The end of one call about one picture. Every call has exactly one.
///
/// Only [`Answered`](Self::Answered) can vote for a label. Every other end is a vote against all labels once the
/// transport has given up on it: dropping it would bias the certificate towards pictures that are easy to answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The API answered. The label list may be empty.
    Answered(Answer),
    /// The API refused to look at the picture (content moderation of the API itself).
    Refused {
        /// The API's words.
        reason: String,
    },
    /// The API says that the picture is unreadable, too large or too small. The same bytes would fail again.
    BadPicture {
        /// The API's words.
        reason: String,
    },
    /// Too many calls. The same bytes may be sent again after a pause.
    Throttled {
        /// How long the API asks to wait, where it says so.
        retry_after: Option<Duration>,
        /// The API's words.
        reason: String,
    },
    /// A passing failure of the API or of the network. The same bytes may be sent again.
    Transient {
        /// What was seen.
        reason: String,
    },
    /// The credentials are wrong or lack a permission. No call can succeed until the user changes them.
    Auth {
        /// The API's words, without the credential.
        reason: String,
    },
    /// The account's quota or money is spent. No call can succeed until the user changes that.
    QuotaSpent {
        /// The API's words.
        reason: String,
    },
    /// The request asks for something that this account, endpoint or model does not offer: a wrong path, an unknown
    /// model, a feature that the region lacks. No call can succeed until the user changes the configuration.
    Misconfigured {
        /// The API's words.
        reason: String,
    },
    /// A reply that is not what the API documents: cut JSON, an HTML page, missing fields.
    Malformed {
        /// What was expected and what came, shortened.
        reason: String,
    },
    /// A whole, well-formed answer that is no vote: a label outside the set that was asked for, a score off its
    /// scale, an answer that ran into the token limit. Unlike [`Malformed`](Self::Malformed) it is never asked
    /// again: that would be a retry because of what the answer said, and the votes would no longer be draws.
    Unusable {
        /// What was said, shortened, and why it cannot count.
        reason: String,
    },
}

impl Outcome {
    /// The case without its contents: what ledgers and metrics record.
    pub fn class(&self) -> OutcomeClass {
        match self {
            Self::Answered(_) => OutcomeClass::Answered,
            Self::Refused { .. } => OutcomeClass::Refused,
            Self::BadPicture { .. } => OutcomeClass::BadPicture,
            Self::Throttled { .. } => OutcomeClass::Throttled,
            Self::Transient { .. } => OutcomeClass::Transient,
            Self::Auth { .. } => OutcomeClass::Auth,
            Self::QuotaSpent { .. } => OutcomeClass::QuotaSpent,
            Self::Misconfigured { .. } => OutcomeClass::Misconfigured,
            Self::Malformed { .. } => OutcomeClass::Malformed,
            Self::Unusable { .. } => OutcomeClass::Unusable,
        }
    }

    /// The reason of a call that was not answered.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Answered(_) => None,
            Self::Refused { reason }
            | Self::BadPicture { reason }
            | Self::Throttled { reason, .. }
            | Self::Transient { reason }
            | Self::Auth { reason }
            | Self::QuotaSpent { reason }
            | Self::Misconfigured { reason }
            | Self::Malformed { reason }
            | Self::Unusable { reason } => Some(reason),
        }
    }
}

/// The cases of [`Outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeClass {
    /// See [`Outcome::Answered`].
    Answered,
    /// See [`Outcome::Refused`].
    Refused,
    /// See [`Outcome::BadPicture`].
    BadPicture,
    /// See [`Outcome::Throttled`].
    Throttled,
    /// See [`Outcome::Transient`].
    Transient,
    /// See [`Outcome::Auth`].
    Auth,
    /// See [`Outcome::QuotaSpent`].
    QuotaSpent,
    /// See [`Outcome::Misconfigured`].
    Misconfigured,
    /// See [`Outcome::Malformed`].
    Malformed,
    /// See [`Outcome::Unusable`].
    Unusable,
}

impl OutcomeClass {
    /// Has the API said its word about the picture, whether it is a vote or not? To ask again would choose among answers.
    pub fn settles(self) -> bool {
        matches!(self, Self::Answered | Self::Refused | Self::Unusable)
    }

    /// May the same bytes be sent again with a chance of success?
    pub fn may_retry(self) -> bool {
        matches!(self, Self::Throttled | Self::Transient | Self::Malformed)
    }

    /// Does it end the whole run, since no further call can succeed? (The circuit breaker's question.)
    pub fn stops_run(self) -> bool {
        matches!(self, Self::Auth | Self::QuotaSpent | Self::Misconfigured)
    }

    /// Whose fault it is.
    pub fn fault(self) -> Option<Fault> {
        match self {
            Self::Answered => None,
            Self::Auth | Self::QuotaSpent | Self::BadPicture | Self::Misconfigured => Some(Fault::User),
            Self::Refused | Self::Throttled | Self::Transient | Self::Malformed | Self::Unusable => {
                Some(Fault::Provider)
            }
        }
    }
}

impl std::fmt::Display for OutcomeClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::BadPicture => "bad picture",
            Self::Throttled => "throttled",
            Self::Transient => "transient failure",
            Self::Auth => "credentials rejected",
            Self::QuotaSpent => "quota spent",
            Self::Misconfigured => "not offered as configured",
            Self::Malformed => "malformed reply",
            Self::Unusable => "unusable answer",
        })
    }
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The caller can mend it: credentials, picture, configuration.
    User,
    /// The API's side.
    Provider,
    /// A defect of this software.
    Us,
}
