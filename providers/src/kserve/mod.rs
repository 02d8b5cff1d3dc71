//! `KServe` v2 (the Open Inference Protocol) over HTTP, as Triton and others speak it.
//!
//! Encoded pictures travel as a BYTES tensor: raw after the JSON by Triton's binary extension, or as base64 in the
//! JSON for servers that agreed to that. Answers come as strings of the classification extension, or as a tensor of
//! scores with a list of labels of one's own.
//!
//! Credentials, applied by the transport: none, or whatever stands in front of the server.

mod binary;
mod reply;
mod served;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use served::ServedKserve;

use crate::wire::{base64, check, endpoint, get_ready, invalid};
use crate::{EncodedPicture, Format, Limits, Outcome, Price, Provider, Quota, Reply, RequestError};

/// Limits of one call. The protocol documents none; these keep a mistake from costing a long upload.
pub const LIMITS: Limits = Limits {
    formats: &[Format::Png, Format::Jpeg],
    max_bytes: 64 << 20,
    min_side: 1,
    max_side: 65_535,
    max_pixels: 100_000_000,
    pictures_per_call: 128,
};

/// The header that says where the JSON ends and raw tensors begin.
const JSON_LENGTH: &str = "inference-header-content-length";

/// What is asked of a model server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The server, for instance `http://127.0.0.1:8000`. It has no default.
    pub endpoint: String,
    /// The model. It has no default.
    pub model: String,
    /// One version of the model. The server's choice where it is not given.
    pub version: Option<String>,
    /// The name of the input tensor, which takes encoded pictures.
    pub input: String,
    /// The name of the output tensor.
    pub output: String,
    /// How the answer comes.
    pub answer: AnswerForm,
    /// What the values of the output are.
    pub values: Values,
    /// Send pictures as raw tensors (Triton) and not as base64 in the JSON.
    pub binary: bool,
    /// The shape of the input is `[n]` and not `[n, 1]`.
    pub flat: bool,
    /// Most pictures a call, 1 to 128. More than 1 needs a model that takes batches.
    pub pictures_per_call: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            model: String::new(),
            version: None,
            input: "IMAGE".to_owned(),
            output: "probs".to_owned(),
            answer: AnswerForm::Classification { top: 5 },
            values: Values::Probabilities,
            binary: true,
            flat: false,
            pictures_per_call: 1,
        }
    }
}

/// How an answer comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "form", rename_all = "kebab-case", deny_unknown_fields)]
pub enum AnswerForm {
    /// Triton's classification extension: the highest `top` classes as strings `value:index:label`.
    Classification {
        /// How many classes.
        top: u32,
    },
    /// One value a class. Labels are sorted by value, the highest first, equal values by index.
    Tensor {
        /// The label of each class, in the order of the tensor.
        labels: Vec<String>,
    },
}

/// What the values of an output are. The protocol does not say, and a threshold on raw outputs would be nonsense.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Values {
    /// From 0 to 1: they become the labels' scores.
    #[default]
    Probabilities,
    /// On no known scale: they give the order and no score.
    Raw,
}

/// The adapter.
#[derive(Clone, Debug)]
pub struct Kserve {
    options: Options,
    url: String,
    limits: Limits,
}

impl Kserve {
    /// An adapter with these options.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] names the option that cannot make a valid request.
    pub fn new(options: Options) -> Result<Self, RequestError> {
        let base = endpoint("kserve", &options.endpoint)?;
        let plain = |text: &str| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        if !plain(&options.model) || options.version.as_deref().is_some_and(|version| !plain(version)) {
            return Err(invalid("kserve", "`model` and `version` must be letters, digits, `-`, `_` and `.`"));
        }
        match &options.answer {
            AnswerForm::Classification { top: 0 } => {
                return Err(invalid("kserve", "`answer.top` is at least 1"));
            }
            AnswerForm::Tensor { labels } if labels.len() < 2 => {
                return Err(invalid("kserve", "`answer.labels` needs the label of every class"));
            }
            _ => {}
        }
        if !(1..=LIMITS.pictures_per_call).contains(&options.pictures_per_call) {
            let problem = format!("`pictures_per_call` is 1 to 128, not {}", options.pictures_per_call);
            return Err(invalid("kserve", problem));
        }
        let version =
            options.version.as_ref().map_or_else(String::new, |version| format!("/versions/{version}"));
        let url = format!("{base}/v2/models/{}{version}/infer", options.model);
        let limits = Limits { pictures_per_call: options.pictures_per_call, ..LIMITS };
        Ok(Self { options, url, limits })
    }

    fn body(&self, pictures: &[EncodedPicture]) -> (Option<usize>, Bytes) {
        let Options { input, output, answer, binary, flat, .. } = &self.options;
        let mut parameters = json!({ "binary_data": false });
        if let AnswerForm::Classification { top } = answer {
            parameters["classification"] = (*top).into();
        }
        let shape = if *flat { json!([pictures.len()]) } else { json!([pictures.len(), 1]) };
        let mut tensor = json!({ "name": input, "shape": shape, "datatype": "BYTES" });
        let raw = if *binary {
            let raw = binary::pack(pictures.iter().map(|picture| picture.bytes.as_ref()));
            tensor["parameters"] = json!({ "binary_data_size": raw.len() });
            raw
        } else {
            tensor["data"] = pictures.iter().map(|picture| Value::from(base64(&picture.bytes))).collect();
            vec![]
        };
        let request = json!({
            "inputs": [tensor],
            "outputs": [{ "name": output, "parameters": parameters }],
        });
        let mut body = request.to_string().into_bytes();
        let json_length = binary.then_some(body.len());
        body.extend(raw);
        (json_length, body.into())
    }
}

impl Provider for Kserve {
    fn name(&self) -> &'static str {
        "kserve"
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn quota(&self) -> Option<Quota> {
        None
    }

    /// Whatever the server costs.
    fn price(&self) -> Price {
        Price::Unknown
    }

    fn request(&self, pictures: &[EncodedPicture]) -> Result<Request<Bytes>, RequestError> {
        check("kserve", &self.limits, pictures)?;
        let (json_length, body) = self.body(pictures);
        let request = get_ready(Method::POST, &self.url);
        let request = match json_length {
            Some(length) => {
                request.header(CONTENT_TYPE, "application/octet-stream").header(JSON_LENGTH, length)
            }
            None => request.header(CONTENT_TYPE, "application/json"),
        };
        request.body(body).map_err(|error| invalid("kserve", error.to_string()))
    }

    /// What is known of the model.
    fn probe(&self) -> Option<Request<Bytes>> {
        get_ready(Method::GET, self.url.strip_suffix("/infer")?).body(Bytes::new()).ok()
    }

    fn outcomes(&self, pictures: usize, reply: &Reply) -> Vec<Outcome> {
        reply::read(&self.options, pictures, reply)
    }
}
