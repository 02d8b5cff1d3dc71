//! Clarifai.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};
use smoothgate_providers::clarifai::{Clarifai, Options, ServedClarifai};
use smoothgate_providers::served::{Call, Presented, Refusal, RefusalClass, ServedApi, Source};
use smoothgate_providers::{Answer, Label, Outcome, OutcomeClass as C, Price, Provider};

use crate::support::*;

fn clarifai() -> Clarifai {
    Clarifai::new(Options::default()).unwrap()
}

fn classes(pictures: usize, path: &str) -> Vec<C> {
    clarifai().outcomes(pictures, &reply(path)).iter().map(Outcome::class).collect()
}

#[test]
fn common_rules() {
    check_request(&clarifai());
    check_foreign_bodies(&clarifai());
    check_cache_mark(&clarifai(), &reply("clarifai/concepts.http"));
    check_refusals(&ServedClarifai, &clarifai());
}

#[test]
fn a_request_names_model_and_limits() {
    let request = clarifai().request(&pictures(3)).unwrap();
    assert_eq!(
        request.uri(),
        "https://api.clarifai.com/v2/users/clarifai/apps/main/models/general-image-recognition/outputs"
    );
    let body: Value = serde_json::from_slice(request.body()).unwrap();
    assert_eq!(body["inputs"].as_array().unwrap().len(), 3);
    assert_eq!(
        body["model"]["output_info"]["output_config"],
        json!({ "max_concepts": 50, "min_value": 0.0 })
    );
    let own = Options {
        user_id: "me".to_owned(),
        app_id: "my-app".to_owned(),
        model: "m".to_owned(),
        version: Some("v1".to_owned()),
        ..Options::default()
    };
    let request = Clarifai::new(own).unwrap().request(&pictures(1)).unwrap();
    assert!(request.uri().path().ends_with("/users/me/apps/my-app/models/m/versions/v1/outputs"));
    for wrong in [
        Options { model: "a/b".to_owned(), ..Options::default() },
        Options { model: String::new(), ..Options::default() },
        Options { max_concepts: 201, ..Options::default() },
        Options { min_value: -0.1, ..Options::default() },
        Options { pictures_per_call: 129, ..Options::default() },
    ] {
        assert!(Clarifai::new(wrong).is_err());
    }
    assert_eq!(clarifai().price(), Price::Unknown, "it depends on the plan, and unknown is not nothing");
    assert_eq!(clarifai().quota().unwrap().calls_per_minute, 15 * 60);
}

#[test]
fn concepts_keep_order_ids_and_version() {
    let answer = answer(&clarifai(), &reply("clarifai/concepts.http"));
    assert_eq!(pairs(&answer), [("dog", 0.999_605_358), ("pet", 0.98), ("zero", 0.0)]);
    assert_eq!(answer.labels[0].id.as_deref(), Some("ai_8S2Vq3cR"));
    assert_eq!(answer.model_version.as_deref(), Some("aa7f35c01e0642fda5cf400f543e7c40"));
}

#[test]
fn a_mixed_batch_speaks_for_each_picture_and_is_asked_singly() {
    let mixed = reply("clarifai/mixed.http");
    assert_eq!(classes(3, "clarifai/mixed.http"), [C::Answered, C::BadPicture, C::Transient]);
    assert!(clarifai().ask_singly(3, &mixed));
    assert_eq!(
        classes(2, "clarifai/mixed.http"),
        [C::Malformed; 2],
        "outputs are known by their place alone"
    );
}

#[test]
fn a_failed_batch_condemns_no_picture_before_it_was_asked_alone() {
    let failure = reply("clarifai/failure.http");
    assert_eq!(classes(2, "clarifai/failure.http"), [C::Transient; 2]);
    assert!(clarifai().ask_singly(2, &failure));
    // Alone, the picture's own status speaks.
    assert!(!clarifai().ask_singly(1, &failure));
    assert_eq!(classes(1, "clarifai/failure.http"), [C::BadPicture]);
    // A throttled batch is not taken apart: that would only send more calls.
    assert!(!clarifai().ask_singly(16, &reply("clarifai/throttled.http")));
}

