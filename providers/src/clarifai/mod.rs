//! Clarifai: predictions of `general-image-recognition` and of any other visual classifier.
//!
//! Up to 128 pictures a call. The body's status code decides, never the HTTP status. A call may fail as a whole
//! because of one of its pictures (`10020`), good ones included: such a batch is taken apart, one picture a call.
//!
//! The API ignores EXIF orientation. Credentials, applied by the transport: header `Authorization: Key ...`.

mod codes;
mod reply;
mod served;
mod wire;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

pub use served::ServedClarifai;

use crate::wire::{base64, check, endpoint, fit_base64, get_ready, invalid};
use crate::{EncodedPicture, Format, Limits, Outcome, Price, Provider, Quota, Reply, RequestError};

/// Limits of a prediction call.
pub const LIMITS: Limits = Limits {
    formats: &[Format::Png, Format::Jpeg],
    max_bytes: 20_000_000 - 1,
    min_side: 1,
    max_side: 85_000_000,
    max_pixels: 85_000_000,
    pictures_per_call: 128,
};

/// Most bytes of JSON in one request. The API's own limit is 128 MB.
const MAX_JSON: usize = 120_000_000;
/// What a picture adds to the JSON beside its base64.
const JSON_AROUND: usize = 256;

/// What is asked of Clarifai.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Where the API is.
    pub endpoint: String,
    /// The user who owns the app.
    pub user_id: String,
    /// The app that holds the model.
    pub app_id: String,
    /// The model.
    pub model: String,
    /// One version of the model. The newest where it is not given; the reply names the one that answered.
    pub version: Option<String>,
    /// Most concepts a picture, 1 to 200. Always sent.
    pub max_concepts: u32,
    /// Lowest score of an answer, 0 to 1. Always sent.
    pub min_value: f64,
    /// Most pictures a call, 1 to 128.
    pub pictures_per_call: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoint: "https://api.clarifai.com".to_owned(),
            user_id: "clarifai".to_owned(),
            app_id: "main".to_owned(),
            model: "general-image-recognition".to_owned(),
            version: None,
            max_concepts: 50,
            min_value: 0.0,
            pictures_per_call: 16,
        }
    }
}

/// The adapter.
#[derive(Clone, Debug)]
pub struct Clarifai {
    options: Options,
    url: String,
    limits: Limits,
}

impl Clarifai {
    /// An adapter with these options.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] names the option that cannot make a valid request.
    pub fn new(options: Options) -> Result<Self, RequestError> {
        let base = endpoint("clarifai", &options.endpoint)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let version = options.version.as_deref();
        for (name, value) in [
            ("user_id", Some(options.user_id.as_str())),
            ("app_id", Some(&options.app_id)),
            ("model", Some(&options.model)),
            ("version", version),
        ] {
            if value.is_some_and(|value| value.is_empty() || !value.chars().all(plain)) {
                return Err(invalid(
                    "clarifai",
                    format!("`{name}` must be letters, digits, `-`, `_` and `.`"),
                ));
            }
        }
        if !(1..=200).contains(&options.max_concepts) {
            return Err(invalid(
                "clarifai",
                format!("`max_concepts` is 1 to 200, not {}", options.max_concepts),
            ));
        }
        if !(0.0..=1.0).contains(&options.min_value) {
            return Err(invalid("clarifai", format!("`min_value` is 0 to 1, not {}", options.min_value)));
        }
        if !(1..=LIMITS.pictures_per_call).contains(&options.pictures_per_call) {
            let problem = format!("`pictures_per_call` is 1 to 128, not {}", options.pictures_per_call);
            return Err(invalid("clarifai", problem));
        }
        let version = version.map_or_else(String::new, |version| format!("/versions/{version}"));
        let Options { user_id, app_id, model, .. } = &options;
        let url = format!("{base}/v2/users/{user_id}/apps/{app_id}/models/{model}{version}/outputs");
        let limits = Limits { pictures_per_call: options.pictures_per_call, ..LIMITS };
        Ok(Self { options, url, limits })
    }
}

impl Provider for Clarifai {
    fn name(&self) -> &'static str {
        "clarifai"
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn quota(&self) -> Option<Quota> {
        Some(Quota { calls_per_minute: 900, pictures_per_minute: None })
    }

    /// Depends on the plan.
    fn price(&self) -> Price {
        Price::Unknown
    }

    fn request(&self, pictures: &[EncodedPicture]) -> Result<Request<Bytes>, RequestError> {
        check("clarifai", &self.limits, pictures)?;
        if self.fit(pictures) < pictures.len() {
            return Err(RequestError::Limit {
                provider: "clarifai".to_owned(),
                problem: format!(
                    "accepts at most {MAX_JSON} bytes a call; only {} of these {} pictures fit: send fewer a call",
                    self.fit(pictures),
                    pictures.len()
                ),
            });
        }
        let Options { user_id, app_id, max_concepts, min_value, .. } = &self.options;
        let inputs: Vec<_> = pictures
            .iter()
            .map(|picture| json!({ "data": { "image": { "base64": base64(&picture.bytes) } } }))
            .collect();
        let body = json!({
            "user_app_id": { "user_id": user_id, "app_id": app_id },
            "inputs": inputs,
            "model": { "output_info": { "output_config": { "max_concepts": max_concepts, "min_value": min_value } } },
        });
        get_ready(Method::POST, &self.url)
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_string().into())
            .map_err(|error| invalid("clarifai", error.to_string()))
    }

    /// What is known of the model.
    fn probe(&self) -> Option<Request<Bytes>> {
        get_ready(Method::GET, self.url.strip_suffix("/outputs")?).body(Bytes::new()).ok()
    }

    fn outcomes(&self, pictures: usize, reply: &Reply) -> Vec<Outcome> {
        reply::read(pictures, reply)
    }

    fn ask_singly(&self, pictures: usize, reply: &Reply) -> bool {
        pictures > 1 && reply::blames_the_batch(reply)
    }

    fn fit(&self, pictures: &[EncodedPicture]) -> usize {
        fit_base64(pictures, self.limits.pictures_per_call, JSON_AROUND, MAX_JSON)
    }
}
