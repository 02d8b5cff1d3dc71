//! Google Cloud Vision.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use proptest::prelude::*;
use serde_json::Value;
use smoothgate_providers::google::{Feature, Google, Options, ServedGoogle};
use smoothgate_providers::served::{self, Presented, Refusal, RefusalClass, ServedApi, Source};
use smoothgate_providers::{Answer, Label, Likelihood, Outcome, OutcomeClass as C, Price, Provider};

use crate::support::*;

fn google() -> Google {
    Google::new(Options::default()).unwrap()
}

fn both() -> Google {
    Google::new(Options { features: vec![Feature::Labels, Feature::SafeSearch], ..Options::default() })
        .unwrap()
}

#[test]
fn common_rules() {
    check_request(&google());
    check_foreign_bodies(&google());
    check_cache_mark(&google(), &reply("google/labels.http"));
    check_refusals(&ServedGoogle, &google());
}

#[test]
fn a_request_is_what_the_documents_ask_for() {
    let request = both().request(&pictures(2)).unwrap();
    assert_eq!(request.uri(), "https://vision.googleapis.com/v1/images:annotate");
    let body: Value = serde_json::from_slice(request.body()).unwrap();
    let requests = body["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0]["features"][0]["type"], "LABEL_DETECTION");
    assert_eq!(requests[0]["features"][0]["maxResults"], 50);
    assert_eq!(requests[0]["features"][1]["type"], "SAFE_SEARCH_DETECTION");
    assert!(
        requests[0]["image"].get("source").is_none(),
        "content and source together are refused by the API"
    );
}

#[test]
fn endpoints_and_parents_make_the_path() {
    let options = Options {
        endpoint: "https://eu-vision.googleapis.com/".to_owned(),
        parent: Some("projects/p/locations/eu".to_owned()),
        ..Options::default()
    };
    let request = Google::new(options).unwrap().request(&pictures(1)).unwrap();
    assert_eq!(request.uri(), "https://eu-vision.googleapis.com/v1/projects/p/locations/eu/images:annotate");
    for wrong in [
        Options { parent: Some("p?key=x".to_owned()), ..Options::default() },
        Options { features: vec![], ..Options::default() },
        Options { max_labels: 0, ..Options::default() },
        Options { pictures_per_call: 17, ..Options::default() },
    ] {
        assert!(Google::new(wrong).is_err());
    }
}

#[test]
fn labels_keep_order_scores_and_ids() {
    let answer = answer(&google(), &reply("google/labels.http"));
    assert_eq!(pairs(&answer), [("Cat", 0.986_072_6), ("Felidae", 0.932_121_16), ("Whiskers", 0.0)]);
    assert_eq!(answer.labels[0].id.as_deref(), Some("/m/01yrx"));
    assert_eq!(answer.model_version, None, "this API names none");
}

#[test]
fn likelihoods_come_as_names_or_numbers() {
    let levels = answer(&both(), &reply("google/labels.http")).levels;
    let expected = [
        ("adult", Likelihood::VeryUnlikely),
        ("medical", Likelihood::Possible),
        ("racy", Likelihood::VeryLikely),
        ("spoof", Likelihood::Unlikely),
        ("violence", Likelihood::VeryUnlikely),
    ];
    assert!(levels.into_iter().eq(expected.map(|(k, v)| (k.to_owned(), v))));
    for strange in ["\"VERY_VERY_LIKELY\"", "6", "-1", "1.5", "{}", "true"] {
        let body = format!("{{\"responses\":[{{\"safeSearchAnnotation\":{{\"adult\":{strange}}}}}]}}");
        let read = outcome(&both(), &plain_reply(200, &body));
        assert_eq!(read.class(), C::Unusable, "{strange}: {read:?}");
    }
}

#[test]
fn a_picture_without_labels_is_answered() {
    let empty = reply("google/no_labels.http");
    assert_eq!(answer(&google(), &empty), Answer::default());
    assert_eq!(outcome(&both(), &empty).class(), C::Malformed, "safe search was asked for and is missing");
}

#[test]
fn pictures_fail_one_by_one_inside_a_200() {
    let mixed = reply("google/mixed_batch.http");
    let outcomes = google().outcomes(10, &mixed);
    let classes: Vec<C> = outcomes.iter().map(Outcome::class).collect();
    assert_eq!(
        classes,
        [
            C::Answered,
            C::BadPicture,
            C::Transient,
            C::Throttled,
            C::Transient,
            C::Transient,
            C::BadPicture,
            C::Auth,
            C::Malformed,
            C::Answered
        ]
    );
    let Outcome::Throttled { retry_after, .. } = &outcomes[3] else { panic!() };
    assert_eq!(*retry_after, Some(Duration::from_secs(4)));
}

#[test]
fn entries_that_are_too_few_or_too_many_answer_nothing() {
    let mixed = reply("google/mixed_batch.http");
    for pictures in [1, 9, 11, 16] {
        let outcomes = google().outcomes(pictures, &mixed);
        assert_eq!(outcomes.len(), pictures);
        assert!(outcomes.iter().all(|o| o.class() == C::Malformed), "one cannot know whose entry is missing");
    }
}

#[test]
fn a_wrong_key_comes_as_400_and_is_not_repeated_back() {
    let read = outcome(&google(), &reply("google/bad_key.http"));
    assert_eq!(read.class(), C::Auth);
    let reason = read.reason().unwrap();
    assert!(reason.contains("API_KEY_INVALID") && !reason.contains("PLANTED"), "{reason}");
}

#[test]
fn whole_calls_fail_by_name() {
    assert_eq!(outcome(&google(), &reply("google/quota.http")).class(), C::Throttled);
    for (status, name, message, expected) in [
        (429, "RESOURCE_EXHAUSTED", "Quota exceeded ... limit 'Requests per day'", C::QuotaSpent),
        (401, "UNAUTHENTICATED", "Request had invalid authentication credentials.", C::Auth),
        (403, "PERMISSION_DENIED", "The caller does not have permission", C::Auth),
        (403, "PERMISSION_DENIED", "This API method requires billing to be enabled.", C::QuotaSpent),
        (400, "INVALID_ARGUMENT", "Request payload size exceeds the limit: 10485760 bytes.", C::BadPicture),
        (400, "INVALID_ARGUMENT", "Only one of image content and uri should be specified.", C::Misconfigured),
        (404, "NOT_FOUND", "no such model", C::Misconfigured),
        (500, "INTERNAL", "oops", C::Transient),
        (503, "UNAVAILABLE", "try later", C::Transient),
        (504, "DEADLINE_EXCEEDED", "too slow", C::Transient),
        (200, "UNAVAILABLE", "an error in a 200", C::Transient),
        (418, "", "a teapot", C::BadPicture),
    ] {
        let body = serde_json::json!({ "error": { "code": status, "message": message, "status": name } });
        let read = outcome(&google(), &plain_reply(status, &body.to_string()));
        assert_eq!(read.class(), expected, "{status} {name} {message}: {read:?}");
    }
}

#[test]
fn a_scale_of_0_to_100_is_not_believed() {
    let body = r#"{"responses":[{"labelAnnotations":[{"description":"Dog","score":98.5}]}]}"#;
    assert_eq!(outcome(&google(), &plain_reply(200, body)).class(), C::Unusable);
}

#[test]
fn batches_are_cut_by_count_and_by_bytes() {
    assert_eq!(google().fit(&pictures(20)), 16);
    let mut large = pictures(16);
    for picture in &mut large {
        picture.bytes = Bytes::from(vec![7; 1_000_000]);
    }
    let fits = google().fit(&large);
    assert_eq!(fits, 7);
    assert!(google().request(&large[..fits]).unwrap().body().len() <= 9_500_000);
    assert!(google().request(&large[..=fits]).unwrap_err().to_string().contains("7 of these 8"));
    // The largest picture that the limits let through fits alone.
    large[0].bytes = Bytes::from(vec![7; google().limits().max_bytes]);
    assert!(google().request(&large[..1]).unwrap().body().len() <= 9_500_000);
    let too_large =
        plain_reply(400, r#"{"error":{"status":"INVALID_ARGUMENT","message":"payload size exceeds"}}"#);
    assert!(google().ask_singly(16, &too_large) && !google().ask_singly(1, &too_large));
    assert!(!google().ask_singly(16, &reply("google/quota.http")));
}

#[test]
fn list_price_and_quota() {
    assert_eq!(google().price(), Price::PerPicture("0.0015".parse().unwrap()));
    assert_eq!(google().quota().unwrap().pictures_per_minute, Some(1800));
}

#[test]
fn requests_of_the_sdks_are_read() {
    let python = Received::fixture("google/request_python.http");
    let inquiry = python.inquiry(&ServedGoogle);
    assert_eq!(inquiry.pictures.len(), 1);
    let asked = &inquiry.pictures[0];
    assert_eq!(asked.source, Source::Bytes(Bytes::from_static(PICTURE)));
    assert_eq!(asked.features, [served::Feature::Labels, served::Feature::Moderation]);
    assert_eq!(asked.most, Some(2));
    assert!(matches!(python.with(|i| ServedGoogle.credential(i)), Some(Presented::Key(_))));

    let node = Received::fixture("google/request_node.http").inquiry(&ServedGoogle);
    assert_eq!(node.pictures[0].most, Some(10));
    assert_eq!(node.echo["integers"], true);

    let discovery = Received::fixture("google/request_discovery.http");
    let inquiry = discovery.inquiry(&ServedGoogle);
    assert_eq!(inquiry.pictures[0].source, Source::Url("https://example.com/a.jpg".to_owned()));
    assert_eq!(inquiry.pictures[1].features, [served::Feature::Moderation]);
    assert_eq!(inquiry.model.as_deref(), Some("builtin/latest"));
    assert_eq!(inquiry.echo["integers"], false);
    assert!(matches!(discovery.with(|i| ServedGoogle.credential(i)), Some(Presented::Key(_))));
}

#[test]
fn replies_speak_the_encoding_that_was_asked_for() {
    let mut answer = Answer::of([("Dog", 0.9), ("Pet", 0.5), ("Grass", 0.4)]);
    answer.levels.insert("racy".to_owned(), Likelihood::Likely);
    let inquiry = Received::fixture("google/request_python.http").inquiry(&ServedGoogle);
    let response = ServedGoogle.encode(&inquiry, &[found(answer.clone())], &mark());
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(body["responses"][0]["safeSearchAnnotation"]["racy"], 4);
    assert_eq!(body["responses"][0]["safeSearchAnnotation"]["adult"], 0);
    assert_eq!(body["responses"][0]["labelAnnotations"].as_array().unwrap().len(), 2, "maxResults is 2");

    let inquiry = Received::fixture("google/request_discovery.http").inquiry(&ServedGoogle);
    let bad = Err(Refusal::new(RefusalClass::BadPicture, "Bad image data."));
    let response = ServedGoogle.encode(&inquiry, &[bad, found(answer)], &mark());
    assert_eq!(response.status(), StatusCode::OK);
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(body["responses"][0]["error"]["code"], 3);
    assert_eq!(body["responses"][1]["safeSearchAnnotation"]["racy"], "LIKELY");
    assert!(body["responses"][1].get("labelAnnotations").is_none());
}

#[test]
fn what_is_not_served_is_refused_by_name() {
    let one = |features: &str, image: &str| {
        let body = format!("{{\"requests\":[{{\"image\":{image},\"features\":{features}}}]}}");
        Received::new("POST", "/v1/images:annotate", &[("content-type", "application/json")], body)
            .refusal(&ServedGoogle)
    };
    let image = "{\"content\":\"AAAA\"}";
    assert_eq!(one("[{\"type\":5}]", image).class, RefusalClass::Unsupported);
    assert_eq!(one("[{\"type\":\"FACE_DETECTION\"}]", image).class, RefusalClass::Unsupported);
    assert_eq!(one("[{\"type\":4,\"model\":\"mine\"}]", image).class, RefusalClass::Unsupported);
    assert_eq!(one("[{\"type\":4,\"maxResults\":-1}]", image).class, RefusalClass::BadRequest);
    assert_eq!(one("[]", image).class, RefusalClass::BadRequest);
    assert_eq!(one("[{\"type\":4}]", "{}").class, RefusalClass::BadRequest);
    assert_eq!(one("[{\"type\":4}]", "{\"content\":\"é\"}").class, RefusalClass::BadRequest);
    let two = "{\"content\":\"AAAA\",\"source\":{\"imageUri\":\"https://x\"}}";
    assert!(one("[{\"type\":4}]", two).message.contains("Only one of image content and uri"));
    let path = Received::new("GET", "/v1/images:annotate", &[], "");
    assert_eq!(path.refusal(&ServedGoogle).class, RefusalClass::MethodNotAllowed);
    let proto = Received::new("POST", "/v1/images:annotate?$alt=proto", &[], "{}");
    assert_eq!(proto.refusal(&ServedGoogle).class, RefusalClass::Unsupported);
    let many = format!("{{\"requests\":[{}]}}", vec!["{}"; 17].join(","));
    let many = Received::new("POST", "/v1/images:annotate", &[], many).refusal(&ServedGoogle);
    assert!(many.message.contains("17"), "{many}");
}

proptest! {
    /// Whatever a server found, the adapter of the same API reads it again, bit for bit.
    #[test]
    fn both_directions_agree(
        labels in prop::collection::vec(("[a-zA-Z é\"\\\\]{1,12}", 0.0..=1.0f64, prop::option::of("/m/[a-z0-9]{1,6}")), 0..8),
        racy in 0usize..6,
        integers: bool,
    ) {
        let steps = [Likelihood::Unknown, Likelihood::VeryUnlikely, Likelihood::Unlikely, Likelihood::Possible,
            Likelihood::Likely, Likelihood::VeryLikely];
        let labels = labels.into_iter().map(|(name, score, id)| Label { name, score: Some(score), id }).collect();
        let mut answer = Answer { labels, ..Answer::default() };
        for category in ["adult", "spoof", "medical", "violence", "racy"] {
            answer.levels.insert(category.to_owned(), steps[racy]);
        }
        let sent = Received::sent(&both().request(&pictures(3)).unwrap());
        let mut inquiry = sent.inquiry(&ServedGoogle);
        inquiry.echo["integers"] = integers.into();
        prop_assert_eq!(&inquiry.pictures[2].source, &Source::Bytes(Bytes::from_static(PICTURE)));
        let results = vec![found(answer.clone()), Err(Refusal::new(RefusalClass::BadPicture, "bad")), found(answer.clone())];
        let outcomes = both().outcomes(3, &as_reply(ServedGoogle.encode(&inquiry, &results, &mark())));
        prop_assert_eq!(&outcomes[0], &Outcome::Answered(answer));
        prop_assert_eq!(outcomes[1].class(), C::BadPicture);
        prop_assert_eq!(&outcomes[2], &outcomes[0]);
    }
}
