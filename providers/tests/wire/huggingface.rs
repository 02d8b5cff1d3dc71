//! Hugging Face image classification.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};
use smoothgate_providers::huggingface::{Function, HuggingFace, Options, ServedHuggingFace};
use smoothgate_providers::served::{Presented, RefusalClass, ServedApi, Source};
use smoothgate_providers::{Answer, Label, Outcome, OutcomeClass as C, Provider};

use crate::support::*;

fn hub() -> HuggingFace {
    HuggingFace::new(Options::default()).unwrap()
}

fn with_parameters() -> HuggingFace {
    let options = Options { top_k: Some(20), function: Some(Function::Softmax), ..Options::default() };
    HuggingFace::new(options).unwrap()
}

#[test]
fn common_rules() {
    check_request(&hub());
    check_request(&with_parameters());
    check_foreign_bodies(&hub());
    check_cache_mark(&hub(), &reply("huggingface/labels.http"));
    check_refusals(&ServedHuggingFace, &hub());
}

#[test]
fn raw_bytes_without_parameters_json_with_them() {
    let raw = hub().request(&pictures(1)).unwrap();
    assert_eq!(raw.uri(), "https://router.huggingface.co/hf-inference/models/google/vit-base-patch16-224");
    assert_eq!(raw.headers()["content-type"], "image/png");
    assert_eq!(raw.headers()["x-use-cache"], "false");
    assert_eq!(raw.body(), PICTURE);
    let body: Value =
        serde_json::from_slice(with_parameters().request(&pictures(1)).unwrap().body()).unwrap();
    assert_eq!(body["parameters"], json!({ "top_k": 20, "function_to_apply": "softmax" }));
    let own = Options { url: Some("http://127.0.0.1:9000/".to_owned()), ..Options::default() };
    assert_eq!(HuggingFace::new(own).unwrap().request(&pictures(1)).unwrap().uri(), "http://127.0.0.1:9000/");
    assert!(HuggingFace::new(Options { model: "a b".to_owned(), ..Options::default() }).is_err());
    assert!(HuggingFace::new(Options { top_k: Some(0), ..Options::default() }).is_err());
}

#[test]
fn labels_flat_or_nested_once() {
    let expected = [("Egyptian cat", 0.937_441_289_424_896_2), ("tabby, tabby cat", 0.038_442_693_650_722_5)];
    let flat = reply("huggingface/labels.http");
    assert_eq!(pairs(&answer(&hub(), &flat)), expected);
    let nested = plain_reply(200, &format!("[{}]", String::from_utf8_lossy(&flat.body)));
    assert_eq!(pairs(&answer(&hub(), &nested)), expected);
    assert_eq!(answer(&hub(), &plain_reply(200, "[]")), Answer::default());
    for strange in ["[[],[]]", "[{\"label\":\"x\"}]", "[[[]]]", "{\"labels\":[]}"] {
        assert_eq!(outcome(&hub(), &plain_reply(200, strange)).class(), C::Malformed, "{strange}");
    }
    let logits = plain_reply(200, "[{\"label\":\"x\",\"score\":7.25}]");
    assert_eq!(outcome(&hub(), &logits).class(), C::Unusable);
}

#[test]
fn errors_have_words_only() {
    assert_eq!(outcome(&hub(), &reply("huggingface/loading.http")).class(), C::Transient);
    for (status, error, expected) in [
        (200, json!("Model x is currently loading"), C::Transient),
        (200, json!("something else"), C::Malformed),
        (400, json!("cannot identify image file"), C::BadPicture),
        (400, json!(["Error in `inputs`: bad", "and more"]), C::BadPicture),
        (400, json!("Model x not supported by provider hf-inference"), C::Misconfigured),
        (401, json!("Invalid credentials in Authorization header"), C::Auth),
        (402, json!("You have exceeded your monthly included credits"), C::QuotaSpent),
        (404, json!("Model x does not exist"), C::Misconfigured),
        (429, json!("Rate limit reached"), C::Throttled),
        (500, json!({ "odd": 1 }), C::Transient),
    ] {
        let read = outcome(&hub(), &plain_reply(status, &json!({ "error": error }).to_string()));
        assert_eq!(read.class(), expected, "{status} {error}: {read:?}");
    }
}

#[test]
fn requests_of_the_sdk_are_read() {
    let raw = Received::fixture("huggingface/request_raw.http");
    let inquiry = raw.inquiry(&ServedHuggingFace);
    assert_eq!(inquiry.pictures[0].source, Source::Bytes(Bytes::from_static(PICTURE)));
    assert_eq!(inquiry.pictures[0].most, Some(5));
    assert!(matches!(raw.with(|i| ServedHuggingFace.credential(i)), Some(Presented::Key(_))));
    let json = Received::fixture("huggingface/request_parameters.http").inquiry(&ServedHuggingFace);
    assert_eq!(json.pictures[0].source, Source::Bytes(Bytes::from_static(PICTURE)));
    assert_eq!(json.pictures[0].most, Some(2));
    assert_eq!(json.model.as_deref(), Some("google/vit-base-patch16-224"));
    let aws = Received::fixture("aws/request_boto3.http");
    assert!(!aws.with(|i| ServedHuggingFace.recognises(i)), "Rekognition has the root path too");
}

#[test]
fn what_is_not_served_is_refused() {
    let post = |body: Value| {
        Received::new("POST", "/", &[("content-type", "application/json")], body.to_string())
            .refusal(&ServedHuggingFace)
            .class
    };
    assert_eq!(
        post(json!({ "inputs": "AAAA", "parameters": { "function_to_apply": "none" } })),
        RefusalClass::Unsupported
    );
    assert_eq!(post(json!({ "inputs": "AAAA", "parameters": { "top_k": 0 } })), RefusalClass::BadRequest);
    assert_eq!(post(json!({ "inputs": "?" })), RefusalClass::BadRequest);
    assert_eq!(post(json!({})), RefusalClass::BadRequest);
    assert_eq!(
        Received::new("POST", "/", &[], "").refusal(&ServedHuggingFace).class,
        RefusalClass::BadPicture
    );
    assert_eq!(
        Received::new("GET", "/", &[], "").refusal(&ServedHuggingFace).class,
        RefusalClass::MethodNotAllowed
    );
}

proptest! {
    /// Whatever a server found, the adapter of the same API reads it again, bit for bit.
    #[test]
    fn both_directions_agree(labels in prop::collection::vec(("[a-z ,é\"]{0,12}", 0.0..=1.0f64), 0..8)) {
        let labels = labels.into_iter().map(|(name, score)| Label::new(name, score)).collect();
        let answer = Answer { labels, ..Answer::default() };
        let inquiry = Received::sent(&with_parameters().request(&pictures(1)).unwrap()).inquiry(&ServedHuggingFace);
        let reply = as_reply(ServedHuggingFace.encode(&inquiry, &[found(answer.clone())], &mark()));
        prop_assert_eq!(outcome(&hub(), &reply), Outcome::Answered(answer));
    }
}
