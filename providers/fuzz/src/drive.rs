//! Drives a decoder with any bytes and checks what must hold whatever they are.
//!
//! The bytes are read as an HTTP message, as leniently as can be: first line, headers, an empty line, the body. So
//! the fixtures of the tests are the seeds of the corpus.

use std::collections::HashMap;
use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use serde_json::json;
use smoothgate_providers::served::{
    self, Call, FileKind, Found, Incoming, Inquiry, Mark, Refusal, RefusalClass,
};
use smoothgate_providers::{
    Answer, Label, Likelihood, Outcome, Provider, Reply, aws, azure, azure_v3, clarifai, google, huggingface,
    kserve, openai,
};

/// No reason is longer than this, whatever an API says.
const LONGEST_REASON: usize = 1200;

type Adapters = Vec<Box<dyn Provider>>;

/// Every adapter in every form that reads replies differently.
static ADAPTERS: LazyLock<HashMap<&'static str, Adapters>> = LazyLock::new(|| {
    let endpoint = "https://name.example.com".to_owned();
    let labels = ["ant", "bee", "cat"].map(str::to_owned).to_vec();
    let google = |features| google::Google::new(google::Options { features, ..Default::default() }).unwrap();
    let aws = |operation| aws::Aws::new(aws::Options { operation, ..Default::default() }).unwrap();
    let azure_v3 = |features| {
        let options = azure_v3::Options { endpoint: endpoint.clone(), features, ..Default::default() };
        azure_v3::AzureV3::new(&options).unwrap()
    };
    let openai = |choice, pin_build| {
        let options = openai::Options {
            model: "m".to_owned(),
            labels: ["dog", "cat"].map(str::to_owned).to_vec(),
            none_label: Some("none".to_owned()),
            choice,
            pin_build,
            ..Default::default()
        };
        openai::OpenAi::new(options).unwrap()
    };
    let kserve = |answer, values| {
        let options = kserve::Options {
            endpoint: endpoint.clone(),
            model: "clf".to_owned(),
            answer,
            values,
            pictures_per_call: 16,
            ..Default::default()
        };
        kserve::Kserve::new(options).unwrap()
    };
    let described = |labels: serde_json::Value| {
        let options = json!({
            "url": "https://api.example.com",
            "labels": labels,
            "scale": "percent",
            "error_message": "/error",
            "errors": [
                { "status": "4xx", "at": "/error", "contains": "limit", "end": "throttled" },
                { "at": "/status/ok", "equals": "false", "end": "bad-picture" },
            ],
        });
        smoothgate_providers::http::HttpApi::new(serde_json::from_value(options).unwrap()).unwrap()
    };
    HashMap::from([
        (
            "google",
            vec![
                Box::new(google(vec![google::Feature::Labels])) as Box<dyn Provider>,
                Box::new(google(vec![google::Feature::Labels, google::Feature::SafeSearch])),
            ],
        ),
        (
            "aws",
            vec![
                Box::new(aws(aws::Operation::DetectLabels)),
                Box::new(aws(aws::Operation::DetectModerationLabels)),
            ],
        ),
        (
            "azure",
            vec![Box::new(
                azure::Azure::new(&azure::Options { endpoint: endpoint.clone(), ..Default::default() })
                    .unwrap(),
            )],
        ),
        (
            "azure-v3",
            vec![
                Box::new(azure_v3(vec![azure_v3::Feature::Tags])),
                Box::new(azure_v3(vec![azure_v3::Feature::Tags, azure_v3::Feature::Adult])),
            ],
        ),
        ("clarifai", vec![Box::new(clarifai::Clarifai::new(clarifai::Options::default()).unwrap())]),
        (
            "openai",
            vec![
                Box::new(openai(openai::Choice::JsonSchema, true)),
                Box::new(openai(openai::Choice::GuidedChoice, false)),
            ],
        ),
        (
            "huggingface",
            vec![Box::new(huggingface::HuggingFace::new(huggingface::Options::default()).unwrap())],
        ),
        (
            "kserve",
            vec![
                Box::new(kserve(
                    kserve::AnswerForm::Classification { top: 5 },
                    kserve::Values::Probabilities,
                )),
                Box::new(kserve(kserve::AnswerForm::Tensor { labels }, kserve::Values::Raw)),
            ],
        ),
        (
            "http",
            vec![
                Box::new(described(
                    json!({ "form": "list", "at": "/result/tags", "name": "/tag/en", "score": "/confidence", "id": "/uid" }),
                )),
                Box::new(described(
                    json!({ "form": "parallel", "names": "/result/names", "scores": "/result/values" }),
                )),
                Box::new(described(json!({ "form": "map", "at": "/result/scores" }))),
                Box::new(described(json!({ "form": "one", "name": "/result/class", "score": "/result/p" }))),
            ],
        ),
    ])
});

/// The names of all adapters.
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = ADAPTERS.keys().copied().collect();
    names.sort_unstable();
    names
}

/// An HTTP message in bytes that may be anything.
struct Message<'a> {
    first: &'a [u8],
    headers: HeaderMap,
    body: Bytes,
}

