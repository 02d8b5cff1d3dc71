//! Amazon Rekognition: `DetectLabels` and `DetectModerationLabels`.
//!
//! AWS JSON 1.1: one path, the operation in `X-Amz-Target`, one picture a call, scores from 0 to 100. Throttling
//! comes with status 400 and with status 500, so the error's name decides, never the status.
//!
//! Credentials, applied by the transport: Signature Version 4, service `rekognition`, over at least `content-type`,
//! `host`, `x-amz-date` and `x-amz-target`.

mod errors;
mod served;
mod wire;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use served::ServedAws;

use crate::wire::{
    answered, base64, by_status, check, endpoint, for_all, get_ready, glimpse, invalid, json, unit_score,
};
use crate::{
    Answer, EncodedPicture, Format, Label, Limits, Money, Outcome, Price, Provider, Quota, Reply,
    RequestError,
};

/// Limits of an inline picture.
pub const LIMITS: Limits = Limits {
    formats: &[Format::Png, Format::Jpeg],
    max_bytes: 5_242_880,
    min_side: 80,
    max_side: 10_000,
    max_pixels: 100_000_000,
    pictures_per_call: 1,
};

/// The media type of AWS JSON 1.1.
const AMZ_JSON: &str = "application/x-amz-json-1.1";

/// What is asked of Rekognition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The region, which is in the endpoint's name and in the signature.
    pub region: String,
    /// Another endpoint than the region's own.
    pub endpoint: Option<String>,
    /// Which operation is called.
    pub operation: Operation,
    /// Most labels of a `DetectLabels` answer, 1 to 1000. Always sent.
    pub max_labels: u32,
    /// Lowest score of an answer, 0 to 100 as the API has it. Always sent, so that the answer does not depend on the
    /// API's default (55 for labels, 50 for moderation).
    pub min_confidence: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            region: "us-east-1".to_owned(),
            endpoint: None,
            operation: Operation::DetectLabels,
            max_labels: 100,
            min_confidence: 50.0,
        }
    }
}

/// An operation of Rekognition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// What is in the picture. Every ancestor of a label is a label of its own.
    #[default]
    DetectLabels,
    /// Moderation labels, each with its score.
    DetectModerationLabels,
}

impl Operation {
    fn target(self) -> &'static str {
        match self {
            Self::DetectLabels => "RekognitionService.DetectLabels",
            Self::DetectModerationLabels => "RekognitionService.DetectModerationLabels",
        }
    }
}

/// The adapter.
#[derive(Clone, Debug)]
pub struct Aws {
    options: Options,
    url: String,
}

impl Aws {
    /// An adapter with these options.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] names the option that cannot make a valid request.
    pub fn new(options: Options) -> Result<Self, RequestError> {
        let region = &options.region;
        if region.is_empty()
            || !region.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        {
            return Err(invalid("aws", format!("`{region}` is no region: write for instance `us-east-1`")));
        }
        if !(1..=1000).contains(&options.max_labels) {
            return Err(invalid("aws", format!("`max_labels` is 1 to 1000, not {}", options.max_labels)));
        }
        if !(0.0..=100.0).contains(&options.min_confidence) {
            return Err(invalid(
                "aws",
                format!("`min_confidence` is 0 to 100, not {}", options.min_confidence),
            ));
        }
        let own = format!("https://rekognition.{region}.amazonaws.com");
        let url = format!("{}/", endpoint("aws", options.endpoint.as_deref().unwrap_or(&own))?);
        Ok(Self { options, url })
    }

    /// The region, which the signature needs.
    pub fn region(&self) -> &str {
        &self.options.region
    }

    fn read(&self, reply: &Reply) -> Result<Outcome, Outcome> {
        let body: wire::ReplyIn = match json(&reply.body) {
            Ok(body) => body,
            // A gateway's page may still carry the error's name in a header.
            Err(problem) => return Err(errors::of_header(reply, &problem)),
        };
        if let Some(outcome) = errors::of_body(&body, reply) {
            return Err(outcome);
        }
        if !reply.status.is_success() {
            return Err(errors::of_header(reply, &glimpse(&reply.body)));
        }
        let (list, version, key) = match self.options.operation {
            Operation::DetectLabels => (body.labels, body.label_model_version, "Labels"),
            Operation::DetectModerationLabels => {
                (body.moderation_labels, body.moderation_model_version, "ModerationLabels")
            }
        };
        let list =
            list.ok_or_else(|| by_status(reply, &format!("no `{key}` in {}", glimpse(&reply.body))))?;
        let labels = list.into_iter().map(label).collect::<Result<Vec<_>, _>>()?;
        let model_version = version.filter(|version| !version.is_empty());
        Ok(answered(reply, Answer { labels, model_version, ..Answer::default() }))
    }
}

/// Order of appearance is kept, also among equal scores: ties are the question's to decide.
fn label(found: wire::LabelIn) -> Result<Label, Outcome> {
    let name = found.name.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| Outcome::Malformed { reason: "a label without a name".to_owned() })?;
    let score = found.confidence.map(|score| unit_score(&name, score, 100.0)).transpose()?;
    Ok(Label { name, score, id: None })
}

impl Provider for Aws {
    fn name(&self) -> &'static str {
        "aws"
    }

    fn limits(&self) -> &Limits {
        &LIMITS
    }

    /// 50 calls a second in us-east-1. Other regions start lower and differ: 5 a second is assumed there.
    fn quota(&self) -> Option<Quota> {
        let per_second = if self.options.region == "us-east-1" { 50 } else { 5 };
        Some(Quota { calls_per_minute: per_second * 60, pictures_per_minute: None })
    }

    fn price(&self) -> Price {
        Price::PerPicture(Money::new(1, 3))
    }

    fn request(&self, pictures: &[EncodedPicture]) -> Result<Request<Bytes>, RequestError> {
        check("aws", &LIMITS, pictures)?;
        let labels = self.options.operation == Operation::DetectLabels;
        let body = wire::RequestOut {
            image: wire::ImageOut { bytes: base64(&pictures[0].bytes) },
            max_labels: labels.then_some(self.options.max_labels),
            min_confidence: self.options.min_confidence,
        };
        let body = serde_json::to_vec(&body).map_err(|error| invalid("aws", error.to_string()))?;
        get_ready(Method::POST, &self.url)
            .header(CONTENT_TYPE, AMZ_JSON)
            .header("x-amz-target", self.options.operation.target())
            .body(body.into())
            .map_err(|error| invalid("aws", error.to_string()))
    }

    /// The operation itself with an empty picture: it is refused after the signature and the permission are checked.
    fn probe(&self) -> Option<Request<Bytes>> {
        get_ready(Method::POST, &self.url)
            .header(CONTENT_TYPE, AMZ_JSON)
            .header("x-amz-target", self.options.operation.target())
            .body(Bytes::from_static(br#"{"Image":{}}"#))
            .ok()
    }

    fn outcomes(&self, pictures: usize, reply: &Reply) -> Vec<Outcome> {
        for_all(pictures, &self.read(reply).unwrap_or_else(|outcome| outcome))
    }
}
