//! `image-classification` as a server.

use bytes::Bytes;
use http::{Method, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::LIMITS;
use crate::Limits;
use crate::served::{
    Asked, Call, FileKind, Found, Incoming, Inquiry, Mark, Presented, Refusal, RefusalClass, ServedApi,
    Source, json_reply, result_of, with_header, with_pause,
};
use crate::wire::decode_base64;

const JSON: &str = "application/json";
/// Labels returned where the client does not say how many.
const DEFAULT_LABELS: usize = 5;

/// The wire format of `image-classification` on the server's side.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServedHuggingFace;

#[derive(Deserialize)]
struct RequestIn {
    inputs: String,
    #[serde(default)]
    parameters: Option<Parameters>,
}

#[derive(Deserialize)]
struct Parameters {
    top_k: Option<i64>,
    function_to_apply: Option<String>,
}

/// The model in a path, where there is one.
fn model(incoming: &Incoming<'_>) -> Option<String> {
    let segments = incoming.segments();
    let at = segments.iter().position(|segment| segment == "models")?;
    Some(segments[at + 1..].join("/")).filter(|model| !model.is_empty())
}

impl ServedApi for ServedHuggingFace {
    fn name(&self) -> &'static str {
        "huggingface"
    }

    fn limits(&self) -> &Limits {
        &LIMITS
    }

    fn kinds(&self) -> &'static [FileKind] {
        use FileKind::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
        &[Jpeg, Png, Gif, Bmp, WebP, Tiff]
    }

    /// A client that is given a URL posts to it as it is, so that even the root path is this format's. Rekognition
    /// has the root path too, with a header.
    fn recognises(&self, incoming: &Incoming<'_>) -> bool {
        let segments = incoming.segments();
        match segments.first().map(AsRef::as_ref) {
            None => incoming.header("x-amz-target").is_none(),
            Some("models" | "hf-inference") => true,
            Some(_) => false,
        }
    }

    fn credential(&self, incoming: &Incoming<'_>) -> Option<Presented> {
        incoming.authorization("Bearer").map(Presented::Key)
    }

    fn decode(&self, incoming: &Incoming<'_>) -> Result<Call, Refusal> {
        incoming.only(&Method::POST)?;
        let mut most = DEFAULT_LABELS;
        let bytes: Bytes = if incoming.media_type().as_deref() == Some(JSON) {
            let request: RequestIn = incoming.json()?;
            if let Some(parameters) = request.parameters {
                most = usize::try_from(parameters.top_k.unwrap_or(DEFAULT_LABELS as i64))
                    .ok()
                    .filter(|count| *count > 0)
                    .ok_or_else(|| Refusal::bad_request("parameters.top_k must be at least 1"))?;
                if !matches!(parameters.function_to_apply.as_deref(), None | Some("softmax")) {
                    return Err(Refusal::unsupported(
                        "parameters.function_to_apply: only softmax is served here",
                    ));
                }
            }
            let inputs = decode_base64(&request.inputs);
            inputs.ok_or_else(|| Refusal::bad_request("inputs is not base64"))?.into()
        } else {
            // Raw bytes come under any media type, and from the Python client under none.
            incoming.body.clone()
        };
        if bytes.is_empty() {
            return Err(Refusal::new(RefusalClass::BadPicture, "the body is empty"));
        }
        let asked = Asked { most: Some(most), ..Asked::labels(Source::Bytes(bytes)) };
        Ok(Call::Inquiry(Inquiry { model: model(incoming), ..Inquiry::about(vec![asked]) }))
    }

    fn encode(&self, inquiry: &Inquiry, results: &[Result<Found, Refusal>], mark: &Mark) -> Response<Bytes> {
        let (asked, found) = match (inquiry.pictures.first(), result_of(results, 0)) {
            (Some(asked), Ok(found)) => (asked, found),
            (_, Err(refusal)) => return self.refuse(&refusal, mark),
            (None, _) => return self.refuse(&Refusal::bad_request("no picture"), mark),
        };
        // The format requires a score; a label without one is never overstated.
        let list: Vec<Value> = asked
            .select(&found.answer)
            .into_iter()
            .map(|label| json!({ "label": label.name, "score": label.score.unwrap_or(0.0) }))
            .collect();
        with_header(json_reply(200, JSON, &list), "x-request-id", &mark.request_id)
    }

    fn refuse(&self, refusal: &Refusal, mark: &Mark) -> Response<Bytes> {
        let status = match refusal.class {
            RefusalClass::QuotaSpent => 402,
            class => class.status(),
        };
        let response = json_reply(status, JSON, &json!({ "error": refusal.message }));
        with_pause(with_header(response, "x-request-id", &mark.request_id), refusal)
    }
}
