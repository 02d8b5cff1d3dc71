//! Any JSON API that labels pictures, described in the configuration.
//!
//! The description says how a picture becomes a request (raw bytes, a form, or a JSON template), where labels, scores
//! and model version are in the reply (RFC 6901 JSON pointers), and which replies are which failures. It holds no
//! credential: those are applied by the transport.

mod answer;
mod body;
mod rules;

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use answer::{Labels, Scale};
pub use body::Body;
pub use rules::{End, Rule, StatusPattern};

use crate::wire::{by_status, check, endpoint, for_all, get_ready, glimpse, invalid, json, shorten};
use crate::{EncodedPicture, Format, Limits, Money, Outcome, Price, Provider, Quota, Reply, RequestError};

/// What is known of an API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The URL that requests go to, with its query, without credentials.
    pub url: String,
    /// `POST` or `PUT`.
    #[serde(default = "post")]
    pub method: String,
    /// Further headers. Credentials do not belong here.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// How a picture becomes a body.
    #[serde(default)]
    pub body: Body,
    /// Where the labels are.
    pub labels: Labels,
    /// What a score of 1 is called.
    #[serde(default)]
    pub scale: Scale,
    /// A pointer to the model version, where replies have one. It then has to be there.
    #[serde(default)]
    pub model_version: Option<String>,
    /// A pointer to the words of an error.
    #[serde(default)]
    pub error_message: Option<String>,
    /// What replies mean, asked in order before anything else. Where none fits, the status decides.
    #[serde(default)]
    pub errors: Vec<Rule>,
    /// Formats that the API accepts.
    #[serde(default = "both_formats")]
    pub formats: Vec<Format>,
    /// Most bytes of a picture.
    #[serde(default = "max_bytes")]
    pub max_bytes: usize,
    /// Shortest side in pixels.
    #[serde(default = "one")]
    pub min_side: u32,
    /// Longest side in pixels.
    #[serde(default = "max_side")]
    pub max_side: u32,
    /// The price of a picture. Unknown where it is not given, which is not nothing.
    #[serde(default)]
    pub price: Option<Money>,
    /// Calls a minute that the account may send.
    #[serde(default)]
    pub calls_per_minute: Option<u32>,
}

fn post() -> String {
    "POST".to_owned()
}

fn both_formats() -> Vec<Format> {
    vec![Format::Png, Format::Jpeg]
}

fn max_bytes() -> usize {
    20_000_000
}

fn one() -> u32 {
    1
}

fn max_side() -> u32 {
    16_384
}

/// The adapter.
#[derive(Clone, Debug)]
pub struct HttpApi {
    options: Options,
    method: Method,
    headers: Vec<(HeaderName, HeaderValue)>,
    limits: Limits,
}

impl HttpApi {
    /// An adapter to the API that the options describe.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] names the option that cannot make a valid request or read a reply.
    pub fn new(options: Options) -> Result<Self, RequestError> {
        let method = match options.method.to_ascii_uppercase().as_str() {
            "POST" => Method::POST,
            "PUT" => Method::PUT,
            _ => return Err(invalid("http", "`method` is POST or PUT")),
        };
        let (base, query) = options.url.split_once('?').unwrap_or((&options.url, ""));
        endpoint("http", base)?;
        let names = query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
        if let Some(name) = names.into_iter().find(|name| names_credential(name)) {
            let name = shorten(name);
            return Err(invalid(
                "http",
                format!(
                    "`{name}` in the query of `url` holds a credential: give it as the instance's credential"
                ),
            ));
        }
        options.url.parse::<Uri>().map_err(|_| invalid("http", "`url` is not a valid URL"))?;
        let headers = options.headers.iter().map(header).collect::<Result<_, _>>()?;
        options.body.check()?;
        let rules = options.errors.iter().filter_map(|rule| rule.at.as_ref());
        let own = options.model_version.iter().chain(&options.error_message);
        for pointer in options.labels.pointers().into_iter().chain(own).chain(rules) {
            if !(pointer.is_empty() || pointer.starts_with('/')) {
                return Err(invalid(
                    "http",
                    format!("`{pointer}` is no JSON pointer: write for instance `/labels`"),
                ));
            }
        }
        if options.errors.iter().any(|rule| rule.status.is_none() && rule.at.is_none()) {
            return Err(invalid("http", "a rule of `errors` needs `status`, `at` or both"));
        }
        if options
            .errors
            .iter()
            .any(|rule| rule.at.is_none() && (rule.equals.is_some() || rule.contains.is_some()))
        {
            return Err(invalid(
                "http",
                "`equals` and `contains` need `at`, a pointer to what they are compared with",
            ));
        }
        let formats: &'static [Format] =
            match (options.formats.contains(&Format::Png), options.formats.contains(&Format::Jpeg)) {
                (true, true) => &[Format::Png, Format::Jpeg],
                (true, false) => &[Format::Png],
                (false, true) => &[Format::Jpeg],
                (false, false) => {
                    return Err(invalid("http", "`formats` is empty: name `png`, `jpeg` or both"));
                }
            };
        let limits = Limits {
            formats,
            max_bytes: options.max_bytes,
            min_side: options.min_side,
            max_side: options.max_side,
            max_pixels: u64::from(options.max_side).pow(2),
            pictures_per_call: 1,
        };
        Ok(Self { options, method, headers, limits })
    }

