//! What an API said about one picture.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One answer of an API about one picture: labels in the API's own order.
///
/// An empty list is an answer ("no label present"), not a failure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The labels in the order in which the API gave them.
    pub labels: Vec<Label>,
    /// Likelihood by category, for moderation features that answer with a scale (`adult`, `violence`, ...).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub levels: BTreeMap<String, Likelihood>,
    /// The model version in the reply, where the API gives one. Two votes of one certificate must not differ in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_version: Option<String>,
    /// The reply says that a cache produced it. Such a reply is not a draw and becomes a failed vote.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_cache: bool,
}

impl Answer {
    /// An answer of `(name, score)` pairs, in order.
    pub fn of<S: Into<String>>(labels: impl IntoIterator<Item = (S, f64)>) -> Self {
        Self {
            labels: labels.into_iter().map(|(name, score)| Label::new(name, score)).collect(),
            ..Self::default()
        }
    }
}

/// One label of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// The name as the API spells it. Questions compare names after Unicode NFC and case folding.
    pub name: String,
    /// The API's confidence on a scale of 0 to 1 (APIs that answer 0 to 100 are divided by 100). `None` where the
    /// API gives no score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// The API's stable identifier of the label, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl Label {
    /// A label with a score on the scale of 0 to 1.
    pub fn new(name: impl Into<String>, score: f64) -> Self {
        Self { name: name.into(), score: Some(score), id: None }
    }
}

/// The five-step scale that moderation features answer with, and `Unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Likelihood {
    /// The API could not tell. Orders below every other step.
    Unknown,
    /// Very unlikely.
    VeryUnlikely,
    /// Unlikely.
    Unlikely,
    /// Possible.
    Possible,
    /// Likely.
    Likely,
    /// Very likely.
    VeryLikely,
}
