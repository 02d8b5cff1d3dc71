//! The Open Inference Protocol as a server.

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Method, Response};
use serde_json::{Value, json};

use super::{JSON_LENGTH, LIMITS, binary};
use crate::served::{
    Asked, Call, FileKind, Found, Incoming, Inquiry, Mark, Presented, Refusal, RefusalClass, ServedApi,
    Source, json_reply, raw_reply, result_of, with_header, with_pause,
};
use crate::wire::decode_base64;
use crate::{Label, Limits};

const JSON: &str = "application/json";
const OCTETS: &str = "application/octet-stream";
/// The version that is served where neither client nor classifier names one.
const VERSION: &str = "1";

/// The wire format of the Open Inference Protocol on the server's side: encoded pictures in a BYTES tensor, labels by
/// the classification extension. Any model name is served.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServedKserve;

/// What stands after `/v2`.
enum Place {
    Server,
    Health,
    Ready,
    Metadata { model: String, version: Option<String> },
    Infer { model: String, version: Option<String> },
}

fn place(incoming: &Incoming<'_>) -> Option<Place> {
    let segments = incoming.segments();
    let start = segments.iter().position(|segment| segment == "v2")?;
    let rest: Vec<&str> = segments[start + 1..].iter().map(AsRef::as_ref).collect();
    Some(match rest.as_slice() {
        [] => Place::Server,
        ["health", "live" | "ready"] => Place::Health,
        ["models", _, "ready"] | ["models", _, "versions", _, "ready"] => Place::Ready,
        ["models", model] => Place::Metadata { model: (*model).to_owned(), version: None },
        ["models", model, "versions", version] => {
            Place::Metadata { model: (*model).to_owned(), version: Some((*version).to_owned()) }
        }
        ["models", model, "infer"] => Place::Infer { model: (*model).to_owned(), version: None },
        ["models", model, "versions", version, "infer"] => {
            Place::Infer { model: (*model).to_owned(), version: Some((*version).to_owned()) }
        }
        _ => return None,
    })
}

impl ServedApi for ServedKserve {
    fn name(&self) -> &'static str {
        "kserve"
    }

    fn limits(&self) -> &Limits {
        &LIMITS
    }

    fn kinds(&self) -> &'static [FileKind] {
        use FileKind::{Bmp, Gif, Jpeg, Png, WebP};
        &[Jpeg, Png, Gif, Bmp, WebP]
    }

    fn recognises(&self, incoming: &Incoming<'_>) -> bool {
        place(incoming).is_some()
    }

    fn credential(&self, incoming: &Incoming<'_>) -> Option<Presented> {
        incoming.authorization("Bearer").map(Presented::Key).or_else(|| incoming.key_header("x-api-key"))
    }

    fn decode(&self, incoming: &Incoming<'_>) -> Result<Call, Refusal> {
        let plain = |body: Value| Ok(Call::Plain(json_reply(200, JSON, &body)));
        let place = place(incoming).ok_or_else(|| {
            Refusal::new(RefusalClass::NotFound, "only infer, metadata and health are served here")
        })?;
        if !matches!(place, Place::Infer { .. }) {
            incoming.only(&Method::GET)?;
        }
        match place {
            Place::Server => plain(json!({
                "name": "smoothgate",
                "version": env!("CARGO_PKG_VERSION"),
                "extensions": ["classification", "binary_tensor_data"],
            })),
            Place::Health | Place::Ready => Ok(Call::Plain(raw_reply(200, JSON, Bytes::new()))),
            Place::Metadata { model, version } => plain(json!({
                "name": model,
                "versions": [version.as_deref().unwrap_or(VERSION)],
                "platform": "smoothgate",
                "inputs": [{ "name": "IMAGE", "datatype": "BYTES", "shape": [-1, 1] }],
                "outputs": [{ "name": "probs", "datatype": "FP32", "shape": [-1, -1] }],
            })),
            Place::Infer { model, version } => {
                incoming.only(&Method::POST)?;
                inquiry(incoming, model, version.as_deref()).map(Call::Inquiry)
            }
        }
    }

    fn encode(&self, inquiry: &Inquiry, results: &[Result<Found, Refusal>], mark: &Mark) -> Response<Bytes> {
        let echo = &inquiry.echo;
        let mut classes = Vec::new();
        let mut version = None;
        for (index, asked) in inquiry.pictures.iter().enumerate() {
            // The protocol knows no errors of single pictures.
            let found = match result_of(results, index) {
                Ok(found) => found,
                Err(refusal) => return self.refuse(&refusal, mark),
            };
            version = version.or(found.answer.model_version.as_deref());
            classes.push(asked.select(&found.answer).into_iter().enumerate().map(class).collect::<Vec<_>>());
        }
        // A tensor is rectangular: shorter lists are filled up with empty strings, which clients drop.
        let top = classes.iter().map(Vec::len).max().unwrap_or_default();
        for list in &mut classes {
            list.resize(top, String::new());
        }
        let texts: Vec<String> = classes.concat();
        let mut output = json!({
            "name": echo["output"],
            "datatype": "BYTES",
            "shape": [inquiry.pictures.len(), top],
        });
        let raw = if echo["binary"] == true {
            let raw = binary::pack(texts.iter().map(String::as_bytes));
            output["parameters"] = json!({ "binary_data_size": raw.len() });
            Some(raw)
        } else {
            output["data"] = texts.into();
            None
        };
        let mut body = json!({
            "model_name": inquiry.model,
            "model_version": version.or(echo["version"].as_str()).unwrap_or(VERSION),
            "outputs": [output],
        });
        if !echo["id"].is_null() {
            body["id"] = echo["id"].clone();
        }
        let response = match raw {
            None => json_reply(200, JSON, &body),
            Some(raw) => {
                let mut bytes = body.to_string().into_bytes();
                let length = bytes.len();
                bytes.extend(raw);
                let mut response = raw_reply(200, OCTETS, bytes.into());
                response.headers_mut().insert(JSON_LENGTH, HeaderValue::from(length));
                response
            }
        };
        with_header(response, "x-request-id", &mark.request_id)
    }

    fn refuse(&self, refusal: &Refusal, mark: &Mark) -> Response<Bytes> {
        let response = json_reply(refusal.class.status(), JSON, &json!({ "error": refusal.message }));
        with_pause(with_header(response, "x-request-id", &mark.request_id), refusal)
    }
}

