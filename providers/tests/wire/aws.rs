//! Amazon Rekognition.

use bytes::Bytes;
use http::HeaderValue;
use proptest::prelude::*;
use serde_json::{Value, json};
use smoothgate_providers::aws::{Aws, Operation, Options, ServedAws};
use smoothgate_providers::served::{Feature, Presented, RefusalClass, ServedApi, Source};
use smoothgate_providers::{Answer, Label, Outcome, OutcomeClass as C, Price, Provider};

use crate::support::*;

fn aws() -> Aws {
    Aws::new(Options::default()).unwrap()
}

fn moderation() -> Aws {
    Aws::new(Options { operation: Operation::DetectModerationLabels, ..Options::default() }).unwrap()
}

#[test]
fn common_rules() {
    check_request(&aws());
    check_foreign_bodies(&aws());
    check_cache_mark(&aws(), &reply("aws/labels.http"));
    check_refusals(&ServedAws, &aws());
}

#[test]
fn a_request_is_what_the_service_model_asks_for() {
    let request = aws().request(&pictures(1)).unwrap();
    assert_eq!(request.uri(), "https://rekognition.us-east-1.amazonaws.com/");
    assert_eq!(request.headers()["content-type"], "application/x-amz-json-1.1");
    assert_eq!(request.headers()["x-amz-target"], "RekognitionService.DetectLabels");
    let body: Value = serde_json::from_slice(request.body()).unwrap();
    assert_eq!(body["MaxLabels"], 100);
    assert_eq!(body["MinConfidence"], 50.0);
    let request = moderation().request(&pictures(1)).unwrap();
    assert_eq!(request.headers()["x-amz-target"], "RekognitionService.DetectModerationLabels");
    let body: Value = serde_json::from_slice(request.body()).unwrap();
    assert!(body.get("MaxLabels").is_none(), "this operation has no such member");
}

#[test]
fn options_are_checked() {
    for wrong in [
        Options { region: "us east".to_owned(), ..Options::default() },
        Options { region: String::new(), ..Options::default() },
        Options { max_labels: 0, ..Options::default() },
        Options { min_confidence: 101.0, ..Options::default() },
        Options { min_confidence: f64::NAN, ..Options::default() },
        Options { endpoint: Some("127.0.0.1:5000".to_owned()), ..Options::default() },
    ] {
        assert!(Aws::new(wrong).is_err());
    }
    let own = Options { endpoint: Some("http://127.0.0.1:5000/".to_owned()), ..Options::default() };
    assert_eq!(Aws::new(own).unwrap().request(&pictures(1)).unwrap().uri(), "http://127.0.0.1:5000/");
}

#[test]
fn scores_are_divided_by_100_and_ties_keep_their_order() {
    let answer = answer(&aws(), &reply("aws/labels.http"));
    let top = 99.936_401_367_187_5 / 100.0;
    assert_eq!(pairs(&answer), [("Dog", top), ("Animal", top), ("Pet", top), ("Sofa", 0.575)]);
    assert_eq!(answer.model_version.as_deref(), Some("3.0"));
}

#[test]
fn moderation_labels_are_labels() {
    let answer = answer(&moderation(), &reply("aws/moderation.http"));
    assert_eq!(pairs(&answer), [("Suggestive", 0.77125)]);
    assert_eq!(answer.model_version.as_deref(), Some("7.0"));
    // An answer to the other operation is no answer to this one.
    assert_eq!(outcome(&moderation(), &reply("aws/labels.http")).class(), C::Malformed);
}

#[test]
fn neither_content_type_nor_model_version_is_needed() {
    let answer = answer(&aws(), &reply("aws/moto_html_type.http"));
    assert_eq!(answer.labels.len(), 1);
    assert_eq!(answer.model_version, None);
}

