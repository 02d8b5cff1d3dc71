//! Clarifai's predictions as a server.

use bytes::Bytes;
use http::{Method, Response};
use serde_json::{Value, json};

use super::LIMITS;
use super::codes::{FAILURE, MIXED_STATUS, SUCCESS};
use super::wire::{Input, OutputConfig, RequestIn};
use crate::served::{
    Asked, Call, FileKind, Found, Incoming, Inquiry, Mark, Presented, Refusal, RefusalClass, ServedApi,
    Source, json_reply, result_of, with_header, with_pause,
};
use crate::wire::{decode_base64, rfc3339};
use crate::{Label, Limits};

const JSON: &str = "application/json";
/// Concepts returned where the client does not say how many.
const DEFAULT_CONCEPTS: usize = 20;

/// The wire format of predictions on the server's side.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServedClarifai;

/// A path that names a model: `/v2[/users/U/apps/A]/models/M[/versions/V]...`.
struct ModelPath {
    user: Option<String>,
    app: Option<String>,
    model: String,
    version: Option<String>,
    /// What follows: `outputs`, or nothing for the model itself.
    rest: Vec<String>,
}

impl ModelPath {
    fn read(incoming: &Incoming<'_>) -> Option<Self> {
        let segments: Vec<String> =
            incoming.segments().into_iter().map(std::borrow::Cow::into_owned).collect();
        let start = segments.iter().position(|segment| segment == "v2")?;
        let mut path = segments.into_iter().skip(start + 1).peekable();
        let mut after = |word: &str| {
            path.next_if(|segment| segment == word)?;
            path.next()
        };
        let (user, app) = (after("users"), after("apps"));
        let (model, version) = (after("models")?, after("versions"));
        Some(Self { user, app, model, version, rest: path.collect() })
    }

    fn is_prediction(&self) -> bool {
        self.rest == ["outputs"]
    }
}

impl ServedApi for ServedClarifai {
    fn name(&self) -> &'static str {
        "clarifai"
    }

    fn limits(&self) -> &Limits {
        &LIMITS
    }

    fn kinds(&self) -> &'static [FileKind] {
        use FileKind::{Bmp, Jpeg, Png, Tiff, WebP};
        &[Jpeg, Png, Tiff, Bmp, WebP]
    }

    /// A model's description at `/v2/models/M` is recognised by its `Key` credential: KServe has the same path.
    fn recognises(&self, incoming: &Incoming<'_>) -> bool {
        ModelPath::read(incoming).is_some_and(|path| {
            path.is_prediction()
                || (path.rest.is_empty() && (path.user.is_some() || incoming.authorization("Key").is_some()))
        })
    }

    fn credential(&self, incoming: &Incoming<'_>) -> Option<Presented> {
        incoming.authorization("Key").map(Presented::Key).or_else(|| incoming.bearer())
    }

    fn decode(&self, incoming: &Incoming<'_>) -> Result<Call, Refusal> {
        let path = ModelPath::read(incoming).filter(|path| path.is_prediction() || path.rest.is_empty());
        let Some(path) = path else {
            return Err(Refusal::new(RefusalClass::NotFound, "API path does not exist"));
        };
        if path.rest.is_empty() {
            incoming.only(&Method::GET)?;
            let body = json!({ "status": { "code": SUCCESS, "description": "Ok" }, "model": model(&echo(&path), None) });
            return Ok(Call::Plain(json_reply(200, JSON, &body)));
        }
        incoming.only(&Method::POST)?;
        let request: RequestIn = incoming.json()?;
        if request.inputs.is_empty() || request.inputs.len() > LIMITS.pictures_per_call {
            return Err(Refusal::bad_request(format!(
                "inputs: 1 to {} are taken a call, not {}",
                LIMITS.pictures_per_call,
                request.inputs.len()
            )));
        }
        let config = request.model.and_then(|model| model.output_info).and_then(|info| info.output_config);
        let template = template(config)?;
        let mut echo = echo(&path);
        echo["ids"] = request.inputs.iter().map(|input| Value::from(input.id.as_str())).collect();
        let pictures = request
            .inputs
            .into_iter()
            .enumerate()
            .map(|(index, input)| Ok(Asked { source: source(index, input)?, ..template.clone() }))
            .collect::<Result<Vec<_>, Refusal>>()?;
        Ok(Call::Inquiry(Inquiry { model: Some(path.model), echo, ..Inquiry::about(pictures) }))
    }

    fn encode(&self, inquiry: &Inquiry, results: &[Result<Found, Refusal>], mark: &Mark) -> Response<Bytes> {
        let results: Vec<_> = (0..inquiry.pictures.len()).map(|index| result_of(results, index)).collect();
        if let [Err(refusal)] = results.as_slice() {
            return self.refuse(refusal, mark);
        }
        let outputs: Vec<Value> = inquiry
            .pictures
            .iter()
            .zip(&results)
            .enumerate()
            .map(|(index, (asked, result))| output(inquiry, index, asked, result, mark))
            .collect();
        let failed = results.iter().filter(|result| result.is_err()).count();
        let (status, code, description) = match failed {
            0 => (200, SUCCESS, "Ok"),
            n if n == results.len() => (400, FAILURE, "Failure"),
            _ => (200, MIXED_STATUS, "Mixed Success"),
        };
        let body = json!({
            "status": { "code": code, "description": description, "req_id": mark.request_id },
            "outputs": outputs,
        });
        with_header(json_reply(status, JSON, &body), "x-request-id", &mark.request_id)
    }

    fn refuse(&self, refusal: &Refusal, mark: &Mark) -> Response<Bytes> {
        let (status, code, description) = code(refusal.class);
        let body = json!({ "status": {
            "code": code,
            "description": description,
            "details": refusal.message,
            "req_id": mark.request_id,
        } });
        with_pause(with_header(json_reply(status, JSON, &body), "x-request-id", &mark.request_id), refusal)
    }
}

