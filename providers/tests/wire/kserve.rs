//! The Open Inference Protocol.

use bytes::Bytes;
use http::HeaderValue;
use proptest::prelude::*;
use serde_json::{Value, json};
use smoothgate_providers::kserve::{AnswerForm, Kserve, Options, ServedKserve, Values};
use smoothgate_providers::served::{Call, Refusal, RefusalClass, ServedApi, Source};
use smoothgate_providers::{Answer, Label, Outcome, OutcomeClass as C, Provider, Reply};

use crate::support::*;

fn options() -> Options {
    Options { endpoint: "http://127.0.0.1:8000/".to_owned(), model: "clf".to_owned(), ..Options::default() }
}

fn kserve() -> Kserve {
    Kserve::new(options()).unwrap()
}

fn tensor(values: Values) -> Kserve {
    let labels = ["ant", "bee", "cat"].map(str::to_owned).to_vec();
    Kserve::new(Options { answer: AnswerForm::Tensor { labels }, values, pictures_per_call: 4, ..options() })
        .unwrap()
}

/// JSON with raw bytes after it.
fn binary_reply(json: &Value, raw: &[u8]) -> Reply {
    let mut reply = plain_reply(200, &json.to_string());
    let length = reply.body.len();
    reply.headers.insert("inference-header-content-length", HeaderValue::from(length));
    reply.body = [&reply.body, raw].concat().into();
    reply
}

#[test]
fn common_rules() {
    check_request(&kserve());
    check_foreign_bodies(&kserve());
    check_cache_mark(&kserve(), &reply("kserve/classification.http"));
    check_refusals(&ServedKserve, &kserve());
}

#[test]
fn pictures_travel_raw_after_the_json() {
    let request = Kserve::new(Options { pictures_per_call: 2, version: Some("1".to_owned()), ..options() })
        .unwrap()
        .request(&pictures(2))
        .unwrap();
    assert_eq!(request.uri(), "http://127.0.0.1:8000/v2/models/clf/versions/1/infer");
    let length: usize =
        request.headers()["inference-header-content-length"].to_str().unwrap().parse().unwrap();
    let head: Value = serde_json::from_slice(&request.body()[..length]).unwrap();
    let size = PICTURE.len() + 4;
    assert_eq!(
        head["inputs"][0],
        json!({ "name": "IMAGE", "shape": [2, 1], "datatype": "BYTES", "parameters": { "binary_data_size": 2 * size } })
    );
    assert_eq!(head["outputs"][0]["parameters"], json!({ "binary_data": false, "classification": 5 }));
    let raw = &request.body()[length..];
    assert_eq!(raw.len(), 2 * size);
    assert_eq!(raw[..4], u32::try_from(PICTURE.len()).unwrap().to_le_bytes());
    assert_eq!(&raw[4..size], PICTURE);

    let text = Kserve::new(Options { binary: false, flat: true, ..options() }).unwrap();
    let request = text.request(&pictures(1)).unwrap();
    assert!(!request.headers().contains_key("inference-header-content-length"));
    let body: Value = serde_json::from_slice(request.body()).unwrap();
    assert_eq!(body["inputs"][0]["shape"], json!([1]));
    assert!(body["inputs"][0]["data"][0].as_str().unwrap().starts_with("iVBORw0KGgo"));
}

#[test]
fn options_are_checked() {
    for wrong in [
        Options { model: String::new(), ..options() },
        Options { model: "a/b".to_owned(), ..options() },
        Options { version: Some(String::new()), ..options() },
        Options { answer: AnswerForm::Classification { top: 0 }, ..options() },
        Options { answer: AnswerForm::Tensor { labels: vec![] }, ..options() },
        Options { pictures_per_call: 0, ..options() },
        Options { endpoint: "127.0.0.1:8000".to_owned(), ..options() },
    ] {
        assert!(Kserve::new(wrong).is_err());
    }
}

#[test]
fn classes_are_value_index_and_a_label_that_may_hold_colons() {
    let read = answer(&kserve(), &reply("kserve/classification.http"));
    assert_eq!(pairs(&read), [("dog: golden", 0.9), ("281", 0.1)]);
    assert_eq!(read.labels[0].id.as_deref(), Some("207"));
    assert_eq!(read.model_version.as_deref(), Some("3"));
    let body = |class: &str| {
        let output = json!({ "name": "probs", "datatype": "STRING", "shape": [1], "data": [class] });
        plain_reply(200, &json!({ "outputs": [output] }).to_string())
    };
    assert_eq!(answer(&kserve(), &body("0.5:1:x")).model_version, None);
    for strange in ["dog", "x:1:dog", "0.5", "0.5:", ":::"] {
        assert_eq!(outcome(&kserve(), &body(strange)).class(), C::Malformed, "{strange}");
    }
    // Values are the model's raw output: without a promise of a scale they are an order and no score.
    assert_eq!(outcome(&kserve(), &body("11.25:1:x")).class(), C::Unusable);
    let raw = Kserve::new(Options { values: Values::Raw, ..options() }).unwrap();
    assert_eq!(answer(&raw, &body("11.25:1:x")).labels[0].score, None);
}

