//! From a reply to an outcome.

use serde_json::Value;

use super::{Choice, Options, errors};
use crate::wire::{answered, by_status, glimpse, json, shorten};
use crate::{Answer, Label, Outcome, Reply};

pub(super) fn read(options: &Options, reply: &Reply) -> Result<Outcome, Outcome> {
    let body: Value = json(&reply.body).map_err(|problem| by_status(reply, &problem))?;
    if let Some(outcome) = errors::read(&body, reply) {
        return Err(outcome);
    }
    let first = body.pointer("/choices/0").filter(|_| reply.status.is_success());
    let first =
        first.ok_or_else(|| by_status(reply, &format!("no `choices` in {}", glimpse(&reply.body))))?;
    let message = first.get("message").filter(|message| message.is_object());
    let message =
        message.ok_or_else(|| Outcome::Malformed { reason: "a choice without a message".to_owned() })?;
    if let Some(words) = message.get("refusal").and_then(Value::as_str).filter(|words| !words.is_empty()) {
        return Err(Outcome::Refused { reason: format!("the model refused: {}", shorten(words)) });
    }
    match first.get("finish_reason").and_then(Value::as_str) {
        Some("content_filter") => {
            return Err(Outcome::Refused { reason: "cut by the content filter".to_owned() });
        }
        Some("length") => {
            return Err(Outcome::Unusable {
                reason: format!("cut at the limit of {} tokens: raise `max_tokens`", options.max_tokens),
            });
        }
        // Servers differ in what else they say of a whole answer, and some say nothing.
        _ => {}
    }
    let content = content(message);
    let chosen = chosen(&content, options.choice).and_then(|name| {
        let all = options.labels.iter().chain(&options.none_label);
        all.into_iter().find(|label| **label == name)
    });
    let Some(chosen) = chosen else {
        return Err(Outcome::Unusable {
            reason: format!(
                "`{}` is none of the {} labels to choose from: the server does not force the choice",
                shorten(&content),
                options.labels.len() + usize::from(options.none_label.is_some())
            ),
        });
    };
    let labels = if Some(chosen) == options.none_label.as_ref() {
        vec![]
    } else {
        vec![Label { name: chosen.clone(), score: None, id: None }]
    };
    Ok(answered(reply, Answer { labels, model_version: version(&body, options), ..Answer::default() }))
}

/// The text of a message: one text, or several parts.
fn content(message: &Value) -> String {
    match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect()
        }
        _ => String::new(),
    }
}

/// The label in an answer's text: the member `label` of a JSON object where a schema was sent, else the text itself.
/// A server that ignored the schema and yet gave exactly a label has chosen.
fn chosen(content: &str, choice: Choice) -> Option<String> {
    let text = content.trim();
    if choice == Choice::JsonSchema
        && let Ok(Value::Object(object)) = serde_json::from_str(text)
    {
        return object.get("label").and_then(Value::as_str).map(str::to_owned);
    }
    (!text.is_empty()).then(|| serde_json::from_str::<String>(text).unwrap_or_else(|_| text.to_owned()))
}

fn version(body: &Value, options: &Options) -> Option<String> {
    let text = |key: &str| body.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let model = text("model")?;
    match text("system_fingerprint").filter(|_| options.pin_build) {
        Some(build) => Some(format!("{model} ({build})")),
        None => Some(model.to_owned()),
    }
}
