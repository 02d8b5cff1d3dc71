//! Azure AI Vision, both formats.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};
use smoothgate_providers::azure::{Azure, Options, ServedAzure};
use smoothgate_providers::azure_v3::{self, AzureV3, ServedAzureV3};
use smoothgate_providers::served::{Feature, Inquiry, Presented, Refusal, RefusalClass, ServedApi, Source};
use smoothgate_providers::{Answer, Label, Likelihood, Outcome, OutcomeClass as C, Price, Provider};

use crate::support::*;

const ENDPOINT: &str = "https://name.cognitiveservices.azure.com/";

fn v4() -> Azure {
    Azure::new(&Options { endpoint: ENDPOINT.to_owned(), ..Options::default() }).unwrap()
}

fn v3(features: &[azure_v3::Feature]) -> AzureV3 {
    let options = azure_v3::Options {
        endpoint: ENDPOINT.to_owned(),
        features: features.to_vec(),
        ..azure_v3::Options::default()
    };
    AzureV3::new(&options).unwrap()
}

fn tags() -> AzureV3 {
    v3(&[azure_v3::Feature::Tags])
}

fn both() -> AzureV3 {
    v3(&[azure_v3::Feature::Tags, azure_v3::Feature::Adult])
}

#[test]
fn common_rules() {
    check_request(&v4());
    check_foreign_bodies(&v4());
    check_cache_mark(&v4(), &reply("azure/tags.http"));
    check_refusals(&ServedAzure, &v4());
    check_request(&tags());
    check_foreign_bodies(&tags());
    check_cache_mark(&both(), &reply("azure_v3/tags_adult.http"));
    check_refusals(&ServedAzureV3, &tags());
}

#[test]
fn requests_are_raw_bytes_under_a_single_slash() {
    let request = v4().request(&pictures(1)).unwrap();
    assert_eq!(
        request.uri(),
        "https://name.cognitiveservices.azure.com/computervision/imageanalysis:analyze?\
         api-version=2024-02-01&features=tags&language=en&model-version=latest"
    );
    assert_eq!(request.headers()["content-type"], "application/octet-stream");
    assert_eq!(request.body(), PICTURE);
    assert_eq!(
        both().request(&pictures(1)).unwrap().uri(),
        "https://name.cognitiveservices.azure.com/vision/v3.2/analyze?\
         visualFeatures=Tags,Adult&language=en&model-version=latest"
    );
}

#[test]
fn options_are_checked() {
    assert!(Azure::new(&Options::default()).is_err(), "an endpoint has to be given");
    let with = |version: &str| Options {
        endpoint: ENDPOINT.to_owned(),
        model_version: version.to_owned(),
        ..Options::default()
    };
    assert!(Azure::new(&with("2023-10-01")).is_ok());
    assert!(Azure::new(&with("latest&x=1")).is_err());
    let none =
        azure_v3::Options { endpoint: ENDPOINT.to_owned(), features: vec![], ..azure_v3::Options::default() };
    assert!(AzureV3::new(&none).is_err());
}

#[test]
fn each_feature_is_a_transaction_and_limits_differ() {
    assert_eq!(v4().price(), Price::PerPicture("0.001".parse().unwrap()));
    assert_eq!(both().price(), Price::PerPicture("0.002".parse().unwrap()));
    assert_eq!(v4().limits().max_bytes, 20_971_520);
    assert_eq!(tags().limits().max_bytes, 4_194_303);
    let mut small = pictures(1);
    small[0].height = 50;
    assert!(v4().request(&small).is_err());
}

#[test]
fn tags_keep_order_and_scores() {
    let read = answer(&v4(), &reply("azure/tags.http"));
    assert_eq!(
        pairs(&read),
        [
            ("cat", 0.996_049_940_586_090_1),
            ("indoor", 0.987_444_519_996_643_1),
            ("pet", 0.987_444_519_996_643_1)
        ]
    );
    assert_eq!(read.model_version.as_deref(), Some("2023-10-01"));
    let bare = answer(&v4(), &reply("azure/no_version.http"));
    assert!(bare.labels.is_empty() && bare.model_version.is_none());
    assert_eq!(
        outcome(&v4(), &plain_reply(200, "{\"modelVersion\":\"x\",\"metadata\":{}}")).class(),
        C::Malformed
    );
    assert_eq!(outcome(&tags(), &reply("azure/tags.http")).class(), C::Malformed, "that is the other format");
}

