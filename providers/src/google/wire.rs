//! The JSON of `images:annotate`, in both directions.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Likelihood;

#[derive(Serialize)]
pub(super) struct BatchOut<'a> {
    pub requests: Vec<RequestOut<'a>>,
}

#[derive(Serialize)]
pub(super) struct RequestOut<'a> {
    pub image: ImageOut,
    pub features: &'a [FeatureOut<'a>],
}

#[derive(Serialize)]
pub(super) struct ImageOut {
    pub content: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FeatureOut<'a> {
    #[serde(rename = "type")]
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_results: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<&'a str>,
}

/// A reply, read: the whole may be an error, and so may each entry.
#[derive(Deserialize)]
pub(super) struct BatchReply {
    pub responses: Option<Vec<Entry>>,
    pub error: Option<CallError>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pub label_annotations: Option<Vec<Entity>>,
    pub safe_search_annotation: Option<SafeSearch>,
    pub error: Option<EntryError>,
}

/// A label. Protobuf's JSON mapping leaves zeros and empty strings out.
#[derive(Deserialize)]
pub(super) struct Entity {
    #[serde(default)]
    pub mid: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub score: f64,
}

/// A `google.rpc.Status` about one picture: a numeric code and no name of it.
#[derive(Deserialize)]
pub(super) struct EntryError {
    #[serde(default)]
    pub code: i64,
    #[serde(default)]
    pub message: String,
}

/// An error of the whole call: `code` is the HTTP status, `status` the name of the gRPC code.
#[derive(Deserialize)]
pub(super) struct CallError {
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub status: String,
    #[serde(default)]
    pub details: Vec<Value>,
}

impl CallError {
    /// The reason in the `google.rpc.ErrorInfo`, for instance `API_KEY_INVALID`.
    pub(super) fn reason(&self) -> &str {
        self.details.iter().find_map(|detail| detail.get("reason")?.as_str()).unwrap_or_default()
    }
}

/// Likelihoods by name or by number (`enum-encoding=int`).
#[derive(Deserialize)]
pub(super) struct SafeSearch {
    pub adult: Option<Value>,
    pub spoof: Option<Value>,
    pub medical: Option<Value>,
    pub violence: Option<Value>,
    pub racy: Option<Value>,
}

impl SafeSearch {
    pub(super) fn categories(self) -> [(&'static str, Option<Value>); 5] {
        [
            ("adult", self.adult),
            ("spoof", self.spoof),
            ("medical", self.medical),
            ("violence", self.violence),
            ("racy", self.racy),
        ]
    }
}

/// The categories in the order in which they are written.
pub(super) const CATEGORIES: [&str; 5] = ["adult", "spoof", "medical", "violence", "racy"];

/// The scale with the API's names; a step's number is its place.
pub(super) const LIKELIHOODS: [(Likelihood, &str); 6] = [
    (Likelihood::Unknown, "UNKNOWN"),
    (Likelihood::VeryUnlikely, "VERY_UNLIKELY"),
    (Likelihood::Unlikely, "UNLIKELY"),
    (Likelihood::Possible, "POSSIBLE"),
    (Likelihood::Likely, "LIKELY"),
    (Likelihood::VeryLikely, "VERY_LIKELY"),
];

/// A step by name or number; a category that is left out is `Unknown`, the zero of the enum.
pub(super) fn likelihood(value: Option<&Value>) -> Option<Likelihood> {
    match value {
        None | Some(Value::Null) => Some(Likelihood::Unknown),
        Some(Value::String(name)) => LIKELIHOODS.iter().find(|(_, n)| n == name).map(|(step, _)| *step),
        Some(value) => LIKELIHOODS.get(usize::try_from(value.as_u64()?).ok()?).map(|(step, _)| *step),
    }
}

/// A request as clients send it. Protobuf's JSON mapping allows both spellings of a name.
#[derive(Deserialize)]
pub(super) struct BatchIn {
    #[serde(default)]
    pub requests: Vec<RequestIn>,
}

#[derive(Deserialize)]
pub(super) struct RequestIn {
    pub image: Option<ImageIn>,
    #[serde(default)]
    pub features: Vec<FeatureIn>,
}

#[derive(Deserialize)]
pub(super) struct ImageIn {
    pub content: Option<String>,
    pub source: Option<SourceIn>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SourceIn {
    #[serde(alias = "image_uri")]
    pub image_uri: Option<String>,
    #[serde(alias = "gcs_image_uri")]
    pub gcs_image_uri: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FeatureIn {
    /// A name or a number.
    #[serde(rename = "type", default)]
    pub kind: Value,
    #[serde(alias = "max_results", default)]
    pub max_results: i64,
    pub model: Option<String>,
}

/// A reply, written.
#[derive(Serialize)]
pub(super) struct BatchReplyOut {
    pub responses: Vec<EntryOut>,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct EntryOut {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub label_annotations: Vec<EntityOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safe_search_annotation: Option<serde_json::Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
}

#[derive(Serialize)]
pub(super) struct EntityOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mid: Option<String>,
    pub description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topicality: Option<f64>,
}