fn echo(path: &ModelPath) -> Value {
    json!({
        "user_id": path.user.as_deref().unwrap_or("clarifai"),
        "app_id": path.app.as_deref().unwrap_or("main"),
        "model": path.model,
        "version": path.version,
    })
}

/// What is asked of every picture of the call.
fn template(config: Option<OutputConfig>) -> Result<Asked, Refusal> {
    let mut asked = Asked::labels(Source::Bytes(Bytes::new()));
    asked.most = Some(DEFAULT_CONCEPTS);
    let Some(config) = config else { return Ok(asked) };
    match config.max_concepts {
        0 => {}
        count @ 1..=200 => asked.most = usize::try_from(count).ok(),
        other => return Err(Refusal::bad_request(format!("max_concepts is 0 to 200, not {other}"))),
    }
    if !(0.0..=1.0).contains(&config.min_value) {
        return Err(Refusal::bad_request("min_value is 0 to 1"));
    }
    if !matches!(config.language.as_str(), "" | "en") {
        return Err(Refusal::unsupported("language: only en is served here"));
    }
    asked.least = Some(config.min_value);
    for concept in config.select_concepts {
        // By name where there is one: not every answer has identifiers.
        if !concept.name.is_empty() {
            asked.only.push(concept.name);
        } else if !concept.id.is_empty() {
            asked.only_ids.push(concept.id);
        }
    }
    Ok(asked)
}

fn source(index: usize, input: Input) -> Result<Source, Refusal> {
    let image = input.data.and_then(|data| data.image);
    let image =
        image.ok_or_else(|| Refusal::unsupported(format!("inputs[{index}]: only images are served here")))?;
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    match (filled(image.base64), filled(image.url)) {
        (Some(text), None) => decode_base64(&text)
            .map(|bytes| Source::Bytes(bytes.into()))
            .ok_or_else(|| Refusal::bad_request(format!("inputs[{index}]: data.image.base64 is not base64"))),
        (None, Some(url)) => Ok(Source::Url(url)),
        (Some(_), Some(_)) => {
            Err(Refusal::bad_request(format!("inputs[{index}]: data.image has both base64 and url")))
        }
        (None, None) => {
            Err(Refusal::bad_request(format!("inputs[{index}]: data.image has neither base64 nor url")))
        }
    }
}

fn model(echo: &Value, version: Option<&str>) -> Value {
    let version = version.or(echo["version"].as_str()).unwrap_or_default();
    json!({
        "id": echo["model"],
        "name": echo["model"],
        "app_id": echo["app_id"],
        "user_id": echo["user_id"],
        "model_type_id": "visual-classifier",
        "model_version": { "id": version, "app_id": echo["app_id"], "user_id": echo["user_id"] },
    })
}

fn output(
    inquiry: &Inquiry,
    index: usize,
    asked: &Asked,
    result: &Result<&Found, Refusal>,
    mark: &Mark,
) -> Value {
    let id = inquiry.echo["ids"][index].as_str().filter(|id| !id.is_empty());
    let mut output = json!({
        "id": format!("{}-{index}", mark.request_id),
        "created_at": rfc3339(mark.unix_seconds),
        "input": { "id": id.map_or_else(|| format!("input-{index}"), str::to_owned) },
    });
    match result {
        Ok(found) => {
            let concept = |label: &Label| {
                let mut concept = json!({
                    "id": label.id.as_deref().unwrap_or(&label.name),
                    "name": label.name,
                    "app_id": inquiry.echo["app_id"],
                });
                if let Some(score) = label.score {
                    concept["value"] = score.into();
                }
                concept
            };
            output["status"] = json!({ "code": SUCCESS, "description": "Ok" });
            output["model"] = model(&inquiry.echo, found.answer.model_version.as_deref());
            output["data"] = json!({
                "concepts": asked.select(&found.answer).into_iter().map(concept).collect::<Vec<_>>(),
            });
        }
        Err(refusal) => {
            let (_, code, description) = code(refusal.class);
            output["status"] =
                json!({ "code": code, "description": description, "details": refusal.message });
            output["model"] = model(&inquiry.echo, None);
        }
    }
    output
}

/// The HTTP status, the code and its description.
fn code(class: RefusalClass) -> (u16, i64, &'static str) {
    use RefusalClass as C;
    match class {
        C::BadRequest => (400, 11_100, "Bad request format"),
        C::Unsupported => (400, 11_102, "Invalid request"),
        C::NotFound => (404, 11_101, "API path does not exist"),
        C::MethodNotAllowed => (405, 11_101, "API path does not exist"),
        C::UnsupportedMediaType => (415, 11_100, "Bad request format"),
        C::BodyTooLarge => (413, 40_033, "Message too large"),
        C::BadPicture => (400, 30_101, "Input has unsupported format"),
        C::PictureTooLarge => (400, 30_105, "Input over limit"),
        C::PictureTooSmall => (400, 30_104, "Input invalid argument"),
        C::PictureUnreachable => (400, 30_002, "Input download failed"),
        C::Unauthenticated => (401, 11_002, "Invalid authentication credentials"),
        C::UnknownKey => (401, 11_008, "Invalid API key or Invalid API key/application pair"),
        C::Forbidden => (403, 11_007, "Insufficient scopes"),
        C::QuotaSpent => (403, 11_006, "Account limits reached"),
        C::Throttled => (429, 11_005, "Making too many requests"),
        C::Abstained => (422, FAILURE, "Failure"),
        C::Unavailable => (503, 40_031, "Server unavailable"),
        C::Internal => (500, 98_004, "Internal error"),
    }
}
