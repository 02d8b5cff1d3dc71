//! The JSON of predictions, as far as it is read. Protobuf's JSON mapping leaves zeros and empty strings out.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

#[derive(Deserialize)]
pub(super) struct ReplyIn {
    pub status: Option<Status>,
    pub outputs: Option<Vec<Output>>,
}

#[derive(Deserialize)]
pub(super) struct Status {
    #[serde(default, deserialize_with = "code")]
    pub code: i64,
    pub description: Option<String>,
    pub details: Option<String>,
}

/// Codes are numbers on this channel. A few tools print them as text, and the common ones by name.
fn code<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let wrong = || serde::de::Error::custom("a status code that is no number");
    match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_i64().ok_or_else(wrong),
        Value::String(text) => match text.as_str() {
            "SUCCESS" => Ok(super::codes::SUCCESS),
            "MIXED_STATUS" => Ok(super::codes::MIXED_STATUS),
            "FAILURE" => Ok(super::codes::FAILURE),
            "CONN_THROTTLED" => Ok(11_005),
            digits => digits.parse().map_err(|_| wrong()),
        },
        Value::Null => Ok(0),
        _ => Err(wrong()),
    }
}

#[derive(Deserialize)]
pub(super) struct Output {
    pub status: Option<Status>,
    pub model: Option<ModelIn>,
    pub data: Option<Data>,
}

#[derive(Deserialize)]
pub(super) struct ModelIn {
    pub model_version: Option<Version>,
    pub output_info: Option<OutputInfo>,
}

#[derive(Deserialize)]
pub(super) struct Version {
    #[serde(default)]
    pub id: String,
}

#[derive(Deserialize)]
pub(super) struct Data {
    pub concepts: Option<Vec<Concept>>,
    pub image: Option<Image>,
}

#[derive(Deserialize)]
pub(super) struct Concept {
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub value: f64,
}

#[derive(Deserialize)]
pub(super) struct Image {
    pub base64: Option<String>,
    pub url: Option<String>,
}

/// A request as clients send it.
#[derive(Deserialize)]
pub(super) struct RequestIn {
    #[serde(default)]
    pub inputs: Vec<Input>,
    pub model: Option<ModelIn>,
}

#[derive(Deserialize)]
pub(super) struct Input {
    #[serde(default)]
    pub id: String,
    pub data: Option<Data>,
}

#[derive(Deserialize)]
pub(super) struct OutputInfo {
    pub output_config: Option<OutputConfig>,
}

#[derive(Deserialize)]
pub(super) struct OutputConfig {
    #[serde(default)]
    pub max_concepts: i64,
    #[serde(default)]
    pub min_value: f64,
    #[serde(default)]
    pub select_concepts: Vec<Concept>,
    #[serde(default)]
    pub language: String,
}