#[test]
fn codes_decide_whatever_the_http_status_is() {
    for (code, expected) in [
        (11_005, C::Throttled),
        (11_003, C::Throttled),
        (11_004, C::QuotaSpent),
        (11_006, C::QuotaSpent),
        (11_001, C::Auth),
        (11_002, C::Auth),
        (11_007, C::Auth),
        (11_008, C::Auth),
        (11_009, C::Auth),
        (11_100, C::Misconfigured),
        (11_101, C::Misconfigured),
        (11_102, C::Misconfigured),
        (21_200, C::Misconfigured),
        (10_030, C::Transient),
        (21_351, C::Transient),
        (21_354, C::Transient),
        (21_355, C::Transient),
        (40_030, C::Transient),
        (40_031, C::Transient),
        (40_032, C::Transient),
        (98_004, C::Transient),
        (99_009, C::Transient),
        (30_101, C::BadPicture),
        (30_104, C::BadPicture),
        (30_105, C::BadPicture),
        (30_300, C::BadPicture),
        (40_033, C::BadPicture),
    ] {
        for status in [200, 400, 401, 500] {
            for code in [json!(code), json!(code.to_string())] {
                let body = json!({ "status": { "code": code, "description": "words", "details": "more" } });
                let read = outcome(&clarifai(), &plain_reply(status, &body.to_string()));
                assert_eq!(read.class(), expected, "{status} {code}: {read:?}");
            }
        }
    }
    let throttled = reply("clarifai/throttled.http");
    let read = outcome(&clarifai(), &throttled);
    assert_eq!(read.class(), C::Throttled);
    for body in ["{}", "{\"status\":{}}", "{\"status\":{\"code\":10000}}", "{\"status\":{\"code\":true}}"] {
        assert_eq!(outcome(&clarifai(), &plain_reply(200, body)).class(), C::Malformed, "{body}");
    }
}

#[test]
fn batches_are_cut_by_bytes() {
    let many = Clarifai::new(Options { pictures_per_call: 128, ..Options::default() }).unwrap();
    let mut large = pictures(128);
    for picture in &mut large {
        picture.bytes = Bytes::from(vec![7; 10_000_000]);
    }
    assert_eq!(many.fit(&large), 8);
    assert_eq!(many.fit(&pictures(200)), 128);
    assert_eq!(clarifai().fit(&pictures(200)), 16);
}

#[test]
fn requests_of_the_sdks_are_read() {
    let sdk = Received::fixture("clarifai/request_grpc_json.http");
    let inquiry = sdk.inquiry(&ServedClarifai);
    assert_eq!(inquiry.pictures[0].source, Source::Bytes(Bytes::from_static(PICTURE)));
    assert_eq!(inquiry.pictures[1].source, Source::Url("https://example.com/a.jpg".to_owned()));
    assert_eq!((inquiry.pictures[1].most, inquiry.pictures[1].least), (Some(5), Some(0.5)));
    assert_eq!(inquiry.pictures[0].only, ["dog"]);
    assert_eq!(inquiry.pictures[0].only_ids, ["ai_x"]);
    assert_eq!(inquiry.model.as_deref(), Some("general-image-recognition"));
    assert!(matches!(sdk.with(|i| ServedClarifai.credential(i)), Some(Presented::Key(_))));
    let legacy = Received::fixture("clarifai/request_legacy_js.http").inquiry(&ServedClarifai);
    assert_eq!(legacy.pictures[0].most, Some(20));

    let bad = Err(Refusal::new(RefusalClass::BadPicture, "cannot decode"));
    let response =
        ServedClarifai.encode(&inquiry, &[found(Answer::of([("dog", 0.9), ("cat", 0.8)])), bad], &mark());
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(body["status"]["code"], 10_010);
    assert_eq!(body["outputs"][0]["data"]["concepts"].as_array().unwrap().len(), 1, "only dog was selected");
    assert_eq!(body["outputs"][0]["model"]["model_version"]["id"], "aa7f35c01e0642fda5cf400f543e7c40");
    assert_eq!(body["outputs"][0]["created_at"], "2026-11-22T10:51:59Z");
    assert_eq!(body["outputs"][1]["status"]["code"], 30_101);
    assert_eq!(body["outputs"][1]["input"]["id"], "mine");
    let both = ServedClarifai.encode(&inquiry, &[], &mark());
    let body: Value = serde_json::from_slice(both.body()).unwrap();
    assert_eq!(body["status"]["code"], 10_020);
}

