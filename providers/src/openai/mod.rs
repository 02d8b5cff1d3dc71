//! Chat completions with a picture and a forced choice: `OpenAI`, Azure `OpenAI`, vLLM and others, by base URL.
//!
//! The model is asked to choose one label of a closed set, held to it by a JSON schema with an enum (or by the
//! guided decoding of vLLM). There is no score. A server that does not enforce the schema may answer anything: what
//! is not in the set is [`Outcome::Unusable`], and is never asked again, since that would be a retry because of what
//! the answer said.
//!
//! Credentials, applied by the transport: `Authorization: Bearer ...`, or the header `api-key` for Azure.

mod errors;
mod question;
mod reply;
mod served;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use served::ServedOpenAi;

use crate::wire::{base64, check, endpoint, for_all, get_ready, invalid};
use crate::{EncodedPicture, Format, Limits, Outcome, Price, Provider, Quota, Reply, RequestError};

/// Limits of one picture. The 20 MB are those of a data URL.
pub const LIMITS: Limits = Limits {
    formats: &[Format::Png, Format::Jpeg],
    max_bytes: 15_000_000 - 64,
    min_side: 1,
    max_side: 16_384,
    max_pixels: 75_000_000,
    pictures_per_call: 1,
};

/// Most values that a strict schema's enum may have.
const MAX_CHOICES: usize = 1000;
/// Most characters of all values together, once there are more than [`FEW_CHOICES`].
const MAX_CHARACTERS: usize = 15_000;
/// Up to so many values, their length is not limited.
const FEW_CHOICES: usize = 250;

/// What is asked of a chat model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The base URL, up to and without `/chat/completions`: `https://api.openai.com/v1`,
    /// `https://NAME.openai.azure.com/openai/v1`, `http://127.0.0.1:8000/v1`.
    pub endpoint: String,
    /// The model, or the deployment's name. It has no default.
    pub model: String,
    /// The labels to choose from, at least two.
    pub labels: Vec<String>,
    /// A further choice that stands for "none of these": choosing it is an answer without a label.
    pub none_label: Option<String>,
    /// What the model is told.
    pub prompt: String,
    /// How finely the model looks at the picture.
    pub detail: Detail,
    /// How the choice is forced.
    pub choice: Choice,
    /// Most tokens of the answer.
    pub max_tokens: u32,
    /// Send `temperature` and `seed` 0. Some models refuse a temperature; an answer may then be random, which the
    /// certificate allows for at the price of more votes.
    pub deterministic: bool,
    /// Count the reply's `system_fingerprint` as a part of the model version, so that a change of the build ends the
    /// certificate. Off by default, since large services answer from several builds at once.
    pub pin_build: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoint: "https://api.openai.com/v1".to_owned(),
            model: String::new(),
            labels: vec![],
            none_label: None,
            prompt: "Classify the picture: choose the one label that fits it best.".to_owned(),
            detail: Detail::Low,
            choice: Choice::JsonSchema,
            max_tokens: 64,
            deterministic: true,
            pin_build: false,
        }
    }
}

/// How finely a model looks at a picture. vLLM ignores it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Detail {
    /// At 512 pixels: enough for a copy of 224 pixels, and cheap.
    #[default]
    Low,
    /// In tiles.
    High,
    /// As the service decides.
    Auto,
}

/// How a choice is forced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// `response_format` with a strict JSON schema.
    #[default]
    JsonSchema,
    /// The field `guided_choice` of older vLLM.
    GuidedChoice,
    /// The field `structured_outputs.choice` of newer vLLM.
    StructuredOutputs,
}

/// The adapter.
#[derive(Clone, Debug)]
pub struct OpenAi {
    options: Options,
    url: String,
}

impl OpenAi {
    /// An adapter with these options.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] names the option that cannot make a valid request.
    pub fn new(options: Options) -> Result<Self, RequestError> {
        let url = format!("{}/chat/completions", endpoint("openai", &options.endpoint)?);
        if options.model.is_empty() {
            return Err(invalid("openai", "`model` is not set: name the model or deployment"));
        }
        if options.labels.len() < 2 {
            return Err(invalid("openai", "`labels` needs at least two labels to choose from"));
        }
        let adapter = Self { options, url };
        let mut seen = std::collections::BTreeSet::new();
        for choice in adapter.choices() {
            if choice.trim().is_empty() || !seen.insert(choice.to_lowercase()) {
                return Err(invalid("openai", format!("the label `{choice}` is empty or occurs twice")));
            }
        }
        let characters: usize = adapter.choices().map(|choice| choice.chars().count()).sum();
        if seen.len() > MAX_CHOICES || (seen.len() > FEW_CHOICES && characters > MAX_CHARACTERS) {
            return Err(invalid(
                "openai",
                format!(
                    "{} labels of {characters} characters in all; a forced choice has at most {MAX_CHOICES}, of at \
                     most {MAX_CHARACTERS} characters in all where there are more than {FEW_CHOICES}: shorten the \
                     labels, for instance to numbers that the prompt explains",
                    seen.len()
                ),
            ));
        }
        Ok(adapter)
    }

    fn choices(&self) -> impl Iterator<Item = &str> {
        self.options.labels.iter().chain(&self.options.none_label).map(String::as_str)
    }

    fn body(&self, picture: &EncodedPicture) -> Value {
        let Options { model, prompt, detail, choice, max_tokens, deterministic, .. } = &self.options;
        let url = format!("data:{};base64,{}", picture.format.media_type(), base64(&picture.bytes));
        let mut body = json!({
            "model": model,
            "max_completion_tokens": max_tokens,
            "messages": [{
                "role": "user",
                "content": [
                    { "type": "text", "text": prompt },
                    { "type": "image_url", "image_url": { "url": url, "detail": detail } },
                ],
            }],
        });
        if *deterministic {
            body["temperature"] = 0.into();
            body["seed"] = 0.into();
        }
        let choices: Vec<&str> = self.choices().collect();
        match choice {
            Choice::JsonSchema => {
                body["response_format"] = json!({
                    "type": "json_schema",
                    "json_schema": {
                        "name": "label",
                        "strict": true,
                        "schema": {
                            "type": "object",
                            "properties": { "label": { "type": "string", "enum": choices } },
                            "required": ["label"],
                            "additionalProperties": false,
                        },
                    },
                });
            }
            Choice::GuidedChoice => body["guided_choice"] = choices.into(),
            Choice::StructuredOutputs => body["structured_outputs"] = json!({ "choice": choices }),
        }
        body
    }
}

impl Provider for OpenAi {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn limits(&self) -> &Limits {
        &LIMITS
    }

    /// Depends on the account's tier and the model.
    fn quota(&self) -> Option<Quota> {
        None
    }

    /// Depends on the model and its tokens.
    fn price(&self) -> Price {
        Price::Unknown
    }

    fn request(&self, pictures: &[EncodedPicture]) -> Result<Request<Bytes>, RequestError> {
        check("openai", &LIMITS, pictures)?;
        get_ready(Method::POST, &self.url)
            .header(CONTENT_TYPE, "application/json")
            .body(self.body(&pictures[0]).to_string().into())
            .map_err(|error| invalid("openai", error.to_string()))
    }

    /// The list of models.
    fn probe(&self) -> Option<Request<Bytes>> {
        let base = self.url.strip_suffix("/chat/completions")?;
        get_ready(Method::GET, &format!("{base}/models")).body(Bytes::new()).ok()
    }

    fn outcomes(&self, pictures: usize, reply: &Reply) -> Vec<Outcome> {
        for_all(pictures, &reply::read(&self.options, reply).unwrap_or_else(|outcome| outcome))
    }
}
