//! From a reply to an outcome.

use serde::Deserialize;
use serde_json::Value;

use crate::wire::{answered, by_status, glimpse, json, shorten, unit_score};
use crate::{Answer, Label, Outcome, Reply};

#[derive(Deserialize)]
#[serde(untagged)]
enum ReplyIn {
    Flat(Vec<Entry>),
    /// A batch of one.
    Nested([Vec<Entry>; 1]),
    Error {
        error: Value,
    },
}

#[derive(Deserialize)]
struct Entry {
    label: String,
    score: f64,
}

pub(super) fn read(reply: &Reply) -> Result<Outcome, Outcome> {
    let body: Value = json(&reply.body).map_err(|problem| by_status(reply, &problem))?;
    let entries = match serde_json::from_value(body) {
        Ok(ReplyIn::Error { error }) => return Err(failure(&error, reply)),
        Ok(ReplyIn::Flat(entries) | ReplyIn::Nested([entries])) if reply.status.is_success() => entries,
        _ => return Err(by_status(reply, &format!("no list of labels: {}", glimpse(&reply.body)))),
    };
    let labels = entries
        .into_iter()
        .map(|entry| {
            let score = unit_score(&entry.label, entry.score, 1.0)?;
            Ok(Label::new(entry.label, score))
        })
        .collect::<Result<Vec<_>, Outcome>>()?;
    Ok(answered(reply, Answer { labels, ..Answer::default() }))
}

/// Errors have words and no codes: a text, or a list of texts.
fn failure(error: &Value, reply: &Reply) -> Outcome {
    let words = match error {
        Value::String(words) => shorten(words),
        Value::Array(list) => shorten(&list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; ")),
        other => shorten(&other.to_string()),
    };
    let lower = words.to_ascii_lowercase();
    let reason = format!("{}: {words}", reply.status);
    match reply.status.as_u16() {
        // A cold model is loaded on demand; the old hosted API says so in a 503.
        200..=299 | 400 if lower.contains("loading") => Outcome::Transient { reason },
        400 | 422 if lower.contains("not supported by") || lower.contains("no mapping") => {
            Outcome::Misconfigured { reason }
        }
        _ => by_status(reply, &words),
    }
}
