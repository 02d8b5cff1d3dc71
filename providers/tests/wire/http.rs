//! APIs described in the configuration.

use serde_json::{Value, json};
use smoothgate_providers::http::{HttpApi, Options};
use smoothgate_providers::{Format, OutcomeClass as C, Price, Provider, RequestError};

use crate::support::*;

/// A description as it would come from a configuration file.
fn described(changes: &Value) -> Result<HttpApi, RequestError> {
    let mut options = json!({
        "url": "https://api.example.com/v1/tag?lang=en",
        "labels": { "form": "list", "at": "/result/tags", "name": "/tag/en", "score": "/confidence", "id": "/uid" },
        "scale": "percent",
        "model_version": "/model/v",
    });
    options.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    HttpApi::new(serde_json::from_value::<Options>(options).unwrap())
}

fn api() -> HttpApi {
    described(&json!({})).unwrap()
}

#[test]
fn common_rules() {
    check_request(&api());
    check_foreign_bodies(&api());
    check_cache_mark(&api(), &reply("http/rekor.http"));
}

#[test]
fn labels_are_found_in_every_form() {
    let good = reply("http/rekor.http");
    let read = answer(&api(), &good);
    assert_eq!(pairs(&read), [("cat", 0.6125), ("pet", 0.305)]);
    assert_eq!(read.labels[1].id.as_deref(), Some("13"));
    assert_eq!(read.model_version.as_deref(), Some("7"));
    let form =
        |labels: Value| answer(&described(&json!({ "labels": labels, "scale": "unit" })).unwrap(), &good);
    let parallel = form(json!({ "form": "parallel", "names": "/result/names", "scores": "/result/values" }));
    assert_eq!(pairs(&parallel), [("cat", 0.25), ("dog", 0.5)], "order of appearance");
    let map = form(json!({ "form": "map", "at": "/result/scores" }));
    assert_eq!(pairs(&map), [("dog", 0.5), ("ant", 0.25), ("cat", 0.25)]);
    let one = form(json!({ "form": "one", "name": "/result/class", "score": "/result/p" }));
    assert_eq!(pairs(&one), [("281", 0.75)]);
    assert_eq!(form(json!({ "form": "one", "name": "/result/none" })).labels, []);
    let scoreless = described(&json!({ "scale": "none" })).unwrap();
    assert!(answer(&scoreless, &good).labels.iter().all(|label| label.score.is_none()));
}

#[test]
fn replies_that_do_not_fit_the_description_are_no_answers() {
    let good = reply("http/rekor.http");
    let class = |changes: Value| outcome(&described(&changes).unwrap(), &good).class();
    assert_eq!(class(json!({ "scale": "unit" })), C::Unusable, "61.25 is not on a scale of 0 to 1");
    assert_eq!(class(json!({ "model_version": "/version" })), C::Malformed);
    for labels in [
        json!({ "form": "list", "at": "/tags", "name": "" }),
        json!({ "form": "list", "at": "/model", "name": "" }),
        json!({ "form": "list", "at": "/result/tags", "name": "/name" }),
        json!({ "form": "list", "at": "/result/tags", "name": "/tag" }),
        json!({ "form": "list", "at": "/result/tags", "name": "/tag/en", "score": "/tag/en" }),
        json!({ "form": "parallel", "names": "/result/names", "scores": "/result/tags" }),
        json!({ "form": "map", "at": "/model/v" }),
        json!({ "form": "map", "at": "/status" }),
    ] {
        assert_eq!(class(json!({ "labels": labels })), C::Malformed, "{labels}");
    }
}

#[test]
fn bodies_are_raw_json_or_forms() {
    let raw = api().request(&pictures(1)).unwrap();
    assert_eq!(raw.uri(), "https://api.example.com/v1/tag?lang=en");
    assert_eq!(
        (raw.headers()["content-type"].to_str().unwrap(), raw.body().as_ref()),
        ("image/png", PICTURE)
    );

    let template = json!({ "image": { "src": "${image.data_url}", "t": "${image.media_type}" }, "n": [1, "${image.base64}", null] });
    let json_body =
        described(&json!({ "method": "put", "body": { "form": "json", "template": template } })).unwrap();
    let request = json_body.request(&pictures(1)).unwrap();
    assert_eq!(request.method(), "PUT");
    let body: Value = serde_json::from_slice(request.body()).unwrap();
    assert!(body["image"]["src"].as_str().unwrap().starts_with("data:image/png;base64,iVBOR"));
    assert_eq!(body["image"]["t"], "image/png");
    assert!(body["n"][1].as_str().unwrap().starts_with("iVBOR"));

    let form = json!({ "form": "multipart", "field": "image", "fields": { "limit": "10" } });
    let form = described(&json!({ "body": form })).unwrap();
    let request = form.request(&pictures(1)).unwrap();
    assert_eq!(request.body(), form.request(&pictures(1)).unwrap().body(), "a retry sends the same bytes");
    let content_type = request.headers()["content-type"].to_str().unwrap();
    let boundary = content_type.strip_prefix("multipart/form-data; boundary=").unwrap();
    let body = request.body();
    let end = format!("\r\n--{boundary}--\r\n");
    assert!(body.starts_with(format!("--{boundary}\r\n").as_bytes()) && body.ends_with(end.as_bytes()));
    assert!(body[..body.len() - end.len()].ends_with(PICTURE));
    assert!(String::from_utf8_lossy(body).contains("name=\"limit\"\r\n\r\n10\r\n"));
}