#[test]
fn concepts_are_selected_by_name_where_there_is_one_and_else_by_id() {
    let select = |concepts: Value| {
        let body = json!({
            "inputs": [{ "data": { "image": { "base64": "AAAA" } } }],
            "model": { "output_info": { "output_config": { "select_concepts": concepts } } },
        });
        let inquiry =
            Received::new("POST", "/v2/models/m/outputs", &[], body.to_string()).inquiry(&ServedClarifai);
        let label =
            |name: &str, id: Option<&str>| Label { id: id.map(str::to_owned), ..Label::new(name, 0.9) };
        let labels = vec![label("dog", None), label("cat", Some("ai_cat")), label("fish", Some("ai_fish"))];
        let answer = Answer { labels, ..Answer::default() };
        let selected = inquiry.pictures[0].select(&answer).into_iter().map(|label| label.name.clone());
        selected.collect::<Vec<_>>()
    };
    assert_eq!(select(json!([])), ["dog", "cat", "fish"]);
    // An answer without identifiers keeps what is selected by both.
    assert_eq!(select(json!([{ "id": "ai_dog", "name": "dog" }])), ["dog"]);
    assert_eq!(select(json!([{ "id": "ai_cat" }])), ["cat"]);
    // Replies have names where there is no identifier.
    assert_eq!(select(json!([{ "id": "dog" }, { "name": "fish" }])), ["dog", "fish"]);
}

#[test]
fn a_model_describes_itself() {
    let get = Received::new("GET", "/v2/users/u/apps/a/models/m", &[("authorization", "Key k")], "");
    assert!(get.with(|i| ServedClarifai.recognises(i)));
    let Ok(Call::Plain(response)) = get.with(|i| ServedClarifai.decode(i)) else { panic!() };
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!((&body["status"]["code"], &body["model"]["id"]), (&json!(10_000), &json!("m")));
    // The same short path without a key is KServe's.
    assert!(!Received::new("GET", "/v2/models/m", &[], "").with(|i| ServedClarifai.recognises(i)));
}

#[test]
fn what_is_not_served_is_refused_by_name() {
    let post = |body: Value| {
        Received::new("POST", "/v2/models/m/outputs", &[], body.to_string()).refusal(&ServedClarifai).class
    };
    let image = json!({ "data": { "image": { "base64": "AAAA" } } });
    let config =
        |config: Value| json!({ "inputs": [image], "model": { "output_info": { "output_config": config } } });
    assert_eq!(post(json!({ "inputs": [] })), RefusalClass::BadRequest);
    assert_eq!(post(json!({ "inputs": vec![&image; 129] })), RefusalClass::BadRequest);
    assert_eq!(
        post(json!({ "inputs": [{ "data": { "text": { "raw": "x" } } }] })),
        RefusalClass::Unsupported
    );
    assert_eq!(post(json!({ "inputs": [{ "data": { "image": {} } }] })), RefusalClass::BadRequest);
    assert_eq!(post(config(json!({ "max_concepts": 201 }))), RefusalClass::BadRequest);
    assert_eq!(post(config(json!({ "min_value": 2 }))), RefusalClass::BadRequest);
    assert_eq!(post(config(json!({ "language": "ja" }))), RefusalClass::Unsupported);
    let elsewhere = Received::new("POST", "/v2/models/m/versions/v/infer", &[], "{}");
    assert_eq!(elsewhere.refusal(&ServedClarifai).class, RefusalClass::NotFound);
}

proptest! {
    /// Whatever a server found, the adapter of the same API reads it again, bit for bit.
    #[test]
    fn both_directions_agree(labels in prop::collection::vec(("[a-z é\"]{1,12}", 0.0..=1.0f64, "[a-z_]{1,9}"), 0..8)) {
        let labels = labels.into_iter().map(|(name, score, id)| Label { name, score: Some(score), id: Some(id) }).collect();
        let answer = Answer { labels, model_version: Some("v".to_owned()), ..Answer::default() };
        let inquiry = Received::sent(&clarifai().request(&pictures(2)).unwrap()).inquiry(&ServedClarifai);
        let reply = as_reply(ServedClarifai.encode(&inquiry, &[found(answer.clone()), found(answer.clone())], &mark()));
        prop_assert_eq!(clarifai().outcomes(2, &reply), vec![Outcome::Answered(answer); 2]);
    }
}