#[test]
fn the_errors_name_decides_not_the_status() {
    for (status, name, expected) in [
        (400, "ThrottlingException", C::Throttled),
        (500, "ThrottlingException", C::Throttled),
        (400, "ProvisionedThroughputExceededException", C::Throttled),
        (500, "InternalServerError", C::Transient),
        (503, "ServiceUnavailableException", C::Transient),
        (400, "InvalidImageFormatException", C::BadPicture),
        (400, "ImageTooLargeException", C::BadPicture),
        (400, "InvalidParameterException", C::BadPicture),
        (400, "ValidationException", C::BadPicture),
        (400, "SomethingNobodyDocumented", C::BadPicture),
        (400, "AccessDeniedException", C::Auth),
        (400, "UnrecognizedClientException", C::Auth),
        (400, "InvalidSignatureException", C::Auth),
        (400, "MissingAuthenticationTokenException", C::Auth),
        (400, "ExpiredTokenException", C::Auth),
        (400, "IncompleteSignatureException", C::Auth),
        (400, "ResourceNotFoundException", C::Misconfigured),
        (400, "UnknownOperationException", C::Misconfigured),
        (400, "HumanLoopQuotaExceededException", C::QuotaSpent),
        (200, "ThrottlingException", C::Throttled),
    ] {
        let namespaced = format!("com.amazonaws.rekognition#{name}");
        let with_url = format!("{name}:http://internal.amazon.com/coral/com.amazon.coral.service/");
        for body in [
            json!({ "__type": name, "Message": "words" }),
            json!({ "__type": namespaced, "message": "words" }),
            json!({ "__type": with_url, "message": "words", "Message": "words" }),
            json!({ "Code": name, "Logref": "5022229e", "Message": "words" }),
            json!({ "code": name }),
        ] {
            let read = outcome(&aws(), &plain_reply(status, &body.to_string()));
            assert_eq!(read.class(), expected, "{status} {body}: {read:?}");
            assert!(read.reason().unwrap().contains(name));
        }
        if status != 200 {
            for header in [name.to_owned(), with_url.clone(), namespaced.clone()] {
                for body in ["", "{}", "<html></html>", "{\"message\":\"words\"}"] {
                    let mut reply = plain_reply(status, body);
                    reply.headers.insert("x-amzn-errortype", HeaderValue::from_str(&header).unwrap());
                    let read = outcome(&aws(), &reply);
                    assert_eq!(read.class(), expected, "{status} {header} {body}: {read:?}");
                }
            }
        }
    }
}

#[test]
fn dimensions_are_a_fault_of_the_picture_under_any_name() {
    let body = json!({
        "__type": "",
        "message": "Input image dimensions 10800 x 5400 exceed maximum dimension size of 10000 pixels",
    });
    let reply = plain_reply(400, &body.to_string());
    let read = outcome(&aws(), &reply);
    assert_eq!(read.class(), C::BadPicture);
}

#[test]
fn limits_are_checked_before_a_call() {
    let mut small = pictures(1);
    small[0].width = 79;
    assert!(aws().request(&small).unwrap_err().to_string().contains("at least 80"));
    let mut wide = pictures(1);
    wide[0].width = 10_001;
    assert!(aws().request(&wide).unwrap_err().to_string().contains("10000"));
    assert_eq!(aws().limits().max_bytes, 5 << 20);
    assert_eq!(aws().price(), Price::PerPicture("0.001".parse().unwrap()));
    assert_eq!(aws().quota().unwrap().calls_per_minute, 3000);
}

#[test]
fn requests_of_the_sdks_are_read() {
    let boto = Received::fixture("aws/request_boto3.http");
    let inquiry = boto.inquiry(&ServedAws);
    let asked = &inquiry.pictures[0];
    assert_eq!(asked.source, Source::Bytes(Bytes::from_static(PICTURE)));
    assert_eq!((asked.most, asked.least), (Some(2), Some(0.6)));
    assert!(matches!(boto.with(|i| ServedAws.credential(i)), Some(Presented::SigV4)));
    let s3 = Received::fixture("aws/request_moderation.http").inquiry(&ServedAws);
    assert_eq!(s3.pictures[0].features, [Feature::Moderation]);
    assert_eq!(s3.pictures[0].least, Some(0.5));
    assert!(matches!(&s3.pictures[0].source, Source::Object { bucket, name, version: None }
        if bucket == "b" && name == "a/dog.jpg"));
}