#[test]
fn rules_come_before_everything_else() {
    let rules = json!([
        { "status": "200", "at": "/status/ok", "equals": "false", "end": "bad-picture" },
        { "status": "5xx", "at": "/error/text", "contains": "MODERATION", "end": "refused" },
        { "status": "420", "end": "throttled" },
        { "at": "/error/code", "equals": "17", "end": "quota-spent" },
        { "at": "/oops", "end": "transient" },
    ]);
    let api = described(&json!({ "errors": rules, "error_message": "/error/text" })).unwrap();
    for (status, body, expected) in [
        (200, json!({ "status": { "ok": false } }), C::BadPicture),
        (503, json!({ "error": { "text": "moderation failed" } }), C::Refused),
        (503, json!({ "error": { "text": "other" } }), C::Transient),
        (420, json!(null), C::Throttled),
        (400, json!({ "error": { "code": 17 } }), C::QuotaSpent),
        (200, json!({ "error": { "code": "17" } }), C::QuotaSpent),
        (200, json!({ "oops": 0 }), C::Transient),
        (200, json!({ "oops": null }), C::Malformed),
        (401, json!({}), C::Auth),
    ] {
        let read = outcome(&api, &plain_reply(status, &body.to_string()));
        assert_eq!(read.class(), expected, "{status} {body}: {read:?}");
    }
    let words = outcome(&api, &plain_reply(503, "{\"error\":{\"text\":\"the disk is full\"}}"));
    assert!(words.reason().unwrap().contains("the disk is full"));
    assert_eq!(outcome(&api, &reply("http/rekor.http")).class(), C::Answered);
}

#[test]
fn mistakes_in_a_description_are_found_at_once() {
    let no_picture = json!({ "form": "json", "template": { "image": "here" } });
    let bad_field = json!({ "form": "multipart", "field": "a\"b" });
    for (changes, word) in [
        (json!({ "method": "GET" }), "method"),
        (json!({ "url": "api.example.com" }), "endpoint"),
        (json!({ "url": "https://me:pw@api.example.com" }), "password"),
        (json!({ "headers": { "Authorization": "Bearer planted" } }), "credential"),
        (json!({ "headers": { "X-Api-Key": "planted" } }), "credential"),
        (json!({ "headers": { "X-Auth": "planted" } }), "credential"),
        (json!({ "url": "https://api.example.com/v1/tag?lang=en&api_key=planted" }), "credential"),
        (json!({ "url": "https://api.example.com/v1/tag?Token=planted" }), "credential"),
        (json!({ "headers": { "a b": "c" } }), "not valid"),
        (json!({ "headers": { "a": "c\n" } }), "not valid"),
        (json!({ "body": no_picture }), "template"),
        (json!({ "body": bad_field }), "form fields"),
        (json!({ "labels": { "form": "map", "at": "scores" } }), "pointer"),
        (json!({ "model_version": "version" }), "pointer"),
        (json!({ "errors": [{ "end": "auth" }] }), "errors"),
        (json!({ "errors": [{ "status": "400", "equals": "x", "end": "auth" }] }), "equals"),
        (json!({ "formats": [] }), "formats"),
    ] {
        let problem = described(&changes).err().unwrap_or_else(|| panic!("{changes}")).to_string();
        assert!(
            problem.contains(word) && !problem.contains("planted") && !problem.contains("pw@"),
            "{problem}"
        );
    }
    for wrong in [
        json!({ "url": "https://x", "labels": { "form": "map", "at": "" }, "colour": 1 }),
        json!({ "url": "https://x" }),
        json!({ "url": "https://x", "labels": { "form": "map", "at": "" }, "errors": [{ "status": "9xx", "end": "auth" }] }),
        json!({ "url": "https://x", "labels": { "form": "map", "at": "" }, "errors": [{ "status": "x", "end": "auth" }] }),
        json!({ "url": "https://x", "labels": { "form": "map", "at": "" }, "price": "five" }),
    ] {
        assert!(serde_json::from_value::<Options>(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn limits_price_and_quota_are_the_descriptions() {
    assert_eq!(api().price(), Price::Unknown);
    let own = json!({ "price": "0.002USD", "calls_per_minute": 120, "formats": ["jpeg"], "max_side": 1024, "headers": { "X-Trace": "off" } });
    let api = described(&own).unwrap();
    assert_eq!(api.price(), Price::PerPicture("0.002".parse().unwrap()));
    assert_eq!(api.quota().unwrap().calls_per_minute, 120);
    assert!(api.request(&pictures(1)).is_err(), "PNG is not accepted");
    let mut jpeg = pictures(1);
    jpeg[0].format = Format::Jpeg;
    assert_eq!(api.request(&jpeg).unwrap().headers()["x-trace"], "off");
    jpeg[0].width = 1025;
    assert!(api.request(&jpeg).is_err());
}
