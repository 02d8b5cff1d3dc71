//! Which replies are which failures.

use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::wire::retry_after;
use crate::{Outcome, Reply};

/// A reply that fits all conditions of a rule ends as the rule says, whatever its status is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The HTTP status: `429`, or `5xx` for 500 to 599.
    #[serde(default)]
    pub status: Option<StatusPattern>,
    /// A JSON pointer to a value that has to be there and not null.
    #[serde(default)]
    pub at: Option<String>,
    /// What the value has to be; numbers and booleans are compared as JSON writes them.
    #[serde(default)]
    pub equals: Option<String>,
    /// What the value has to contain, in any case of letters.
    #[serde(default)]
    pub contains: Option<String>,
    /// How such a call ended.
    pub end: End,
}

impl Rule {
    /// Does a reply with this status and this body (where it is JSON) fit?
    pub(super) fn fits(&self, status: StatusCode, body: Option<&Value>) -> bool {
        if self.status.as_ref().is_some_and(|pattern| !pattern.fits(status)) {
            return false;
        }
        let Some(pointer) = &self.at else { return true };
        let value = match body.and_then(|body| body.pointer(pointer)) {
            None | Some(Value::Null) => return false,
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        self.equals.as_ref().is_none_or(|wanted| *wanted == value)
            && self.contains.as_ref().is_none_or(|part| value.to_lowercase().contains(&part.to_lowercase()))
    }
}

/// One HTTP status, or a hundred of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct StatusPattern {
    from: u16,
    to: u16,
}

impl StatusPattern {
    fn fits(&self, status: StatusCode) -> bool {
        (self.from..=self.to).contains(&status.as_u16())
    }
}

impl TryFrom<String> for StatusPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no HTTP status: write for instance `429` or `5xx`");
        if let Some(hundreds) = text.strip_suffix("xx") {
            let hundreds: u16 = hundreds.parse().map_err(|_| wrong())?;
            return if (1..=5).contains(&hundreds) {
                Ok(Self { from: hundreds * 100, to: hundreds * 100 + 99 })
            } else {
                Err(wrong())
            };
        }
        let status: u16 = text.parse().map_err(|_| wrong())?;
        if (100..=599).contains(&status) { Ok(Self { from: status, to: status }) } else { Err(wrong()) }
    }
}

impl From<StatusPattern> for String {
    fn from(pattern: StatusPattern) -> Self {
        if pattern.from == pattern.to {
            pattern.from.to_string()
        } else {
            format!("{}xx", pattern.from / 100)
        }
    }
}

/// How a call ended that was not answered: the cases of [`Outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// See [`Outcome::Refused`].
    Refused,
    /// See [`Outcome::BadPicture`].
    BadPicture,
    /// See [`Outcome::Throttled`]. The pause is read from the headers.
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

impl End {
    pub(super) fn outcome(self, reason: String, reply: &Reply) -> Outcome {
        match self {
            Self::Refused => Outcome::Refused { reason },
            Self::BadPicture => Outcome::BadPicture { reason },
            Self::Throttled => Outcome::Throttled { retry_after: retry_after(&reply.headers), reason },
            Self::Transient => Outcome::Transient { reason },
            Self::Auth => Outcome::Auth { reason },
            Self::QuotaSpent => Outcome::QuotaSpent { reason },
            Self::Misconfigured => Outcome::Misconfigured { reason },
            Self::Malformed => Outcome::Malformed { reason },
            Self::Unusable => Outcome::Unusable { reason },
        }
    }
}
