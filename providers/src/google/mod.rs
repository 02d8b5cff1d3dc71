//! Google Cloud Vision: `images:annotate` with `LABEL_DETECTION` and `SAFE_SEARCH_DETECTION`.
//!
//! One call carries up to 16 pictures as long as the JSON stays below 9.5 MB, and the reply has one entry a picture.
//! Entries fail one by one inside a status 200. The reply names no model version.
//!
//! Credentials, applied by the transport: header `x-goog-api-key`, or a bearer token of scope `cloud-vision`.

mod errors;
mod reply;
mod served;
mod wire;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use served::ServedGoogle;

use crate::wire::{base64, check, endpoint, fit_base64, get_ready, invalid};
use crate::{EncodedPicture, Format, Limits, Money, Outcome, Price, Provider, Quota, Reply, RequestError};

/// Most bytes of JSON in one request. The API's own limit is 10 MB.
const MAX_JSON: usize = 9_500_000;
/// What a picture adds to the JSON beside its base64: generous, so that the sum is never too small.
const JSON_AROUND: usize = 256;

/// Limits of `images:annotate`. The JSON limit binds earlier than the 20 MB that a picture alone may have.
pub const LIMITS: Limits = Limits {
    formats: &[Format::Png, Format::Jpeg],
    max_bytes: (MAX_JSON - 2 * JSON_AROUND) / 4 * 3,
    min_side: 1,
    max_side: 75_000_000,
    max_pixels: 75_000_000,
    pictures_per_call: 16,
};

/// What is asked of Google Cloud Vision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Where the API is, for instance `https://eu-vision.googleapis.com`.
    pub endpoint: String,
    /// The features, at least one.
    pub features: Vec<Feature>,
    /// Most labels a picture, 1 to 1000. Always sent, so that the answer does not depend on the API's default.
    pub max_labels: u32,
    /// `builtin/stable` or `builtin/latest`. The API's default (stable) where it is not given.
    pub model: Option<String>,
    /// `projects/P` or `projects/P/locations/L`, for processing in one location.
    pub parent: Option<String>,
    /// Most pictures a call, 1 to 16.
    pub pictures_per_call: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoint: "https://vision.googleapis.com".to_owned(),
            features: vec![Feature::Labels],
            max_labels: 50,
            model: None,
            parent: None,
            pictures_per_call: LIMITS.pictures_per_call,
        }
    }
}

/// A feature of Google Cloud Vision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Feature {
    /// `LABEL_DETECTION`: labels with scores.
    Labels,
    /// `SAFE_SEARCH_DETECTION`: the levels `adult`, `spoof`, `medical`, `violence` and `racy`.
    SafeSearch,
}

/// The adapter.
#[derive(Clone, Debug)]
pub struct Google {
    options: Options,
    url: String,
    limits: Limits,
}

impl Google {
    /// An adapter with these options.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] names the option that cannot make a valid request.
    pub fn new(options: Options) -> Result<Self, RequestError> {
        let base = endpoint("google", &options.endpoint)?;
        if options.features.is_empty() {
            return Err(invalid("google", "`features` is empty: ask for `labels`, `safe-search` or both"));
        }
        if !(1..=1000).contains(&options.max_labels) {
            return Err(invalid("google", format!("`max_labels` is 1 to 1000, not {}", options.max_labels)));
        }
        if !(1..=LIMITS.pictures_per_call).contains(&options.pictures_per_call) {
            return Err(invalid(
                "google",
                format!(
                    "`pictures_per_call` is 1 to {}, not {}",
                    LIMITS.pictures_per_call, options.pictures_per_call
                ),
            ));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.:".contains(c);
        let parent = match options.parent.as_deref() {
            None => String::new(),
            Some(p) if p.starts_with("projects/") && p.chars().all(plain) => format!("/{p}"),
            Some(p) => {
                return Err(invalid(
                    "google",
                    format!("`parent` is `projects/P` or `projects/P/locations/L`, not `{p}`"),
                ));
            }
        };
        let limits = Limits { pictures_per_call: options.pictures_per_call, ..LIMITS };
        Ok(Self { url: format!("{base}/v1{parent}/images:annotate"), options, limits })
    }

    fn asks(&self, feature: Feature) -> bool {
        self.options.features.contains(&feature)
    }
}

impl Provider for Google {
    fn name(&self) -> &'static str {
        "google"
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn quota(&self) -> Option<Quota> {
        Some(Quota { calls_per_minute: 1800, pictures_per_minute: Some(1800) })
    }

    /// $1.50 for 1000 pictures under one feature; `SAFE_SEARCH_DETECTION` costs nothing beside `LABEL_DETECTION`.
    fn price(&self) -> Price {
        Price::PerPicture(Money::new(15, 4))
    }

    fn request(&self, pictures: &[EncodedPicture]) -> Result<Request<Bytes>, RequestError> {
        check("google", &self.limits, pictures)?;
        if self.fit(pictures) < pictures.len() {
            return Err(RequestError::Limit {
                provider: "google".to_owned(),
                problem: format!(
                    "accepts at most {MAX_JSON} bytes of JSON a call; only {} of these {} pictures fit: send fewer a call",
                    self.fit(pictures),
                    pictures.len()
                ),
            });
        }
        let features: Vec<wire::FeatureOut<'_>> = [
            (Feature::Labels, "LABEL_DETECTION", Some(self.options.max_labels)),
            (Feature::SafeSearch, "SAFE_SEARCH_DETECTION", None),
        ]
        .into_iter()
        .filter(|(feature, ..)| self.asks(*feature))
        .map(|(_, kind, max_results)| wire::FeatureOut {
            kind,
            max_results,
            model: self.options.model.as_deref(),
        })
        .collect();
        let body = wire::BatchOut {
            requests: pictures
                .iter()
                .map(|picture| wire::RequestOut {
                    image: wire::ImageOut { content: base64(&picture.bytes) },
                    features: &features,
                })
                .collect(),
        };
        let body = serde_json::to_vec(&body).map_err(|error| invalid("google", error.to_string()))?;
        get_ready(Method::POST, &self.url)
            .header(CONTENT_TYPE, "application/json")
            .body(body.into())
            .map_err(|error| invalid("google", error.to_string()))
    }

    /// A batch of no pictures: prices are by picture and feature.
    fn probe(&self) -> Option<Request<Bytes>> {
        let request = get_ready(Method::POST, &self.url).header(CONTENT_TYPE, "application/json");
        request.body(Bytes::from_static(br#"{"requests":[]}"#)).ok()
    }

    fn outcomes(&self, pictures: usize, reply: &Reply) -> Vec<Outcome> {
        reply::read(pictures, reply, self.asks(Feature::SafeSearch))
    }

    fn ask_singly(&self, pictures: usize, reply: &Reply) -> bool {
        pictures > 1 && reply::too_large_together(reply)
    }

    fn fit(&self, pictures: &[EncodedPicture]) -> usize {
        fit_base64(pictures, self.limits.pictures_per_call, JSON_AROUND, MAX_JSON)
    }
}
