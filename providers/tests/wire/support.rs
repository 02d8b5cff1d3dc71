//! Reading fixtures, and what every adapter must do.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use smoothgate_providers::served::{
    Call, FileKind, Found, Incoming, Inquiry, Mark, Refusal, RefusalClass, ServedApi,
};
use smoothgate_providers::{Answer, EncodedPicture, Format, Outcome, OutcomeClass, Provider, Reply};

/// A file that begins like a PNG. Nothing here looks into it.
pub(crate) const PICTURE: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0P\0\0\0P\x08\x02a picture that nobody may print";

/// `count` pictures.
pub(crate) fn pictures(count: usize) -> Vec<EncodedPicture> {
    let one =
        EncodedPicture { bytes: Bytes::from_static(PICTURE), format: Format::Png, width: 224, height: 224 };
    vec![one; count]
}

/// A message of a fixture: its first line, headers and body.
struct Message {
    first: String,
    headers: HeaderMap,
    body: Bytes,
}

fn message(path: &str) -> Message {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path);
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let (head, body) = text.split_once("\n\n").unwrap_or_else(|| panic!("{path} has no blank line"));
    let mut lines = head.lines();
    let first = lines.next().unwrap().to_owned();
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("{path}: header {line}"));
        headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value.trim()).unwrap());
    }
    let body =
        body.strip_suffix('\n').unwrap_or(body).replace("{{picture.base64}}", &STANDARD.encode(PICTURE));
    let body = match body.split_once("{{picture}}") {
        Some((before, after)) => [before.as_bytes(), PICTURE, after.as_bytes()].concat(),
        None => body.into_bytes(),
    };
    Message { first, headers, body: body.into() }
}

/// The reply in a fixture.
pub(crate) fn reply(path: &str) -> Reply {
    let Message { first, headers, body } = message(path);
    let status: u16 = first.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status: StatusCode::from_u16(status).unwrap(), headers, body }
}

/// A reply without a fixture.
pub(crate) fn plain_reply(status: u16, body: &str) -> Reply {
    Reply {
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::from(body.to_owned()),
    }
}

/// A request as a server has it.
pub(crate) struct Received {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Received {
    /// The request in a fixture.
    pub(crate) fn fixture(path: &str) -> Self {
        let Message { first, headers, body } = message(path);
        let mut words = first.split(' ');
        let method = words.next().unwrap().parse().unwrap();
        Self { method, target: words.next().unwrap().to_owned(), headers, body }
    }

    pub(crate) fn new(method: &str, target: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect();
        Self { method: method.parse().unwrap(), target: target.to_owned(), headers, body: body.into() }
    }

    /// What an adapter sends is what the other direction receives.
    pub(crate) fn sent(request: &http::Request<Bytes>) -> Self {
        Self {
            method: request.method().clone(),
            target: request.uri().path_and_query().unwrap().to_string(),
            headers: request.headers().clone(),
            body: request.body().clone(),
        }
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&Incoming<'_>) -> T) -> T {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        look(&Incoming { method: &self.method, path, query, headers: &self.headers, body: &self.body })
    }

    /// The inquiry that `api` reads in it.
    pub(crate) fn inquiry(&self, api: &dyn ServedApi) -> Inquiry {
        assert!(self.with(|i| api.recognises(i)), "{} does not recognise {}", api.name(), self.target);
        match self.with(|i| api.decode(i)) {
            Ok(Call::Inquiry(inquiry)) => inquiry,
            other => panic!("{}: {other:?}", self.target),
        }
    }