#[test]
fn tensors_are_sorted_and_ties_keep_the_order_of_classes() {
    let outcomes = tensor(Values::Probabilities).outcomes(2, &reply("kserve/tensor.http"));
    let Outcome::Answered(first) = &outcomes[0] else { panic!() };
    assert_eq!(pairs(first), [("bee", 0.5), ("ant", 0.25), ("cat", 0.25)]);
    let Outcome::Answered(second) = &outcomes[1] else { panic!() };
    assert_eq!(pairs(second), [("bee", 0.75), ("ant", 0.125), ("cat", 0.125)]);
    for (pictures, expected) in [(1, C::Misconfigured), (3, C::Malformed), (4, C::Malformed)] {
        let read = tensor(Values::Probabilities).outcomes(pictures, &reply("kserve/tensor.http"));
        assert!(read.len() == pictures && read.iter().all(|o| o.class() == expected), "{pictures}: {read:?}");
    }
    assert_eq!(
        outcome(&kserve(), &reply("kserve/tensor.http")).class(),
        C::Misconfigured,
        "the extension was ignored"
    );
}

#[test]
fn raw_outputs_are_read_too() {
    let floats = [0.25f32, 0.5, 0.25].map(f32::to_le_bytes).concat();
    let output = |size: usize| json!({ "outputs": [{ "name": "probs", "datatype": "FP32", "shape": [1, 3], "parameters": { "binary_data_size": size } }] });
    let read = answer(&tensor(Values::Probabilities), &binary_reply(&output(12), &floats));
    assert_eq!(pairs(&read)[0], ("bee", 0.5));
    for (json, raw) in [(output(12), &floats[..11]), (output(11), &floats[..11]), (output(8), &floats[..])] {
        assert_eq!(outcome(&tensor(Values::Raw), &binary_reply(&json, raw)).class(), C::Malformed);
    }
    let nan = [f32::NAN, 0.5, 0.25].map(f32::to_le_bytes).concat();
    assert_eq!(outcome(&tensor(Values::Raw), &binary_reply(&output(12), &nan)).class(), C::Unusable);
    let strings = b"\x07\0\0\x000.5:1:x";
    let json = json!({ "outputs": [{ "name": "probs", "datatype": "BYTES", "shape": [1, 1], "parameters": { "binary_data_size": 11 } }] });
    assert_eq!(pairs(&answer(&kserve(), &binary_reply(&json, strings))), [("x", 0.5)]);
    let mut wrong = binary_reply(&json, strings);
    wrong.headers.insert("inference-header-content-length", HeaderValue::from_static("999999"));
    assert_eq!(outcome(&kserve(), &wrong).class(), C::Malformed);
}

#[test]
fn errors_have_words_only() {
    for (status, words, expected) in [
        (400, "Request for unknown model: 'clf' is not found", C::Misconfigured),
        (400, "unexpected inference output 'probs' for model 'clf'", C::Misconfigured),
        (400, "failed to decode image", C::BadPicture),
        (503, "Exceeds maximum queue size", C::Throttled),
        (500, "CUDA error", C::Transient),
        (200, "an error in a 200", C::Malformed),
    ] {
        let read = outcome(&kserve(), &plain_reply(status, &json!({ "error": words }).to_string()));
        assert_eq!(read.class(), expected, "{status} {words}: {read:?}");
    }
    let other = json!({ "outputs": [{ "name": "x", "datatype": "FP32", "shape": [1], "data": [1] }] });
    assert_eq!(outcome(&kserve(), &plain_reply(200, &other.to_string())).class(), C::Misconfigured);
}