#[test]
fn what_is_not_served_is_refused_in_the_services_own_shape() {
    let post = |target: &str, body: Value| {
        Received::new("POST", "/", &[("x-amz-target", target)], body.to_string()).refusal(&ServedAws).class
    };
    let labels = "RekognitionService.DetectLabels";
    let image = json!({ "Bytes": "AAAA" });
    assert_eq!(post("RekognitionService.DetectFaces", json!({ "Image": image })), RefusalClass::NotFound);
    for extra in [
        json!({ "Features": ["IMAGE_PROPERTIES"] }),
        json!({ "Settings": { "ImageProperties": { "MaxDominantColors": 3 } } }),
        json!({ "Settings": { "GeneralLabels": { "LabelCategoryInclusionFilters": ["Animals"] } } }),
        json!({ "HumanLoopConfig": {} }),
        json!({ "ProjectVersion": "arn" }),
    ] {
        let mut body = json!({ "Image": image });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        assert_eq!(post(labels, body), RefusalClass::Unsupported, "{extra}");
    }
    for body in [
        json!({}),
        json!({ "Image": {} }),
        json!({ "Image": { "Bytes": "?" } }),
        json!({ "Image": { "Bytes": "AAAA", "S3Object": { "Bucket": "b", "Name": "n" } } }),
        json!({ "Image": image, "MaxLabels": -1 }),
        json!({ "Image": image, "MinConfidence": 100.5 }),
        json!([1]),
    ] {
        assert_eq!(post(labels, body.clone()), RefusalClass::BadRequest, "{body}");
    }
    let refusal = Received::new("POST", "/", &[("x-amz-target", labels)], "{}").refusal(&ServedAws);
    let response = ServedAws.refuse(&refusal, &mark());
    assert_eq!(response.status(), 400);
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(body["__type"], "InvalidParameterException");
    assert_eq!(body["__type"], body["Code"]);
    assert_eq!(response.headers()["x-amzn-requestid"], "5d1f9c1e");
}

#[test]
fn the_clients_limits_and_filters_are_kept() {
    let body = json!({
        "Image": { "Bytes": "AAAA" },
        "MaxLabels": 1,
        "MinConfidence": 50,
        "Settings": { "GeneralLabels": { "LabelInclusionFilters": ["dog", "Pet"], "LabelExclusionFilters": ["Dog"] } },
    });
    let target = [("x-amz-target", "RekognitionService.DetectLabels")];
    let inquiry = Received::new("POST", "/", &target, body.to_string()).inquiry(&ServedAws);
    let all = Answer::of([("Dog", 0.99), ("Cat", 0.9), ("Pet", 0.8), ("Pet", 0.7)]);
    let reply = as_reply(ServedAws.encode(&inquiry, &[found(all)], &mark()));
    assert_eq!(pairs(&answer(&aws(), &reply)), [("Pet", f64::from(80.0f32) / 100.0)]);
}

proptest! {
    /// A score that the service printed (single precision, widened) survives reading, replaying and reading again.
    #[test]
    fn printed_scores_come_back_bit_for_bit(percents in prop::collection::vec(0.0..=100.0f32, 0..8), moderated: bool) {
        let key = if moderated { "ModerationLabels" } else { "Labels" };
        let labels: Vec<Value> = percents
            .iter()
            .enumerate()
            .map(|(i, p)| json!({ "Name": format!("l{i}"), "Confidence": f64::from(*p) }))
            .collect();
        let aws = if moderated { moderation() } else { Aws::new(Options { min_confidence: 0.0, ..Options::default() }).unwrap() };
        let first = answer(&aws, &plain_reply(200, &json!({ key: labels }).to_string()));
        let mut inquiry = Received::sent(&aws.request(&pictures(1)).unwrap()).inquiry(&ServedAws);
        inquiry.pictures[0].least = None;
        let replayed = as_reply(ServedAws.encode(&inquiry, &[found(first.clone())], &mark()));
        let body: Value = serde_json::from_slice(&replayed.body).unwrap();
        for (i, p) in percents.iter().enumerate() {
            prop_assert_eq!(body[key][i]["Confidence"].as_f64(), Some(f64::from(*p)));
        }
        prop_assert_eq!(answer(&aws, &replayed), first);
    }

    /// Whatever the labels are called, the order of appearance is the order of the answer.
    #[test]
    fn both_directions_agree(names in prop::collection::vec("[^\\x00]{1,12}", 0..8)) {
        let labels = names.into_iter().map(|name| Label { name, score: Some(0.5), id: None }).collect();
        let answer = Answer { labels, model_version: Some("3.0".to_owned()), ..Answer::default() };
        let inquiry = Received::sent(&aws().request(&pictures(1)).unwrap()).inquiry(&ServedAws);
        let reply = as_reply(ServedAws.encode(&inquiry, &[found(answer.clone())], &mark()));
        prop_assert_eq!(outcome(&aws(), &reply), Outcome::Answered(answer));
    }
}
