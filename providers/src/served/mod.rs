//! The other direction: an API's wire format as a server speaks it.
//!
//! A proxy or an emulator reads a request with [`ServedApi::decode`], finds answers however it likes, and writes them
//! with [`ServedApi::encode`]; what it will not do it says with [`ServedApi::refuse`], in the API's own error shape.
//! Everything here is a pure function, like [`Provider`](crate::Provider): no socket, no clock, no state.

mod incoming;
mod kind;
mod multipart;
mod refusal;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use secrecy::SecretString;
use serde_json::Value;

pub use incoming::Incoming;
pub use kind::FileKind;
pub(crate) use multipart::first_part;
pub use refusal::{Refusal, RefusalClass};

use crate::{Answer, Label, Limits};

/// An API's wire format on the server's side.
pub trait ServedApi: Send + Sync + 'static {
    /// The provider's name, the same as the adapter's in the other direction.
    fn name(&self) -> &'static str;

    /// What the API accepts: bytes, sides, pixels, pictures a call.
    fn limits(&self) -> &Limits;

    /// The file formats that the API accepts, which may be more than copies are ever sent in.
    fn kinds(&self) -> &'static [FileKind];

    /// Is this request of this API, by method, path and headers? A server that speaks several formats on one port
    /// asks each in turn. A request that is recognised may still be refused by [`decode`](Self::decode).
    fn recognises(&self, incoming: &Incoming<'_>) -> bool;

    /// The credential that came with the request, wherever this API's clients put it. `None` where there is none.
    fn credential(&self, incoming: &Incoming<'_>) -> Option<Presented>;

    /// What the request asks.
    ///
    /// Whatever would change the meaning of the answer and is not offered here is refused, never ignored.
    ///
    /// # Errors
    /// A [`Refusal`] to be sent with [`refuse`](Self::refuse). Never panics, whatever the bytes are.
    fn decode(&self, incoming: &Incoming<'_>) -> Result<Call, Refusal>;

    /// The reply to an inquiry, given one result for each of its pictures in their order.
    ///
    /// An API that knows errors of single pictures reports them so; with one picture a call, a refusal becomes the
    /// whole reply. A missing result is reported as an internal error of that picture.
    fn encode(&self, inquiry: &Inquiry, results: &[Result<Found, Refusal>], mark: &Mark) -> Response<Bytes>;

    /// A refusal of the whole request in this API's own shape: status, body and headers.
    ///
    /// A throttle always carries `Retry-After`, and is never a 503 (which some SDKs repeat for minutes).
    fn refuse(&self, refusal: &Refusal, mark: &Mark) -> Response<Bytes>;

    /// Would a reply to this question, made from this answer, say of something that it is not there, and not only leave it
    /// out? A server whose answers hold what is certain and nothing else must refuse instead.
    fn denies(&self, asked: &Asked, answer: &Answer) -> bool {
        let _ = (asked, answer);
        false
    }

    /// Would the API look at this picture? `bytes` is the file, `width` and `height` come from its header.
    ///
    /// # Errors
    /// A [`Refusal`] of the class that the real API would give.
    fn admit(&self, bytes: &[u8], width: u32, height: u32) -> Result<(), Refusal> {
        let limits = self.limits();
        if bytes.is_empty() || !FileKind::of(bytes).is_some_and(|kind| self.kinds().contains(&kind)) {
            let known: Vec<&str> = self.kinds().iter().map(|kind| kind.name()).collect();
            return Err(Refusal::new(
                RefusalClass::BadPicture,
                format!("the picture is in none of these formats: {}", known.join(", ")),
            ));
        }
        let pixels = u64::from(width) * u64::from(height);
        if bytes.len() > limits.max_bytes || width.max(height) > limits.max_side || pixels > limits.max_pixels
        {
            return Err(Refusal::new(
                RefusalClass::PictureTooLarge,
                format!(
                    "the picture has {} bytes and {width}x{height} pixels; at most {} bytes, {} pixels a side and {} \
                     pixels in all are accepted",
                    bytes.len(),
                    limits.max_bytes,
                    limits.max_side,
                    limits.max_pixels
                ),
            ));
        }
        if width.min(height) < limits.min_side {
            return Err(Refusal::new(
                RefusalClass::PictureTooSmall,
                format!(
                    "the picture has {width}x{height} pixels; at least {} a side are needed",
                    limits.min_side
                ),
            ));
        }
        Ok(())
    }
}

/// What a request asks of a server.
#[derive(Debug)]
pub enum Call {
    /// Labels for pictures.
    Inquiry(Inquiry),
    /// Something that needs no picture, already answered: health, readiness, a model's description.
    Plain(Response<Bytes>),
}

/// A request for labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Inquiry {
    /// The pictures, in the order of the request. At least one.
    pub pictures: Vec<Asked>,
    /// The model that the client named, where it named one.
    pub model: Option<String>,
    /// The closed set of labels to choose from, where the request has one. Empty means that any label may come.
    pub choices: Vec<String>,
    /// The client's own words about the question, in a format that has free text. Where the server fixes the question
    /// itself, they are without effect.
    pub instructions: Option<String>,
    /// The server's answers hold what is certain and nothing else: a reply says nothing about what they do not hold.
    pub only_certain: bool,
    /// What the format itself needs again to write the reply. Of no meaning to others.
    pub echo: Value,
}

impl Inquiry {
    /// An inquiry about these pictures, with nothing else said.
    pub fn about(pictures: Vec<Asked>) -> Self {
        Self {
            pictures,
            model: None,
            choices: vec![],
            instructions: None,
            only_certain: false,
            echo: Value::Null,
        }
    }
}

/// One picture of an inquiry and what is asked about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Where the picture is.
    pub source: Source,
    /// What is asked about it. At least one.
    pub features: Vec<Feature>,
    /// Most labels to return. `None` where neither the client nor the API's default limits it.
    pub most: Option<usize>,
    /// Lowest score to return, on the scale of 0 to 1. `None` where neither the client nor the API's default limits it.
    pub least: Option<f64>,
    /// Only these labels are wanted. Empty means all.
    pub only: Vec<String>,
    /// Labels with these identifiers are wanted besides. A server whose answers name no identifiers cannot tell which they are.
    pub only_ids: Vec<String>,
    /// These labels are not wanted.
    pub without: Vec<String>,
}