#[test]
fn a_flagged_category_is_a_label_that_no_tag_can_be() {
    let read = answer(&both(), &reply("azure_v3/tags_adult.http"));
    assert_eq!(
        pairs(&read),
        [
            ("person", 0.989_790_856_838_226_3),
            ("adult", 0.9),
            ("pangolin", 0.725_005_978_379_166_1),
            ("racy content", 0.684_578_597_545_623_8)
        ]
    );
    assert_eq!(read.labels[3].id.as_deref(), Some("isRacyContent"));
    let only = v3(&[azure_v3::Feature::Adult]);
    assert_eq!(outcome(&only, &plain_reply(200, "{\"tags\":[]}")).class(), C::Malformed);
    let odd = plain_reply(200, "{\"adult\":{\"isAdultContent\":1}}");
    assert_eq!(outcome(&only, &odd).class(), C::Malformed);
    let percent = plain_reply(200, "{\"adult\":{\"isAdultContent\":true,\"adultScore\":97}}");
    assert_eq!(outcome(&only, &percent).class(), C::Unusable);
}

#[test]
fn gateway_errors_have_numbers_in_strings() {
    let denied = outcome(&v4(), &reply("azure/bad_key.http"));
    assert_eq!(denied.class(), C::Auth);
    assert!(!denied.reason().unwrap().contains("0123456789abcdef"), "{denied:?}");
    match outcome(&tags(), &reply("azure/throttled.http")) {
        Outcome::Throttled { retry_after, .. } => assert_eq!(retry_after, Some(Duration::from_secs(12))),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_inner_code_decides() {
    for (status, code, inner, message, expected) in [
        (
            400,
            json!("InvalidRequest"),
            Some("InvalidImageFormat"),
            "Image format is not valid",
            C::BadPicture,
        ),
        (400, json!("InvalidRequest"), Some("InvalidImageSize"), "too large", C::BadPicture),
        (400, json!("InvalidRequest"), Some("NotSupportedImage"), "", C::BadPicture),
        (
            400,
            json!("InvalidRequest"),
            Some("NotSupportedVisualFeature"),
            "Analyze query is invalid",
            C::Misconfigured,
        ),
        (400, json!("InvalidRequest"), Some("NotSupportedLanguage"), "", C::Misconfigured),
        (400, json!("InvalidRequest"), Some("BadArgument"), "", C::Misconfigured),
        (
            400,
            json!("InvalidRequest"),
            None,
            "The image size is not allowed to be zero or larger than 20971520 bytes",
            C::BadPicture,
        ),
        (
            400,
            json!("InvalidRequest"),
            None,
            "Either 'features' or 'model-name' needs to be specified in the query parameter",
            C::Misconfigured,
        ),
        (415, json!("UnsupportedMediaType"), None, "", C::BadPicture),
        (404, json!("404"), None, "Resource not found", C::Misconfigured),
        (
            403,
            json!("403"),
            None,
            "Out of call volume quota. Quota will be replenished in 12 days.",
            C::QuotaSpent,
        ),
        (401, json!(401), None, "a number", C::Auth),
        (500, json!("FailedToProcess"), None, "", C::Transient),
        (500, json!("Timeout"), None, "", C::Transient),
        (503, json!("ServiceUnavailable"), None, "", C::Transient),
        (200, json!("InternalServerError"), None, "an error in a 200", C::Transient),
        (400, json!("Novel"), None, "", C::BadPicture),
        (500, json!("Novel"), None, "", C::Transient),
    ] {
        let mut error = json!({ "code": code, "message": message });
        if let Some(inner) = inner {
            error["innererror"] = json!({ "code": inner, "message": message });
        }
        let wrapped = plain_reply(status, &json!({ "error": error }).to_string());
        assert_eq!(outcome(&v4(), &wrapped).class(), expected, "{error}");
        assert_eq!(outcome(&tags(), &wrapped).class(), expected, "{error}");
        if status != 200 {
            let unwrapped = plain_reply(status, &error.to_string());
            assert_eq!(outcome(&tags(), &unwrapped).class(), expected, "unwrapped {error}");
        }
    }
}

#[test]
fn requests_of_the_sdks_are_read() {
    let python = Received::fixture("azure/request_python.http");
    let inquiry = python.inquiry(&ServedAzure);
    assert_eq!(inquiry.pictures[0].source, Source::Bytes(Bytes::from_static(PICTURE)));
    assert_eq!(inquiry.model.as_deref(), Some("latest"));
    assert!(matches!(python.with(|i| ServedAzure.credential(i)), Some(Presented::Key(_))));
    let node = Received::fixture("azure/request_node.http");
    assert_eq!(
        node.inquiry(&ServedAzure).pictures[0].source,
        Source::Url("https://example.com/a.jpg".to_owned())
    );
    assert!(matches!(node.with(|i| ServedAzure.credential(i)), Some(Presented::Bearer(_))));
    let chunked = Received::fixture("azure_v3/request_chunked.http").inquiry(&ServedAzureV3);
    assert_eq!(chunked.pictures[0].features, [Feature::Labels, Feature::Moderation]);
    assert_eq!(chunked.pictures[0].source, Source::Bytes(Bytes::from_static(PICTURE)));
    let tag = Received::fixture("azure_v3/request_tag.http").inquiry(&ServedAzureV3);
    assert_eq!(tag.pictures[0].features, [Feature::Labels]);
    let form =
        [b"--B\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n", PICTURE, b"\r\n--B--\r\n"].concat();
    let form = Received::new(
        "POST",
        "/vision/v3.2/analyze?visualFeatures=tags",
        &[("content-type", "multipart/form-data; boundary=B")],
        form,
    );
    assert_eq!(form.inquiry(&ServedAzureV3).pictures[0].source, Source::Bytes(Bytes::from_static(PICTURE)));
}

#[test]
fn what_is_not_served_is_refused_by_name() {
    let refused = |target: &str, content_type: &str, body: &str| {
        let api: &dyn ServedApi = if target.contains("v3.2") { &ServedAzureV3 } else { &ServedAzure };
        Received::new("POST", target, &[("content-type", content_type)], body.to_owned()).refusal(api).class
    };
    let octets = "application/octet-stream";
    let v4 = |query: &str| refused(&format!("/computervision/imageanalysis:analyze?{query}"), octets, "x");
    assert_eq!(v4("features=tags,caption"), RefusalClass::Unsupported);
    assert_eq!(v4(""), RefusalClass::BadRequest);
    assert_eq!(v4("features=tags&language=de"), RefusalClass::Unsupported);
    assert_eq!(v4("features=tags&model-version=newest"), RefusalClass::BadRequest);
    assert_eq!(v4("model-name=mine"), RefusalClass::Unsupported);
    let target = "/computervision/imageanalysis:analyze?features=tags";
    assert_eq!(refused(target, octets, ""), RefusalClass::BadPicture);
    assert_eq!(refused(target, "text/html", "x"), RefusalClass::UnsupportedMediaType);
    assert_eq!(refused(target, "application/json", "{}"), RefusalClass::BadRequest);
    assert_eq!(refused(target, "multipart/form-data; boundary=b", "x"), RefusalClass::BadRequest);
    assert_eq!(refused("/vision/v3.2/analyze", octets, "x"), RefusalClass::Unsupported);
    assert_eq!(
        refused("/vision/v3.2/analyze?visualFeatures=Tags,Faces", octets, "x"),
        RefusalClass::Unsupported
    );
    assert_eq!(refused("/vision/v3.2/tag?details=Celebrities", octets, "x"), RefusalClass::Unsupported);
    let error = ServedAzure.refuse(&Refusal::new(RefusalClass::PictureTooLarge, "20 MB"), &mark());
    assert_eq!(error.status(), 400, "oversize is never 413 here");
    let body: Value = serde_json::from_slice(error.body()).unwrap();
    assert_eq!(body["error"]["innererror"]["code"], "InvalidImageSize");
}

#[test]
fn decisions_follow_levels_and_say_nothing_about_what_is_not_rated() {
    let target = "/vision/v3.2/analyze?visualFeatures=Adult";
    let inquiry = Received::new("POST", target, &[("content-type", "application/octet-stream")], PICTURE)
        .inquiry(&ServedAzureV3);
    let asked = &inquiry.pictures[0];
    let rated = |levels: &[(&str, Likelihood)]| Answer {
        levels: levels.iter().map(|(name, level)| ((*name).to_owned(), *level)).collect(),
        ..Answer::default()
    };
    let all = |said: Value| {
        let mut all = json!({
            "isAdultContent": false, "isRacyContent": false, "isGoryContent": false,
            "adultScore": 0.0, "racyScore": 0.0, "goreScore": 0.0,
        });
        let said = said.as_object().unwrap().clone();
        all.as_object_mut().unwrap().extend(said);
        all
    };
    let adult = |answer: &Answer| -> Value {
        let reply = ServedAzureV3.encode(&inquiry, &[found(answer.clone())], &mark());
        serde_json::from_slice::<Value>(reply.body()).unwrap()["adult"].clone()
    };
    let likely = rated(&[("adult", Likelihood::Likely)]);
    assert_eq!(adult(&likely), all(json!({ "isAdultContent": true, "adultScore": 0.0 })));
    assert!(!ServedAzureV3.denies(asked, &likely));
    let scored = Answer {
        labels: vec![Label { id: Some("violence".to_owned()), ..Label::new("violence", 0.75) }],
        ..rated(&[("violence", Likelihood::Possible)])
    };
    assert_eq!(adult(&scored), all(json!({ "isGoryContent": true, "goreScore": 0.75 })));
    let unlikely = rated(&[("racy", Likelihood::Unlikely)]);
    assert_eq!(adult(&unlikely), all(json!({ "isRacyContent": false, "racyScore": 0.0 })));
    for no in [&unlikely, &Answer::default(), &Answer::of([("adult", 0.9)])] {
        assert!(ServedAzureV3.denies(asked, no), "{no:?}");
    }
    let certain = Inquiry { only_certain: true, ..inquiry.clone() };
    for (answer, said) in [
        (Answer::of([("adult content", 0.5)]), json!({ "isAdultContent": true, "adultScore": 0.5 })),
        (unlikely.clone(), json!({})),
    ] {
        let reply = ServedAzureV3.encode(&certain, &[found(answer)], &mark());
        assert_eq!(serde_json::from_slice::<Value>(reply.body()).unwrap()["adult"], said);
    }
    // As the API itself, where nothing is rated; and labels that are not there are only left out.
    assert_eq!(adult(&Answer::default())["isAdultContent"], false);
    let labels =
        Received::new("POST", "/vision/v3.2/tag", &[("content-type", "application/octet-stream")], PICTURE)
            .inquiry(&ServedAzureV3);
    assert!(!ServedAzureV3.denies(&labels.pictures[0], &Answer::default()));
}

proptest! {
    /// Whatever a server found, the adapter of the same API reads it again, bit for bit.
    #[test]
    fn both_directions_agree(
        labels in prop::collection::vec(("[a-z é\"]{1,12}", 0.0..=1.0f64), 0..8),
        racy in prop::option::of(0.0..=1.0f64),
    ) {
        let labels: Vec<Label> = labels.into_iter().map(|(name, score)| Label::new(name, score)).collect();
        let mut answer = Answer { labels, model_version: Some("2021-04-01".to_owned()), ..Answer::default() };
        let inquiry = Received::sent(&v4().request(&pictures(1)).unwrap()).inquiry(&ServedAzure);
        let reply = as_reply(ServedAzure.encode(&inquiry, &[found(answer.clone())], &mark()));
        prop_assert_eq!(outcome(&v4(), &reply), Outcome::Answered(answer.clone()));

        answer.labels.extend(racy.map(|score| Label {
            name: "racy content".to_owned(), score: Some(score), id: Some("isRacyContent".to_owned()),
        }));
        let inquiry = Received::sent(&both().request(&pictures(1)).unwrap()).inquiry(&ServedAzureV3);
        let reply = as_reply(ServedAzureV3.encode(&inquiry, &[found(answer.clone())], &mark()));
        prop_assert_eq!(outcome(&both(), &reply), Outcome::Answered(answer));
    }
}
