//! Google Cloud Vision as a server.

use bytes::Bytes;
use http::{Method, Response};
use serde_json::{Value, json};

use super::wire::{
    BatchIn, BatchReplyOut, CATEGORIES, EntityOut, EntryOut, FeatureIn, ImageIn, LIKELIHOODS, RequestIn,
};
use crate::served::{
    Asked, Call, Feature, FileKind, Found, Incoming, Inquiry, Mark, Presented, Refusal, RefusalClass,
    ServedApi, Source, json_reply, result_of, with_pause,
};
use crate::wire::decode_base64;
use crate::{Likelihood, Limits};

/// Labels returned where the client does not say how many.
const DEFAULT_LABELS: usize = 10;
const JSON: &str = "application/json; charset=UTF-8";

/// The wire format of `images:annotate` on the server's side.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServedGoogle;

impl ServedApi for ServedGoogle {
    fn name(&self) -> &'static str {
        "google"
    }

    fn limits(&self) -> &Limits {
        &super::LIMITS
    }

    fn kinds(&self) -> &'static [FileKind] {
        use FileKind::{Bmp, Gif, Ico, Jpeg, Png, Tiff, WebP};
        &[Jpeg, Png, Gif, Bmp, WebP, Ico, Tiff]
    }

    fn recognises(&self, incoming: &Incoming<'_>) -> bool {
        incoming.ends_with(&["images:annotate"])
    }

    fn credential(&self, incoming: &Incoming<'_>) -> Option<Presented> {
        let pairs = incoming.pairs();
        incoming
            .key_header("x-goog-api-key")
            .or_else(|| pairs.get("key").filter(|k| !k.is_empty()).map(|k| Presented::Key(k.into())))
            .or_else(|| incoming.bearer())
            .or_else(|| pairs.get("access_token").map(|token| Presented::Bearer(token.into())))
    }

    fn decode(&self, incoming: &Incoming<'_>) -> Result<Call, Refusal> {
        if !self.recognises(incoming) {
            return Err(Refusal::new(RefusalClass::NotFound, "only images:annotate is served here"));
        }
        incoming.only(&Method::POST)?;
        let pairs = incoming.pairs();
        let alt = pairs.get("$alt").or_else(|| pairs.get("alt")).unwrap_or("json");
        let mut parts = alt.split(';');
        if parts.next() != Some("json") {
            return Err(Refusal::unsupported("only alt=json is served here"));
        }
        let integers = parts.any(|part| part.trim() == "enum-encoding=int");
        let batch: BatchIn = incoming.json()?;
        let most = super::LIMITS.pictures_per_call;
        if batch.requests.is_empty() || batch.requests.len() > most {
            return Err(Refusal::bad_request(format!(
                "requests: 1 to {most} images can be annotated at once, not {}",
                batch.requests.len()
            )));
        }
        let mut model = None;
        let pictures = batch
            .requests
            .into_iter()
            .enumerate()
            .map(|(index, request)| {
                asked(request, &mut model).map_err(|mut refusal| {
                    refusal.message = format!("requests[{index}]: {}", refusal.message);
                    refusal
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Call::Inquiry(Inquiry {
            model,
            echo: json!({ "integers": integers }),
            ..Inquiry::about(pictures)
        }))
    }

    fn encode(&self, inquiry: &Inquiry, results: &[Result<Found, Refusal>], _: &Mark) -> Response<Bytes> {
        let integers = inquiry.echo["integers"] == true;
        let responses = inquiry
            .pictures
            .iter()
            .enumerate()
            .map(|(index, asked)| match result_of(results, index) {
                Ok(found) => entry(asked, found, integers),
                Err(refusal) => EntryOut {
                    error: Some(json!({ "code": code(refusal.class).0, "message": refusal.message })),
                    ..EntryOut::default()
                },
            })
            .collect();
        json_reply(200, JSON, &BatchReplyOut { responses })
    }

    fn refuse(&self, refusal: &Refusal, _: &Mark) -> Response<Bytes> {
        let (_, name, status) = code(refusal.class);
        let mut error = json!({ "code": status, "message": refusal.message, "status": name });
        if refusal.class == RefusalClass::UnknownKey {
            error["details"] = json!([{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
                "metadata": { "service": "vision.googleapis.com" },
            }]);
        }
        with_pause(json_reply(status, JSON, &json!({ "error": error })), refusal)
    }
}

fn asked(request: RequestIn, model: &mut Option<String>) -> Result<Asked, Refusal> {
    let image = request.image.ok_or_else(|| Refusal::bad_request("no image"))?;
    let mut asked = Asked::labels(source(image)?);
    asked.features.clear();
    if request.features.is_empty() {
        return Err(Refusal::bad_request("no features"));
    }
    for feature in request.features {
        let kind = kind(&feature)?;
        if kind == Feature::Labels {
            let wanted = usize::try_from(feature.max_results)
                .map_err(|_| Refusal::bad_request("maxResults is negative"))?;
            asked.most = Some(if wanted == 0 { DEFAULT_LABELS } else { wanted });
        }
        if !asked.wants(kind) {
            asked.features.push(kind);
        }
        match feature.model.as_deref() {
            None | Some("") => {}
            Some(name @ ("builtin/stable" | "builtin/latest")) => *model = Some(name.to_owned()),
            Some(_) => {
                return Err(Refusal::unsupported("model: only builtin/stable and builtin/latest exist"));
            }
        }
    }
    Ok(asked)
}

/// The SDKs send the feature's number, everyone else its name.
fn kind(feature: &FeatureIn) -> Result<Feature, Refusal> {
    match (&feature.kind, feature.kind.as_i64()) {
        (Value::String(name), _) if name == "LABEL_DETECTION" => Ok(Feature::Labels),
        (Value::String(name), _) if name == "SAFE_SEARCH_DETECTION" => Ok(Feature::Moderation),
        (_, Some(4)) => Ok(Feature::Labels),
        (_, Some(6)) => Ok(Feature::Moderation),
        _ => Err(Refusal::unsupported(
            "only the features LABEL_DETECTION and SAFE_SEARCH_DETECTION are served here",
        )),
    }
}

fn source(image: ImageIn) -> Result<Source, Refusal> {
    let content = image.content.filter(|content| !content.is_empty());
    let uri = image
        .source
        .and_then(|source| source.image_uri.or(source.gcs_image_uri))
        .filter(|uri| !uri.is_empty());
    match (content, uri) {
        (Some(_), Some(_)) => {
            Err(Refusal::bad_request("Only one of image content and uri should be specified."))
        }
        (Some(content), None) => decode_base64(&content)
            .map(|bytes| Source::Bytes(bytes.into()))
            .ok_or_else(|| Refusal::bad_request("image.content is not base64")),
        (None, Some(uri)) => Ok(Source::Url(uri)),
        (None, None) => Err(Refusal::bad_request("the image has neither content nor a source")),
    }
}

fn entry(asked: &Asked, found: &Found, integers: bool) -> EntryOut {
    let mut out = EntryOut::default();
    if asked.wants(Feature::Labels) {
        out.label_annotations = asked
            .select(&found.answer)
            .into_iter()
            .map(|label| EntityOut {
                mid: label.id.clone(),
                description: label.name.clone(),
                score: label.score,
                topicality: label.score,
            })
            .collect();
    }
    if asked.wants(Feature::Moderation) {
        let level = |category: &str| {
            let step = found.answer.levels.get(category).copied().unwrap_or(Likelihood::Unknown);
            let number = LIKELIHOODS.iter().position(|(s, _)| *s == step).unwrap_or_default();
            if integers { Value::from(number) } else { Value::from(LIKELIHOODS[number].1) }
        };
        out.safe_search_annotation =
            Some(CATEGORIES.iter().map(|&category| (category.to_owned(), level(category))).collect());
    }
    out
}

/// The `google.rpc.Code` as a number and by name, and the HTTP status.
fn code(class: RefusalClass) -> (u8, &'static str, u16) {
    use RefusalClass as C;
    match class {
        C::BadRequest
        | C::Unsupported
        | C::UnsupportedMediaType
        | C::BodyTooLarge
        | C::BadPicture
        | C::PictureTooLarge
        | C::PictureTooSmall
        | C::PictureUnreachable
        | C::UnknownKey => (3, "INVALID_ARGUMENT", 400),
        C::Abstained => (9, "FAILED_PRECONDITION", 400),
        C::NotFound => (5, "NOT_FOUND", 404),
        C::MethodNotAllowed => (12, "UNIMPLEMENTED", 405),
        C::Unauthenticated => (16, "UNAUTHENTICATED", 401),
        C::Forbidden | C::QuotaSpent => (7, "PERMISSION_DENIED", 403),
        C::Throttled => (8, "RESOURCE_EXHAUSTED", 429),
        C::Unavailable => (14, "UNAVAILABLE", 503),
        C::Internal => (13, "INTERNAL", 500),
    }
}
