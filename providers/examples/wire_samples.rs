//! Writes what this crate says on the wire, so that others can judge it: requests of every adapter, and replies and
//! refusals of every served format, as JSON files.
//!
//!     cargo run -p smoothgate-providers --example wire_samples -- FOLDER
//!
//! `tests/sdk/validate_models.py` holds them against the models of the official SDKs.

use std::error::Error;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use serde_json::{Map, Value, json};
use smoothgate_providers::served::{
    self, Call, FileKind, Found, Incoming, Inquiry, Mark, Refusal, RefusalClass, ServedApi,
};
use smoothgate_providers::{
    Answer, EncodedPicture, Format, Label, Likelihood, Provider, aws, azure, azure_v3, clarifai, google,
    huggingface, kserve, openai,
};

/// A picture by its first bytes.
const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0P\0\0\0P";

/// An adapter and the name of its samples.
type Named = (&'static str, Box<dyn Provider>);

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: wire_samples FOLDER")?;
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    for (sample, provider) in providers()? {
        let picture =
            EncodedPicture { bytes: Bytes::from_static(PICTURE), format: Format::Png, width: 80, height: 80 };
        let count = provider.limits().pictures_per_call.min(2);
        let request = provider.request(&vec![picture; count])?;
        write(folder, &format!("{sample}.request"), provider.name(), request_json(&request))?;
        let api = served::by_name(provider.name()).ok_or("an adapter without a served format")?;
        replies(folder, sample, api.as_ref(), &request)?;
    }
    for api in served::all() {
        for class in RefusalClass::ALL {
            let response = api.refuse(&Refusal::new(class, "the reason in words"), &mark());
            let mut sample = response_json(&response);
            sample["class"] = format!("{class:?}").into();
            write(folder, &format!("{}.refusal.{class:?}", api.name()), api.name(), sample)?;
        }
    }
    // What the Python and JavaScript SDKs of Google ask for: enums by number.
    let (path, query) = ("/v1/images:annotate", "$alt=json%3Benum-encoding=int");
    plain(
        folder,
        "google_integers",
        "google",
        (path, query),
        &json!({
            "requests": [{ "image": { "content": "AAAA" }, "features": [{ "type": 4 }, { "type": 6 }] }],
        }),
    )?;
    plain(folder, "clarifai_model", "clarifai", ("/v2/users/u/apps/a/models/m", ""), &Value::Null)?;
    plain(folder, "kserve_metadata", "kserve", ("/v2/models/m", ""), &Value::Null)?;
    plain(folder, "kserve_server", "kserve", ("/v2", ""), &Value::Null)
}

/// Every adapter in every form that sends or reads something different.
fn providers() -> Result<Vec<Named>, Box<dyn Error>> {
    let endpoint = "https://name.example.com".to_owned();
    let features = vec![google::Feature::Labels, google::Feature::SafeSearch];
    let moderation = aws::Operation::DetectModerationLabels;
    let both = vec![azure_v3::Feature::Tags, azure_v3::Feature::Adult];
    let chat = |choice| {
        let labels = ["dog", "cat"].map(str::to_owned).to_vec();
        openai::OpenAi::new(openai::Options { model: "m".to_owned(), labels, choice, ..Default::default() })
    };
    let hub = |top_k| huggingface::HuggingFace::new(huggingface::Options { top_k, ..Default::default() });
    let triton = |binary| {
        kserve::Kserve::new(kserve::Options {
            endpoint: endpoint.clone(),
            model: "clf".to_owned(),
            binary,
            pictures_per_call: 2,
            ..Default::default()
        })
    };
    Ok(vec![
        ("google", Box::new(google::Google::new(google::Options { features, ..Default::default() })?)),
        ("aws", Box::new(aws::Aws::new(aws::Options::default())?)),
        (
            "aws_moderation",
            Box::new(aws::Aws::new(aws::Options { operation: moderation, ..Default::default() })?),
        ),
        (
            "azure",
            Box::new(azure::Azure::new(&azure::Options {
                endpoint: endpoint.clone(),
                ..Default::default()
            })?),
        ),
        (
            "azure_v3",
            Box::new(azure_v3::AzureV3::new(&azure_v3::Options {
                endpoint: endpoint.clone(),
                features: both,
                ..Default::default()
            })?),
        ),
        ("clarifai", Box::new(clarifai::Clarifai::new(clarifai::Options::default())?)),
        ("openai", Box::new(chat(openai::Choice::JsonSchema)?)),
        ("openai_guided", Box::new(chat(openai::Choice::GuidedChoice)?)),
        ("huggingface_raw", Box::new(hub(None)?)),
        ("huggingface_json", Box::new(hub(Some(3))?)),
        ("kserve_binary", Box::new(triton(true)?)),
        ("kserve_json", Box::new(triton(false)?)),
    ])
}