impl Asked {
    /// A picture about which labels are asked, without limits or filters.
    pub fn labels(source: Source) -> Self {
        Self {
            source,
            features: vec![Feature::Labels],
            most: None,
            least: None,
            only: vec![],
            only_ids: vec![],
            without: vec![],
        }
    }

    /// The labels of an answer that this client wants, in the answer's order: filters first, then the lowest score (a
    /// label without a score passes), then the number.
    pub fn select<'a>(&self, answer: &'a Answer) -> Vec<&'a Label> {
        let named = |list: &[String], label: &Label| {
            let name = label.name.to_lowercase();
            list.iter().any(|l| l.to_lowercase() == name || label.id.as_ref() == Some(l))
        };
        // Where a label has no identifier, formats give its name in that place.
        let by_id =
            |label: &Label| self.only_ids.iter().any(|id| label.id.as_ref().unwrap_or(&label.name) == id);
        let all = self.only.is_empty() && self.only_ids.is_empty();
        answer
            .labels
            .iter()
            .filter(|label| all || named(&self.only, label) || by_id(label))
            .filter(|label| !named(&self.without, label))
            .filter(|label| self.least.is_none_or(|least| label.score.is_none_or(|score| score >= least)))
            .take(self.most.unwrap_or(usize::MAX))
            .collect()
    }

    /// Is this feature asked for?
    pub fn wants(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }
}

