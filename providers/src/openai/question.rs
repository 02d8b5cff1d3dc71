//! What a chat request asks: its picture, its words and its closed set of labels.

use serde_json::Value;

use super::MAX_CHOICES;
use crate::served::{Refusal, Source};
use crate::wire::decode_base64;

/// The picture and the words of a conversation.
pub(super) struct Question {
    pub source: Source,
    pub instructions: Option<String>,
}

/// The labels to choose from, and the member of the answer that holds the choice (`None` for a bare text).
pub(super) fn closed_set(body: &Value) -> Result<(Vec<String>, Option<String>), Refusal> {
    let bare = body.get("guided_choice").or_else(|| body.pointer("/structured_outputs/choice"));
    if let Some(list) = bare.filter(|list| !list.is_null()) {
        return Ok((names(Some(list))?, None));
    }
    let properties = body
        .pointer("/response_format/json_schema/schema/properties")
        .and_then(Value::as_object)
        .ok_or_else(|| {
            Refusal::unsupported(
                "a closed set of labels is needed: response_format with a json_schema whose one property has an enum",
            )
        })?;
    let mut properties = properties.iter();
    match (properties.next(), properties.next()) {
        (Some((name, property)), None) => Ok((names(property.get("enum"))?, Some(name.clone()))),
        _ => Err(Refusal::unsupported(
            "response_format: the schema must have exactly one property, with an enum",
        )),
    }
}

fn names(list: Option<&Value>) -> Result<Vec<String>, Refusal> {
    let wrong = || Refusal::unsupported("the labels to choose from must be a list of one or more texts");
    let list = list.and_then(Value::as_array).filter(|list| !list.is_empty()).ok_or_else(wrong)?;
    if list.len() > MAX_CHOICES {
        return Err(Refusal::bad_request(format!(
            "{} labels to choose from: at most {MAX_CHOICES} are taken",
            list.len()
        )));
    }
    list.iter().map(|name| name.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
}

/// The one picture of all messages, and all their words.
pub(super) fn read_messages(body: &Value) -> Result<Question, Refusal> {
    let messages = body.get("messages").and_then(Value::as_array);
    let messages = messages.ok_or_else(|| Refusal::bad_request("messages is missing"))?;
    let mut sources = Vec::new();
    let mut words = Vec::new();
    for message in messages {
        match message.get("content") {
            Some(Value::String(text)) => words.push(text.as_str()),
            Some(Value::Array(parts)) => {
                for part in parts {
                    match part.get("type").and_then(Value::as_str) {
                        Some("text") => words.extend(part.get("text").and_then(Value::as_str)),
                        Some("image_url") => sources.push(source(part)?),
                        _ => {
                            return Err(Refusal::unsupported(
                                "only text and image_url parts are served here",
                            ));
                        }
                    }
                }
            }
            _ => {}
        }
    }
    let count = sources.len();
    match (sources.pop(), count) {
        (Some(source), 1) => {
            Ok(Question { source, instructions: (!words.is_empty()).then(|| words.join("\n")) })
        }
        _ => Err(Refusal::unsupported(format!("exactly one image is served a request, not {count}"))),
    }
}

fn source(part: &Value) -> Result<Source, Refusal> {
    let image = part.get("image_url");
    let url = image.and_then(|image| image.get("url").unwrap_or(image).as_str());
    let url = url.ok_or_else(|| Refusal::bad_request("image_url has no url"))?;
    let Some(data) = url.strip_prefix("data:") else { return Ok(Source::Url(url.to_owned())) };
    // RFC 2397: data:[<media type>][;base64],<data>
    data.split_once(',')
        .filter(|(head, _)| head.ends_with(";base64"))
        .and_then(|(_, data)| decode_base64(data))
        .map(|bytes| Source::Bytes(bytes.into()))
        .ok_or_else(|| Refusal::bad_request("image_url: the data URL is not base64"))
}