/// `value:index:label`. The index is the label's id where that is a number, else its place.
fn class((place, label): (usize, &Label)) -> String {
    let index = label.id.as_deref().and_then(|id| id.parse::<usize>().ok()).unwrap_or(place);
    format!("{}:{index}:{}", label.score.unwrap_or(0.0), label.name)
}

fn inquiry(incoming: &Incoming<'_>, model: String, version: Option<&str>) -> Result<Inquiry, Refusal> {
    let (head, raw) = binary::split(incoming.headers, incoming.body).ok_or_else(|| {
        Refusal::bad_request("Inference-Header-Content-Length does not fit the body's length")
    })?;
    let body: Value = crate::wire::json_of_stranger(head)
        .map_err(|problem| Refusal::bad_request(format!("the body is not valid: {problem}")))?;
    let inputs = body.get("inputs").and_then(Value::as_array).map(Vec::as_slice);
    let raw = binary::raw_of_each(inputs.unwrap_or_default(), raw).ok_or_else(|| {
        Refusal::bad_request("binary_data_size of the inputs does not add up to the body's length")
    })?;
    let (Some([input]), [raw]) = (inputs, raw.as_slice()) else {
        return Err(Refusal::unsupported(
            "exactly one input is served here: a BYTES tensor of encoded images",
        ));
    };
    let pictures = pictures(input, *raw)?;
    let (output, top, own_choice) = output(&body)?;
    let whole = body.pointer("/parameters/binary_data_output").and_then(Value::as_bool);
    let echo = json!({
        "id": body.get("id"),
        "version": version,
        "output": output,
        "binary": own_choice.or(whole).unwrap_or(false),
    });
    let pictures = pictures
        .into_iter()
        .map(|bytes| Asked { most: Some(top), ..Asked::labels(Source::Bytes(bytes)) })
        .collect();
    Ok(Inquiry { model: Some(model), echo, ..Inquiry::about(pictures) })
}

/// The encoded pictures of a BYTES tensor of shape `[n]` or `[n, 1]`.
fn pictures(input: &Value, raw: Option<&[u8]>) -> Result<Vec<Bytes>, Refusal> {
    if input.get("datatype").and_then(Value::as_str) != Some("BYTES") {
        return Err(Refusal::unsupported("only encoded images in a BYTES tensor are served here"));
    }
    let elements: Option<Vec<Bytes>> = match raw {
        Some(raw) => binary::unpack(raw, LIMITS.pictures_per_call)
            .map(|list| list.into_iter().map(Bytes::copy_from_slice).collect()),
        None => input.get("data").and_then(binary::flatten).and_then(|list| {
            list.into_iter().map(|text| text.as_str().and_then(decode_base64).map(Bytes::from)).collect()
        }),
    };
    let elements = elements.ok_or_else(|| {
        let most = LIMITS.pictures_per_call;
        Refusal::bad_request(format!("the input holds neither at most {most} raw elements nor base64 texts"))
    })?;
    let shape = binary::shape(input).unwrap_or_default();
    if elements.is_empty()
        || elements.len() > LIMITS.pictures_per_call
        || !matches!(shape.as_slice(), [n] | [n, 1] if *n == elements.len())
    {
        return Err(Refusal::bad_request(format!(
            "the input has {} elements in shape {shape:?}; served are 1 to {} images in shape [n] or [n, 1]",
            elements.len(),
            LIMITS.pictures_per_call
        )));
    }
    Ok(elements)
}

/// The name of the one output, how many classes are wanted, and whether they are wanted raw.
fn output(body: &Value) -> Result<(String, usize, Option<bool>), Refusal> {
    let outputs = body.get("outputs").and_then(Value::as_array).map(Vec::as_slice);
    let Some([output]) = outputs else {
        return Err(Refusal::unsupported(
            "exactly one output has to be asked for, with the classification extension",
        ));
    };
    let classes = output.pointer("/parameters/classification").and_then(Value::as_u64);
    let classes = classes.and_then(|count| usize::try_from(count).ok()).filter(|count| *count > 0);
    let classes = classes.ok_or_else(|| {
        Refusal::unsupported("outputs[0].parameters.classification is missing: only labels are served here")
    })?;
    let name = output.get("name").and_then(Value::as_str).unwrap_or("probs");
    let raw = output.pointer("/parameters/binary_data").and_then(Value::as_bool);
    Ok((name.to_owned(), classes, raw))
}