#[test]
fn requests_of_tritonclient_are_read() {
    let json = Received::fixture("kserve/request_json.http").inquiry(&ServedKserve);
    assert_eq!(json.pictures[0].source, Source::Bytes(Bytes::from_static(PICTURE)));
    assert_eq!((json.model.as_deref(), json.pictures[0].most), (Some("clf"), Some(2)));

    // As the Python client sends it: raw, without a Content-Type, answers wanted raw as well.
    let size = PICTURE.len() + 4;
    let head = format!(
        "{{\"id\":\"7\",\"inputs\":[{{\"name\":\"IMAGE\",\"shape\":[1,1],\"datatype\":\"BYTES\",\"parameters\":{{\"binary_data_size\":{size}}}}}],\
         \"outputs\":[{{\"name\":\"probs\",\"parameters\":{{\"classification\":3,\"binary_data\":true}}}}]}}"
    );
    let body = [head.as_bytes(), &u32::try_from(PICTURE.len()).unwrap().to_le_bytes(), PICTURE].concat();
    let length = head.len().to_string();
    let raw =
        Received::new("POST", "//v2/models/clf/infer", &[("inference-header-content-length", &length)], body);
    let inquiry = raw.inquiry(&ServedKserve);
    assert_eq!(inquiry.pictures[0].source, Source::Bytes(Bytes::from_static(PICTURE)));
    let answer = Answer::of([("dog: golden", 0.75), ("cat", 0.25)]);
    let response = ServedKserve.encode(&inquiry, &[found(answer.clone())], &mark());
    let length: usize =
        response.headers()["inference-header-content-length"].to_str().unwrap().parse().unwrap();
    let head: Value = serde_json::from_slice(&response.body()[..length]).unwrap();
    assert_eq!((&head["id"], &head["model_version"]), (&json!("7"), &json!("1")));
    assert_eq!(head["outputs"][0]["shape"], json!([1, 2]));
    assert!(response.body()[length..].starts_with(b"\x12\0\0\x000.75:0:dog: golden"));
    assert_eq!(pairs(&crate::support::answer(&kserve(), &as_reply(response))), pairs(&answer));
}

#[test]
fn health_and_metadata_need_no_picture() {
    for path in [
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/m",
        "/v2/models/m/ready",
        "/v2/models/m/versions/1/ready",
    ] {
        let get = Received::new("GET", path, &[], "");
        assert!(get.with(|i| ServedKserve.recognises(i)), "{path}");
        let Ok(Call::Plain(response)) = get.with(|i| ServedKserve.decode(i)) else { panic!("{path}") };
        assert_eq!(response.status(), 200);
    }
    let stats = Received::new("GET", "/v2/models/m/stats", &[], "");
    assert_eq!(stats.refusal(&ServedKserve).class, RefusalClass::NotFound);
}

#[test]
fn what_is_not_served_is_refused_by_name() {
    let post = |body: Value| {
        Received::new("POST", "/v2/models/m/infer", &[], body.to_string()).refusal(&ServedKserve).class
    };
    let input = json!({ "name": "IMAGE", "shape": [1, 1], "datatype": "BYTES", "data": ["AAAA"] });
    let output = json!({ "name": "probs", "parameters": { "classification": 1 } });
    let with = |key: &str, value: Value| {
        let mut input = input.clone();
        input[key] = value;
        post(json!({ "inputs": [input], "outputs": [output] }))
    };
    assert_eq!(with("datatype", json!("FP32")), RefusalClass::Unsupported);
    assert_eq!(with("shape", json!([1, 3, 224, 224])), RefusalClass::BadRequest);
    assert_eq!(with("shape", json!([2, 1])), RefusalClass::BadRequest);
    assert_eq!(with("data", json!(["?"])), RefusalClass::BadRequest);
    assert_eq!(with("parameters", json!({ "binary_data_size": 8 })), RefusalClass::BadRequest);
    assert_eq!(post(json!({ "inputs": [input] })), RefusalClass::Unsupported);
    assert_eq!(
        post(json!({ "inputs": [input], "outputs": [{ "name": "probs" }] })),
        RefusalClass::Unsupported
    );
    assert_eq!(post(json!({ "inputs": [input, input], "outputs": [output] })), RefusalClass::Unsupported);
    assert_eq!(post(json!([])), RefusalClass::Unsupported);
}

proptest! {
    /// Whatever a server found, the adapter of the same API reads it again, bit for bit; lists of unequal length too.
    #[test]
    fn both_directions_agree(
        lists in prop::collection::vec(prop::collection::vec(("[a-z :é\"]{1,12}", 0.0..=1.0f64, 0usize..1000), 0..5), 2..=2),
    ) {
        let adapter = Kserve::new(Options { pictures_per_call: 2, ..options() }).unwrap();
        let answers: Vec<Answer> = lists
            .into_iter()
            .map(|list| Answer {
                labels: list
                    .into_iter()
                    .map(|(name, score, id)| Label { name, score: Some(score), id: Some(id.to_string()) })
                    .collect(),
                model_version: Some("3".to_owned()),
                ..Answer::default()
            })
            .collect();
        let inquiry = Received::sent(&adapter.request(&pictures(2)).unwrap()).inquiry(&ServedKserve);
        let results: Vec<_> = answers.iter().cloned().map(found).collect();
        let reply = as_reply(ServedKserve.encode(&inquiry, &results, &mark()));
        let expected: Vec<Outcome> = answers.into_iter().map(Outcome::Answered).collect();
        prop_assert_eq!(adapter.outcomes(2, &reply), expected);
        let one_bad = [results[0].clone(), Err(Refusal::new(RefusalClass::BadPicture, "bad"))];
        let reply = as_reply(ServedKserve.encode(&inquiry, &one_bad, &mark()));
        prop_assert!(adapter.outcomes(2, &reply).iter().all(|o| o.class() == C::BadPicture));
    }
}
