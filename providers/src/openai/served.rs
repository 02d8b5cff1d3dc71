//! Chat completions as a server.

use bytes::Bytes;
use http::{Method, Response};
use serde_json::{Value, json};

use super::LIMITS;
use super::question::{Question, closed_set, read_messages};
use crate::Limits;
use crate::served::{
    Asked, Call, FileKind, Found, Incoming, Inquiry, Mark, Presented, Refusal, RefusalClass, ServedApi,
    json_reply, result_of, with_header, with_pause,
};

const JSON: &str = "application/json";

/// The wire format of chat completions on the server's side: one picture, one label of a closed set.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServedOpenAi;

impl ServedApi for ServedOpenAi {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn limits(&self) -> &Limits {
        &LIMITS
    }

    fn kinds(&self) -> &'static [FileKind] {
        &[FileKind::Png, FileKind::Jpeg, FileKind::WebP, FileKind::Gif]
    }

    fn recognises(&self, incoming: &Incoming<'_>) -> bool {
        incoming.ends_with(&["chat", "completions"]) || lists_models(incoming)
    }

    fn credential(&self, incoming: &Incoming<'_>) -> Option<Presented> {
        // Clients of this format send their API key as a bearer token.
        incoming.authorization("Bearer").map(Presented::Key).or_else(|| incoming.key_header("api-key"))
    }

    fn decode(&self, incoming: &Incoming<'_>) -> Result<Call, Refusal> {
        if !self.recognises(incoming) {
            return Err(Refusal::new(
                RefusalClass::NotFound,
                "only chat/completions and models are served here",
            ));
        }
        if lists_models(incoming) {
            // Which models there are is not known here: whatever name a request has is taken.
            incoming.only(&Method::GET)?;
            return Ok(Call::Plain(json_reply(200, JSON, &json!({ "object": "list", "data": [] }))));
        }
        incoming.only(&Method::POST)?;
        let body: Value = incoming.json()?;
        refuse_other_features(&body)?;
        let (choices, property) = closed_set(&body)?;
        let Question { source, instructions } = read_messages(&body)?;
        let model = body.get("model").and_then(Value::as_str).map(str::to_owned);
        Ok(Call::Inquiry(Inquiry {
            model,
            choices,
            instructions,
            echo: json!({ "property": property }),
            ..Inquiry::about(vec![Asked::labels(source)])
        }))
    }

    fn encode(&self, inquiry: &Inquiry, results: &[Result<Found, Refusal>], mark: &Mark) -> Response<Bytes> {
        let found = match result_of(results, 0) {
            Ok(found) => found,
            Err(refusal) => return self.refuse(&refusal, mark),
        };
        // The first label that is a choice, in the client's own spelling.
        let chosen = found.answer.labels.iter().find_map(|label| {
            let exact = inquiry.choices.iter().find(|choice| **choice == label.name);
            exact.or_else(|| {
                let name = label.name.to_lowercase();
                inquiry.choices.iter().find(|choice| choice.to_lowercase() == name)
            })
        });
        let message = match (chosen, inquiry.echo["property"].as_str()) {
            (Some(choice), Some(property)) => {
                json!({ "role": "assistant", "content": json!({ property: choice }).to_string(), "refusal": null })
            }
            (Some(choice), None) => json!({ "role": "assistant", "content": choice, "refusal": null }),
            (None, _) => {
                json!({ "role": "assistant", "content": null, "refusal": "No label of the set can be given." })
            }
        };
        let model = found.answer.model_version.as_ref().or(inquiry.model.as_ref());
        let body = json!({
            "id": format!("chatcmpl-{}", mark.request_id),
            "object": "chat.completion",
            "created": mark.unix_seconds,
            "model": model.map_or("unknown", String::as_str),
            "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": "stop" }],
            "usage": { "prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0 },
        });
        with_header(json_reply(200, JSON, &body), "x-request-id", &mark.request_id)
    }

    fn refuse(&self, refusal: &Refusal, mark: &Mark) -> Response<Bytes> {
        let (kind, code) = code(refusal.class);
        let body = json!({ "error": {
            "message": refusal.message,
            "type": kind,
            "param": null,
            "code": code,
        } });
        let response = json_reply(refusal.class.status(), JSON, &body);
        with_pause(with_header(response, "x-request-id", &mark.request_id), refusal)
    }
}

/// The list of models, by which clients find out whether their key is taken.
fn lists_models(incoming: &Incoming<'_>) -> bool {
    incoming.ends_with(&["v1", "models"])
}

/// What would change the answer and is not offered.
fn refuse_other_features(body: &Value) -> Result<(), Refusal> {
    let set = |key: &str| {
        body.get(key)
            .is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false)) && value != &json!([]))
    };
    for key in ["stream", "tools", "functions", "logprobs", "top_logprobs", "audio", "web_search_options"] {
        if set(key) {
            return Err(Refusal::unsupported(format!("{key} is not served here")));
        }
    }
    if body.get("n").is_some_and(|n| !n.is_null() && n != &json!(1)) {
        return Err(Refusal::unsupported("n: only one choice is served here"));
    }
    Ok(())
}

/// The error's type and code.
fn code(class: RefusalClass) -> (&'static str, &'static str) {
    use RefusalClass as C;
    match class {
        C::BadRequest | C::UnsupportedMediaType => ("invalid_request_error", "invalid_value"),
        C::Unsupported => ("invalid_request_error", "unsupported_parameter"),
        C::NotFound | C::MethodNotAllowed => ("invalid_request_error", "unknown_url"),
        C::BadPicture => ("invalid_request_error", "invalid_image"),
        C::BodyTooLarge | C::PictureTooLarge => ("invalid_request_error", "image_too_large"),
        C::PictureTooSmall => ("invalid_request_error", "image_too_small"),
        C::PictureUnreachable => ("invalid_request_error", "invalid_image_url"),
        C::Unauthenticated | C::UnknownKey => ("invalid_request_error", "invalid_api_key"),
        C::Forbidden => ("permission_error", "permission_denied"),
        C::QuotaSpent => ("insufficient_quota", "insufficient_quota"),
        C::Throttled => ("requests", "rate_limit_exceeded"),
        C::Abstained => ("invalid_request_error", "abstained"),
        C::Unavailable | C::Internal => ("server_error", "server_error"),
    }
}
