//! Image Analysis 4.0 as a server.

use bytes::Bytes;
use http::{Method, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::LIMITS;
use crate::Limits;
use crate::served::{
    Asked, Call, FileKind, Found, Incoming, Inquiry, Mark, Presented, Refusal, RefusalClass, ServedApi,
    Source, first_part, json_reply, result_of, with_header, with_pause,
};

const JSON: &str = "application/json; charset=utf-8";

/// The wire format of Image Analysis 4.0 on the server's side.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServedAzure;

impl ServedApi for ServedAzure {
    fn name(&self) -> &'static str {
        "azure"
    }

    fn limits(&self) -> &Limits {
        &LIMITS
    }

    fn kinds(&self) -> &'static [FileKind] {
        use FileKind::{Bmp, Gif, Ico, Jpeg, Png, Tiff, WebP};
        &[Jpeg, Png, Gif, Bmp, WebP, Ico, Tiff]
    }

    fn recognises(&self, incoming: &Incoming<'_>) -> bool {
        incoming.ends_with(&["computervision", "imageanalysis:analyze"])
    }

    fn credential(&self, incoming: &Incoming<'_>) -> Option<Presented> {
        incoming.key_header("ocp-apim-subscription-key").or_else(|| incoming.bearer())
    }

    fn decode(&self, incoming: &Incoming<'_>) -> Result<Call, Refusal> {
        if !self.recognises(incoming) {
            return Err(Refusal::new(RefusalClass::NotFound, "Resource not found"));
        }
        incoming.only(&Method::POST)?;
        let pairs = incoming.pairs();
        if pairs.get("model-name").is_some_and(|name| !name.is_empty()) {
            return Err(Refusal::unsupported("model-name: custom models are not served here"));
        }
        let features = pairs.get("features").unwrap_or_default();
        if features.is_empty() {
            return Err(Refusal::bad_request(
                "Either 'features' or 'model-name' needs to be specified in the query parameter",
            ));
        }
        // The JavaScript samples write `Tags`.
        if let Some(other) = features.split(',').find(|feature| !feature.trim().eq_ignore_ascii_case("tags"))
        {
            return Err(Refusal::unsupported(format!(
                "Analyze query is invalid: the feature `{}` is not served here, only tags",
                crate::wire::shorten(other)
            )));
        }
        english_only(pairs.get("language"))?;
        let model = model_version(pairs.get("model-version"))?;
        let pictures = vec![Asked::labels(picture(incoming)?)];
        Ok(Call::Inquiry(Inquiry { model, ..Inquiry::about(pictures) }))
    }

    fn encode(&self, _: &Inquiry, results: &[Result<Found, Refusal>], mark: &Mark) -> Response<Bytes> {
        let found = match result_of(results, 0) {
            Ok(found) => found,
            Err(refusal) => return self.refuse(&refusal, mark),
        };
        let body = json!({
            "modelVersion": found.answer.model_version.as_deref().unwrap_or("unknown"),
            "metadata": { "width": found.width, "height": found.height },
            "tagsResult": { "values": tags(found) },
        });
        with_header(json_reply(200, JSON, &body), "apim-request-id", &mark.request_id)
    }

    fn refuse(&self, refusal: &Refusal, mark: &Mark) -> Response<Bytes> {
        refusal_reply(refusal, mark)
    }
}

/// The labels that are no moderation categories, as tags. The format requires a confidence; a label without a score
/// is never overstated.
fn tags(found: &Found) -> Vec<Value> {
    let tag = |label: &crate::Label| json!({ "name": label.name, "confidence": label.score.unwrap_or(0.0) });
    found.answer.labels.iter().map(tag).collect()
}

/// Only English is served.
pub(crate) fn english_only(language: Option<&str>) -> Result<(), Refusal> {
    match language {
        None | Some("" | "en") => Ok(()),
        Some(_) => Err(Refusal::unsupported("language: only en is served here")),
    }
}

/// `latest` or a date, perhaps with `-preview`.
pub(crate) fn model_version(version: Option<&str>) -> Result<Option<String>, Refusal> {
    let Some(version) = version.filter(|version| !version.is_empty()) else { return Ok(None) };
    let base = version.strip_suffix("-preview").unwrap_or(version);
    let date = base.len() == 10
        && base
            .bytes()
            .enumerate()
            .all(|(at, b)| if at == 4 || at == 7 { b == b'-' } else { b.is_ascii_digit() });
    if base == "latest" || date {
        return Ok(Some(version.to_owned()));
    }
    Err(Refusal::bad_request("model-version must be `latest` or a date like 2023-10-01"))
}

#[derive(Deserialize)]
struct UrlIn {
    url: Option<String>,
}

/// The picture of either Azure format: raw bytes, the first part of a form, or a URL in JSON.
pub(crate) fn picture(incoming: &Incoming<'_>) -> Result<Source, Refusal> {
    let empty = || Refusal::new(RefusalClass::BadPicture, "The image size is not allowed to be zero");
    let media = incoming.media_type();
    let bytes = match media.as_deref() {
        Some("application/json") => {
            let url = incoming.json::<UrlIn>()?.url.filter(|url| !url.is_empty());
            return url.map(Source::Url).ok_or_else(|| Refusal::bad_request("the body has no `url`"));
        }
        Some("multipart/form-data") => first_part(incoming)?,
        None | Some("application/octet-stream") => incoming.body.clone(),
        Some(media) if media.starts_with("image/") => incoming.body.clone(),
        Some(media) => {
            return Err(Refusal::new(
                RefusalClass::UnsupportedMediaType,
                format!("The provided image content type {} is not supported", crate::wire::shorten(media)),
            ));
        }
    };
    if bytes.is_empty() { Err(empty()) } else { Ok(Source::Bytes(bytes)) }
}

/// An error of either Azure format.
pub(crate) fn refusal_reply(refusal: &Refusal, mark: &Mark) -> Response<Bytes> {
    let (status, code, inner) = code(refusal.class);
    let mut error = json!({ "code": code, "message": refusal.message });
    if let Some(inner) = inner {
        error["innererror"] = json!({ "code": inner, "message": refusal.message });
    }
    let response = json_reply(status, JSON, &json!({ "error": error }));
    let response = with_header(response, "x-ms-error-code", code);
    with_pause(with_header(response, "apim-request-id", &mark.request_id), refusal)
}

/// The status, the general code and the precise one.
fn code(class: RefusalClass) -> (u16, &'static str, Option<&'static str>) {
    use RefusalClass as C;
    match class {
        C::BadRequest => (400, "InvalidRequest", Some("BadArgument")),
        C::Unsupported => (400, "InvalidRequest", Some("NotSupportedVisualFeature")),
        C::NotFound => (404, "404", None),
        C::MethodNotAllowed => (405, "405", None),
        C::UnsupportedMediaType => (415, "InvalidRequest", Some("UnsupportedMediaType")),
        C::BadPicture => (400, "InvalidRequest", Some("InvalidImageFormat")),
        // Oversize is 400 here, never 413.
        C::BodyTooLarge | C::PictureTooLarge | C::PictureTooSmall => {
            (400, "InvalidRequest", Some("InvalidImageSize"))
        }
        C::PictureUnreachable => (400, "InvalidRequest", Some("InvalidImageUrl")),
        C::Unauthenticated | C::UnknownKey => (401, "401", None),
        C::Forbidden | C::QuotaSpent => (403, "403", None),
        C::Throttled => (429, "429", None),
        C::Abstained => (400, "InvalidRequest", Some("Abstained")),
        C::Unavailable => (503, "ServiceUnavailable", None),
        C::Internal => (500, "InternalServerError", None),
    }
}
