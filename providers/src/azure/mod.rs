//! Azure AI Vision, Image Analysis 4.0: the feature `tags`.
//!
//! One picture a call, sent as raw bytes; scores from 0 to 1; the reply names its model version. The service ends on
//! 2028-09-25 by its maker's announcement.
//!
//! Credentials, applied by the transport: header `Ocp-Apim-Subscription-Key`, or an Entra bearer token of scope
//! `https://cognitiveservices.azure.com/.default`.

pub(crate) mod errors;
mod served;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use served::ServedAzure;
pub(crate) use served::{english_only, model_version, picture, refusal_reply};

use crate::wire::{
    answered, by_status, check, endpoint, for_all, get_ready, glimpse, invalid, json, unit_score,
};
use crate::{
    Answer, EncodedPicture, Format, Label, Limits, Money, Outcome, Price, Provider, Quota, Reply,
    RequestError,
};

/// Limits of Image Analysis 4.0: more than 50 and less than 16000 pixels a side, 20 MiB.
pub const LIMITS: Limits = Limits {
    formats: &[Format::Png, Format::Jpeg],
    max_bytes: 20_971_520,
    min_side: 51,
    max_side: 15_999,
    max_pixels: 15_999 * 15_999,
    pictures_per_call: 1,
};

/// What is asked of Image Analysis 4.0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The resource's endpoint, for instance `https://NAME.cognitiveservices.azure.com`. It has no default.
    pub endpoint: String,
    /// The version of the wire format.
    pub api_version: String,
    /// The model version to ask for: `latest` or a date. The reply's own is what counts as the model version.
    pub model_version: String,
    /// The language of the tags.
    pub language: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            api_version: "2024-02-01".to_owned(),
            model_version: "latest".to_owned(),
            language: "en".to_owned(),
        }
    }
}

/// The adapter.
#[derive(Clone, Debug)]
pub struct Azure {
    url: String,
}

impl Azure {
    /// An adapter with these options.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] names the option that cannot make a valid request.
    pub fn new(options: &Options) -> Result<Self, RequestError> {
        let base = endpoint("azure", &options.endpoint)?;
        let query = query(
            "azure",
            &[
                ("api-version", &options.api_version),
                ("features", "tags"),
                ("language", &options.language),
                ("model-version", &options.model_version),
            ],
        )?;
        Ok(Self { url: format!("{base}/computervision/imageanalysis:analyze?{query}") })
    }
}

/// A query of values that need no escaping, which the options of both Azure formats are held to.
pub(crate) fn query(provider: &str, pairs: &[(&str, &str)]) -> Result<String, RequestError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,".contains(c);
    let parts = pairs.iter().map(|(name, value)| {
        if value.is_empty() || !value.chars().all(plain) {
            return Err(invalid(provider, format!("`{value}` cannot be the value of `{name}`")));
        }
        Ok(format!("{name}={value}"))
    });
    Ok(parts.collect::<Result<Vec<_>, _>>()?.join("&"))
}

/// A tag of either Azure format.
#[derive(Deserialize)]
pub(crate) struct Tag {
    name: Option<String>,
    confidence: Option<f64>,
}

impl Tag {
    pub(crate) fn into_label(self) -> Result<Label, Outcome> {
        let name = self.name.filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| Outcome::Malformed { reason: "a tag without a name".to_owned() })?;
        let score = self.confidence.map(|score| unit_score(&name, score, 1.0)).transpose()?;
        Ok(Label { name, score, id: None })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReplyIn {
    model_version: Option<String>,
    tags_result: Option<TagsResult>,
}

#[derive(Deserialize)]
struct TagsResult {
    #[serde(default)]
    values: Vec<Tag>,
}

fn read(reply: &Reply) -> Result<Outcome, Outcome> {
    if let Some(outcome) = errors::read(reply) {
        return Err(outcome);
    }
    let body: ReplyIn = json(&reply.body).map_err(|problem| by_status(reply, &problem))?;
    let tags = body.tags_result.filter(|_| reply.status.is_success());
    let tags =
        tags.ok_or_else(|| by_status(reply, &format!("no `tagsResult` in {}", glimpse(&reply.body))))?;
    let labels = tags.values.into_iter().map(Tag::into_label).collect::<Result<Vec<_>, _>>()?;
    let model_version = body.model_version.filter(|version| !version.is_empty());
    Ok(answered(reply, Answer { labels, model_version, ..Answer::default() }))
}

/// A request with one picture's raw bytes, as both Azure formats take it.
pub(crate) fn octets(
    provider: &str,
    url: &str,
    limits: &Limits,
    pictures: &[EncodedPicture],
) -> Result<Request<Bytes>, RequestError> {
    check(provider, limits, pictures)?;
    get_ready(Method::POST, url)
        .header(CONTENT_TYPE, "application/octet-stream")
        .body(pictures[0].bytes.clone())
        .map_err(|error| invalid(provider, error.to_string()))
}

/// A call without a picture.
pub(crate) fn no_octets(url: &str) -> Option<Request<Bytes>> {
    let request = get_ready(Method::POST, url).header(CONTENT_TYPE, "application/octet-stream");
    request.body(Bytes::new()).ok()
}

impl Provider for Azure {
    fn name(&self) -> &'static str {
        "azure"
    }

    fn limits(&self) -> &Limits {
        &LIMITS
    }

    /// Tier S1. Its maker names both 10 and 20 calls a second; the lower is assumed. Tier F0 has 20 a minute.
    fn quota(&self) -> Option<Quota> {
        Some(Quota { calls_per_minute: 600, pictures_per_minute: None })
    }

    fn price(&self) -> Price {
        Price::PerPicture(Money::new(1, 3))
    }

    fn request(&self, pictures: &[EncodedPicture]) -> Result<Request<Bytes>, RequestError> {
        octets("azure", &self.url, &LIMITS, pictures)
    }

    /// An empty picture: it is refused after the key is checked.
    fn probe(&self) -> Option<Request<Bytes>> {
        no_octets(&self.url)
    }

    fn outcomes(&self, pictures: usize, reply: &Reply) -> Vec<Outcome> {
        for_all(pictures, &read(reply).unwrap_or_else(|outcome| outcome))
    }
}
