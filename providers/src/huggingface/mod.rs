//! Hugging Face `image-classification`: the hosted router, inference endpoints and servers of the same format.
//!
//! One picture a call: the raw bytes, or JSON with base64 where parameters are sent. The reply is a list of labels
//! with scores from 0 to 1, on some servers nested once, and names no model version. The hosted API keeps answers in
//! a cache unless told otherwise; requests tell it.
//!
//! Credentials, applied by the transport: `Authorization: Bearer hf_...`.

mod reply;
mod served;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use served::ServedHuggingFace;

use crate::wire::{base64, check, endpoint, for_all, get_ready, invalid};
use crate::{EncodedPicture, Format, Limits, Outcome, Price, Provider, Quota, Reply, RequestError};

/// Says whose token it is.
const WHO_AM_I: &str = "https://huggingface.co/api/whoami-v2";

/// Limits of one picture. The format documents none; these keep a mistake from costing a long upload.
pub const LIMITS: Limits = Limits {
    formats: &[Format::Png, Format::Jpeg],
    max_bytes: 20_000_000,
    min_side: 1,
    max_side: 16_384,
    max_pixels: 75_000_000,
    pictures_per_call: 1,
};

/// What is asked of an image classifier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The model on the hosted router.
    pub model: String,
    /// The URL of a server of one's own, to which requests go as they are. It replaces `model`.
    pub url: Option<String>,
    /// Most labels. The server's default (mostly 5) where it is not given.
    pub top_k: Option<u32>,
    /// How scores are made from the model's output. The server's default where it is not given.
    pub function: Option<Function>,
}

impl Default for Options {
    fn default() -> Self {
        Self { model: "google/vit-base-patch16-224".to_owned(), url: None, top_k: None, function: None }
    }
}

/// How scores are made. `none` is not offered: its scores have no scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Function {
    /// Scores sum to 1.
    Softmax,
    /// Each score for itself.
    Sigmoid,
}

/// The adapter.
#[derive(Clone, Debug)]
pub struct HuggingFace {
    options: Options,
    url: String,
}

impl HuggingFace {
    /// An adapter with these options.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] names the option that cannot make a valid request.
    pub fn new(options: Options) -> Result<Self, RequestError> {
        let url = if let Some(url) = &options.url {
            endpoint("huggingface", url)?
        } else {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
            if options.model.is_empty() || !options.model.chars().all(plain) {
                return Err(invalid("huggingface", "`model` is a name like `google/vit-base-patch16-224`"));
            }
            format!("https://router.huggingface.co/hf-inference/models/{}", options.model)
        };
        if options.top_k == Some(0) {
            return Err(invalid("huggingface", "`top_k` is at least 1"));
        }
        Ok(Self { options, url })
    }

    fn parameters(&self) -> Option<Value> {
        let mut parameters = Map::new();
        if let Some(top_k) = self.options.top_k {
            parameters.insert("top_k".to_owned(), top_k.into());
        }
        if let Some(function) = self.options.function {
            parameters.insert("function_to_apply".to_owned(), json!(function));
        }
        (!parameters.is_empty()).then(|| parameters.into())
    }
}

impl Provider for HuggingFace {
    fn name(&self) -> &'static str {
        "huggingface"
    }

    fn limits(&self) -> &Limits {
        &LIMITS
    }

    /// Depends on the plan or the server.
    fn quota(&self) -> Option<Quota> {
        None
    }

    /// Depends on the plan or the server.
    fn price(&self) -> Price {
        Price::Unknown
    }

    fn request(&self, pictures: &[EncodedPicture]) -> Result<Request<Bytes>, RequestError> {
        check("huggingface", &LIMITS, pictures)?;
        let picture = &pictures[0];
        let (media_type, body) = match self.parameters() {
            Some(parameters) => {
                let body = json!({ "inputs": base64(&picture.bytes), "parameters": parameters });
                ("application/json", body.to_string().into())
            }
            None => (picture.format.media_type(), picture.bytes.clone()),
        };
        get_ready(Method::POST, &self.url)
            .header(CONTENT_TYPE, media_type)
            .header("x-use-cache", "false")
            .body(body)
            .map_err(|error| invalid("huggingface", error.to_string()))
    }

    /// Whose token it is; nothing of the kind on a server of one's own.
    fn probe(&self) -> Option<Request<Bytes>> {
        let hosted = self.options.url.is_none();
        hosted.then(|| get_ready(Method::GET, WHO_AM_I).body(Bytes::new()).ok()).flatten()
    }

    fn outcomes(&self, pictures: usize, reply: &Reply) -> Vec<Outcome> {
        for_all(pictures, &reply::read(reply).unwrap_or_else(|outcome| outcome))
    }
}
