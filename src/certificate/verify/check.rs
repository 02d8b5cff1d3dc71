//! One check and its result.

use serde::Serialize;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// What the document says is so.
    Holds,
    /// It is not so.
    Fails,
    /// There is nothing to check, or not the means for it.
    NotChecked,
}

/// One thing that a document says, held against what follows from the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name: `digest`, `votes`, ...
    pub name: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// In words, for the reader of a report.
    pub says: String,
    /// The fields that are wrong, parents first: `picture.width`, `votes[17]`.
    pub fields: Vec<String>,
}

impl Check {
    pub(super) fn holds(name: &'static str, says: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Holds, says: says.into(), fields: Vec::new() }
    }

    pub(super) fn not_checked(name: &'static str, says: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::NotChecked, says: says.into(), fields: Vec::new() }
    }

    pub(super) fn fails<F: Into<String>>(
        name: &'static str,
        says: impl Into<String>,
        fields: impl IntoIterator<Item = F>,
    ) -> Self {
        let fields = fields.into_iter().map(Into::into).collect();
        Self { name, verdict: Verdict::Fails, says: says.into(), fields }
    }

    /// Holds, or fails with all that is wrong.
    pub(super) fn unless_wrong(name: &'static str, holds: impl Into<String>, wrong: &[Wrong]) -> Self {
        if wrong.is_empty() {
            return Self::holds(name, holds);
        }
        let says: Vec<&str> = wrong.iter().map(|wrong| wrong.says.as_str()).collect();
        Self::fails(name, says.join("; "), wrong.iter().map(|wrong| &wrong.field))
    }
}

/// A field that is wrong, and why.
#[derive(Clone, Debug)]
pub(super) struct Wrong {
    pub(super) field: String,
    pub(super) says: String,
}

impl Wrong {
    pub(super) fn new(field: impl Into<String>, says: impl Into<String>) -> Self {
        Self { field: field.into(), says: says.into() }
    }

    /// `field` says one thing and something else follows.
    pub(super) fn unless_equal<T: PartialEq + Serialize>(
        field: &str,
        stated: &T,
        follows: &T,
    ) -> Option<Self> {
        // As the document writes it.
        let written = |value: &T| serde_json::to_string(value).unwrap_or_default();
        let says =
            || format!("`{field}` says {}, but {} follows from the rest", written(stated), written(follows));
        (stated != follows).then(|| Self::new(field, clip(says())))
    }
}

/// A message of a length that a terminal bears.
pub(super) fn clip(text: String) -> String {
    const MOST: usize = 600;
    if text.chars().count() <= MOST {
        return text;
    }
    text.chars().take(MOST).chain("...".chars()).collect()
}