fn mark() -> Mark {
    Mark { request_id: "0dbec5ad-5f1a-4c1e-9c43-1b2a3c4d5e6f".to_owned(), unix_seconds: 1_795_344_719 }
}

/// The served format's replies to that request: everything found, nothing found, and one picture refused.
fn replies(
    folder: &Path,
    sample: &str,
    api: &dyn ServedApi,
    request: &Request<Bytes>,
) -> Result<(), Box<dyn Error>> {
    let target = (request.uri().path(), request.uri().query().unwrap_or_default());
    let inquiry = match decode(api, request.method(), target, request.headers(), request.body())? {
        Call::Inquiry(inquiry) => inquiry,
        Call::Plain(_) => return Err("an adapter's request asks for no picture".into()),
    };
    let found = |answer: &Answer| {
        Ok(Found { answer: answer.clone(), width: 80, height: 80, kind: Some(FileKind::Png) })
    };
    let nothing = Answer { model_version: Some("2023-10-01".to_owned()), ..Answer::default() };
    let bad = || Err(Refusal::new(RefusalClass::BadPicture, "the picture cannot be read"));
    let count = inquiry.pictures.len();
    let full = answer();
    for (name, results) in [
        ("found", vec![found(&full); count]),
        ("nothing", vec![found(&nothing); count]),
        ("mixed", (0..count).map(|index| if index == 0 { bad() } else { found(&full) }).collect()),
    ] {
        let response = api.encode(&inquiry, &results, &mark());
        write(folder, &format!("{sample}.reply.{name}"), api.name(), response_json(&response))?;
    }
    Ok(())
}

/// An answer with everything that an answer can have.
fn answer() -> Answer {
    let label = |name: &str, score, id: Option<&str>| Label {
        name: name.to_owned(),
        score: Some(score),
        id: id.map(str::to_owned),
    };
    let mut answer = Answer {
        labels: vec![
            label("dog", 0.985, Some("281")),
            label("Egyptian cat, \"tabby\"", 0.75, None),
            label("racy content", 0.625, Some("isRacyContent")),
        ],
        model_version: Some("2023-10-01".to_owned()),
        ..Answer::default()
    };
    answer.levels.insert("racy".to_owned(), Likelihood::Likely);
    answer
}

/// A request that no adapter sends, and the reply to it.
fn plain(
    folder: &Path,
    sample: &str,
    name: &str,
    target: (&str, &str),
    body: &Value,
) -> Result<(), Box<dyn Error>> {
    let api = served::by_name(name).ok_or("no such format")?;
    let (method, body) = match body {
        Value::Null => (http::Method::GET, Bytes::new()),
        body => (http::Method::POST, Bytes::from(body.to_string())),
    };
    let response = match decode(api.as_ref(), &method, target, &HeaderMap::new(), &body)? {
        Call::Plain(response) => response,
        Call::Inquiry(inquiry) => encode_all(api.as_ref(), &inquiry),
    };
    write(folder, &format!("{sample}.reply.found"), name, response_json(&response))
}

fn encode_all(api: &dyn ServedApi, inquiry: &Inquiry) -> Response<Bytes> {
    let found = Found { answer: answer(), width: 80, height: 80, kind: Some(FileKind::Png) };
    api.encode(inquiry, &vec![Ok(found); inquiry.pictures.len()], &mark())
}

fn decode(
    api: &dyn ServedApi,
    method: &http::Method,
    (path, query): (&str, &str),
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Call, Refusal> {
    api.decode(&Incoming { method, path, query, headers, body })
}

fn headers_json(headers: &HeaderMap) -> Value {
    let pairs = headers.iter().map(|(name, value)| {
        (name.to_string(), Value::from(String::from_utf8_lossy(value.as_bytes()).into_owned()))
    });
    Value::Object(pairs.collect::<Map<_, _>>())
}

fn request_json(request: &Request<Bytes>) -> Value {
    json!({
        "method": request.method().as_str(),
        "url": request.uri().to_string(),
        "headers": headers_json(request.headers()),
        "body": STANDARD.encode(request.body()),
    })
}

fn response_json(response: &Response<Bytes>) -> Value {
    json!({
        "status": response.status().as_u16(),
        "headers": headers_json(response.headers()),
        "body": STANDARD.encode(response.body()),
    })
}

fn write(folder: &Path, sample: &str, api: &str, mut message: Value) -> Result<(), Box<dyn Error>> {
    message["api"] = api.into();
    std::fs::write(folder.join(format!("{sample}.json")), serde_json::to_vec_pretty(&message)?)?;
    Ok(())
}