    fn read(&self, reply: &Reply) -> Result<Outcome, Outcome> {
        let body: Result<Value, String> = json(&reply.body);
        let found = body.as_ref().ok();
        let words = || {
            let own = self.options.error_message.as_ref().and_then(|pointer| found?.pointer(pointer));
            own.map_or_else(
                || glimpse(&reply.body),
                |words| shorten(words.as_str().unwrap_or(&words.to_string())),
            )
        };
        for rule in &self.options.errors {
            if rule.fits(reply.status, found) {
                return Err(rule.end.outcome(format!("{}: {}", reply.status, words()), reply));
            }
        }
        if !reply.status.is_success() {
            return Err(by_status(reply, &words()));
        }
        let body = body.map_err(|problem| by_status(reply, &problem))?;
        let mut answer = self.options.labels.read(&body, self.options.scale)?;
        if let Some(pointer) = &self.options.model_version {
            let version = match body.pointer(pointer) {
                Some(Value::String(version)) => Some(version.clone()),
                Some(Value::Number(version)) => Some(version.to_string()),
                _ => None,
            };
            // The user relies on it to notice another model: a reply without it cannot be told from one.
            answer.model_version = Some(version.ok_or_else(|| Outcome::Malformed {
                reason: format!("no model version at `{pointer}` in {}", glimpse(&reply.body)),
            })?);
        }
        Ok(crate::wire::answered(reply, answer))
    }
}

/// Whether a header or a parameter of this name would hold a credential: by its words, so that `max_tokens` does not.
fn names_credential(name: &str) -> bool {
    const WORDS: [&str; 17] = [
        "auth",
        "authorization",
        "cookie",
        "key",
        "apikey",
        "token",
        "secret",
        "password",
        "passwd",
        "credential",
        "credentials",
        "signature",
        "sig",
        "bearer",
        "accesskey",
        "accesstoken",
        "authtoken",
    ];
    let lower = name.to_ascii_lowercase();
    lower.split(|c: char| !c.is_ascii_alphabetic()).any(|word| WORDS.contains(&word))
}

/// A header of the description. Credentials are refused by name: they would end up in logs and certificates.
fn header((name, value): (&String, &String)) -> Result<(HeaderName, HeaderValue), RequestError> {
    if names_credential(name) {
        return Err(invalid(
            "http",
            format!(
                "the header `{}` holds a credential: give it as the instance's credential",
                shorten(name)
            ),
        ));
    }
    let wrong = || invalid("http", format!("the header `{}` is not valid", shorten(name)));
    Ok((name.to_ascii_lowercase().parse().map_err(|_| wrong())?, value.parse().map_err(|_| wrong())?))
}

impl Provider for HttpApi {
    fn name(&self) -> &'static str {
        "http"
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn quota(&self) -> Option<Quota> {
        let calls_per_minute = self.options.calls_per_minute?;
        Some(Quota { calls_per_minute, pictures_per_minute: None })
    }

    fn price(&self) -> Price {
        self.options.price.map_or(Price::Unknown, Price::PerPicture)
    }

    fn request(&self, pictures: &[EncodedPicture]) -> Result<Request<Bytes>, RequestError> {
        check("http", &self.limits, pictures)?;
        let (media_type, body) = self.options.body.fill(&pictures[0]);
        let mut request = get_ready(self.method.clone(), &self.options.url)
            .header(CONTENT_TYPE, media_type)
            .body(body)
            .map_err(|error| invalid("http", error.to_string()))?;
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        Ok(request)
    }

    fn outcomes(&self, pictures: usize, reply: &Reply) -> Vec<Outcome> {
        for_all(pictures, &self.read(reply).unwrap_or_else(|outcome| outcome))
    }
}
