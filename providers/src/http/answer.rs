//! Where labels and scores are in a reply.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::wire::{glimpse, shorten, unit_score};
use crate::{Answer, Label, Outcome};

/// Where the labels of a reply are. Pointers are JSON pointers (RFC 6901); the empty one is the whole value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "form", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Labels {
    /// A list with one entry a label: `[{"name": "dog", "score": 0.9}, ...]`.
    List {
        /// The list.
        at: String,
        /// The name in an entry.
        name: String,
        /// The score in an entry.
        #[serde(default)]
        score: Option<String>,
        /// The stable identifier in an entry.
        #[serde(default)]
        id: Option<String>,
    },
    /// Two lists of equal length: `{"labels": ["dog", ...], "scores": [0.9, ...]}`.
    Parallel {
        /// The list of names.
        names: String,
        /// The list of scores.
        scores: String,
    },
    /// An object of scores by name: `{"dog": 0.9, ...}`. Objects have no order: labels are sorted by score, the
    /// highest first, equal scores by name.
    Map {
        /// The object.
        at: String,
    },
    /// One label: `{"class": "dog", "p": 0.9}`. A name that is null is an answer without a label.
    One {
        /// The name.
        name: String,
        /// The score.
        #[serde(default)]
        score: Option<String>,
    },
}

/// What a score of 1 is called by an API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// Scores are from 0 to 1.
    #[default]
    Unit,
    /// Scores are from 0 to 100.
    Percent,
    /// Scores are on no known scale and are left out.
    None,
}

impl Labels {
    /// All pointers of the description.
    pub(super) fn pointers(&self) -> Vec<&String> {
        match self {
            Self::List { at, name, score, id } => [at, name].into_iter().chain(score).chain(id).collect(),
            Self::Parallel { names, scores } => vec![names, scores],
            Self::Map { at } => vec![at],
            Self::One { name, score } => [name].into_iter().chain(score).collect(),
        }
    }

    /// The answer in a body.
    pub(super) fn read(&self, body: &Value, scale: Scale) -> Result<Answer, Outcome> {
        let labels = match self {
            Self::List { at, name, score, id } => list(body, at)?
                .iter()
                .map(|entry| {
                    let label = label(
                        find(entry, name)?,
                        score.as_ref().map(|s| find(entry, s)).transpose()?,
                        scale,
                    )?;
                    let id = id.as_ref().and_then(|id| text(entry.pointer(id)?));
                    Ok(Label { id, ..label })
                })
                .collect::<Result<Vec<_>, Outcome>>()?,
            Self::Parallel { names, scores } => {
                let (names, scores) = (list(body, names)?, list(body, scores)?);
                if names.len() != scores.len() {
                    return Err(malformed(format!("{} names and {} scores", names.len(), scores.len())));
                }
                names
                    .iter()
                    .zip(scores)
                    .map(|(name, score)| label(name, Some(score), scale))
                    .collect::<Result<Vec<_>, _>>()?
            }
            Self::Map { at } => by_score(find(body, at)?, scale)?,
            Self::One { name, score } => match find(body, name)? {
                Value::Null => vec![],
                name => vec![label(name, score.as_ref().map(|s| find(body, s)).transpose()?, scale)?],
            },
        };
        Ok(Answer { labels, ..Answer::default() })
    }
}

fn malformed(reason: impl Into<String>) -> Outcome {
    Outcome::Malformed { reason: reason.into() }
}

fn find<'a>(value: &'a Value, pointer: &str) -> Result<&'a Value, Outcome> {
    value.pointer(pointer).ok_or_else(|| {
        malformed(format!("nothing at `{pointer}` in {}", glimpse(value.to_string().as_bytes())))
    })
}

fn list<'a>(value: &'a Value, pointer: &str) -> Result<&'a Vec<Value>, Outcome> {
    let found = find(value, pointer)?;
    found.as_array().ok_or_else(|| malformed(format!("what is at `{pointer}` is no list")))
}

/// A name may be a number: the index of a class.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn label(name: &Value, score: Option<&Value>, scale: Scale) -> Result<Label, Outcome> {
    let found =
        text(name).ok_or_else(|| malformed(format!("`{}` is no label", shorten(&name.to_string()))))?;
    let score = match score {
        Some(score) if scale != Scale::None => Some(number(&found, score, scale)?),
        _ => None,
    };
    Ok(Label { name: found, score, id: None })
}

/// A score may be a number in a text.
fn number(label: &str, score: &Value, scale: Scale) -> Result<f64, Outcome> {
    let value = score.as_f64().or_else(|| score.as_str()?.trim().parse().ok());
    let value = value.ok_or_else(|| {
        malformed(format!("the score of `{}` is {}", shorten(label), shorten(&score.to_string())))
    })?;
    unit_score(label, value, if scale == Scale::Percent { 100.0 } else { 1.0 })
}

fn by_score(map: &Value, scale: Scale) -> Result<Vec<Label>, Outcome> {
    let map = map.as_object().ok_or_else(|| malformed("the scores are no object"))?;
    let mut ranked = Vec::with_capacity(map.len());
    for (name, score) in map {
        let value = score
            .as_f64()
            .ok_or_else(|| malformed(format!("the score of `{}` is no number", shorten(name))))?;
        let score = if scale == Scale::None { None } else { Some(number(name, score, scale)?) };
        ranked.push((value, Label { name: name.clone(), score, id: None }));
    }
    ranked.sort_by(|(a, x), (b, y)| b.total_cmp(a).then_with(|| x.name.cmp(&y.name)));
    Ok(ranked.into_iter().map(|(_, label)| label).collect())
}
