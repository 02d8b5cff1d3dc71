//! What can go wrong with a call on purpose.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Too many calls, in one of the API's own forms: 429; as an error of each picture inside a 200 (Google); as 400
    /// and as 500 (AWS).
    Throttle,
    /// A 5xx in the API's own shape.
    ServerError,
    /// A passing error of one picture inside a 200, where the API has such (Google, Clarifai with several pictures);
    /// elsewhere a [`ServerError`](Self::ServerError), since there the picture is the call.
    PictureError,
    /// The API says that it cannot read one of the pictures.
    BadPicture,
    /// The connection is reset instead of a reply.
    Reset,
    /// The reply breaks off in the middle of its body.
    Truncated,
    /// The reply's body comes in small pieces with pauses between them.
    Drip,
    /// No reply ever.
    Silence,
    /// A page of HTML where JSON belongs, with status 200, 502 or 503.
    Html,
    /// Status 200 with an error of the API as the body.
    #[serde(rename = "error-in-200")]
    ErrorIn200,
    /// Status 200 without a body.
    EmptyBody,
    /// A whole answer without a label.
    EmptyAnswer,
    /// The answer says things twice: labels, and where a call has several pictures also one picture's entry.
    Duplicate,
    /// The labels come in reverse order. No API promises an order.
    Reorder,
    /// The credentials are refused.
    BadKey,
    /// The account's quota is spent.
    QuotaSpent,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 16] = [
        Self::Throttle,
        Self::ServerError,
        Self::PictureError,
        Self::BadPicture,
        Self::Reset,
        Self::Truncated,
        Self::Drip,
        Self::Silence,
        Self::Html,
        Self::ErrorIn200,
        Self::EmptyBody,
        Self::EmptyAnswer,
        Self::Duplicate,
        Self::Reorder,
        Self::BadKey,
        Self::QuotaSpent,
    ];

    /// Those after which the same picture, asked again, gets the answer that it would have got: what
    /// `--fault-rate 0.2` draws from. (After [`Silence`](Self::Silence) too, once the client's patience is over.)
    pub const PASSING: [Self; 11] = [
        Self::Throttle,
        Self::ServerError,
        Self::PictureError,
        Self::Reset,
        Self::Truncated,
        Self::Drip,
        Self::Html,
        Self::ErrorIn200,
        Self::EmptyBody,
        Self::Duplicate,
        Self::Reorder,
    ];

    /// The name in plans and counts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Throttle => "throttle",
            Self::ServerError => "server-error",
            Self::PictureError => "picture-error",
            Self::BadPicture => "bad-picture",
            Self::Reset => "reset",
            Self::Truncated => "truncated",
            Self::Drip => "drip",
            Self::Silence => "silence",
            Self::Html => "html",
            Self::ErrorIn200 => "error-in-200",
            Self::EmptyBody => "empty-body",
            Self::EmptyAnswer => "empty-answer",
            Self::Duplicate => "duplicate",
            Self::Reorder => "reorder",
            Self::BadKey => "bad-key",
            Self::QuotaSpent => "quota-spent",
        }
    }

    /// The kind called `name`.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Does it strike an answer, so that the work is done and billed? Other faults strike before the work, unless
    /// [`Fault::billed`] says otherwise.
    pub fn strikes_answer(self) -> bool {
        matches!(
            self,
            Self::PictureError
                | Self::BadPicture
                | Self::Truncated
                | Self::Drip
                | Self::EmptyAnswer
                | Self::Duplicate
                | Self::Reorder
        )
    }

    /// May it strike either before or after the work?
    pub(super) fn may_be_billed(self) -> bool {
        matches!(
            self,
            Self::ServerError | Self::Reset | Self::Silence | Self::Html | Self::ErrorIn200 | Self::EmptyBody
        )
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// One fault as a plan describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kind.
    pub kind: Kind,
    /// The status of a [`Kind::ServerError`] or [`Kind::Html`], where it is not left to chance.
    pub status: Option<u16>,
    /// How long a [`Kind::Throttle`] asks to wait, in whole seconds rounded up; zero sends no `Retry-After`. Where it is
    /// not given, APIs that usually send one (Azure, OpenAI, Hugging Face, KServe) say one second, and others nothing.
    pub retry_after: Option<Duration>,
    /// The pause between the ten pieces of a [`Kind::Drip`].
    pub pause: Duration,
    /// The fault comes after the work, so that the call is billed although nothing is got for it.
    pub billed: bool,
}

impl Fault {
    /// A fault of this kind with nothing else said: a drip pauses for 20 ms.
    pub fn new(kind: Kind) -> Self {
        Self { kind, status: None, retry_after: None, pause: Duration::from_millis(20), billed: false }
    }

    /// The same after the work, where the kind may strike there.
    #[must_use]
    pub fn after_work(self) -> Self {
        Self { billed: self.kind.may_be_billed(), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_plan() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
            assert_eq!(Kind::by_name(kind.name()), Some(kind));
            assert!(!(kind.strikes_answer() && kind.may_be_billed()), "{kind}");
        }
        assert_eq!(Kind::by_name("gremlin"), None);
    }
}