    /// The refusal that `api` gives it.
    pub(crate) fn refusal(&self, api: &dyn ServedApi) -> Refusal {
        self.with(|i| api.decode(i)).err().unwrap_or_else(|| panic!("{} was accepted", self.target))
    }
}

pub(crate) fn mark() -> Mark {
    Mark { request_id: "5d1f9c1e".to_owned(), unix_seconds: 1_795_344_719 }
}

/// A result as a server has it.
#[expect(clippy::unnecessary_wraps, reason = "it stands beside refusals in what encode takes")]
pub(crate) fn found(answer: Answer) -> Result<Found, Refusal> {
    Ok(Found { answer, width: 224, height: 224, kind: Some(FileKind::Png) })
}

/// A server's response as the other side's reply.
pub(crate) fn as_reply(response: Response<Bytes>) -> Reply {
    let (parts, body) = response.into_parts();
    Reply { status: parts.status, headers: parts.headers, body }
}

/// The outcome of a single picture, checked to be one.
pub(crate) fn outcome(provider: &dyn Provider, reply: &Reply) -> Outcome {
    let mut outcomes = provider.outcomes(1, reply);
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

/// The answer of a single picture.
pub(crate) fn answer(provider: &dyn Provider, reply: &Reply) -> Answer {
    match outcome(provider, reply) {
        Outcome::Answered(answer) => answer,
        other => panic!("no answer: {other:?}"),
    }
}

/// Names and scores of an answer.
pub(crate) fn pairs(answer: &Answer) -> Vec<(&str, f64)> {
    answer.labels.iter().map(|label| (label.name.as_str(), label.score.unwrap_or(f64::NAN))).collect()
}

/// What the body of a reply to one picture, of any adapter, must come to when it is not the API's JSON.
pub(crate) fn check_foreign_bodies(provider: &dyn Provider) {
    use OutcomeClass as C;
    let html = "<!DOCTYPE html><html><head><title>Sign in</title></head></html>";
    for (status, body, expected) in [
        (200, "", C::Malformed),
        (200, html, C::Malformed),
        (200, "{\"a\":", C::Malformed),
        (200, "null", C::Malformed),
        (200, "42", C::Malformed),
        (204, "", C::Malformed),
        (302, "", C::Misconfigured),
        (401, html, C::Auth),
        (402, "", C::QuotaSpent),
        (403, html, C::Auth),
        (404, html, C::Misconfigured),
        (408, "", C::Transient),
        (413, html, C::BadPicture),
        (429, "", C::Throttled),
        (500, html, C::Transient),
        (502, html, C::Transient),
        (503, "", C::Transient),
        (504, "upstream timed out", C::Transient),
    ] {
        let reply = plain_reply(status, body);
        let got = outcome(provider, &reply);
        assert_eq!(got.class(), expected, "{}: {status} {body}: {got:?}", provider.name());
        assert_eq!(
            provider.outcomes(provider.limits().pictures_per_call, &reply).len(),
            provider.limits().pictures_per_call
        );
    }
    let mut throttled = plain_reply(429, "");
    throttled.headers.insert("retry-after", HeaderValue::from_static("7"));
    match outcome(provider, &throttled) {
        Outcome::Throttled { retry_after, .. } => assert_eq!(retry_after, Some(Duration::from_secs(7))),
        other => panic!("{other:?}"),
    }
}

/// A reply that a cache gave is marked.
pub(crate) fn check_cache_mark(provider: &dyn Provider, good: &Reply) {
    assert!(!answer(provider, good).from_cache);
    for (name, value) in [("x-cache", "Hit from cloudfront"), ("cf-cache-status", "HIT"), ("age", "31")] {
        let mut reply = good.clone();
        reply.headers.insert(name, HeaderValue::from_static(value));
        assert!(answer(provider, &reply).from_cache, "{name}");
    }
}

/// What holds of every request: no credential, caches asked to stay away, limits kept.
pub(crate) fn check_request(provider: &dyn Provider) {
    let request = provider.request(&pictures(1)).unwrap();
    assert!(!request.headers().contains_key("authorization"));
    assert_eq!(request.headers()["cache-control"], "no-cache, no-store");
    assert!(!request.uri().path().contains("//"), "{}", request.uri());
    assert!(provider.request(&[]).is_err());
    assert!(provider.request(&pictures(provider.limits().pictures_per_call + 1)).is_err());
    let mut large = pictures(1);
    large[0].bytes = Bytes::from(vec![0; provider.limits().max_bytes + 1]);
    let problem = provider.request(&large).unwrap_err().to_string();
    assert!(problem.contains(&provider.limits().max_bytes.to_string()), "{problem}");
}

/// What holds of every refusal: the adapter of the same API reads the class it stands for.
pub(crate) fn check_refusals(api: &dyn ServedApi, provider: &dyn Provider) {
    for class in RefusalClass::ALL {
        let response = api.refuse(&Refusal::new(class, "because"), &mark());
        assert_ne!(response.status(), StatusCode::OK, "{class:?}");
        if class == RefusalClass::Throttled {
            assert_eq!(response.headers()["retry-after"], "1", "{}", api.name());
            assert_ne!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        }
        let read = outcome(provider, &as_reply(response));
        let expected: &[OutcomeClass] = match class {
            RefusalClass::NotFound | RefusalClass::MethodNotAllowed => &[OutcomeClass::Misconfigured],
            RefusalClass::BadRequest
            | RefusalClass::Unsupported
            | RefusalClass::UnsupportedMediaType
            | RefusalClass::BodyTooLarge => &[OutcomeClass::BadPicture, OutcomeClass::Misconfigured],
            RefusalClass::BadPicture | RefusalClass::PictureTooLarge | RefusalClass::PictureTooSmall => {
                // Google says so of a whole call only where it cannot say it of one picture.
                if api.name() == "google" {
                    &[OutcomeClass::Misconfigured]
                } else {
                    &[OutcomeClass::BadPicture]
                }
            }
            RefusalClass::Unauthenticated | RefusalClass::UnknownKey | RefusalClass::Forbidden => {
                &[OutcomeClass::Auth]
            }
            RefusalClass::QuotaSpent => &[OutcomeClass::QuotaSpent, OutcomeClass::Auth],
            RefusalClass::Throttled => &[OutcomeClass::Throttled],
            RefusalClass::Unavailable | RefusalClass::Internal => &[OutcomeClass::Transient],
            RefusalClass::PictureUnreachable | RefusalClass::Abstained => {
                // Clients must not ask again; how they say it is theirs.
                assert!(!read.class().may_retry(), "{}: {class:?}: {read:?}", api.name());
                continue;
            }
        };
        assert!(expected.contains(&read.class()), "{}: {class:?}: {read:?}", api.name());
    }
    let pause = Refusal::throttled(Duration::from_millis(2100), "slow down");
    match outcome(provider, &as_reply(api.refuse(&pause, &mark()))) {
        Outcome::Throttled { retry_after, .. } => assert_eq!(retry_after, Some(Duration::from_secs(3))),
        other => panic!("{other:?}"),
    }
}