/// Where a picture is.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// In the request: the file.
    Bytes(Bytes),
    /// Behind a URL. Whether it is fetched at all is the server's decision.
    Url(String),
    /// In an object store (Amazon S3).
    Object {
        /// The bucket.
        bucket: String,
        /// The object's name.
        name: String,
        /// The object's version, where one is named.
        version: Option<String>,
    },
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            // A signed URL is a credential: only its host is shown.
            Self::Url(url) => {
                let uri = url.parse::<http::Uri>().ok();
                write!(f, "URL at {}", uri.as_ref().and_then(http::Uri::host).unwrap_or("?"))
            }
            Self::Object { bucket, .. } => write!(f, "object in {bucket}"),
        }
    }
}

/// What a client asks about a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feature {
    /// What is in it.
    Labels,
    /// Whether it is safe to show.
    Moderation,
}

/// What was found out about one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The labels and levels to return, before the client's limits.
    pub answer: Answer,
    /// Width in pixels, which some APIs report.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The file's format, which some APIs report.
    pub kind: Option<FileKind>,
}

/// What marks one reply: its identity and its time, given by the server so that encoding stays a pure function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The request id, in letters that a header may hold. Others are replaced.
    pub request_id: String,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub unix_seconds: u64,
}

/// A credential that came with a request.
#[derive(Debug)]
pub enum Presented {
    /// An API key.
    Key(SecretString),
    /// A bearer token.
    Bearer(SecretString),
    /// An AWS Signature Version 4 in the `Authorization` header, to be verified over the whole request.
    SigV4,
}

/// The wire format called `name`, for a server.
pub fn by_name(name: &str) -> Option<Box<dyn ServedApi>> {
    all().into_iter().find(|api| api.name() == name)
}

/// All wire formats, for a server, in the order in which [`ServedApi::recognises`] may be asked: the one that takes
/// even the root path comes last.
pub fn all() -> Vec<Box<dyn ServedApi>> {
    vec![
        Box::new(crate::google::ServedGoogle),
        Box::new(crate::aws::ServedAws),
        Box::new(crate::azure::ServedAzure),
        Box::new(crate::azure_v3::ServedAzureV3),
        Box::new(crate::clarifai::ServedClarifai),
        Box::new(crate::openai::ServedOpenAi),
        Box::new(crate::kserve::ServedKserve),
        Box::new(crate::huggingface::ServedHuggingFace),
    ]
}

/// A reply with a JSON body.
pub(crate) fn json_reply(
    status: u16,
    content_type: &'static str,
    body: &impl serde::Serialize,
) -> Response<Bytes> {
    // Our own types serialise without error; were one not to, an empty body is still a reply.
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    raw_reply(status, content_type, bytes.into())
}

/// A reply with any body.
pub(crate) fn raw_reply(status: u16, content_type: &'static str, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Adds a header whose value may hold anything; what a header cannot hold is replaced by `-`.
pub(crate) fn with_header(mut response: Response<Bytes>, name: &'static str, value: &str) -> Response<Bytes> {
    let clean: String =
        value.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '-' }).collect();
    if let Ok(value) = HeaderValue::from_str(&clean) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Adds `Retry-After` to a refusal that may be asked again: whole seconds, at least one.
pub(crate) fn with_pause(mut response: Response<Bytes>, refusal: &Refusal) -> Response<Bytes> {
    if refusal.class == RefusalClass::Throttled || refusal.retry_after.is_some() {
        let pause = refusal.retry_after.unwrap_or_default();
        let seconds = (pause.as_secs() + u64::from(pause.subsec_nanos() > 0)).max(1);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The result for picture `index`, also where the server gave too few.
pub(crate) fn result_of(results: &[Result<Found, Refusal>], index: usize) -> Result<&Found, Refusal> {
    match results.get(index) {
        Some(Ok(found)) => Ok(found),
        Some(Err(refusal)) => Err(refusal.clone()),
        None => Err(Refusal::new(RefusalClass::Internal, "no result was found for this picture")),
    }
}
