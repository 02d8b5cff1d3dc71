//! What is on record about a key.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use glob::Pattern;
use serde::{Deserialize, Serialize};

use super::{KeyId, Rate, TokenHash};
use crate::ledger::Cap;

/// A key and what it may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its public name.
    pub id: KeyId,
    /// Whom it was given to, in the operator's words.
    pub name: String,
    /// How its holder proves to be one.
    pub proof: Proof,
    /// The routes that it may use.
    #[serde(default)]
    pub routes: Routes,
    /// Most requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Most that may be spent upstream over the key's life.
    #[serde(default)]
    pub budget: Cap,
    /// When it was made.
    pub created: Time,
    /// From when on it is not taken any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Time>,
}

/// How the holder of a key proves to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// By a token with this hash.
    Token(TokenHash),
    /// By a signature with the secret that follows from the server's master and the id.
    Aws,
}

impl Proof {
    /// `token` or `aws`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Aws => "aws",
        }
    }
}

/// Whether a key is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is.
    Active,
    /// Not any more since this time.
    Expired(Time),
    /// Its owner took it back at this time.
    Revoked(Time),
}

impl State {
    /// `active`, `expired` or `revoked`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired(_) => "expired",
            Self::Revoked(_) => "revoked",
        }
    }
}

impl Record {
    /// Whether the key is taken at the time `now`.
    pub fn state(&self, now: SystemTime) -> State {
        match (self.revoked, self.expires) {
            (Some(revoked), _) => State::Revoked(revoked),
            (None, Some(expires)) if expires.at() <= now => State::Expired(expires),
            _ => State::Active,
        }
    }
}

/// Names of routes, or patterns of them (`photos-*`). `*` is every route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Routes(Vec<Pattern>);

impl Default for Routes {
    /// Every route.
    fn default() -> Self {
        Self(vec![Pattern::new("*").unwrap_or_default()])
    }
}

/// A text that is no route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no route ({problem}): write a route's name, or a pattern such as `photos-*`")]
pub struct RouteError {
    text: String,
    problem: String,
}

impl Routes {
    /// These routes.
    ///
    /// # Errors
    /// The first text that is none; a list without any, which would be a key for nothing.
    pub fn of<S: AsRef<str>>(texts: &[S]) -> Result<Self, RouteError> {
        let error = |text: &str, problem: String| RouteError { text: text.to_owned(), problem };
        if texts.is_empty() {
            return Err(error("", "no route is named".to_owned()));
        }
        let pattern = |text: &S| {
            let text = text.as_ref();
            if text.is_empty() || text.contains(char::is_whitespace) {
                return Err(error(text, "a name has letters and no blanks".to_owned()));
            }
            Pattern::new(text).map_err(|problem| error(text, problem.msg.to_owned()))
        };
        texts.iter().map(pattern).collect::<Result<_, _>>().map(Self)
    }

    /// Is this route among them?
    pub fn permit(&self, route: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(route))
    }
}

impl fmt::Display for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<&str> = self.0.iter().map(Pattern::as_str).collect();
        f.write_str(&texts.join(","))
    }
}

impl TryFrom<Vec<String>> for Routes {
    type Error = RouteError;

    fn try_from(texts: Vec<String>) -> Result<Self, RouteError> {
        Self::of(&texts)
    }
}

impl From<Routes> for Vec<String> {
    fn from(routes: Routes) -> Self {
        routes.0.iter().map(|pattern| pattern.as_str().to_owned()).collect()
    }
}

/// A time in whole seconds, written as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(u64);

/// The last second that RFC 3339 can write: the end of the year 9999.
const LATEST: u64 = 253_402_300_799;

impl Time {
    /// The time `at`, without its fraction of a second. Before 1970 it is 1970, after 9999 the end of that year.
    pub fn of(at: SystemTime) -> Self {
        Self(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().min(LATEST))
    }

    /// As the system's time.
    pub fn at(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.0)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_seconds(self.at()).fmt(f)
    }
}

/// A text that is no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no time: write a day (2027-01-31) or a time in UTC (2027-01-31T12:00:00Z)")]
pub struct TimeError(String);

impl FromStr for Time {
    type Err = TimeError;

    /// A day means its first instant.
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
        humantime::parse_rfc3339(&whole).map(Self::of).map_err(|_| TimeError(text.to_owned()))
    }
}

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