impl<'a> Message<'a> {
    fn read(data: &'a [u8]) -> Self {
        let (head, body) = split_once(data, b"\n\n").unwrap_or((data, b""));
        let mut lines = head.split(|b| *b == b'\n');
        let first = lines.next().unwrap_or_default();
        let mut headers = HeaderMap::new();
        for line in lines.take(64) {
            let Some((name, value)) = split_once(line, b":") else { continue };
            let name = HeaderName::from_bytes(name.trim_ascii());
            let value = HeaderValue::from_bytes(value.trim_ascii());
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        Self { first, headers, body: fill(body.strip_suffix(b"\n").unwrap_or(body)) }
    }
}

fn split_once<'a>(data: &'a [u8], by: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = data.windows(by.len()).position(|window| window == by)?;
    Some((&data[..at], &data[at + by.len()..]))
}

/// Puts something into the places that fixtures leave for a picture.
fn fill(body: &[u8]) -> Bytes {
    let mut filled = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((before, after)) = split_once(rest, b"{{picture") {
        filled.extend(before);
        let (with, after) = match after.strip_prefix(b".base64}}") {
            Some(after) => (&b"iVBORw0KGgo="[..], after),
            None => (&b"\x89PNG\r\n\x1a\n"[..], after.strip_prefix(b"}}").unwrap_or(after)),
        };
        filled.extend(with);
        rest = after;
    }
    filled.extend(rest);
    filled.into()
}

/// Reads `data` as a reply with every form of the adapter, for 1 and for several pictures.
pub fn reply(adapter: &str, data: &[u8]) {
    let message = Message::read(data);
    let status =
        message.first.split(|b| *b == b' ').nth(1).and_then(|code| StatusCode::from_bytes(code).ok());
    let reply =
        Reply { status: status.unwrap_or(StatusCode::OK), headers: message.headers, body: message.body };
    for provider in &ADAPTERS[adapter] {
        for pictures in [1, 2, 3, 10, 16] {
            check_outcomes(provider.as_ref(), pictures, &reply);
        }
    }
}

fn check_outcomes(provider: &dyn Provider, pictures: usize, reply: &Reply) {
    let outcomes = provider.outcomes(pictures, reply);
    assert_eq!(outcomes.len(), pictures, "one outcome a picture");
    provider.ask_singly(pictures, reply);
    for outcome in &outcomes {
        match outcome {
            Outcome::Answered(answer) => {
                assert!(reply.status.is_success(), "an error status is no answer");
                for label in &answer.labels {
                    assert!(label.score.is_none_or(|score| (0.0..=1.0).contains(&score)), "{label:?}");
                }
            }
            other => {
                let reason = other.reason().expect("what is not answered has a reason");
                assert!(reason.chars().count() <= LONGEST_REASON, "{} characters", reason.chars().count());
                assert!(!reason.chars().any(char::is_control), "{reason:?}");
            }
        }
    }
}

/// Reads `data` as a request to a server of the format, and where it is one, writes every kind of reply to it and reads
/// those with the adapter.
pub fn request(format: &str, data: &[u8]) {
    let message = Message::read(data);
    let mut words = message.first.split(|b| *b == b' ');
    let method = words.next().and_then(|m| Method::from_bytes(m).ok()).unwrap_or(Method::POST);
    let target = String::from_utf8_lossy(words.next().unwrap_or(b"/"));
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let incoming = Incoming { method: &method, path, query, headers: &message.headers, body: &message.body };
    let api = served::by_name(format).expect("a served format");
    let mark = Mark { request_id: "fuzz \u{e9}\n".to_owned(), unix_seconds: 1 };
    api.recognises(&incoming);
    api.credential(&incoming);
    match api.decode(&incoming) {
        Err(refusal) => {
            assert!(refusal.message.chars().count() <= LONGEST_REASON, "{}", refusal.message.len());
            let response = api.refuse(&refusal, &mark);
            assert!(response.status().as_u16() >= 400, "{refusal:?}");
        }
        Ok(Call::Plain(response)) => assert_eq!(response.status(), StatusCode::OK),
        Ok(Call::Inquiry(inquiry)) => {
            assert!(
                !inquiry.pictures.is_empty()
                    && inquiry.pictures.iter().all(|asked| !asked.features.is_empty())
            );
            for results in results(inquiry.pictures.len()) {
                let response = api.encode(&inquiry, &results, &mark);
                check_response(format, &inquiry, response);
            }
        }
    }
}

/// All found, all refused, alternating, and too few.
fn results(pictures: usize) -> Vec<Vec<Result<Found, Refusal>>> {
    let mut answer = Answer::of([("dog", 0.75), ("Cat \"x\" \u{e9}", 0.5)]);
    answer.labels.push(Label { name: "none".to_owned(), score: None, id: Some("7".to_owned()) });
    answer.levels.insert("racy".to_owned(), Likelihood::Likely);
    let found: Result<Found, Refusal> =
        Ok(Found { answer, width: 80, height: 80, kind: Some(FileKind::Png) });
    let refused: Result<Found, Refusal> = Err(Refusal::new(RefusalClass::BadPicture, "bad"));
    let alternating = [found.clone(), refused.clone()].into_iter().cycle().take(pictures).collect();
    vec![vec![found; pictures], vec![refused; pictures], alternating, vec![]]
}

fn check_response(format: &str, inquiry: &Inquiry, response: Response<Bytes>) {
    let (parts, body) = response.into_parts();
    let reply = Reply { status: parts.status, headers: parts.headers, body };
    for provider in &ADAPTERS[format] {
        check_outcomes(provider.as_ref(), inquiry.pictures.len(), &reply);
    }
}
