//! Azure Computer Vision 3.2: the features `Tags` and `Adult`.
//!
//! One picture a call, sent as raw bytes; scores from 0 to 1. Each feature is billed as a transaction of its own.
//!
//! The feature `Adult` answers with three yes-or-no decisions and a score for each. A category that the API decides
//! to be present becomes a label after the tags, with the API's score: `adult content` (id `isAdultContent`), `racy
//! content` (`isRacyContent`) and `gory content` (`isGoryContent`). The names differ from every tag, so that a tag
//! such as `adult` cannot pass for a decision.
//!
//! Credentials: as for Image Analysis 4.0.

mod served;

use bytes::Bytes;
use http::Request;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use served::ServedAzureV3;

use crate::azure::{Tag, errors, no_octets, octets, query};
use crate::wire::{answered, by_status, endpoint, for_all, glimpse, invalid, json, unit_score};
use crate::{
    Answer, EncodedPicture, Format, Label, Limits, Money, Outcome, Price, Provider, Quota, Reply,
    RequestError,
};

/// Limits of version 3.2: more than 50 and less than 16000 pixels a side, less than 4 MiB.
pub const LIMITS: Limits = Limits {
    formats: &[Format::Png, Format::Jpeg],
    max_bytes: 4 * 1024 * 1024 - 1,
    min_side: 51,
    max_side: 15_999,
    max_pixels: 15_999 * 15_999,
    pictures_per_call: 1,
};

/// The decisions of the feature `Adult`: name of the decision, name of its score, name of the label.
const CATEGORIES: [(&str, &str, &str); 3] = [
    ("isAdultContent", "adultScore", "adult content"),
    ("isRacyContent", "racyScore", "racy content"),
    ("isGoryContent", "goreScore", "gory content"),
];

/// The categories of other APIs' scales that a decision is about, by their normalised names.
const LEVELS: [(&str, &[&str]); 3] =
    [("isAdultContent", &["adult"]), ("isRacyContent", &["racy"]), ("isGoryContent", &["violence", "gore"])];

/// What is asked of Computer Vision 3.2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The resource's endpoint, for instance `https://NAME.cognitiveservices.azure.com`. It has no default.
    pub endpoint: String,
    /// The features, at least one.
    pub features: Vec<Feature>,
    /// The model version to ask for: `latest` or a date. The reply's own is what counts as the model version.
    pub model_version: String,
    /// The language of the tags.
    pub language: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            features: vec![Feature::Tags],
            model_version: "latest".to_owned(),
            language: "en".to_owned(),
        }
    }
}

/// A feature of Computer Vision 3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Feature {
    /// What is in the picture.
    Tags,
    /// Whether it shows adult, racy or gory content.
    Adult,
}

/// The adapter.
#[derive(Clone, Debug)]
pub struct AzureV3 {
    url: String,
    tags: bool,
    adult: bool,
}

impl AzureV3 {
    /// An adapter with these options.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] names the option that cannot make a valid request.
    pub fn new(options: &Options) -> Result<Self, RequestError> {
        let base = endpoint("azure-v3", &options.endpoint)?;
        let (tags, adult) =
            (options.features.contains(&Feature::Tags), options.features.contains(&Feature::Adult));
        let features = match (tags, adult) {
            (true, true) => "Tags,Adult",
            (true, false) => "Tags",
            (false, true) => "Adult",
            (false, false) => {
                return Err(invalid("azure-v3", "`features` is empty: ask for `tags`, `adult` or both"));
            }
        };
        let query = query(
            "azure-v3",
            &[
                ("visualFeatures", features),
                ("language", &options.language),
                ("model-version", &options.model_version),
            ],
        )?;
        Ok(Self { url: format!("{base}/vision/v3.2/analyze?{query}"), tags, adult })
    }

    fn read(&self, reply: &Reply) -> Result<Outcome, Outcome> {
        if let Some(outcome) = errors::read(reply) {
            return Err(outcome);
        }
        let body: ReplyIn = json(&reply.body).map_err(|problem| by_status(reply, &problem))?;
        let missing = |key: &str| by_status(reply, &format!("no `{key}` in {}", glimpse(&reply.body)));
        if !reply.status.is_success() {
            return Err(by_status(reply, &glimpse(&reply.body)));
        }
        let tags = match body.tags {
            Some(tags) => tags,
            None if self.tags => return Err(missing("tags")),
            None => vec![],
        };
        let mut labels = tags.into_iter().map(Tag::into_label).collect::<Result<Vec<_>, _>>()?;
        match &body.adult {
            Some(adult) => labels.extend(decisions(adult)?),
            None if self.adult => return Err(missing("adult")),
            None => {}
        }
        let model_version = body.model_version.filter(|version| !version.is_empty());
        Ok(answered(reply, Answer { labels, model_version, ..Answer::default() }))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReplyIn {
    tags: Option<Vec<Tag>>,
    adult: Option<serde_json::Map<String, serde_json::Value>>,
    model_version: Option<String>,
}

/// The categories that the API decided to be present, in the order of [`CATEGORIES`].
fn decisions(adult: &serde_json::Map<String, serde_json::Value>) -> Result<Vec<Label>, Outcome> {
    let mut present = Vec::new();
    for (decision, score, name) in CATEGORIES {
        let decided = adult.get(decision).map_or(Some(false), serde_json::Value::as_bool);
        let decided =
            decided.ok_or_else(|| Outcome::Malformed { reason: format!("`{decision}` is not a boolean") })?;
        if decided {
            let score = adult.get(score).and_then(serde_json::Value::as_f64);
            let score = score.map(|score| unit_score(name, score, 1.0)).transpose()?;
            present.push(Label { name: name.to_owned(), score, id: Some(decision.to_owned()) });
        }
    }
    Ok(present)
}

impl Provider for AzureV3 {
    fn name(&self) -> &'static str {
        "azure-v3"
    }

    fn limits(&self) -> &Limits {
        &LIMITS
    }

    /// Tier S1, as for Image Analysis 4.0.
    fn quota(&self) -> Option<Quota> {
        Some(Quota { calls_per_minute: 600, pictures_per_minute: None })
    }

    /// $1.00 for 1000 pictures under one feature.
    fn price(&self) -> Price {
        Price::PerPicture(Money::new(u32::from(self.tags) + u32::from(self.adult), 3))
    }

    fn request(&self, pictures: &[EncodedPicture]) -> Result<Request<Bytes>, RequestError> {
        octets("azure-v3", &self.url, &LIMITS, pictures)
    }

    /// An empty picture: it is refused after the key is checked.
    fn probe(&self) -> Option<Request<Bytes>> {
        no_octets(&self.url)
    }

    fn outcomes(&self, pictures: usize, reply: &Reply) -> Vec<Outcome> {
        for_all(pictures, &self.read(reply).unwrap_or_else(|outcome| outcome))
    }
}
